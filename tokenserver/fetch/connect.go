package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
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
}

// minShare is the least time that an address of a host has to connect.
const minShare = time.Second

// connect connects to the host of the fetch with TLS. It tries the addresses of the host in their
// order, and connects to none that is not allowed. One that does not answer leaves time to the next.
func (c connector) connect(ctx context.Context, network, hostPort string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, err
	}
	addresses, err := c.lookup(ctx)
	if err != nil {
		return nil, err
	}
	failed := errors.New("the host has no address")
	share := max(Timeout/time.Duration(max(len(addresses), 1)), minShare)
	for _, address := range addresses {
		allowed, isPrivate := c.rules.allows(c.purpose, c.host, address)
		if !allowed {
			failed = notAllowed(address)
			continue
		}
		conn, err := c.dial(ctx, network, net.JoinHostPort(address.String(), port), isPrivate, share)
		if err == nil {
			return conn, nil
		}
		if failed = err; ctx.Err() != nil {
			break
		}
	}
	return nil, failed
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

// dial connects to an address that was checked, within a time.
func (c connector) dial(ctx context.Context, network, address string, isPrivate bool, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	dial := c.client.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	raw, err := dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{ServerName: c.host, MinVersion: tls.VersionTLS12}
	switch {
	case c.purpose == forProvider:
		config.RootCAs = c.roots
	case isPrivate:
		config.RootCAs = c.rules.privateRoots
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close() // the handshake has failed already
		return nil, err
	}
	return conn, nil
}
