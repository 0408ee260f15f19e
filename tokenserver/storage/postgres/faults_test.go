//go:build postgres

package postgres_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres/postgrestest"
)

// withShortTimeout makes calls time out soon.
func withShortTimeout(o *postgres.Options) { o.CallTimeout = 400 * time.Millisecond }

// openBehindProxy opens a store whose database is behind a proxy.
func openBehindProxy(t *testing.T, p *postgrestest.Proxy, database, query string) *testStore {
	t.Helper()
	return open(t, postgrestest.DSN(p.Address(), database, "sslmode=disable"+query), withShortTimeout)
}

// writesOf returns a call of each method that writes, and creates the records that they need.
func writesOf(t *testing.T, s storage.Store) map[string]func() error {
	t.Helper()
	g := mustCreate(t, s, newGrant("existing"))
	c, err := s.PutConsent(t.Context(), storage.Consent{UserUID: "u", ClientUID: "c"})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]func() error{
		"CreateGrant": func() error { _, err := s.CreateGrant(t.Context(), newGrant("new")); return err },
		"UpdateGrant": func() error { _, err := s.UpdateGrant(t.Context(), g); return err },
		"PutConsent":  func() error { _, err := s.PutConsent(t.Context(), c); return err },
		"SetMark": func() error {
			return s.SetMark(t.Context(), storage.Mark{Kind: storage.MarkToken, ID: "m", ExpiresAt: time.Now().Add(time.Hour)})
		},
	}
}

// readsOf returns a call of each method that reads.
func readsOf(t *testing.T, s storage.Store) map[string]func() error {
	t.Helper()
	return map[string]func() error{
		"GetGrant":   func() error { _, err := s.GetGrant(t.Context(), "existing"); return err },
		"GetConsent": func() error { _, err := s.GetConsent(t.Context(), "u", "c"); return err },
		"IsMarked":   func() error { _, err := s.IsMarked(t.Context(), storage.MarkToken, "m"); return err },
	}
}

func TestWithoutADatabaseNothingWasWrittenAndNothingIsKnown(t *testing.T) {
	server := postgrestest.Start(t, "synchronous_commit=on")
	s := open(t, server.DSN("postgres"), withShortTimeout)
	written, read := writesOf(t, s), readsOf(t, s)
	server.Kill()
	// The first calls after that find that their connections are broken.
	eventually.True(t, "the store notices that the database is down", func() bool {
		_, err := s.CreateGrant(t.Context(), newGrant("probe"))
		return errors.Is(err, storage.ErrUnavailable)
	})
	for name, call := range written {
		if err := call(); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", name, err)
		}
	}
	for name, call := range read {
		if err := call(); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", name, err)
		}
	}
	eventually.True(t, "the state reports that the database is down", func() bool { return s.State().Problem != "" })
	if !s.State().Ready {
		t.Error("a database that is down makes the whole server unready")
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	for name, call := range written {
		if err := call(); err != nil {
			t.Errorf("%s, with the database back: %v", name, err)
		}
	}
	for name, call := range read {
		if err := call(); err != nil {
			t.Errorf("%s, with the database back: %v", name, err)
		}
	}
	eventually.True(t, "the state reports that the database is back", func() bool { return s.State() == postgres.State{Ready: true} })
}

func TestAWriteWhoseAnswerIsLostIsAmbiguousAndAReadUnavailable(t *testing.T) {
	for how, lose := range map[string]func(p *postgrestest.Proxy){
		"held back": func(p *postgrestest.Proxy) { p.HoldResponses(true) },
		"dropped":   func(p *postgrestest.Proxy) { p.DropResponses() },
	} {
		t.Run(how, func(t *testing.T) {
			proxy := postgrestest.NewProxy(t, shared)
			s := openBehindProxy(t, proxy, shared.NewDatabase(t), "&pool_max_conns=1")
			written, read := writesOf(t, s), readsOf(t, s)
			warm := 0
			attempt := func(calls map[string]func() error, want error) {
				t.Helper()
				for name, call := range calls {
					proxy.HoldResponses(false)
					proxy.ForwardAll()
					if how == "dropped" {
						proxy.CloseConnections() // a write keeps its connection while it may be answered
					}
					// All statements are prepared, so the lost answer is that of the execution.
					eventually.True(t, "there is a connection", func() bool {
						warm++
						g, err := s.CreateGrant(t.Context(), newGrant(fmt.Sprint("warm", warm)))
						_, updated := s.UpdateGrant(t.Context(), g)
						// The first mark after an outage counts the marks first, which is a read.
						marked := s.SetMark(t.Context(), storage.Mark{Kind: storage.MarkToken, ID: g.ID, ExpiresAt: time.Now().Add(time.Hour)})
						return err == nil && updated == nil && marked == nil
					})
					lose(proxy)
					if err := call(); !errors.Is(err, want) {
						t.Errorf("%s: %v, want %v", name, err, want)
					}
				}
			}
			attempt(written, storage.ErrAmbiguous)
			attempt(read, storage.ErrUnavailable)
			proxy.HoldResponses(false)
			proxy.ForwardAll()
			// The writes have happened.
			eventually.True(t, "the store works again", func() bool {
				_, err := s.GetGrant(t.Context(), "new")
				return err == nil
			})
			if err := written["UpdateGrant"](); !errors.Is(err, storage.ErrConflict) {
				t.Errorf("the update that was ambiguous has not happened: %v", err)
			}
		})
	}
}

