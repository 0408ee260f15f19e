package postgres

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// SQLSTATE codes (PostgreSQL documentation, Appendix A) that this package tells apart.
const (
	stateUniqueViolation      = "23505"
	stateDuplicateTable       = "42P07"
	stateDuplicateObject      = "42710"
	stateUndefinedTable       = "42P01"
	stateSerializationFailure = "40001"
	stateCompletionUnknown    = "40003"
	stateDeadlock             = "40P01"
	stateReadOnly             = "25006"
	stateInvalidAuthorization = "28000"
	stateInvalidPassword      = "28P01"
	stateNoDatabase           = "3D000"
	stateNoSchema             = "3F000"
	stateNoPrivilege          = "42501"
	stateInternal             = "XX000" // for one of two sessions that create the same table at once
)

// sqlState returns the SQLSTATE code of an error that the database reported, and else "".
func sqlState(err error) string {
	var reported *pgconn.PgError
	if errors.As(err, &reported) {
		return reported.Code
	}
	return ""
}

// isKnownUndone reports whether the database reported an error that means that it has rolled the
// transaction back. It has not for a lost connection, a deadline, and an error that ends the
// session, which may follow a commit.
func isKnownUndone(err error) bool {
	var reported *pgconn.PgError
	if !errors.As(err, &reported) {
		return false
	}
	severity := reported.SeverityUnlocalized
	if severity == "" {
		severity = reported.Severity
	}
	if severity == "FATAL" || severity == "PANIC" {
		return false
	}
	return reported.Code != stateCompletionUnknown && !strings.HasPrefix(reported.Code, "08") && !strings.HasPrefix(reported.Code, "57")
}

// isRetryable reports whether another try is safe and may succeed. A read is always safe; where
// nothing could be sent, another try would fail too.
func isRetryable(err error, isWrite, mayBeDone bool) bool {
	switch sqlState(err) {
	case stateSerializationFailure, stateDeadlock:
		return true
	}
	if errors.Is(err, puddle.ErrClosedPool) {
		return true // the DSN has just changed
	}
	return !isWrite && mayBeDone
}

// storageError returns err as ErrAmbiguous or ErrUnavailable. It neither wraps err nor contains the
// password.
func (db *database) storageError(err error, ambiguous bool) error {
	kind := storage.ErrUnavailable
	if ambiguous {
		kind = storage.ErrAmbiguous
	}
	return fmt.Errorf("%w: %s", kind, db.errorText(err))
}

// errorText returns the text of err on one line, without the password and without what rows
// contain, which the detail of a reported error may quote.
func (db *database) errorText(err error) string {
	text := err.Error()
	var reported *pgconn.PgError
	if errors.As(err, &reported) {
		text = fmt.Sprintf("%s (SQLSTATE %s)", reported.Message, reported.Code)
	}
	for _, secret := range db.secrets {
		text = strings.ReplaceAll(text, secret, "[password]")
	}
	return strings.Join(strings.Fields(text), " ")
}

// problem returns what an operator reads in State: why the database cannot be used, and what to
// change.
func (db *database) problem(err error) string {
	var newer newerSchemaError
	if errors.As(err, &newer) {
		return newer.Error()
	}
	switch sqlState(err) {
	case stateInvalidPassword, stateInvalidAuthorization:
		return fmt.Sprintf("PostgreSQL at %s refuses the user %q of the DSN or its password: correct the DSN (%s)", db.address, db.user, db.errorText(err))
	case stateNoDatabase:
		return fmt.Sprintf("PostgreSQL at %s has no database %q: create it, or correct the DSN", db.address, db.name)
	case stateNoPrivilege, stateNoSchema:
		return fmt.Sprintf("PostgreSQL at %s does not let the user %q of the DSN create tables (%s): grant it CREATE on the schema, or name another user in the DSN",
			db.address, db.user, db.errorText(err))
	case stateReadOnly:
		return fmt.Sprintf("PostgreSQL at %s is read-only: name the primary in the DSN", db.address)
	}
	return fmt.Sprintf("PostgreSQL at %s cannot be used: %s; if this does not pass, correct the DSN", db.address, db.errorText(err))
}
