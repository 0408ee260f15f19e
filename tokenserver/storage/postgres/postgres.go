// Package postgres keeps records in a PostgreSQL database, for servers that outgrow etcd. Its SQL
// is what CockroachDB and YugabyteDB understand too: no advisory locks, no partitions, no writes in
// WITH. Parameters are named (pgx.StrictNamedArgs), so that none can be counted wrong, except where a
// request waits for each of them: pgx replaces the names at every call, for which it reads the SQL.
// Statements with a parameter for each column are generated from the columns.
//
//	postgres.go    the Store: options, life cycle, state
//	dsn.go         reading and parsing the DSN
//	dial.go        reaching one of several addresses in time, and noticing that it is gone
//	connect.go     the database in use: following the DSN file, checking the connection
//	migrate.go     the schema, migrated by whichever replica is first
//	migrations/    the statements of each version of the schema
//	indexes.go     making and dropping indexes while others write
//	call.go        one exchange with the database: deadline, retries, connection
//	places.go      how many calls have a connection at once, where the database accepts few
//	cancel.go      why no statement is cancelled, and what becomes of its connection
//	errors.go      the meaning of errors for callers, and their text without the password
//	columns.go     how fields of records are written to columns and scanned from them
//	grants.go      grants
//	rotation.go    replacing a refresh token without reading the grant first
//	counter.go     the bounds of a server on live grants and on marks
//	consents.go    consents
//	identities.go  identities
//	marks.go       marks
//	sweep.go       removing expired rows, by one of the replicas
//	unconsented.go the walk through all grants, which ends those whose consent was deleted
//
// The database may be unreachable when the program starts, and at any time later: calls fail
// meanwhile, and succeed again without a restart.
package postgres

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// Options of a Store. Changed, CallTimeout and Metrics are optional.
type Options struct {
	// DSNFile is the file with the DSN, which is read again when it changes: a URL
	// (postgres://user:password@host:5432/database?sslmode=verify-full) or key=value pairs.
	DSNFile string
	// ServerUID is the UID of the AuthorizationServer that owns the records.
	ServerUID string
	// Changed is called when State has changed.
	Changed func()
	// CallTimeout bounds every call. The default is 5 s.
	CallTimeout time.Duration
	Metrics     prometheus.Registerer

	Now    func() time.Time
	Random io.Reader
	Log    *slog.Logger
}

// Store is a storage.Store in a PostgreSQL database. It is safe for concurrent use.
type Store struct {
	storage.EndNotifier
	storage.VoidGrants
	storage.IdentitySpecs

	options   Options
	replicaID string                   // random
	database  atomic.Pointer[database] // nil until a DSN has worked
	state     atomic.Pointer[State]
	// tableMissing is set when a table was missing: the schema has to be migrated again.
	tableMissing atomic.Bool

	liveGrants          *recordCounter
	tokenMarks          *recordCounter // marks of the kind MarkToken
	maxPerUserAndClient atomic.Int64   // bound on live grants
	maxIdentities       atomic.Int64   // bound on identities of the server
	markBoundsMu        sync.Mutex
	markBounds          map[storage.MarkKind]storage.MarkBounds

	sweeping   sweepState
	dsn        dsnState // owned by the goroutine of watchDSN
	stop       context.CancelFunc
	goroutines sync.WaitGroup
	closeOnce  sync.Once
}

var _ storage.Store = (*Store)(nil)

// State of a Store.
type State struct {
	// Ready reports whether the DSN in the file has worked. It stays true when the database becomes
	// unreachable later: much of what the token server does needs no database.
	Ready bool
	// Problem says what is wrong now and what to change; empty if nothing is wrong. It does not
	// contain the password.
	Problem string
}

// Open returns a Store that uses the database of the DSN, after one attempt to connect. It returns
// an error only for wrong options. A database that cannot be reached, or a wrong DSN, is reported
// by State and tried again until Close.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.DSNFile == "" || o.ServerUID == "" {
		return nil, errors.New("the DSN file or the server's UID is missing")
	}
	if o.Now == nil || o.Random == nil || o.Log == nil {
		return nil, errors.New("clock, randomness or log is missing")
	}
	if o.CallTimeout == 0 {
		o.CallTimeout = 5 * time.Second
	}
	if o.Changed == nil {
		o.Changed = func() {}
	}
	s := &Store{
		options: o, liveGrants: newRecordCounter(countLiveGrants), tokenMarks: newRecordCounter(countTokenMarks),
		markBounds: map[storage.MarkKind]storage.MarkBounds{},
	}
	var err error
	if s.replicaID, err = s.newVersion(); err != nil {
		return nil, err
	}
	s.state.Store(&State{Problem: "the database has not been reached yet"})
	s.SetGrantBounds(storage.MaxGrantsPerUserAndClient, storage.MaxGrantsPerServer)
	s.SetIdentityBound(storage.MaxIdentitiesPerServer)
	s.SetMarkBounds(storage.MarkToken, storage.DefaultMarkBounds(storage.MarkToken))
	if err := s.registerMetrics(o.Metrics); err != nil {
		return nil, err
	}
	s.followDSN(ctx)
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.goroutines.Go(func() { s.watchDSN(watching) })
	return s, nil
}

// Close closes all connections, after the calls that use them have returned.
func (s *Store) Close() {
	s.closeOnce.Do(func() {
		s.stop()
		s.goroutines.Wait()
		if db := s.database.Swap(nil); db != nil {
			db.close()
		}
	})
}

// State returns the current state.
func (s *Store) State() State { return *s.state.Load() }

// setState stores the state, and reports a change.
func (s *Store) setState(next State) {
	if *s.state.Swap(&next) == next {
		return
	}
	if next.Problem != "" {
		s.options.Log.Warn("database problem", "problem", next.Problem, "ready", next.Ready)
	} else {
		s.options.Log.Info("database available")
	}
	s.options.Changed()
}

// SetGrantBounds replaces the bounds on live grants. Tests use it: reaching the real bounds takes
// 100,000 grants.
func (s *Store) SetGrantBounds(perUserAndClient, perServer int) {
	s.maxPerUserAndClient.Store(int64(perUserAndClient))
	s.liveGrants.setBound(perServer)
}

// SetIdentityBound replaces the bound on identities of the server, for tests like SetGrantBounds.
func (s *Store) SetIdentityBound(perServer int) { s.maxIdentities.Store(int64(perServer)) }

// SetMarkBounds replaces the bounds on marks of a kind, for tests like SetGrantBounds. The bound
// of the server is kept for MarkToken only.
func (s *Store) SetMarkBounds(kind storage.MarkKind, bounds storage.MarkBounds) {
	s.markBoundsMu.Lock()
	defer s.markBoundsMu.Unlock()
	s.markBounds[kind] = bounds
	if kind == storage.MarkToken {
		s.tokenMarks.setBound(bounds.PerServer)
	}
}

func (s *Store) markBoundsOf(kind storage.MarkKind) storage.MarkBounds {
	s.markBoundsMu.Lock()
	defer s.markBoundsMu.Unlock()
	if bounds, ok := s.markBounds[kind]; ok {
		return bounds
	}
	return storage.DefaultMarkBounds(kind)
}

// newVersion returns 32 random hexadecimal digits. Versions are not counted up, so that a record
// that was removed and created again has none of its old versions.
func (s *Store) newVersion() (string, error) {
	var version [16]byte
	if _, err := io.ReadFull(s.options.Random, version[:]); err != nil {
		return "", fmt.Errorf("reading randomness for a version: %w", err)
	}
	return hex.EncodeToString(version[:]), nil
}
