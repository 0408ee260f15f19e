package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// connector makes the connection of one fetch.
type connector struct {
	client  *Client
	rules   *rules
	purpose Purpose
	host    string
	// roots are whom to trust, for the purpose forProvider; nil: those of the system.
	roots *x509.CertPool
	// tried is called with each address that was connected to, and with why it cannot be used, if it is
	// set.
	tried func(ctx context.Context, address netip.Addr, err error)
}

// minShare is the least time that an address of a host has to connect.
const minShare = time.Second

// connect connects to the host of the fetch with TLS.
func (c connector) connect(ctx context.Context, _, hostPort string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, err
	}
	addresses, err := c.lookup(ctx)
	if err != nil {
		return nil, err
	}
	var conn net.Conn
	err = c.each(ctx, addresses, port, func(ctx context.Context, raw net.Conn, to checkedAddress) error {
		secured := tls.Client(raw, c.tlsConfig(to.isPrivate))
		conn = secured
		return secured.HandshakeContext(ctx)
	})
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// checkedAddress is an address that the rules allow.
type checkedAddress struct {
	netip.Addr
	isPrivate bool
}

// useFunc uses a connection to an address. If it fails, the connection is closed.
type useFunc func(ctx context.Context, raw net.Conn, to checkedAddress) error

// each connects to the addresses in their order, and to none that is not allowed, until use succeeds
// with a connection. An address that does not answer leaves time to the next. The error is about all
// addresses that failed; it is about those that are not allowed only if there are no others.
func (c connector) each(ctx context.Context, addresses []netip.Addr, port string, use useFunc) error {
	var failures []error
	var reason Reason // that of the first that is more than Unreachable
	failed := errors.New("the host has no address")
	share := max(Timeout/time.Duration(max(len(addresses), 1)), minShare)
	for _, address := range addresses {
		allowed, isPrivate := c.rules.allows(c.purpose, c.host, address)
		if !allowed {
			failed = notAllowed(address)
			continue
		}
		err := c.dial(ctx, checkedAddress{address, isPrivate}, port, share, use)
		if c.tried != nil {
			c.tried(ctx, address, err)
		}
		if err == nil {
			return nil
		}
		known := classify(err)
		failures = append(failures, fmt.Errorf("%s: %w", address, known.err))
		if reason == "" || reason == Unreachable {
			reason = known.Reason
		}
		if ctx.Err() != nil {
			break
		}
	}
	if len(failures) > 0 {
		return &Error{reason, errors.Join(failures...)}
	}
	return failed
}

// lookup returns the addresses of the host. An IPv4 address in IPv6 form is that address. Go parses
// none of the other spellings that C libraries do (0177.1, 2130706433): they go to the resolver as
// names, and what that answers is checked too.
func (c connector) lookup(ctx context.Context) ([]netip.Addr, error) {
	if address, err := netip.ParseAddr(c.host); err == nil {
		return []netip.Addr{address}, nil
	}
	lookup := c.client.Lookup
	if lookup == nil {
		lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	addresses, err := lookup(ctx, c.host)
	if err != nil {
		return nil, err
	}
	for i, address := range addresses {
		addresses[i] = address.Unmap() // LookupNetIP returns IPv4 addresses in either form
	}
	return addresses, nil
}

// dial connects to an address that was checked, and calls use, within a time. It closes the connection
// if that fails.
func (c connector) dial(ctx context.Context, to checkedAddress, port string, timeout time.Duration, use useFunc) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	dial := c.client.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	raw, err := dial(ctx, "tcp", net.JoinHostPort(to.String(), port))
	if err != nil {
		return err
	}
	if err := use(ctx, raw, to); err != nil {
		_ = raw.Close() // it is of no use any more
		return err
	}
	return nil
}

// tlsConfig returns whom to trust at an address.
func (c connector) tlsConfig(isPrivate bool) *tls.Config {
	config := &tls.Config{ServerName: c.host, MinVersion: tls.VersionTLS12}
	switch {
	case c.purpose == forProvider:
		config.RootCAs = c.roots
	case isPrivate:
		config.RootCAs = c.rules.privateRoots
	}
	return config
}
