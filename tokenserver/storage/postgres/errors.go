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
	stateLockTimeout          = "55P03"
	stateReadOnly             = "25006"
	stateNoStatement          = "26000"
	stateDuplicateStatement   = "42P05"
	stateTooManyConnections   = "53300"
	stateProtocolViolation    = "08P01" // of everything that PgBouncer reports by itself
	stateInvalidAuthorization = "28000"
	stateInvalidPassword      = "28P01"
	stateNoDatabase           = "3D000"
	stateNoSchema             = "3F000"
	stateNoPrivilege          = "42501"
	stateInternal             = "XX000" // for one of two sessions that create the same table at once
)

// errReadOnly is returned for an answer of a server that has become read-only. It has written nothing,
// and another server may know more.
var errReadOnly = errors.New("the server is read-only by now")

// errFewerPlaces is returned if the database accepts no further connection, and the call can wait for
// one that there is.
var errFewerPlaces = errors.New("the database accepts no further connection")

// errUnanswered is returned for a write while the database answers to no write.
var errUnanswered = errors.New("the database does not answer to the writes that it has")

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
	if errors.Is(err, errReadOnly) {
		return true
	}
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
	case stateSerializationFailure, stateDeadlock, stateNoStatement, stateDuplicateStatement:
		return true
	}
	if errors.Is(err, puddle.ErrClosedPool) || errors.Is(err, errReadOnly) || errors.Is(err, errFewerPlaces) {
		return true // the DSN has just changed, or there may be another connection
	}
	return !isWrite && mayBeDone
}

// isConnectionLimit reports whether the database, or a pooler before it, accepts no further connection.
func isConnectionLimit(err error) bool {
	return sqlState(err) == stateTooManyConnections || isOfPooler(err, "no more connections allowed")
}

// isOfPooler reports whether PgBouncer has reported an error with this text.
func isOfPooler(err error, text string) bool {
	var reported *pgconn.PgError
	return errors.As(err, &reported) && reported.Code == stateProtocolViolation && strings.Contains(reported.Message, text)
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

// moreConnections says what to change where the database accepts too few connections.
const moreConnections = "raise max_connections of PostgreSQL or the CONNECTION LIMIT of the user, or lower pool_max_conns in the DSN"

// problem returns what an operator reads in State: why the database cannot be used, and what to
// change.
func (db *database) problem(err error) string {
	var newer newerSchemaError
	if errors.As(err, &newer) {
		return newer.Error()
	}
	switch {
	case isConnectionLimit(err):
		return fmt.Sprintf("PostgreSQL at %s accepts no connection of this replica (%s): %s", db.address, db.errorText(err), moreConnections)
	case isOfPooler(err, "unsupported startup parameter"):
		return fmt.Sprintf("the connection pooler at %s refuses a parameter of the DSN (%s): remove it from the DSN, or add it to "+
			"ignore_startup_parameters of PgBouncer", db.address, db.errorText(err))
	case (errors.Is(err, errReadOnly) || errors.Is(err, pgconn.ErrReadOnlyConnection)) && !strings.Contains(db.address, ","):
		return fmt.Sprintf("PostgreSQL at %s is read-only: name the primary in the DSN, or all servers of which one is the primary", db.address)
	}
	switch sqlState(err) {
	case stateInvalidPassword, stateInvalidAuthorization:
		return fmt.Sprintf("PostgreSQL at %s refuses the user %q of the DSN or its password: correct the DSN (%s)", db.address, db.user, db.errorText(err))
	case stateNoDatabase:
		return fmt.Sprintf("PostgreSQL at %s has no database %q: create it, or correct the DSN", db.address, db.name)
	case stateLockTimeout:
		return fmt.Sprintf("PostgreSQL at %s cannot change a table while another session, such as a backup, reads it (%s): wait until that has ended, or end it",
			db.address, db.errorText(err))
	case stateNoPrivilege, stateNoSchema:
		return fmt.Sprintf("PostgreSQL at %s does not let the user %q of the DSN create tables (%s): grant it CREATE on the schema, or name another user in the DSN",
			db.address, db.user, db.errorText(err))
	}
	return fmt.Sprintf("PostgreSQL at %s cannot be used: %s; if this does not pass, correct the DSN", db.address, db.errorText(err))
}
