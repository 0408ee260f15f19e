package postgres

import (
	"net"
	"syscall"
	"testing"
)

func TestTheKernelGivesUpAHostThatAcknowledgesNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // the test is over
	config, err := parseDSN("postgres://u:p@"+l.Addr().String()+"/d", goneAfter)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := config.ConnConfig.DialFunc(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // the test is over
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for option, want := range map[int]int{tcpUserTimeout: int(goneAfter.Milliseconds()), syscall.TCP_KEEPIDLE: int(goneAfter.Seconds()) / 2} {
		var got int
		if err := raw.Control(func(fd uintptr) { got, err = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, option) }); err != nil || got != want {
			t.Errorf("option %#x of TCP is %d, %v, want %d", option, got, err, want)
		}
	}
}
