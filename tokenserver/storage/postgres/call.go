package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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
		sent, err := s.runOnConnection(limited, db, isWrite, do)
		if err == nil || isRecordError(err) {
			return err
		}
		mayBeDone := sent && !isKnownUndone(err)
		delay := min(time.Duration(try)*2*time.Millisecond, 20*time.Millisecond)
		if try == maxTries || !isRetryable(err, isWrite, mayBeDone) || !clock.Sleep(limited, delay) {
			return db.storageError(err, isWrite && mayBeDone)
		}
	}
}

// runOnConnection runs do on a connection of the database. Sent is false if nothing can have reached
// the database.
//
// Nothing numbers the answers: TCP and TLS keep their order, and a connection whose exchange was
// interrupted is closed, so that a late answer is never taken for that of the next call.
func (s *Store) runOnConnection(ctx context.Context, db *database, isWrite bool, do func(ctx context.Context, c *pgxpool.Conn) error) (sent bool, err error) {
	c, err := s.acquire(ctx, db, isWrite)
	if err != nil {
		return false, err
	}
	c.Conn().PgConn().CustomData()[isWriteKey] = isWrite
	defer db.places.release(c, isWrite)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	err = do(ctx, c)
	hasAnswer := err == nil || isRecordError(err)
	if hasAnswer && !isWrite && mayBeReadOnly(c.Conn()) {
		if asked := requirePrimary(ctx, c); asked != nil {
			err, hasAnswer = asked, false
		}
	}
	switch state := sqlState(err); {
	case state == stateReadOnly, errors.Is(err, pgconn.ErrReadOnlyConnection):
		db.pool.Reset() // the others are to the same server, which was the primary
		closeAtOnce(c.Conn())
		return true, errReadOnly
	case hasAnswer:
	case state == stateNoStatement, state == stateDuplicateStatement:
		s.sendUnnamedStatements(db)
		closeAtOnce(c.Conn())
	case state == stateUndefinedTable:
		s.tableMissing.Store(true)
	case state == "":
		closeAtOnce(c.Conn())
	}
	return true, err
}

// acquire returns a connection of the database, which takes one of its places.
func (s *Store) acquire(ctx context.Context, db *database, isWrite bool) (*pgxpool.Conn, error) {
	if err := db.places.take(ctx, isWrite); err != nil {
		return nil, fmt.Errorf("waiting for a connection: %w", err)
	}
	c, err := db.pool.Acquire(ctx)
	switch {
	case err == nil:
		return c, nil
	case isConnectionLimit(err) && db.places.withhold(s.options.Now(), isWrite):
		return nil, fmt.Errorf("%w: %w", errFewerPlaces, err)
	}
	db.places.giveBack(isWrite)
	return nil, fmt.Errorf("acquiring a connection: %w", err)
}

// closeAtOnce closes a connection without telling the server, which could block.
func closeAtOnce(c *pgx.Conn) {
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	_ = c.Close(cancelled) // it is closed either way
}

// mayBeReadOnly reports whether the server has said that it is a standby or read-only. From version 14
// on, PostgreSQL says once in each session that this has changed. A pooler passes that on to the
// client that uses the session at that moment, and tells new connections what it heard when it had its first
// session, so that a standby still seems to be one when it has been promoted.
func mayBeReadOnly(c *pgx.Conn) bool {
	return c.PgConn().ParameterStatus("in_hot_standby") == "on" || c.PgConn().ParameterStatus("default_transaction_read_only") == "on"
}

// requirePrimary asks the server, and returns pgconn.ErrReadOnlyConnection if it accepts no writes.
func requirePrimary(ctx context.Context, c *pgxpool.Conn) error {
	return pgconn.ValidateConnectTargetSessionAttrsReadWrite(ctx, c.Conn().PgConn())
}

// sendUnnamedStatements has the connections that are opened from now on send statements without
// names. The database has just not known one that it was sent on the connection before: a pooler gives each
// transaction a session of its own, and does not keep track of statements. The server then
// plans each at every call.
func (s *Store) sendUnnamedStatements(db *database) {
	if db.unnamed.Swap(true) {
		return
	}
	s.options.Log.Warn("the connection pooler does not keep prepared statements, so statements are sent without names from now on: this costs "+
		"PostgreSQL more CPU than max_prepared_statements of PgBouncer 1.21 and newer, and default_query_exec_mode=cache_describe in the DSN does "+
		"the same without this warning", "address", db.address)
	db.pool.Reset()
}

// isRecordError reports whether err is what the answer of the database means for the record.
func isRecordError(err error) bool {
	return errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrExists) ||
		errors.Is(err, storage.ErrConflict) || errors.Is(err, storage.ErrFull) || errors.Is(err, storage.ErrSessionEnded)
}
