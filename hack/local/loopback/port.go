// Package loopback finds free ports for programs that cannot choose one themselves.
package loopback

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"syscall"
)

// Ports are taken from below the range that common systems hand out by themselves (Linux from
// 32768, others from 49152). So a program that is stopped and started again finds its port free: no
// outgoing connection can have taken it in between.
const lowest, highest = 14000, 32000

// FreePort returns a port of the host (an IP literal) that nothing listens on at the moment. The
// port is not reserved: if the program that is to use it fails with "address already in use", try
// another.
func FreePort(host string) (int, error) {
	for range 100 {
		port := lowest + rand.IntN(highest-lowest)
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("looking for a free port: %w", err)
		}
		return port, l.Close()
	}
	return 0, fmt.Errorf("looking for a free port: a hundred ports of %s between %d and %d are all in use", host, lowest, highest)
}
