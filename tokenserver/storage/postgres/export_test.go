//go:build postgres

package postgres

import "errors"

// What the tests of package postgres_test read.
const CountLiveGrants = countLiveGrants

// Ready returns nil once the DSN in the file has worked, and else an error with the problem.
func (s *Store) Ready() error {
	if state := s.State(); !state.Ready {
		return errors.New(state.Problem)
	}
	return nil
}

// NewestMigration returns the version of the last migration.
func NewestMigration() int64 {
	migrations, err := parseMigrations(migrationFiles)
	if err != nil {
		panic(err)
	}
	return migrations[len(migrations)-1].version
}

// Statements returns every statement that the package executes.
func Statements() []string {
	statements := []string{
		lockPair, endOldestGrants, createGrant, readGrant, readGrantWithBasis, updateGrant, grantExists, countLiveGrants,
		readConsent, createConsent, updateConsent, consentExists, consentWithUIDExists, endUnconsented,
		createIdentity, readIdentity, updateIdentity, identityExists, countIdentities, readIdleIdentities, deleteIdleIdentities, setMark, setBoundedMark, markExists,
		countMarksOfUser, countTokenMarks, createMigrationsTable, readMigrations, lockMigration, finishMigration,
	}
	for _, sweep := range sweeps {
		statements = append(statements, sweep.statement)
	}
	migrations, err := parseMigrations(migrationFiles)
	if err != nil {
		panic(err)
	}
	for _, m := range migrations {
		statements = append(statements, m.statements...)
	}
	return statements
}