func TestAWriteThatNeverArrivedIsAmbiguousAndCanBeTriedAgain(t *testing.T) {
	proxy := postgrestest.NewProxy(t, shared)
	s := openBehindProxy(t, proxy, shared.NewDatabase(t), "")
	written := writesOf(t, s)
	proxy.DropRequests()
	for name, call := range written {
		if err := call(); !errors.Is(err, storage.ErrAmbiguous) && !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrAmbiguous", name, err)
		}
	}
	proxy.ForwardAll()
	proxy.CloseConnections()
	eventually.True(t, "the store works again", func() bool {
		_, err := s.GetGrant(t.Context(), "existing")
		return err == nil
	})
	for name, call := range written {
		if err := call(); err != nil {
			t.Errorf("%s, tried again: %v", name, err)
		}
	}
}

func TestALateAnswerIsNotTakenForThatOfTheNextCall(t *testing.T) {
	proxy := postgrestest.NewProxy(t, shared)
	s := openBehindProxy(t, proxy, shared.NewDatabase(t), "&pool_max_conns=1")
	for _, id := range []string{"a", "b"} {
		mustCreate(t, s, newGrant(id))
		mustGet(t, s, id)
	}
	proxy.HoldResponses(true)
	if _, err := s.GetGrant(t.Context(), "a"); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("without an answer: %v, want ErrUnavailable", err)
	}
	proxy.HoldResponses(false)
	for range 10 {
		if g, err := s.GetGrant(t.Context(), "b"); err == nil && g.ID != "b" {
			t.Fatalf("reading b returns %q", g.ID)
		}
		if g, err := s.GetGrant(t.Context(), "missing"); err == nil {
			t.Fatalf("reading what does not exist returns %q", g.ID)
		}
	}
	eventually.True(t, "the store works again", func() bool {
		_, err := s.GetGrant(t.Context(), "b")
		return err == nil
	})
}

// TestAServerKilledInTheMiddleOfWritesLosesNothingThatItAcknowledged also shows that the store
// recovers by itself.
func TestAServerKilledInTheMiddleOfWritesLosesNothingThatItAcknowledged(t *testing.T) {
	server := postgrestest.Start(t, "synchronous_commit=on")
	s := open(t, server.DSN("postgres"), withShortTimeout)
	var mu sync.Mutex
	outcomes := map[string]error{} // of creating the id
	var next atomic.Int64
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				g := newGrantOfUser(int(next.Add(1)))
				_, err := s.CreateGrant(t.Context(), g)
				mu.Lock()
				outcomes[g.ID] = err
				mu.Unlock()
				if errors.Is(err, storage.ErrUnavailable) {
					time.Sleep(20 * time.Millisecond)
				}
			}
		})
	}
	for range 3 {
		time.Sleep(300 * time.Millisecond)
		server.Kill()
		time.Sleep(100 * time.Millisecond)
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(300 * time.Millisecond)
	close(stop)
	all.Wait()

	done, ambiguous, landed := 0, 0, 0
	for id, outcome := range outcomes {
		_, err := s.GetGrant(t.Context(), id)
		switch {
		case outcome == nil:
			done++
			if err != nil {
				t.Errorf("%s was acknowledged, and reading it returns %v", id, err)
			}
		case errors.Is(outcome, storage.ErrAmbiguous):
			ambiguous++
			if err == nil {
				landed++
			}
		case errors.Is(outcome, storage.ErrUnavailable):
			if !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("%s was reported as not written, and reading it returns %v", id, err)
			}
		default:
			t.Errorf("%s: %v", id, outcome)
		}
	}
	t.Logf("%d acknowledged, %d ambiguous of which %d had happened, %d in all", done, ambiguous, landed, len(outcomes))
	if done == 0 || ambiguous == 0 {
		t.Error("the server was not killed in the middle of writes")
	}
}

