//go:build postgres

package postgres_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres/postgrestest"
)

const countRows = `SELECT (SELECT count(*) FROM oauth_grants) + (SELECT count(*) FROM oauth_marks) + (SELECT count(*) FROM oauth_pairs)`

func TestReplicasThatSweepAtOnceRemoveEachRecordOnceAndLeaveNothingBehind(t *testing.T) {
	database := shared.NewDatabase(t)
	replicas := []*testStore{open(t, shared.DSN(database)), open(t, shared.DSN(database)), open(t, shared.DSN(database))}
	// More than one batch.
	shared.Exec(t, database, `INSERT INTO oauth_grants SELECT 'server-uid', 'g' || n, '', '', '', '', '', 'u' || n, '', '', '', NULL, '{}', '{}', '{}',
		'', '', '', false, false, 0, NULL, '', now(), NULL, NULL, now() - INTERVAL '1 second', NULL, '' FROM generate_series(1, 2200) AS n`)
	shared.Exec(t, database, `INSERT INTO oauth_pairs SELECT 'server-uid', 'u' || n, '', now() FROM generate_series(1, 2200) AS n`)
	for i := range 3 {
		if err := replicas[0].SetMark(t.Context(), storage.Mark{Kind: storage.MarkToken, ID: fmt.Sprint(i), ExpiresAt: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	var removed atomic.Int64
	// A replica whose batch another has removed stops, so one round may leave rows.
	for range 3 {
		var all sync.WaitGroup
		for _, s := range replicas {
			all.Go(func() {
				n, err := s.Sweep(t.Context(), time.Now())
				if err != nil {
					t.Errorf("Sweep: %v", err)
				}
				removed.Add(int64(n))
			})
		}
		all.Wait()
	}
	if removed.Load() != 2203 {
		t.Errorf("%d records were removed, want 2203", removed.Load())
	}
	if left := postgrestest.QueryValue[int](t, shared, database, countRows); left != 0 {
		t.Errorf("%d rows are left", left)
	}
}

func TestWhatADeletedServerLeftIsSweptByAnotherADayLater(t *testing.T) {
	database := shared.NewDatabase(t)
	gone := open(t, shared.DSN(database), func(o *postgres.Options) { o.ServerUID = "gone" })
	mustCreate(t, gone, newGrant("g"))
	if err := gone.SetMark(t.Context(), storage.Mark{Kind: storage.MarkSession, ID: "s", ExpiresAt: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	gone.Close()
	s := open(t, shared.DSN(database))
	for _, test := range []struct {
		after         time.Duration
		removed, left int
	}{{2 * time.Hour, 0, 3}, {26 * time.Hour, 2, 0}} {
		removed, err := s.Sweep(t.Context(), time.Now().Add(test.after))
		if err != nil {
			t.Fatal(err)
		}
		if left := postgrestest.QueryValue[int](t, shared, database, countRows); removed != test.removed || left != test.left {
			t.Errorf("after %v %d records were removed and %d rows are left, want %d and %d", test.after, removed, left, test.removed, test.left)
		}
	}
}

func TestAGrantThatIsExtendedWhileTheSweepRunsStays(t *testing.T) {
	database := shared.NewDatabase(t)
	s := open(t, shared.DSN(database))
	g := newGrant("g")
	g.ExpiresAt = time.Now().Add(-time.Second)
	mustCreate(t, s, g)
	// The sweep finds the row, and waits for the transaction that extends it.
	tx := beginTransaction(t, shared.DSN(database))
	if _, err := tx.Exec(t.Context(), "UPDATE oauth_grants SET expires_at = now() + INTERVAL '1 hour'"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := s.Sweep(t.Context(), time.Now())
		done <- err
	}()
	eventually.True(t, "the sweep waits", func() bool {
		return postgrestest.QueryValue[int](t, shared, database, "SELECT count(*) FROM pg_locks WHERE NOT granted") > 0
	})
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	mustGet(t, s, "g")
}
