package ldap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"

	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
)

// oidStartTLS is the extended operation of RFC 4511 section 4.14.
const oidStartTLS = "1.3.6.1.4.1.1466.20037"

// connection is a connection to a directory, with TLS unless it stays on this machine.
type connection struct {
	*goldap.Conn
	limits  *limitedConn
	address netip.Addr
	// isBroken is true once an answer did not come, or not as a whole.
	isBroken bool
	release  func() bool // of the present use
}

// open returns a connection to the first address of the directory that answers, and with which ready
// succeeds, if it is set. It is in use until ctx ends, and at most so many bytes come over it. It is
// not to the address except, if that is valid.
func (d *Directory) open(ctx context.Context, most int, except netip.Addr, ready func(*connection) error) (*connection, error) {
	var opened *connection
	err := d.host.Connect(ctx, except, func(connecting context.Context, conn *fetch.Connection) error {
		limits := &limitedConn{}
		secured, err := d.secure(connecting, conn, limits)
		if err != nil {
			return err
		}
		limits.Conn = secured
		c := &connection{Conn: goldap.NewConn(limits, true), limits: limits, address: conn.Address} // with TLS, if there is to be any
		c.Start()
		if err := c.use(connecting, most); err != nil {
			c.close()
			return err
		}
		if ready != nil {
			if err := ready(c); err != nil {
				c.close()
				return err
			}
		}
		if !c.rest() {
			c.close()
			return errors.New("the directory has closed the connection")
		}
		opened = c
		return c.use(ctx, most)
	})
	if err != nil {
		return nil, away(err)
	}
	return opened, nil
}

// use begins a use of the connection, which ends with ctx. The LDAP library knows no context.
func (c *connection) use(ctx context.Context, most int) error {
	c.limits.allow(most)
	c.release = context.AfterFunc(ctx, func() { _ = c.limits.Close() })
	return setDeadline(ctx, c.limits)
}

// rest ends a use. It reports whether the connection is good for another one.
func (c *connection) rest() bool {
	isInTime := c.release()
	return isInTime && !c.isBroken && !c.IsClosing() && c.limits.SetDeadline(time.Time{}) == nil
}

// close ends the connection.
func (c *connection) close() {
	c.release()
	_ = c.Close() // what counts has been answered
}

// failed returns the Error for a request that the directory has not answered as one does.
func (c *connection) failed(err error) error {
	c.isBroken = true
	if problem := c.limits.problem(); problem != nil {
		err = problem
	}
	return away(err)
}

// setDeadline ends what is done over a connection with ctx.
func setDeadline(ctx context.Context, conn net.Conn) error {
	deadline, _ := ctx.Deadline() // without one, none is set
	return conn.SetDeadline(deadline)
}

// secure returns the connection with TLS. Without TLS no password is sent but to this machine.
func (d *Directory) secure(ctx context.Context, conn *fetch.Connection, limits *limitedConn) (net.Conn, error) {
	if err := setDeadline(ctx, conn); err != nil {
		return nil, err
	}
	switch {
	case d.settings.IsTLS:
		return conn.StartTLS(ctx)
	case d.document.LDAP.StartTLS:
		limits.Conn = conn.Conn
		limits.allow(maxBytesOfBind)
		if err := requestTLS(limits); err != nil {
			return nil, err
		}
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
	var network net.Error
	switch {
	case errors.As(err, &network):
		return err
	case err != nil:
		return fetch.NewError(fetch.BadAnswer, fmt.Errorf("what is at the port answers StartTLS, but not in LDAP: %w", err))
	}
	if len(answer.Children) < 2 || answer.Children[0].Value != int64(messageID) || answer.Children[1].ClassType != ber.ClassApplication ||
		answer.Children[1].Tag != goldap.ApplicationExtendedResponse {
		return badAnswer("the answer to StartTLS is none")
	}
	if err := goldap.GetLDAPError(answer); err != nil {
		code, _ := resultCode(err)
		return badAnswer("the answer to StartTLS is " + describe(code))
	}
	return nil
}
