//go:build postgres

package postgres_test

import (
	"fmt"
	"strings"
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

func TestOneReplicaSweepsUntilItHasNotForAWhile(t *testing.T) {
	database := shared.NewDatabase(t)
	one, other := open(t, shared.DSN(database)), open(t, shared.DSN(database))
	sweepOne := func(s *testStore, id string) int {
		t.Helper()
		if err := s.SetMark(t.Context(), storage.Mark{Kind: storage.MarkToken, ID: id, ExpiresAt: time.Now()}); err != nil {
			t.Fatal(err)
		}
		removed, err := s.Sweep(t.Context(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return removed
	}
	for i, c := range []struct {
		by   *testStore
		want int
	}{{one, 1}, {one, 1}, {other, 0}, {one, 2}} {
		if removed := sweepOne(c.by, fmt.Sprint(i)); removed != c.want {
			t.Errorf("sweep %d removed %d records, want %d", i, removed, c.want)
		}
	}
	shared.Exec(t, database, "UPDATE oauth_sweeps SET claimed_at = now() - INTERVAL '151 seconds'")
	if removed := sweepOne(other, "taken over"); removed != 1 {
		t.Errorf("the other replica removed %d records after a while, want 1", removed)
	}
	if removed := sweepOne(one, "lost"); removed != 0 {
		t.Errorf("the first replica removed %d records after another took over", removed)
	}
}

func TestAStepOfTheSweepThatFailsKeepsNoOtherFromBeingDone(t *testing.T) {
	const refuse = `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''refused''; END';
		CREATE TRIGGER refuse BEFORE %s ON %s FOR EACH STATEMENT EXECUTE FUNCTION refuse()`
	for _, broken := range []struct {
		table, event string
		left         string // what is left of the expired or unneeded
	}{
		{"oauth_grants", "UPDATE OR DELETE", "expired unconsented"}, {"oauth_marks", "DELETE", "mark"},
		{"oauth_identities", "DELETE", "identity"}, {"oauth_pairs", "DELETE", ""}, {"", "", ""},
	} {
		database := shared.NewDatabase(t)
		s := open(t, shared.DSN(database))
		s.SetIdentitySpecs(func(string) bool { return false })
		now := time.Now()
		expired, unconsented := newGrant("expired"), newGrant("unconsented")
		expired.ExpiresAt, unconsented.Consented, unconsented.ConsentUID = now, true, "gone"
		mustCreate(t, s, expired)
		mustCreate(t, s, unconsented)
		if err := s.SetMark(t.Context(), storage.Mark{Kind: storage.MarkToken, ID: "mark", ExpiresAt: now}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.CreateIdentity(t.Context(), storage.Identity{Subject: "identity", LastSignIn: now.Add(-2 * storage.IdentityRetention)}, 1); err != nil {
			t.Fatal(err)
		}
		if broken.table != "" {
			shared.Exec(t, database, fmt.Sprintf(refuse, broken.event, broken.table))
		}
		_, err := s.Sweep(t.Context(), now)
		if (err != nil) != (broken.table != "") || err != nil && !strings.Contains(err.Error(), broken.table) {
			t.Errorf("with %s broken: %v", broken.table, err)
		}
		left := postgrestest.QueryValue[string](t, shared, database, `SELECT COALESCE(string_agg(id, ' ' ORDER BY id), '') FROM (
			SELECT id FROM oauth_grants WHERE ended_at IS NULL UNION SELECT id FROM oauth_marks UNION SELECT subject FROM oauth_identities) AS all_left`)
		if left != broken.left {
			t.Errorf("with %s broken %q is left, want %q", broken.table, left, broken.left)
		}
	}
}

func TestAGrantIsSweptWhenItExpiresHoweverOftenItWasExtended(t *testing.T) {
	database := shared.NewDatabase(t)
	s := open(t, shared.DSN(database))
	now := time.Now()
	g := mustCreate(t, s, newGrant("extended"))
	for hours := range 3 {
		var err error
		g.ExpiresAt = now.Add(time.Duration(hours+2) * time.Hour)
		if g, err = s.UpdateGrant(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	g = mustCreate(t, s, newGrant("ended"))
	g.ExpiresAt = now.Add(100 * time.Hour)
	g, err := s.UpdateGrant(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	g.End(now, storage.EndRevoked)
	if _, err := s.UpdateGrant(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	// An earlier version of the program knows no due_at.
	shared.Exec(t, database, `INSERT INTO oauth_grants (server_uid, id, version, incarnation, attempt, client_uid, client_id, user_uid, subject, user_epoch,
		session_hash, amr, scopes, resources, redirect_uri, nonce, claims_request, consented, offline, generation, seal_kid, created_at, expires_at, end_reason)
		SELECT server_uid, 'by an earlier version', version, incarnation, attempt, client_uid, client_id, user_uid, subject, user_epoch, session_hash, amr, scopes,
		resources, redirect_uri, nonce, claims_request, consented, offline, generation, seal_kid, created_at, expires_at, '' FROM oauth_grants WHERE id = 'extended'`)
	for _, c := range []struct {
		after   time.Duration
		removed int
	}{
		{storage.EndedRetention - time.Minute, 0}, {storage.EndedRetention + time.Minute, 1}, {3 * time.Hour, 0}, {4*time.Hour - time.Second, 0},
		{4*time.Hour + time.Second, 2},
	} {
		if removed, err := s.Sweep(t.Context(), now.Add(c.after)); err != nil || removed != c.removed {
			t.Errorf("after %v the sweep removed %d records, %v; want %d", c.after, removed, err, c.removed)
		}
	}
}

func TestAGrantThatAnEarlierVersionEndsIsSweptInTime(t *testing.T) {
	database := shared.NewDatabase(t)
	s := open(t, shared.DSN(database))
	now := time.Now()
	g := newGrant("ended")
	g.ExpiresAt = now.Add(30 * 24 * time.Hour)
	mustCreate(t, s, g)
	g.ID = "live"
	mustCreate(t, s, g)
	shared.Exec(t, database, fmt.Sprintf("UPDATE oauth_grants SET ended_at = now(), expires_at = now() + INTERVAL '%v seconds' WHERE id = 'ended'",
		storage.EndedRetention.Seconds()))
	for _, c := range []struct {
		after   time.Duration
		removed int
	}{{0, 0}, {storage.EndedRetention + time.Minute, 1}, {29 * 24 * time.Hour, 0}, {31 * 24 * time.Hour, 1}} {
		if removed, err := s.Sweep(t.Context(), now.Add(c.after)); err != nil || removed != c.removed {
			t.Errorf("after %v the sweep removed %d records, %v; want %d", c.after, removed, err, c.removed)
		}
	}
}

// The program in the time of which consents had no UID, or a person, may leave any number of them.
func TestGrantsWithoutAConsentEndWhenTheSweepComesBy(t *testing.T) {
	const grants, eachSweep = 10_700, 10_000
	database := shared.NewDatabase(t)
	s := open(t, shared.DSN(database))
	shared.Exec(t, database, fmt.Sprintf(`INSERT INTO oauth_grants SELECT 'server-uid', 'g' || n, '', '', '', '', '', 'u' || n, '', '', '', NULL, '{}', '{}', '{}',
		'', '', '', true, false, 0, NULL, '', now(), NULL, NULL, now() + INTERVAL '1 hour', NULL, '' FROM generate_series(1, %d) AS n`, grants))
	ended := func() int {
		return postgrestest.QueryValue[int](t, shared, database, "SELECT count(*) FROM oauth_grants WHERE ended_at IS NOT NULL")
	}
	for i, want := range []int{eachSweep, grants} {
		if _, err := s.Sweep(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		if n := ended(); n != want {
			t.Errorf("after %d sweeps %d grants have ended, want %d", i+1, n, want)
		}
	}
	// The walk begins again.
	g := newGrant("g")
	g.Consented, g.ConsentUID = true, "gone"
	mustCreate(t, s, g)
	for range 2 {
		if _, err := s.Sweep(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if n := ended(); n != grants+1 {
		t.Errorf("%d grants have ended, want the new one too", n)
	}
}

// rotationOf is a refresh of g.
func rotationOf(g storage.Grant) storage.Rotation {
	return storage.Rotation{
		GrantID: g.ID, Incarnation: g.Incarnation, ClientUID: g.ClientUID, ClientID: g.ClientID, Number: g.RefreshTokenNumber, Attempt: "attempt",
		At: time.Now(), Expiry: storage.Expiry{IdleUntil: time.Now().Add(30 * 24 * time.Hour), Lag: time.Minute},
	}
}

func TestARefreshChangesNoIndex(t *testing.T) {
	database := shared.NewDatabase(t)
	s := open(t, shared.DSN(database))
	var err error
	g := newGrant("g")
	g.RefreshUntil = g.CreatedAt.Add(1000 * time.Hour)
	g = mustCreate(t, s, g)
	for range 25 {
		g.ExpiresAt = g.ExpiresAt.Add(time.Hour)
		if g, err = s.UpdateGrant(t.Context(), g); err != nil {
			t.Fatal(err)
		}
		if _, g, _, err = s.Rotate(t.Context(), rotationOf(g)); err != nil {
			t.Fatal(err)
		}
	}
	s.Close() // connections tell what they did when they end
	eventually.True(t, "the updates are counted", func() bool {
		return postgrestest.QueryValue[int](t, shared, database, "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'oauth_grants'") == 50
	})
	if hot := postgrestest.QueryValue[int](t, shared, database, "SELECT n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'oauth_grants'"); hot != 50 {
		t.Errorf("%d of 50 refreshes left the indexes as they were", hot)
	}
}
