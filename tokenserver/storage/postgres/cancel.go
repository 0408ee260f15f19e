package postgres

import (
	"context"
	"errors"
	"net"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

var errNotCancelled = errors.New("no statement is cancelled")

// neverCancel has the connection that c configures ask the server in no case to cancel a statement,
// as pgx does when the time of a call is over. A commit that waits for a synchronous standby then
// would wait no longer and stand: PostgreSQL says so in a warning, on a connection that was given up.
// The next read of the record would find it, and the answer upon that be lost with the primary.
//
// A statement that no call waits for any more ends by itself, and its connection is closed at once.
func neverCancel(c *pgx.ConnConfig) {
	var established atomic.Pointer[net.Conn]
	dial, validate := c.DialFunc, c.ValidateConnect
	c.ValidateConnect = func(ctx context.Context, p *pgconn.PgConn) error {
		err := validate(ctx, p)
		if conn := p.Conn(); err == nil {
			established.Store(&conn)
		}
		return err
	}
	c.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		if conn := established.Load(); conn != nil { // pgx dials again only for this
			_ = (*conn).Close() // pgx would read on for 15 s, and the pool would have one less
			return nil, errNotCancelled
		}
		return dial(ctx, network, address)
	}
}
