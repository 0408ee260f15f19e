package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oauth-operator/oauth-operator/tokenserver/clock"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// maxTries is how often a call is tried while its errors are worth another try.
const maxTries = 20

// read runs do, which only reads, on a connection. It returns ErrUnavailable if no try succeeds.
func (s *Store) read(ctx context.Context, do func(ctx context.Context, c *pgxpool.Conn) error) error {
	return s.call(ctx, false, do)
}

// write runs do, which writes one transaction, on a connection. It returns ErrUnavailable if
// nothing was written, and ErrAmbiguous if that is not known.
func (s *Store) write(ctx context.Context, do func(ctx context.Context, c *pgxpool.Conn) error) error {
	return s.call(ctx, true, do)
}

// call runs do on a connection, within CallTimeout and the deadline of ctx, and tries again what is
// worth it. Errors of package storage that do returns are passed on as they are. Cancelling ctx
// does not interrupt an exchange that has begun: pgx closes an interrupted connection, and one
// would be lost each time a user closes a browser tab.
func (s *Store) call(ctx context.Context, isWrite bool, do func(ctx context.Context, c *pgxpool.Conn) error) error {
	if ctx.Err() != nil {
		return storage.ErrUnavailable
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.options.CallTimeout)
	defer cancel()
	if deadline, ok := ctx.Deadline(); ok {
		limited, cancel = context.WithDeadline(limited, deadline)
		defer cancel()
	}
	for try := 1; ; try++ {
		db := s.database.Load()
		if db == nil {
			return fmt.Errorf("%w: %s", storage.ErrUnavailable, s.State().Problem)
		}
		sent, err := runOnConnection(limited, db.pool, do)
		if err == nil || isRecordError(err) {
			return err
		}
		if sqlState(err) == stateUndefinedTable {
			s.tableMissing.Store(true)
		}
		mayBeDone := sent && !isKnownUndone(err)
		delay := min(time.Duration(try)*2*time.Millisecond, 20*time.Millisecond)
		if try == maxTries || !isRetryable(err, isWrite, mayBeDone) || !clock.Sleep(limited, delay) {
			return db.storageError(err, isWrite && mayBeDone)
		}
	}
}

// runOnConnection runs do on a connection of the pool. Sent is false if nothing can have reached
// the database.
//
// Nothing numbers the answers: TCP and TLS keep their order, and a connection whose exchange was
// interrupted is closed, so that a late answer is never taken for that of the next call.
func runOnConnection(ctx context.Context, pool *pgxpool.Pool, do func(ctx context.Context, c *pgxpool.Conn) error) (sent bool, err error) {
	c, err := pool.Acquire(ctx)
	if err != nil {
		return false, fmt.Errorf("acquiring a connection: %w", err)
	}
	defer c.Release()
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	err = do(ctx, c)
	if err == nil || isRecordError(err) {
		return true, err
	}
	if state := sqlState(err); state == "" || state == stateReadOnly {
		cancelled, cancel := context.WithCancel(context.Background())
		cancel() // closes without telling the server, which could block
		_ = c.Conn().Close(cancelled)
	}
	return true, err
}

// isRecordError reports whether err is what the answer of the database means for the record.
func isRecordError(err error) bool {
	return errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrExists) ||
		errors.Is(err, storage.ErrConflict) || errors.Is(err, storage.ErrFull)
}
