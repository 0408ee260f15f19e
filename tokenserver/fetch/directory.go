package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
)

// Connection is a connection to a directory that has just been made, in plain text.
type Connection struct {
	net.Conn
	// IsLoopback is true if it stays on this machine.
	IsLoopback bool

	connector connector
}

// StartTLS returns the connection with TLS, once the certificate of the directory has been verified.
func (c *Connection) StartTLS(ctx context.Context) (*tls.Conn, error) {
	conn := tls.Client(c.Conn, c.connector.tlsConfig(true))
	return conn, conn.HandshakeContext(ctx)
}

// Connect connects to a directory, under the rules that HTTPClient has. It calls use with a connection
// to one address of the host after another, until use returns nil, and then leaves the connection to
// use. A use that fails leaves it to Connect, which tries the next address. The context of use ends
// with the time for the address. Roots are whom to trust; nil: the public roots. Every error is an
// *Error.
func (c *Client) Connect(
	ctx context.Context, host, port string, roots *x509.CertPool, use func(ctx context.Context, conn *Connection) error,
) error {
	connector := connector{client: c, rules: c.rules(), purpose: forProvider, host: host, roots: roots}
	err := connector.each(ctx, port, func(ctx context.Context, raw net.Conn, to checkedAddress) error {
		return use(ctx, &Connection{Conn: raw, IsLoopback: to.IsLoopback(), connector: connector})
	})
	if err != nil {
		return classify(err)
	}
	return nil
}
