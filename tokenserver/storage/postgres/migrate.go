package postgres

import (
	"cmp"
	"context"
	"embed"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oauth-operator/oauth-operator/tokenserver/clock"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

const (
	// migrationPollInterval is how often a replica that waits for another's migration checks it.
	migrationPollInterval = 100 * time.Millisecond
	// heldUpInterval is how often a replica looks at what other sessions hold up: a table that one reads,
	// and an index that one makes. It renews its claim of a migration as often.
	heldUpInterval = 5 * time.Second
)

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

	columnExists = `SELECT EXISTS (SELECT 1 FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
		WHERE c.relname = @table AND a.attname = @column AND NOT a.attisdropped AND pg_table_is_visible(c.oid))`

	// limitLockWait precedes a statement for which all others wait while it waits for its table.
	limitLockWait = `SET LOCAL lock_timeout = '50ms'; `
)

// addedColumn matches a statement that adds a column.
var addedColumn = regexp.MustCompile(`(?m)^ALTER TABLE (\w+) ADD COLUMN IF NOT EXISTS (\w+) `)

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
			more, err = s.applyNextMigration(ctx, db, c, migrations)
			return err
		})
		if err == nil && !more {
			return nil
		}
		if err != nil && !isConcurrentMigration(err) && !isRetryable(err, true, true) {
			return err
		}
		delay := migrationPollInterval
		if sqlState(err) == stateLockTimeout {
			delay = heldUpInterval
		}
		if !clock.Sleep(ctx, delay) {
			return fmt.Errorf("the schema could not be migrated in time: %w", cmp.Or(err, ctx.Err()))
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
func (s *Store) applyNextMigration(ctx context.Context, db *database, c *pgxpool.Conn, migrations []migration) (more bool, err error) {
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
		isClaimed, err := s.claimMigration(ctx, c, next.version)
		if err != nil || !isClaimed {
			return true, err
		}
		return true, s.applyMigration(ctx, db, c, next)
	}
	return false, nil
}

// claimMigration claims a migration, or renews the claim, unless another replica holds it.
func (s *Store) claimMigration(ctx context.Context, c *pgxpool.Conn, version int64) (isClaimed bool, err error) {
	claim, err := c.Exec(ctx, lockMigration, pgx.StrictNamedArgs{"version": version, "holder": s.replicaID})
	return claim.RowsAffected() > 0, err
}

// applyMigration applies a migration that this replica has claimed. It renews the claim on another
// connection: two replicas that make indexes of one table wait for each other.
func (s *Store) applyMigration(ctx context.Context, db *database, c *pgxpool.Conn, m migration) error {
	renewing, stop := context.WithCancel(ctx)
	var renewal sync.WaitGroup
	defer renewal.Wait()
	defer stop()
	renewal.Go(func() {
		for clock.Sleep(renewing, heldUpInterval) {
			_, _ = s.runOnConnection(renewing, db, true, func(ctx context.Context, c *pgxpool.Conn) error {
				_, err := s.claimMigration(ctx, c, m.version)
				return err
			}) // one that fails is done again, before the claim has lapsed
		}
	})
	for _, statement := range m.statements {
		if err := execMigration(ctx, c, statement); err != nil {
			return err
		}
	}
	_, err := c.Exec(ctx, finishMigration, pgx.StrictNamedArgs{"version": m.version})
	return err
}

// execMigration executes a statement of a migration.
func execMigration(ctx context.Context, c *pgxpool.Conn, statement string) error {
	if index := concurrentIndex.FindStringSubmatch(statement); index != nil {
		return changeIndex(ctx, c, index[2], statement, index[1] == "CREATE")
	}
	if column := addedColumn.FindStringSubmatch(statement); column != nil {
		return addColumn(ctx, c, column[1], column[2], statement)
	}
	_, err := c.Exec(ctx, statement)
	return err
}

// addColumn adds a column that does not exist. PostgreSQL locks the table against all others before
// it looks whether there is something to do.
func addColumn(ctx context.Context, c *pgxpool.Conn, table, column, statement string) error {
	var exists bool
	err := c.QueryRow(ctx, columnExists, pgx.StrictNamedArgs{"table": table, "column": column}).Scan(&exists)
	if err != nil || exists {
		return err
	}
	if _, err := c.Exec(ctx, limitLockWait+statement); err != nil {
		return fmt.Errorf("adding the column %s to %s: %w", column, table, err)
	}
	return nil
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
