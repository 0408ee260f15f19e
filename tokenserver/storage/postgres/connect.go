package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oauth-operator/oauth-operator/tokenserver/clock"
)

const (
	// fileInterval is how often the DSN file is read.
	fileInterval = time.Second
	// pingInterval is how often the connection to the database is checked.
	pingInterval = 5 * time.Second
	// recountInterval is how often the live grants are counted even if none is created.
	recountInterval = time.Minute
	// minRetryDelay and maxRetryDelay bound the delay after which a DSN that failed is tried again.
	minRetryDelay = time.Second
	maxRetryDelay = 15 * time.Second
	// migrateTimeout bounds one attempt to migrate the schema.
	migrateTimeout = time.Minute
)

// database is a database in use.
type database struct {
	pool        *pgxpool.Pool
	fingerprint fingerprint // of the DSN
	places      *places
	retired     context.Context // ends when the database is not used any more
	retire      context.CancelFunc
	unnamed     atomic.Bool // new connections send statements without names
	// address, user and name are for messages, secrets must not be in any.
	address, user, name string
	secrets             []string
}

// close closes the pool. It returns after the calls that use it, and waits for no write whose call is over.
func (db *database) close() {
	db.retire()
	db.pool.Close()
}

// dsnState is what followDSN remembers from one call to the next.
type dsnState struct {
	failed     fingerprint // of the DSN that failed last
	retryDelay time.Duration
	retryAt    time.Time
	lastPing   time.Time
	lastCount  time.Time // of the live grants, by recountGrants
}

// watchDSN calls followDSN until ctx ends.
func (s *Store) watchDSN(ctx context.Context) {
	for clock.Sleep(ctx, fileInterval) {
		s.followDSN(ctx)
	}
}

// followDSN connects to the database of the DSN in the file, if the file has changed, and else
// checks the connection. While a changed DSN does not work, State reports it, and calls go on to
// use the database of the DSN before.
func (s *Store) followDSN(ctx context.Context) {
	current := s.database.Load()
	dsn, found, err := readDSN(s.options.DSNFile)
	if err != nil {
		if current == nil {
			s.setState(State{Problem: "the DSN cannot be read: " + err.Error()})
		}
		return
	}
	if current != nil && current.fingerprint == found {
		s.checkDatabase(ctx, current)
		return
	}
	now := s.options.Now()
	if s.dsn.failed == found && now.Before(s.dsn.retryAt) {
		return
	}
	next, problem := s.connect(ctx, dsn, found)
	if problem != "" {
		if ctx.Err() == nil || current == nil {
			s.setState(State{Problem: problem})
		}
		if s.dsn.failed != found {
			s.dsn.retryDelay = minRetryDelay
		}
		s.dsn.failed, s.dsn.retryAt = found, s.options.Now().Add(s.dsn.retryDelay)
		s.dsn.retryDelay = min(2*s.dsn.retryDelay, maxRetryDelay)
		return
	}
	s.dsn.failed, s.dsn.lastPing, s.dsn.lastCount = fingerprint{}, s.options.Now(), time.Time{}
	s.database.Store(next)
	s.liveGrants.invalidate()
	s.tokenMarks.invalidate()
	s.setState(State{Ready: true})
	if current != nil {
		s.goroutines.Go(current.close)
	}
}

// connect connects to a database and migrates its schema. Problem says what is wrong and what to
// change; it is empty on success.
func (s *Store) connect(ctx context.Context, dsn string, found fingerprint) (db *database, problem string) {
	config, err := parseDSN(dsn, s.options.CallTimeout)
	if err != nil {
		return nil, err.Error()
	}
	db = newDatabase(dsn, found, config)
	config.BeforeConnect = func(ctx context.Context, c *pgx.ConnConfig) error {
		divideTime(ctx, c, s.options.CallTimeout)
		if db.unnamed.Load() {
			c.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
		}
		neverCancel(db.retired, c)
		return nil
	}
	if db.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, db.problem(err)
	}
	migrating, cancel := context.WithTimeout(ctx, migrateTimeout)
	defer cancel()
	if err := s.migrate(migrating, db); err != nil {
		db.close()
		return nil, db.problem(err)
	}
	return db, ""
}

// checkDatabase updates State: whether the database can be reached and written to, whether it accepts
// as many connections as the pool may have, and whether the bound on grants is near. It migrates the schema again if a table was missing.
func (s *Store) checkDatabase(ctx context.Context, db *database) {
	now := s.options.Now()
	db.places.restore()
	isUpToDate := s.State() == (State{Ready: true, Problem: s.warning(db)}) && now.Before(s.dsn.lastPing.Add(pingInterval))
	if isUpToDate && !s.tableMissing.Load() {
		return
	}
	s.dsn.lastPing = now
	check, limit := func(ctx context.Context) error { return s.checkPrimary(ctx, db) }, s.options.CallTimeout
	if s.tableMissing.Swap(false) {
		check, limit = func(ctx context.Context) error { return s.migrate(ctx, db) }, migrateTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := check(ctx); err != nil {
		s.setState(State{Ready: true, Problem: db.problem(err)})
		return
	}
	if now.Sub(s.dsn.lastCount) >= recountInterval {
		s.dsn.lastCount = now
		s.recountGrants(ctx)
	}
	s.setState(State{Ready: true, Problem: s.warning(db)})
}

// checkPrimary returns an error unless the database answers on a connection of the pool, and accepts
// writes there. A pooler may have told another replica that it accepts none any more.
func (s *Store) checkPrimary(ctx context.Context, db *database) error {
	_, err := s.runOnConnection(ctx, db, false, requirePrimary)
	if errors.Is(err, errFewerPlaces) && db.pool.Stat().TotalConns() > 0 {
		return nil // calls wait for the connections that there are
	}
	return err
}

// warning returns what is wrong with a database that can be used; empty if nothing is.
func (s *Store) warning(db *database) string {
	if db.places.unanswered.Load() > 0 {
		return fmt.Sprintf("PostgreSQL at %s has not answered to writes in time, which keep their connections until it does: if it replicates "+
			"synchronously, see whether a standby confirms", db.address)
	}
	if db.places.isShort(s.options.Now()) {
		return fmt.Sprintf("PostgreSQL at %s accepts fewer connections of this replica than its pool may have, which is %d, and requests wait for those "+
			"that there are: %s", db.address, db.places.size(), moreConnections)
	}
	return s.liveGrants.grantsWarning()
}
