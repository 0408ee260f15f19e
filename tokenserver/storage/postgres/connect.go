package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// poll is how often the file with the DSN is looked at.
	poll = time.Second
	// pingEvery is how often the database is asked whether it is there.
	pingEvery = 5 * time.Second
	// recountEvery is how often the live grants are counted even if none is created.
	recountEvery = time.Minute
	// firstRetry and lastRetry are how long a DSN that did not work is left alone, at first and in the end.
	firstRetry = time.Second
	lastRetry  = 15 * time.Second
	// migrateTimeout bounds one attempt to bring the schema up to date.
	migrateTimeout = time.Minute
)

// database is one that is in use, by one DSN.
type database struct {
	pool  *pgxpool.Pool
	stamp stamp
	// address, user and name may be told; secrets may not.
	address, user, name string
	secrets             []string
}

// look is what is remembered from one look at the file to the next. Only one goroutine looks.
type look struct {
	failed stamp // the DSN that did not work
	delay  time.Duration
	next   time.Time // when it is tried again
	pinged time.Time
	// counted is when the live grants were last counted for those who watch their number.
	counted time.Time
}

// watch follows the file and the database until ctx ends.
func (s *Store) watch(ctx context.Context) {
	for pause(ctx, poll) {
		s.refresh(ctx)
	}
}

// pause waits; false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// refresh makes the database of the DSN in the file the one that is used. One that does not work leaves what was used before in use for calls
// that still come, and is said: who wrote it wants to know.
func (s *Store) refresh(ctx context.Context) {
	current := s.database.Load()
	dsn, found, err := readDSN(s.options.DSNFile)
	if err != nil {
		if current == nil {
			s.say(State{Problem: "the DSN cannot be read: " + err.Error()})
		}
		return
	}
	if current != nil && current.stamp == found {
		s.ping(ctx, current)
		return
	}
	now := s.options.Now()
	if s.look.failed == found && now.Before(s.look.next) {
		return
	}
	next, problem := s.connect(ctx, dsn, found)
	if problem != "" {
		if ctx.Err() == nil || current == nil {
			s.say(State{Problem: problem})
		}
		if s.look.failed != found {
			s.look.delay = firstRetry
		}
		s.look.failed, s.look.next = found, s.options.Now().Add(s.look.delay)
		s.look.delay = min(2*s.look.delay, lastRetry)
		return
	}
	s.look.failed, s.look.pinged, s.look.counted = stamp{}, s.options.Now(), time.Time{}
	s.database.Store(next)
	s.census.forget()
	s.tokenMarks.forget()
	s.say(State{Ready: true})
	if current != nil {
		s.ended.Go(current.pool.Close) // when the calls that use it are done
	}
}

// connect opens the database and brings its schema up to date; or it says why not.
func (s *Store) connect(ctx context.Context, dsn string, found stamp) (db *database, problem string) {
	config, err := parse(dsn, s.options.CallTimeout)
	if err != nil {
		return nil, err.Error()
	}
	db = &database{stamp: found}
	db.describe(dsn, &config.ConnConfig.Config)
	if db.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, db.advice(err)
	}
	migrating, cancel := context.WithTimeout(ctx, migrateTimeout)
	defer cancel()
	if err := s.migrate(migrating, db); err != nil {
		db.pool.Close()
		return nil, db.advice(err)
	}
	return db, ""
}

// ping notices when the database goes away and when it is back.
func (s *Store) ping(ctx context.Context, db *database) {
	now := s.options.Now()
	if settled := s.State() == (State{Ready: true, Problem: s.census.warning()}); settled && now.Before(s.look.pinged.Add(pingEvery)) && !s.unmade.Load() {
		return
	}
	s.look.pinged = now
	check, limit := db.pool.Ping, s.options.CallTimeout
	if s.unmade.Swap(false) {
		check, limit = func(ctx context.Context) error { return s.migrate(ctx, db) }, migrateTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := check(ctx); err != nil {
		s.say(State{Ready: true, Problem: db.advice(err)})
		return
	}
	if now.Sub(s.look.counted) >= recountEvery {
		s.look.counted = now
		s.recount(ctx)
	}
	s.say(State{Ready: true, Problem: s.census.warning()})
}

// say keeps the state, and tells of it if it is news.
func (s *Store) say(next State) {
	before := *s.state.Swap(&next)
	if before == next {
		return
	}
	switch {
	case next.Problem != "":
		s.options.Log.Warn("storage has a problem", "problem", next.Problem, "ready", next.Ready)
	default:
		s.options.Log.Info("the database can be used")
	}
	s.options.Changed()
}