func TestATransactionThatMustBeTriedAgainIsTriedAgain(t *testing.T) {
	database := shared.NewDatabase(t)
	open(t, shared.DSN(database)).Close()
	// Transactions may fail with serialization failures, as in databases without weaker isolation.
	shared.Exec(t, "postgres", "ALTER DATABASE "+database+" SET default_transaction_isolation = 'serializable'")
	s := open(t, shared.DSN(database))
	g := mustCreate(t, s, newGrant("counted"))
	var all sync.WaitGroup
	var won, lost atomic.Int64
	for i := range 40 {
		all.Go(func() {
			if _, err := s.CreateGrant(t.Context(), newGrant(fmt.Sprint("g", i))); err != nil {
				t.Errorf("CreateGrant: %v", err)
			}
			switch _, err := s.UpdateGrant(t.Context(), g); {
			case err == nil:
				won.Add(1)
			case errors.Is(err, storage.ErrConflict):
				lost.Add(1)
			default:
				t.Errorf("UpdateGrant: %v", err)
			}
		})
	}
	all.Wait()
	if live := postgrestest.QueryValue[int](t, shared, database, "SELECT count(*) FROM oauth_grants WHERE ended_at IS NULL"); live != storage.MaxGrantsPerUserAndClient {
		t.Errorf("%d grants of the pair are live, want %d", live, storage.MaxGrantsPerUserAndClient)
	}
	if won.Load() > 1 {
		t.Errorf("%d updates of one version have happened", won.Load())
	}
}

func TestADeadlockIsNobodysLoss(t *testing.T) {
	database := shared.NewDatabase(t)
	s := open(t, shared.DSN(database)+"&options=-cdeadlock_timeout%3D500ms")
	for i := range storage.MaxGrantsPerUserAndClient {
		mustCreate(t, s, newGrant(fmt.Sprint("g", i)))
	}
	// Another session locks the rows in the opposite order, and detects deadlocks later.
	tx := beginTransaction(t, shared.DSN(database)+"&options=-cdeadlock_timeout%3D1min")
	if _, err := tx.Exec(t.Context(), "SELECT * FROM oauth_grants FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	created := make(chan error)
	go func() {
		_, err := s.CreateGrant(t.Context(), newGrant("one more"))
		created <- err
	}()
	eventually.True(t, "the creation waits", func() bool {
		return postgrestest.QueryValue[int](t, shared, database, "SELECT count(*) FROM pg_locks WHERE NOT granted") > 0
	})
	if _, err := tx.Exec(t.Context(), "UPDATE oauth_pairs SET expires_at = expires_at"); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-created; err != nil {
		t.Errorf("CreateGrant: %v", err)
	}
}

func TestADatabaseThatStandsStillHoldsNobodyUp(t *testing.T) {
	proxy := postgrestest.NewProxy(t, shared)
	s := openBehindProxy(t, proxy, shared.NewDatabase(t), "")
	mustCreate(t, s, newGrant("g"))
	proxy.HoldResponses(true)
	began := time.Now()
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			if _, err := s.CreateGrant(t.Context(), newGrantOfUser(i)); err == nil {
				t.Error("a write succeeded while the database stood still")
			}
			if _, err := s.GetGrant(t.Context(), "g"); err == nil {
				t.Error("a read succeeded while the database stood still")
			}
		})
	}
	all.Wait()
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("two calls took %v, with 400 ms for each", took)
	}
	proxy.HoldResponses(false)
	eventually.True(t, "the store works again", func() bool {
		_, err := s.GetGrant(t.Context(), "g")
		return err == nil
	})
}

func TestADatabaseThatIsStoppedInOrderIsAmbiguousAtMost(t *testing.T) {
	server := postgrestest.Start(t)
	s := open(t, server.DSN("postgres"), withShortTimeout)
	g := mustCreate(t, s, newGrant("g"))
	tx := beginTransaction(t, server.DSN("postgres"))
	if _, err := tx.Exec(t.Context(), "SELECT * FROM oauth_grants FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	updated := make(chan error)
	go func() {
		_, err := s.UpdateGrant(t.Context(), g)
		updated <- err
	}()
	eventually.True(t, "the update waits", func() bool {
		return postgrestest.QueryValue[int](t, server, "postgres", "SELECT count(*) FROM pg_locks WHERE NOT granted") > 0
	})
	if err := server.Signal(syscall.SIGINT); err != nil { // a fast shutdown tells every connection that it is over
		t.Fatal(err)
	}
	// The other transaction may end first, and then the update is done.
	if err := <-updated; err != nil && (!errors.Is(err, storage.ErrAmbiguous) || strings.Contains(err.Error(), postgrestest.Password)) {
		t.Errorf("an update during the shutdown: %v, want ErrAmbiguous", err)
	}
}
