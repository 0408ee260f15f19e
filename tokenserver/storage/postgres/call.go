package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// maxTries is how often a call is tried while the database says that it did nothing.
const maxTries = 20

// A call either reads or writes: what is not known afterwards differs.
const (
	reads  = false
	writes = true
)

// call does one thing with the database, within CallTimeout and the caller's deadline. What was certainly not done is tried again where that
// may help. A caller that gives up meanwhile does not cut the conversation short: a connection would be lost each time a browser is closed.
func (s *Store) call(ctx context.Context, write bool, do func(ctx context.Context, c *conn) error) error {
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
		err := s.once(limited, db, do)
		if err == nil {
			return nil
		}
		if answered(err) {
			return err
		}
		if stateOf(err) == stateUndefinedTable {
			s.unmade.Store(true)
		}
		if try == maxTries || !again(err, write) || !pause(limited, min(time.Duration(try)*2*time.Millisecond, 20*time.Millisecond)) {
			return db.told(err, write)
		}
	}
}

// once does it on one connection, which is not used again if anything is wrong with it.
func (s *Store) once(ctx context.Context, db *database, do func(ctx context.Context, c *conn) error) error {
	pooled, err := db.pool.Acquire(ctx)
	if err != nil {
		return notDone{fmt.Errorf("no connection: %w", err)}
	}
	defer pooled.Release()
	if ctx.Err() != nil {
		return notDone{ctx.Err()}
	}
	c := &conn{pooled, s}
	err = do(ctx, c)
	if err != nil && (stateOf(err) == "" && !answered(err) || stateOf(err) == stateReadOnly) {
		c.drop()
	}
	return err
}

// answered says whether the error is what the database's answer, which was understood, means.
func answered(err error) bool {
	return errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrExists) || errors.Is(err, storage.ErrConflict) || errors.Is(err, storage.ErrFull)
}

// conn asks questions whose answers it recognises. Every question carries a number, which the answer gives back: if something in between
// repeats an answer, it is not taken for the next one.
type conn struct {
	*pgxpool.Conn
	store *Store
}

// drop ends the connection.
func (c *conn) drop() {
	closing, cancel := context.WithCancel(context.Background())
	cancel() // nobody waits for a farewell
	_ = c.Conn.Conn().Close(closing)
}

// number of the next question.
func (c *conn) number() int64 { return c.store.echo.Add(1) }

// row asks a question whose answer is one row: its first parameter, then what is scanned into dest. pgx.ErrNoRows if there is none.
func (c *conn) row(ctx context.Context, sql string, args []any, dest ...any) error {
	want, got := c.number(), int64(0)
	err := c.QueryRow(ctx, sql, append([]any{want}, args...)...).Scan(append([]any{&got}, dest...)...)
	if errors.Is(err, pgx.ErrNoRows) {
		if err := c.inStep(ctx); err != nil {
			return err
		}
		return pgx.ErrNoRows
	}
	if err == nil && got != want {
		return errOutOfStep
	}
	return err
}

// inStep makes sure that an answer without a number in it was the answer to what was asked: only then is the next one in its place.
func (c *conn) inStep(ctx context.Context) error {
	want, got := c.number(), int64(0)
	if err := c.QueryRow(ctx, "SELECT $1::BIGINT", want).Scan(&got); err != nil {
		if errors.Is(err, pgx.ErrNoRows) {
			return errOutOfStep
		}
		return err
	}
	if got != want {
		return errOutOfStep
	}
	return nil
}
