package postgres

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oauth-operator/oauth-operator/tokenserver/clock"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrationPollInterval is how often a replica that waits for another's migration checks it.
const migrationPollInterval = 100 * time.Millisecond

const (
	createMigrationsTable = `CREATE TABLE IF NOT EXISTS oauth_schema_migrations (
		version BIGINT PRIMARY KEY, holder TEXT NOT NULL, claimed_at TIMESTAMPTZ NOT NULL, applied_at TIMESTAMPTZ)`

	readMigrations = `SELECT version, applied_at IS NOT NULL FROM oauth_schema_migrations ORDER BY version`

	// lockMigration succeeds if no replica holds the migration, or its holder, which may have died,
	// has held it for 30 seconds.
	lockMigration = `INSERT INTO oauth_schema_migrations (version, holder, claimed_at) VALUES (@version, @holder, now())
		ON CONFLICT (version) DO UPDATE SET holder = excluded.holder, claimed_at = excluded.claimed_at
		WHERE oauth_schema_migrations.applied_at IS NULL AND (oauth_schema_migrations.holder = excluded.holder
			OR oauth_schema_migrations.claimed_at < now() - INTERVAL '30 seconds')`

	finishMigration = `UPDATE oauth_schema_migrations SET applied_at = now() WHERE version = @version`
)

// migration brings the schema to a version.
type migration struct {
	version    int64
	statements []string
}

// newerSchemaError is returned for a database that a newer version of this program has migrated.
type newerSchemaError struct{ found, known int64 }

func (e newerSchemaError) Error() string {
	return fmt.Sprintf("the database's schema is of version %d, and this token server knows versions up to %d: run the newer version that made it, or "+
		"restore a backup from before", e.found, e.known)
}

// parseMigrations parses the files migrations/<version>_<description>.sql in the order of their
// versions. Statements are separated by a semicolon at the end of a line.
func parseMigrations(files fs.FS) ([]migration, error) {
	names, err := fs.Glob(files, "migrations/*.sql") // sorted
	if err != nil {
		return nil, err
	}
	var migrations []migration
	for i, name := range names {
		number, _, _ := strings.Cut(strings.TrimPrefix(name, "migrations/"), "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil || version != int64(i+1) {
			return nil, fmt.Errorf("%s is not the migration with the number %d", name, i+1)
		}
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		m := migration{version: version}
		for statement := range strings.SplitSeq(string(content), ";\n") {
			if !isCommentOnly(statement) {
				m.statements = append(m.statements, statement)
			}
		}
		migrations = append(migrations, m)
	}
	return migrations, nil
}

func isCommentOnly(statement string) bool {
	for line := range strings.Lines(statement) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "--") {
			return false
		}
	}
	return true
}

// migrate brings the schema to the newest version. Of several replicas that start at once one
// applies each migration, and the others wait; if it dies, another takes over. The statements of a
// migration are executed one by one and may be executed again, since not every database can create
// tables in a transaction. On a schema of the newest version migrate only reads.
func (s *Store) migrate(ctx context.Context, db *database) error {
	migrations, err := parseMigrations(migrationFiles)
	if err != nil {
		return err
	}
	for {
		var more bool
		_, err := s.runOnConnection(ctx, db, true, func(ctx context.Context, c *pgxpool.Conn) (err error) {
			more, err = s.applyNextMigration(ctx, c, migrations)
			return err
		})
		if err == nil && !more {
			return nil
		}
		if err != nil && !isConcurrentMigration(err) && !isRetryable(err, true, true) {
			return err
		}
		if !clock.Sleep(ctx, migrationPollInterval) {
			return fmt.Errorf("the schema could not be migrated in time: %w", ctx.Err())
		}
	}
}

// isConcurrentMigration reports whether err means that another session changes or uses the same table.
func isConcurrentMigration(err error) bool {
	switch sqlState(err) {
	case stateUniqueViolation, stateDuplicateTable, stateDuplicateObject, stateInternal, stateLockTimeout:
		return true
	}
	return false
}

// applyNextMigration applies the first migration that is missing, unless another replica holds it.
// More is false if none is missing.
func (s *Store) applyNextMigration(ctx context.Context, c *pgxpool.Conn, migrations []migration) (more bool, err error) {
	applied, newest, err := readAppliedMigrations(ctx, c)
	if sqlState(err) == stateUndefinedTable {
		_, err = c.Exec(ctx, createMigrationsTable)
		return true, err
	}
	if err != nil {
		return false, err
	}
	if known := int64(len(migrations)); newest > known {
		return false, newerSchemaError{newest, known}
	}
	for _, next := range migrations {
		if applied[next.version] {
			continue
		}
		lock, err := c.Exec(ctx, lockMigration, pgx.StrictNamedArgs{"version": next.version, "holder": s.replicaID})
		if err != nil || lock.RowsAffected() == 0 {
			return true, err
		}
		for _, statement := range next.statements {
			if err := execMigration(ctx, c, statement); err != nil {
				return true, err
			}
		}
		_, err = c.Exec(ctx, finishMigration, pgx.StrictNamedArgs{"version": next.version})
		return true, err
	}
	return false, nil
}

// readAppliedMigrations returns which versions are applied, and the newest that any replica has
// begun.
func readAppliedMigrations(ctx context.Context, c *pgxpool.Conn) (applied map[int64]bool, newest int64, err error) {
	rows, err := c.Query(ctx, readMigrations)
	if err != nil {
		return nil, 0, err
	}
	applied = map[int64]bool{}
	var version int64
	var isApplied bool
	_, err = pgx.ForEachRow(rows, []any{&version, &isApplied}, func() error {
		applied[version], newest = isApplied, max(newest, version)
		return nil
	})
	return applied, newest, err
}
