package postgres

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// SQLSTATE codes (PostgreSQL, Appendix A) that mean something here.
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
	stateInternal             = "XX000" // PostgreSQL says so where two make the same table at once
)

// stateOf is the SQLSTATE of an error that the database reported, else "".
func stateOf(err error) string {
	var reported *pgconn.PgError
	if errors.As(err, &reported) {
		return reported.Code
	}
	return ""
}

// notDone wraps an error after which it is known that nothing was written.
type notDone struct{ error }

func (e notDone) Unwrap() error { return e.error }

// errOutOfStep: the answer belongs to another question. Something in between has lost or repeated a part of the conversation.
var errOutOfStep = errors.New("the answer of the database belongs to another question")

// undone says whether it is known that nothing was done of what the database was asked.
func undone(err error) bool {
	var known notDone
	if errors.As(err, &known) {
		return true
	}
	var reported *pgconn.PgError
	if !errors.As(err, &reported) {
		return false // a connection that was lost, or a deadline
	}
	severity := reported.SeverityUnlocalized
	if severity == "" {
		severity = reported.Severity
	}
	if severity == "FATAL" || severity == "PANIC" {
		return false // it ends the connection, and may follow a commit
	}
	switch {
	case reported.Code == stateCompletionUnknown, strings.HasPrefix(reported.Code, "08"), strings.HasPrefix(reported.Code, "57"):
		return false
	}
	return true
}

// again says whether what failed is to be tried again: nothing was done, and the next try may well succeed. A read does nothing anyway, but
// if nothing could be sent, then nobody can be reached.
func again(err error, write bool) bool {
	switch stateOf(err) {
	case stateSerializationFailure, stateDeadlock:
		return true
	}
	if errors.Is(err, puddle.ErrClosedPool) {
		return true // the DSN has just changed
	}
	return !write && !undone(err)
}

// told turns an error into one of package storage. Neither its text nor what it wraps can hold the password.
func (db *database) told(err error, write bool) error {
	kind := storage.ErrUnavailable
	if write && !undone(err) {
		kind = storage.ErrAmbiguous
	}
	return fmt.Errorf("%w: %s", kind, db.text(err))
}

// text of an error on one line, without the password.
func (db *database) text(err error) string {
	text := err.Error()
	var reported *pgconn.PgError
	if errors.As(err, &reported) {
		// Its detail may quote what a row holds.
		text = fmt.Sprintf("%s (SQLSTATE %s)", reported.Message, reported.Code)
	}
	return db.scrub(text)
}

// scrub puts a text on one line and takes the secrets of the DSN out of it.
func (db *database) scrub(text string) string {
	for _, secret := range db.secrets {
		text = strings.ReplaceAll(text, secret, "[password]")
	}
	return strings.Join(strings.Fields(text), " ")
}

// advice says in words for who runs the server why the database cannot be used, and what to change.
func (db *database) advice(err error) string {
	var newer newerSchema
	if errors.As(err, &newer) {
		return newer.Error()
	}
	switch stateOf(err) {
	case stateInvalidPassword, stateInvalidAuthorization:
		return fmt.Sprintf("PostgreSQL at %s refuses the user %q of the DSN or its password: correct the DSN (%s)", db.address, db.user, db.text(err))
	case stateNoDatabase:
		return fmt.Sprintf("PostgreSQL at %s has no database %q: create it, or correct the DSN", db.address, db.name)
	case stateNoPrivilege, stateNoSchema:
		return fmt.Sprintf("PostgreSQL at %s does not let the user %q of the DSN make its tables (%s): grant it CREATE on the schema, or name another user in the DSN",
			db.address, db.user, db.text(err))
	case stateReadOnly:
		return fmt.Sprintf("PostgreSQL at %s is read-only: name the primary in the DSN", db.address)
	}
	return fmt.Sprintf("PostgreSQL at %s cannot be used: %s; if that does not pass, correct the DSN", db.address, db.text(err))
}
