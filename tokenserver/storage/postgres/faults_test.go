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

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres/postgrestest"
)

// hurried stores give up soon.
func hurried(o *postgres.Options) { o.CallTimeout = 400 * time.Millisecond }

// behind opens a store whose database is behind a proxy.
func behind(t *testing.T, p *postgrestest.Proxy, database, query string) *opened {
	t.Helper()
	return open(t, postgrestest.DSN(p.Address(), database, "sslmode=disable"+query), hurried)
}

// every call of a store that writes, with what makes it possible.
func everyWrite(t *testing.T, s storage.Store) map[string]func() error {
	t.Helper()
	g := create(t, s, newGrant("existing"))
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

func everyRead(t *testing.T, s storage.Store) map[string]func() error {
	t.Helper()
	return map[string]func() error{
		"GetGrant":   func() error { _, err := s.GetGrant(t.Context(), "existing"); return err },
		"ListGrants": func() error { _, err := s.ListGrants(t.Context(), "user-uid", ""); return err },
		"GetConsent": func() error { _, err := s.GetConsent(t.Context(), "u", "c"); return err },
		"IsMarked":   func() error { _, err := s.IsMarked(t.Context(), storage.MarkToken, "m"); return err },
	}
}

func TestWithoutADatabaseNothingWasWrittenAndNothingIsKnown(t *testing.T) {
	server := postgrestest.Start(t, "synchronous_commit=on")
	s := open(t, server.DSN("postgres"), hurried)
	written, read := everyWrite(t, s), everyRead(t, s)
	server.Kill()
	// Connections that died with the server are noticed by the first who use them.
	eventually(t, "the store knows that the database has gone", func() bool {
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
	eventually(t, "the store tells that the database has gone", func() bool { return s.State().Problem != "" })
	if !s.State().Ready {
		t.Error("a database that has gone makes the whole server unready")
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
	eventually(t, "the store tells that the database is back", func() bool { return s.State() == postgres.State{Ready: true} })
}

func TestAWriteWhoseAnswerIsLostIsAmbiguousAndAReadUnavailable(t *testing.T) {
	for name, lose := range map[string]func(p *postgrestest.Proxy){
		"held back": func(p *postgrestest.Proxy) { p.Hold(true) },
		"dropped":   func(p *postgrestest.Proxy) { p.DropAnswers() },
	} {
		t.Run(name, func(t *testing.T) {
			proxy := postgrestest.NewProxy(t, shared)
			s := behind(t, proxy, shared.NewDatabase(t), "&pool_max_conns=1")
			written, read := everyWrite(t, s), everyRead(t, s)
			warm := 0
			attempt := func(calls map[string]func() error, want error) {
				t.Helper()
				for name, call := range calls {
					proxy.Hold(false)
					proxy.Pass()
					// The connection knows all statements: what is lost is the answer to the statement itself.
					eventually(t, "there is a connection", func() bool {
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
			proxy.Hold(false)
			proxy.Pass()
			// All the writes have happened.
			eventually(t, "the store works again", func() bool {
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
	s := behind(t, proxy, shared.NewDatabase(t), "")
	written := everyWrite(t, s)
	proxy.DropQuestions()
	for name, call := range written {
		if err := call(); !errors.Is(err, storage.ErrAmbiguous) && !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrAmbiguous", name, err)
		}
	}
	proxy.Pass()
	proxy.Cut()
	eventually(t, "the store works again", func() bool {
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
	s := behind(t, proxy, shared.NewDatabase(t), "&pool_max_conns=1")
	for _, id := range []string{"a", "b"} {
		create(t, s, newGrant(id))
		read(t, s, id)
	}
	proxy.Hold(true)
	if _, err := s.GetGrant(t.Context(), "a"); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("without an answer: %v, want ErrUnavailable", err)
	}
	proxy.Hold(false)
	for range 10 {
		if g, err := s.GetGrant(t.Context(), "b"); err == nil && g.ID != "b" {
			t.Fatalf("reading b returns %q", g.ID)
		}
		if g, err := s.GetGrant(t.Context(), "missing"); err == nil {
			t.Fatalf("reading what does not exist returns %q", g.ID)
		}
	}
	eventually(t, "the store works again", func() bool {
		_, err := s.GetGrant(t.Context(), "b")
		return err == nil
	})
}

// TestAServerKilledInTheMiddleOfWritesLosesNothingThatItAcknowledged also shows that nobody has to do anything afterwards.
func TestAServerKilledInTheMiddleOfWritesLosesNothingThatItAcknowledged(t *testing.T) {
	server := postgrestest.Start(t, "synchronous_commit=on")
	s := open(t, server.DSN("postgres"), hurried)
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
				g := ofOthers(int(next.Add(1)))
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
				t.Errorf("%s was acknowledged, and reading it gives %v", id, err)
			}
		case errors.Is(outcome, storage.ErrAmbiguous):
			ambiguous++
			if err == nil {
				landed++
			}
		case errors.Is(outcome, storage.ErrUnavailable):
			if !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("%s was said not to be written, and reading it gives %v", id, err)
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
	// Every transaction may fail for the sake of another, as it may in a database that knows no weaker isolation.
	shared.Exec(t, "postgres", "ALTER DATABASE "+database+" SET default_transaction_isolation = 'serializable'")
	s := open(t, shared.DSN(database))
	g := create(t, s, newGrant("counted"))
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
	if live := postgrestest.Value[int](t, shared, database, "SELECT count(*) FROM oauth_grants WHERE ended_at IS NULL"); live != storage.MaxGrantsPerUserAndClient {
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
		create(t, s, newGrant(fmt.Sprint("g", i)))
	}
	// Somebody at the console locks the rows the other way round, and has more patience.
	tx := begin(t, shared.DSN(database)+"&options=-cdeadlock_timeout%3D1min")
	if _, err := tx.Exec(t.Context(), "SELECT * FROM oauth_grants FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	created := make(chan error)
	go func() {
		_, err := s.CreateGrant(t.Context(), newGrant("one more"))
		created <- err
	}()
	eventually(t, "the creation waits", func() bool {
		return postgrestest.Value[int](t, shared, database, "SELECT count(*) FROM pg_locks WHERE NOT granted") > 0
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

// TestADatabaseThatStandsStillHoldsNobodyUp: it is there, and does nothing.
func TestADatabaseThatStandsStillHoldsNobodyUp(t *testing.T) {
	proxy := postgrestest.NewProxy(t, shared)
	s := behind(t, proxy, shared.NewDatabase(t), "")
	create(t, s, newGrant("g"))
	proxy.Hold(true)
	began := time.Now()
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			if _, err := s.CreateGrant(t.Context(), ofOthers(i)); err == nil {
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
	proxy.Hold(false)
	eventually(t, "the store works again", func() bool {
		_, err := s.GetGrant(t.Context(), "g")
		return err == nil
	})
}

func TestADatabaseThatIsStoppedInOrderIsAmbiguousAtMost(t *testing.T) {
	server := postgrestest.Start(t)
	s := open(t, server.DSN("postgres"), hurried)
	g := create(t, s, newGrant("g"))
	tx := begin(t, server.DSN("postgres"))
	if _, err := tx.Exec(t.Context(), "SELECT * FROM oauth_grants FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	updated := make(chan error)
	go func() {
		_, err := s.UpdateGrant(t.Context(), g)
		updated <- err
	}()
	eventually(t, "the update waits", func() bool {
		return postgrestest.Value[int](t, server, "postgres", "SELECT count(*) FROM pg_locks WHERE NOT granted") > 0
	})
	if err := server.Signal(syscall.SIGINT); err != nil { // a fast shutdown tells every connection that it is over
		t.Fatal(err)
	}
	if err := <-updated; !errors.Is(err, storage.ErrAmbiguous) || strings.Contains(err.Error(), postgrestest.Password) {
		t.Errorf("an update during the shutdown: %v, want ErrAmbiguous", err)
	}
}
