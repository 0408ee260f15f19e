package ldap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"

	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
)

const (
	// maxBytes is how much a directory may send over one connection. Decoding it takes a hundred times
	// as much memory, if it is made of nothing but empty elements.
	maxBytes = 512 << 10
	// maxBeforeTLS is the same before TLS begins, when the answer may be an attacker's on the way.
	maxBeforeTLS = 4 << 10
	// oidStartTLS is the extended operation of RFC 4511 section 4.14.
	oidStartTLS = "1.3.6.1.4.1.1466.20037"
)

// connection is a connection to a directory, with TLS unless it stays on this machine. It ends with
// the context that it was made with.
type connection struct {
	*goldap.Conn
	release func() bool
}

// close ends the connection.
func (c *connection) close() {
	c.release()
	_ = c.Close() // what counts has been answered
}

// open returns a connection to the first address of the directory that answers, and with which ready
// succeeds, if it is set.
func (d *Directory) open(ctx context.Context, ready func(*connection) error) (*connection, error) {
	var opened *connection
	err := d.directories.Client.Connect(ctx, d.settings.Host, d.settings.Port, d.roots, func(connecting context.Context, conn *fetch.Connection) error {
		secured, err := d.secure(connecting, conn)
		if err != nil {
			return err
		}
		c := newConnection(ctx, secured)
		if ready != nil {
			if err := ready(c); err != nil {
				c.close()
				return err
			}
		}
		opened = c
		return setDeadline(ctx, secured) // so far it was that of the address
	})
	if err != nil {
		return nil, away(err)
	}
	return opened, nil
}

// setDeadline ends what is done over a connection with ctx. The LDAP library knows no context.
func setDeadline(ctx context.Context, conn net.Conn) error {
	deadline, _ := ctx.Deadline() // without one, none is set
	return conn.SetDeadline(deadline)
}

// newConnection returns a connection that lasts until ctx ends.
func newConnection(ctx context.Context, raw net.Conn) *connection {
	c := &connection{Conn: goldap.NewConn(raw, true)} // with TLS, if there is to be any
	c.Start()
	c.release = context.AfterFunc(ctx, func() { _ = raw.Close() })
	return c
}

// secure returns the connection with TLS. Without TLS no password is sent but to this machine.
func (d *Directory) secure(ctx context.Context, conn *fetch.Connection) (net.Conn, error) {
	if err := setDeadline(ctx, conn); err != nil {
		return nil, err
	}
	limited := &limitedConn{Conn: conn.Conn}
	limited.max.Store(maxBytes)
	conn.Conn = limited
	switch {
	case d.settings.IsTLS:
		return conn.StartTLS(ctx)
	case d.document.LDAP.StartTLS:
		limited.max.Store(maxBeforeTLS)
		if err := requestTLS(conn.Conn); err != nil {
			return nil, err
		}
		limited.max.Store(maxBytes)
		return conn.StartTLS(ctx)
	case !conn.IsLoopback:
		return nil, errors.New("a connection without TLS would leave this machine")
	}
	return conn.Conn, nil
}

// requestTLS asks a directory to begin TLS (RFC 4511 section 4.14.1). It reads no more than the
// answer, so nothing that came before TLS counts as having come with it. Whatever goes wrong ends the
// connection.
func requestTLS(conn net.Conn) error {
	const messageID = 1
	request := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	request.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, messageID, ""))
	extended := ber.Encode(ber.ClassApplication, ber.TypeConstructed, goldap.ApplicationExtendedRequest, nil, "")
	extended.AppendChild(ber.NewString(ber.ClassContext, ber.TypePrimitive, 0, oidStartTLS, ""))
	request.AppendChild(extended)
	if _, err := conn.Write(request.Bytes()); err != nil {
		return err
	}
	answer, err := ber.ReadPacket(conn)
	if err != nil {
		return err
	}
	if len(answer.Children) < 2 || answer.Children[0].Value != int64(messageID) || answer.Children[1].ClassType != ber.ClassApplication ||
		answer.Children[1].Tag != goldap.ApplicationExtendedResponse {
		return fetch.NewError(fetch.BadAnswer, errors.New("the answer to StartTLS is none"))
	}
	if err := goldap.GetLDAPError(answer); err != nil {
		code, _ := resultCode(err)
		return fetch.NewError(fetch.BadAnswer, fmt.Errorf("the answer to StartTLS is %s", describe(code)))
	}
	return nil
}

// limitedConn is a connection over which no more than max bytes come.
type limitedConn struct {
	net.Conn
	received, max atomic.Int64
}

func (c *limitedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if limit := c.max.Load(); c.received.Add(int64(n)) > limit {
		return 0, fetch.NewError(fetch.BadAnswer, fmt.Errorf("the directory has sent more than %d bytes", limit))
	}
	return n, err
}
