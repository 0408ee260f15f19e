package postgres

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oauth-operator/oauth-operator/tokenserver/clock"
)

// concurrentIndex matches a statement that makes or drops an index while others write to its table. It
// takes minutes where a table has tens of millions of rows, and hours beside a backup, and is no
// transaction: one that is interrupted leaves an index that is not valid, which has the name and which
// no query uses.
var concurrentIndex = regexp.MustCompile(`(?m)^(CREATE|DROP) INDEX CONCURRENTLY IF (?:NOT )?EXISTS (\w+)`)

const (
	// readIndex reads whether an index is valid, and whether a session makes or drops one of its table,
	// for which it has the lock. An autovacuum has it too, which is of no user, and which PostgreSQL
	// ends for who waits.
	readIndex = `SELECT i.indisvalid, EXISTS (SELECT 1 FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
			WHERE l.relation = i.indrelid AND l.mode = 'ShareUpdateExclusiveLock'
				AND a.datname = current_database() AND a.usesysid IS NOT NULL)
		FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid WHERE c.relname = @name AND pg_table_is_visible(c.oid)`

	dropIndex = `DROP INDEX CONCURRENTLY IF EXISTS `
)

// changeIndex executes a statement that makes or drops an index, unless there is nothing to do. The
// session that executes one goes on when the attempt to migrate has come to its end, and the next
// attempt waits for it.
func changeIndex(ctx context.Context, c *pgxpool.Conn, name, statement string, isWanted bool) error {
	for {
		exists, isValid, err := settledIndex(ctx, c, name)
		if err != nil || exists == isWanted && isValid == isWanted {
			return err
		}
		if isWanted && exists {
			_, err = c.Exec(ctx, dropIndex+name) // making it was interrupted
		} else {
			_, err = c.Exec(ctx, statement)
		}
		if err != nil {
			return fmt.Errorf("making or dropping the index %s: %w", name, err)
		}
	}
}

// settledIndex returns whether an index exists and is valid, once no session makes or drops it. It
// looks twice before it says that none does: a session gives its locks back a moment before others
// see the index as valid.
func settledIndex(ctx context.Context, c *pgxpool.Conn, name string) (exists, isValid bool, err error) {
	for isAlone := false; ; {
		var isBeingChanged bool
		err := c.QueryRow(ctx, readIndex, pgx.StrictNamedArgs{"name": name}).Scan(&isValid, &isBeingChanged)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return false, false, nil
		case err != nil || isValid || isAlone && !isBeingChanged:
			return true, isValid, err
		}
		isAlone = !isBeingChanged
		if !clock.Sleep(ctx, heldUpInterval) {
			return true, false, fmt.Errorf("waiting for the session that makes or drops the index %s: %w", name, ctx.Err())
		}
	}
}
