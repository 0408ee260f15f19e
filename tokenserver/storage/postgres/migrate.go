package postgres

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

//go:embed migrations/*.sql
var files embed.FS

// lookEvery is how often the replicas that wait for another look whether it is done.
const lookEvery = 100 * time.Millisecond

const (
	makeMigrations = `CREATE TABLE IF NOT EXISTS oauth_schema_migrations (
		version BIGINT PRIMARY KEY, holder TEXT NOT NULL, claimed_at TIMESTAMPTZ NOT NULL, applied_at TIMESTAMPTZ)`

	readMigrations = `SELECT version, applied_at IS NOT NULL FROM oauth_schema_migrations ORDER BY version`

	// claimStep takes a step for oneself: it is nobody's yet, or its holder has had half a minute and may have died in the middle.
	claimStep = `INSERT INTO oauth_schema_migrations (version, holder, claimed_at) VALUES ($1, $2, now())
		ON CONFLICT (version) DO UPDATE SET holder = excluded.holder, claimed_at = excluded.claimed_at
		WHERE oauth_schema_migrations.applied_at IS NULL AND (oauth_schema_migrations.holder = excluded.holder
			OR oauth_schema_migrations.claimed_at < now() - INTERVAL '30 seconds')`

	finishStep = `UPDATE oauth_schema_migrations SET applied_at = now() WHERE version = $1`
)

// step is one change of the schema.
type step struct {
	version    int64
	statements []string
}

// newerSchema: the database was used by a newer version of this program.
type newerSchema struct{ found, known int64 }

func (e newerSchema) Error() string {
	return fmt.Sprintf("the database's schema is of version %d, and this token server knows versions up to %d: run the newer version that made it, or "+
		"restore a backup from before", e.found, e.known)
}

// steps reads migrations/<version>_<what it does>.sql in order. Statements are separated by a line that ends in a semicolon.
func steps(files fs.FS) ([]step, error) {
	names, err := fs.Glob(files, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	var all []step
	for i, name := range names { // in the order of their names
		number, _, _ := strings.Cut(strings.TrimPrefix(name, "migrations/"), "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil || version != int64(i+1) {
			return nil, fmt.Errorf("%s is not the migration with the number %d", name, i+1)
		}
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		s := step{version: version}
		for statement := range strings.SplitSeq(string(content), ";\n") {
			if withoutComments(statement) != "" {
				s.statements = append(s.statements, statement)
			}
		}
		all = append(all, s)
	}
	return all, nil
}

func withoutComments(statement string) string {
	var kept []string
	for line := range strings.Lines(statement) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "--") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

// migrate brings the schema up to date. Of several replicas that start at once one does each step, and the others wait; if it dies, another
// takes over. A step's statements can be executed again, and each by itself: not every database can make tables in a transaction. Where
// nothing is to be done, nothing but reading is needed.
func (s *Store) migrate(ctx context.Context, db *database) error {
	all, err := steps(files)
	if err != nil {
		return err
	}
	for {
		more, err := s.migrateOnce(ctx, db, all)
		if err == nil && !more {
			return nil
		}
		if err != nil && !crowded(err) {
			return err
		}
		if !pause(ctx, lookEvery) {
			return fmt.Errorf("the schema could not be brought up to date in time: %w", ctx.Err())
		}
	}
}

// crowded: others are making the same thing at this moment.
func crowded(err error) bool {
	switch stateOf(err) {
	case stateSerializationFailure, stateDeadlock, stateUniqueViolation, stateDuplicateTable, stateDuplicateObject, stateInternal:
		return true
	}
	return false
}

// migrateOnce takes the next step, if it is for this replica to take; more says that there are, or that another is at it.
func (s *Store) migrateOnce(ctx context.Context, db *database, all []step) (more bool, err error) {
	applied, newest, err := readApplied(ctx, db)
	if stateOf(err) == stateUndefinedTable {
		_, err = db.pool.Exec(ctx, makeMigrations)
		return true, err
	}
	if err != nil {
		return false, err
	}
	if known := int64(len(all)); newest > known {
		return false, newerSchema{newest, known}
	}
	for _, next := range all {
		if applied[next.version] {
			continue
		}
		claim, err := db.pool.Exec(ctx, claimStep, next.version, s.name)
		if err != nil || claim.RowsAffected() == 0 {
			return true, err
		}
		for _, statement := range next.statements {
			if _, err := db.pool.Exec(ctx, statement); err != nil {
				return true, err
			}
		}
		_, err = db.pool.Exec(ctx, finishStep, next.version)
		return true, err
	}
	return false, nil
}

// readApplied says which steps were taken, and which is the highest that was ever begun.
func readApplied(ctx context.Context, db *database) (applied map[int64]bool, newest int64, err error) {
	rows, err := db.pool.Query(ctx, readMigrations)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	applied = map[int64]bool{}
	for rows.Next() {
		var version int64
		var done bool
		if err := rows.Scan(&version, &done); err != nil {
			return nil, 0, err
		}
		applied[version], newest = done, max(newest, version)
	}
	return applied, newest, rows.Err()
}
