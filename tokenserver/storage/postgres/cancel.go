package postgres

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

var errNotCancelled = errors.New("no statement is cancelled")

// isWriteKey is where the custom data of a connection says whether the call that has it writes.
const isWriteKey = "is write"

// neverCancel has the connection that c configures ask the server in no case to cancel a statement,
// as pgx does when the time of a call is over. A commit that waits for a synchronous standby then
// would wait no longer and stand: PostgreSQL says so in a warning, on a connection that was given up.
// The next read of the record would find it, and the answer upon that be lost with the primary.
//
// A statement that no call waits for any more ends by itself. PostgreSQL does not notice before that
// its client is gone, and counts the connection. So that of a write, which can take as long as no
// standby confirms, is closed once the server has answered, or the database is retired. That of a read
// is closed at once.
func neverCancel(retired context.Context, c *pgx.ConnConfig) {
	var established atomic.Pointer[pgconn.PgConn]
	var closed sync.Once
	dial, validate := c.DialFunc, c.ValidateConnect
	c.ValidateConnect = func(ctx context.Context, p *pgconn.PgConn) error {
		err := validate(ctx, p)
		if err == nil {
			established.Store(p)
		}
		return err
	}
	c.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		p := established.Load()
		if p == nil {
			return dial(ctx, network, address)
		}
		closed.Do(func() { // pgx dials again only to cancel, in a goroutine of its own, before it closes the connection
			if isWrite, _ := p.CustomData()[isWriteKey].(bool); isWrite {
				waitForAnswer(retired, p.Conn())
			}
			_ = p.Conn().Close() // pgx would read on for 15 s, and the pool would have one less
		})
		return nil, errNotCancelled
	}
}

// waitForAnswer reads what the server sends to the end of its answer, or of the connection.
func waitForAnswer(retired context.Context, c net.Conn) {
	_ = c.SetDeadline(time.Time{}) // on a connection that is closed the next read fails
	defer context.AfterFunc(retired, func() { _ = c.Close() })()
	buf, last := make([]byte, 4096), []byte(nil)
	for {
		n, err := c.Read(buf)
		last = append(last, buf[:n]...)
		last = last[max(0, len(last)-6):]
		if err != nil || len(last) == 6 && bytes.HasPrefix(last, []byte("Z\x00\x00\x00\x05")) { // ReadyForQuery, and its status
			return
		}
	}
}
