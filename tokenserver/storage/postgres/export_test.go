//go:build postgres

package postgres

import (
	"errors"
	"maps"
	"slices"
)

// What the tests of package postgres_test read.
const CountLiveGrants = countLiveGrants

// DivideTime is for tests that resolve names by themselves.
var DivideTime = divideTime

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

// SweepBatch is how many rows a statement of the sweep handles.
const SweepBatch = sweepBatch

// RequestStatements returns the statements that a request may execute, by name.
func RequestStatements() map[string]string {
	return map[string]string{
		"lockPair": lockPair, "endOldestGrants": endOldestGrants, "createGrant": createGrant, "readGrant": readGrant,
		"readGrantWithBasis": readGrantWithBasis, "updateGrant": updateGrant, "rotateGrant": rotateGrant, "grantExists": grantExists,
		"readConsent": readConsent, "createConsent": createConsent, "updateConsent": updateConsent,
		"consentExists": consentExists, "consentWithUIDExists": consentWithUIDExists,
		"readIdentity": readIdentity, "updateIdentity": updateIdentity, "identityExists": identityExists,
		"setMark": setMark, "setBoundedMark": setBoundedMark, "createBoundedMark": createBoundedMark, "markRowExists": markRowExists,
		"markExists": markExists, "countMarksOfUser": countMarksOfUser,
	}
}

// CountingStatements returns those that count up to the bound of a server or of a provider.
func CountingStatements() map[string]string {
	return map[string]string{
		"countLiveGrants": countLiveGrants, "countNotVoidGrants": countNotVoidGrants, "countTokenMarks": countTokenMarks,
		"createIdentity": createIdentity, "countIdentities": countIdentities,
	}
}

// SweepStatements returns the statements of Sweep.
func SweepStatements() map[string]string {
	statements := map[string]string{
		"claimSweep": claimSweep, "readUnconsented": readUnconsented, "endUnconsented": endUnconsented, "lastOfBatch": lastOfBatch, "correctDue": correctDue,
		"readIdleIdentities": readIdleIdentities, "deleteIdleIdentities": deleteIdleIdentities,
	}
	for _, table := range sweptTables {
		statements["delete from "+table.name], statements["nextServer in "+table.name] = table.delete, nextServer(table.name)
		if table.postpone != "" {
			statements["postpone in "+table.name] = table.postpone
		}
	}
	return statements
}

// Statements returns every statement that the package executes.
func Statements() []string {
	statements := []string{createMigrationsTable, readMigrations, lockMigration, finishMigration, columnExists, limitLockWait, readIndex, dropIndex}
	for _, named := range []map[string]string{RequestStatements(), CountingStatements(), SweepStatements()} {
		statements = slices.AppendSeq(statements, maps.Values(named))
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
