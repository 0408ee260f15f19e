package postgres

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oauth-operator/oauth-operator/tokenserver/clock"
)

// concurrentIndex matches a statement that makes an index while others write to its table. It takes
// minutes where a table has tens of millions of rows, and is no transaction: one that is interrupted
// leaves an index that is not valid, which has the name and which no query uses.
var concurrentIndex = regexp.MustCompile(`(?m)^CREATE INDEX CONCURRENTLY IF NOT EXISTS (\w+) `)

const (
	// readIndex reads whether an index is valid and, if not, whether a session is making it.
	readIndex = `SELECT i.indisvalid, NOT i.indisvalid AND EXISTS (SELECT 1 FROM pg_stat_progress_create_index AS p WHERE p.index_relid = i.indexrelid)
		FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid WHERE c.relname = @name AND pg_table_is_visible(c.oid)`

	dropIndex = `DROP INDEX CONCURRENTLY IF EXISTS `

	// indexPollInterval is how often an index is looked at that a session is making.
	indexPollInterval = time.Second
)

// execMigration executes a statement of a migration.
func execMigration(ctx context.Context, c *pgxpool.Conn, statement string) error {
	if index := concurrentIndex.FindStringSubmatch(statement); index != nil {
		return makeIndex(ctx, c, index[1], statement)
	}
	_, err := c.Exec(ctx, statement)
	return err
}

// makeIndex makes an index that does not exist or is not valid. The session that makes one goes on
// when the attempt to migrate has come to its end, and the next attempt waits for it.
func makeIndex(ctx context.Context, c *pgxpool.Conn, name, statement string) error {
	for {
		var isValid, isBeingMade bool
		err := c.QueryRow(ctx, readIndex, pgx.StrictNamedArgs{"name": name}).Scan(&isValid, &isBeingMade)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			_, err = c.Exec(ctx, statement)
		case err != nil || isValid:
			return err
		case !isBeingMade:
			_, err = c.Exec(ctx, dropIndex+name)
		case !clock.Sleep(ctx, indexPollInterval):
			return fmt.Errorf("the index %s is being made: %w", name, ctx.Err())
		}
		if err != nil {
			return err
		}
	}
}
