package fetch

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
)

// ErrNoOtherAddress is wrapped by the Error of Connect for a host that has no address but the one that
// is excepted.
var ErrNoOtherAddress = errors.New("the host has no other address")

// Host is the host of a directory. It remembers which of its addresses failed, so that one that is
// down costs time only once. Client, Name and Port are required. Safe for concurrent use.
type Host struct {
	Client     *Client
	Name, Port string
	// Roots are whom to trust; nil: the public roots.
	Roots *x509.CertPool

	mu       sync.Mutex
	failures int
	failed   map[netip.Addr]int // the number of the last failure, of those that have not answered since
}

// Connection is a connection to a directory that has just been made, in plain text.
type Connection struct {
	net.Conn
	// Address is the address of the directory.
	Address netip.Addr
	// IsLoopback is true if it stays on this machine.
	IsLoopback bool

	connector connector
}

// Connect connects to the host, under the rules that HTTPClient has. It calls use with a connection
// to one address after another, those that failed last, until use returns nil, and then leaves the
// connection to use. A use that fails leaves it to Connect, which tries the next address. The context
// of use ends with the time for the address. The address except is not tried, if it is valid. Every
// error is an *Error.
func (h *Host) Connect(ctx context.Context, except netip.Addr, use func(ctx context.Context, conn *Connection) error) error {
	connector := connector{client: h.Client, rules: h.Client.rules(), purpose: forProvider, host: h.Name, roots: h.Roots, tried: h.note}
	addresses, err := connector.lookup(ctx)
	if err != nil {
		return classify(err)
	}
	addresses = h.inOrder(addresses)
	if except.IsValid() {
		addresses = slices.DeleteFunc(addresses, func(a netip.Addr) bool { return a == except })
		if len(addresses) == 0 {
			return &Error{Unreachable, ErrNoOtherAddress}
		}
	}
	err = connector.each(ctx, addresses, h.Port, func(ctx context.Context, raw net.Conn, to checkedAddress) error {
		return use(ctx, &Connection{Conn: raw, Address: to.Addr, IsLoopback: to.IsLoopback(), connector: connector})
	})
	if err != nil {
		return classify(err)
	}
	return nil
}

// Failed notes that a connection to an address was of no use later on, unless ctx was canceled: a
// browser that has gone says nothing of the address.
func (h *Host) Failed(ctx context.Context, address netip.Addr) {
	h.note(ctx, address, errors.New("failed"))
}

func (h *Host) note(ctx context.Context, address netip.Addr, err error) {
	if errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		delete(h.failed, address)
		return
	}
	if h.failed == nil {
		h.failed = map[netip.Addr]int{}
	}
	h.failures++
	h.failed[address] = h.failures
}

// inOrder returns the addresses in the order in which they are tried, and forgets all others.
func (h *Host) inOrder(addresses []netip.Addr) []netip.Addr {
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.failed, func(a netip.Addr, _ int) bool { return !slices.Contains(addresses, a) })
	addresses = slices.Clone(addresses)
	slices.SortStableFunc(addresses, func(a, b netip.Addr) int { return cmp.Compare(h.failed[a], h.failed[b]) })
	return addresses
}

// StartTLS returns the connection with TLS, once the certificate of the directory has been verified.
func (c *Connection) StartTLS(ctx context.Context) (*tls.Conn, error) {
	conn := tls.Client(c.Conn, c.connector.tlsConfig(true))
	err := conn.HandshakeContext(ctx)
	var header tls.RecordHeaderError
	switch {
	case err == nil:
		return conn, nil
	case errors.As(err, &header), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return nil, &Error{BadAnswer, fmt.Errorf("what is at the port answers, but not in TLS: %w", err)}
	}
	return nil, err
}
