// Package postgres keeps records in PostgreSQL, for servers that outgrow etcd. It uses only SQL that CockroachDB and YugabyteDB speak as well:
// no advisory locks, no partitions, no writes inside WITH.
//
//	postgres.go   the Store: from its options to its end
//	dsn.go        the file with the DSN, and what a DSN must be
//	connect.go    which database is in use; a DSN that changes
//	migrate.go    the schema, brought up to date by whichever replica is first
//	migrations/   its steps, in order
//	call.go       one exchange with the database: deadline, retries, and an answer that belongs to its question
//	errors.go     what an error means for a caller, and how it is told without the password
//	grants.go     grants
//	census.go     the bounds of a server, on live grants and on marks
//	consents.go   consents
//	marks.go      marks
//	values.go     how Go's values are written down
//	sweep.go      removing what has expired
//
// The database may be away when the program starts, go away later and come back: a call fails meanwhile, and nothing has to be started again.
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

// Options of a Store. All are needed, but for Changed, CallTimeout and Metrics.
type Options struct {
	// DSNFile holds the DSN, as a URL (postgres://user:password@host:5432/database?sslmode=verify-full) or as key=value pairs. It is read again
	// when it changes.
	DSNFile string
	// ServerUID is the UID of the AuthorizationServer whose records these are.
	ServerUID string
	// Changed is told when State has changed.
	Changed func()
	// CallTimeout bounds every call; default 5 s.
	CallTimeout time.Duration
	Metrics     prometheus.Registerer

	Now    func() time.Time
	Random io.Reader
	Log    *slog.Logger
}

// Store is a storage.Store. Its methods are safe for use by many.
type Store struct {
	storage.EndNotifier

	options  Options
	name     string                   // random, to tell the replicas apart
	database atomic.Pointer[database] // nil until a DSN has worked
	state    atomic.Pointer[State]
	echo     atomic.Int64
	census   census // of live grants
	maxPair  atomic.Int64

	tokenMarks census // of marks of revoked access tokens
	boundsMu   sync.Mutex
	bounds     map[storage.MarkKind]storage.MarkBounds // in place of those of package storage
	unmade     atomic.Bool                             // a table was missing: the database is not what it was

	look   look // what the goroutine that watches the DSN remembers
	stop   context.CancelFunc
	ended  sync.WaitGroup
	closed sync.Once
}

var _ storage.Store = (*Store)(nil)

// State of a Store.
type State struct {
	// Ready says that the DSN in the file has worked. A database that goes away later does not make the server unready: much of what it does
	// needs no database, and the rest is refused until the database is back.
	Ready bool
	// Problem says what is wrong at the moment, in words for who runs the server; empty if nothing is. It holds no password.
	Problem string
}

// Open begins to use the database of the DSN, and tries to reach it once before it returns. An error means that the options are wrong: a
// database that is away, or a wrong DSN, is said by State and tried again until Close.
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
	s := &Store{options: o}
	var err error
	if s.name, err = s.newVersion(); err != nil {
		return nil, err
	}
	s.state.Store(&State{Problem: "the database has not been reached yet"})
	s.census.sql, s.census.turn = countLive, make(chan struct{}, 1)
	s.tokenMarks.sql, s.tokenMarks.turn = countTokenMarks, make(chan struct{}, 1)
	s.SetGrantBounds(storage.MaxGrantsPerUserAndClient, storage.MaxGrantsPerServer)
	s.SetMarkBounds(storage.MarkToken, storage.DefaultMarkBounds(storage.MarkToken))
	if err := s.register(o.Metrics); err != nil {
		return nil, err
	}
	s.refresh(ctx)
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.ended.Go(func() { s.watch(watching) })
	return s, nil
}

// Close ends all connections, once the calls under way are done.
func (s *Store) Close() {
	s.closed.Do(func() {
		s.stop()
		s.ended.Wait()
		if db := s.database.Swap(nil); db != nil {
			db.pool.Close()
		}
	})
}

// State is how the store is now.
func (s *Store) State() State { return *s.state.Load() }

// Ready is nil once the DSN in the file has worked, else an error that says what is wrong.
func (s *Store) Ready() error {
	if st := s.State(); !st.Ready {
		return errors.New(st.Problem)
	}
	return nil
}

// SetGrantBounds replaces the bounds on live grants of a pair and of the server.
func (s *Store) SetGrantBounds(ofPair, ofServer int) {
	s.maxPair.Store(int64(ofPair))
	s.census.bound(ofServer)
}

// SetMarkBounds replaces the bounds on marks of a kind. The one of the server holds for revoked access tokens alone.
func (s *Store) SetMarkBounds(kind storage.MarkKind, bounds storage.MarkBounds) {
	s.boundsMu.Lock()
	defer s.boundsMu.Unlock()
	if s.bounds == nil {
		s.bounds = map[storage.MarkKind]storage.MarkBounds{}
	}
	s.bounds[kind] = bounds
	if kind == storage.MarkToken {
		s.tokenMarks.bound(bounds.PerServer)
	}
}

func (s *Store) markBounds(kind storage.MarkKind) storage.MarkBounds {
	s.boundsMu.Lock()
	defer s.boundsMu.Unlock()
	if bounds, ok := s.bounds[kind]; ok {
		return bounds
	}
	return storage.DefaultMarkBounds(kind)
}

func (s *Store) register(metrics prometheus.Registerer) error {
	if metrics == nil {
		return nil
	}
	live := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "oauth_operator", Subsystem: "tokenserver", Name: "live_grants",
		Help: "Grants of the server that have neither ended nor expired, as of at most a minute ago. At 100000 no more can begin. " +
			"Every replica tells about the same number.",
	}, func() float64 { return float64(s.census.last()) })
	if err := metrics.Register(live); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	return nil
}

// newVersion is random, so that a record that was removed and made again has none of its old ones.
func (s *Store) newVersion() (string, error) {
	var version [16]byte
	if _, err := io.ReadFull(s.options.Random, version[:]); err != nil {
		return "", fmt.Errorf("draw a version: %w", err)
	}
	return hex.EncodeToString(version[:]), nil
}
