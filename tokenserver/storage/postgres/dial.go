package postgres

import (
	"context"
	"net"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// goneAfter is how long a host may acknowledge nothing before the kernel gives up the connection to it. A
// write waits so long for an answer that cannot come, with its place: see neverCancel.
const goneAfter = 20 * time.Second

// tcpUserTimeout is TCP_USER_TIMEOUT of Linux, which package syscall does not have.
const tcpUserTimeout = 0x12

// newDialer returns a dialer for connections that end within goneAfter of their host.
func newDialer() *net.Dialer {
	d := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: goneAfter / 2, Interval: goneAfter / 4, Count: 2}}
	if runtime.GOOS == "linux" {
		d.Control = func(network, _ string, c syscall.RawConn) (err error) {
			if !strings.HasPrefix(network, "tcp") {
				return nil
			}
			// Keep-alive probes are not sent while the kernel tries to deliver a statement.
			if controlled := c.Control(func(fd uintptr) {
				err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(goneAfter.Milliseconds()))
			}); controlled != nil {
				return controlled
			}
			return err
		}
	}
	return d
}

// divideTime gives each address that the hosts of c have now its part of the time of a call, so that
// the last is tried within it. The ConnectTimeout of pgx is for each.
func divideTime(ctx context.Context, c *pgx.ConnConfig, timeout time.Duration) {
	lookup, found, n := c.LookupFunc, map[string][]string{}, 0
	for _, address := range addressesOf(&c.Config) {
		host, _, err := net.SplitHostPort(address)
		if err == nil && found[host] == nil {
			if found[host], err = lookup(ctx, host); err != nil {
				found[host] = nil // pgx reports it
			}
		}
		n += max(1, len(found[host]))
	}
	c.LookupFunc = func(ctx context.Context, host string) ([]string, error) {
		if found[host] != nil {
			return found[host], nil
		}
		return lookup(ctx, host)
	}
	c.ConnectTimeout = min(c.ConnectTimeout, timeout/time.Duration(n))
}
