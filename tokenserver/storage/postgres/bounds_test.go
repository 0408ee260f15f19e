//go:build postgres

package postgres_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres/postgrestest"
)

func TestReplicasThatCreateAtOnceKeepTheBoundOfAPair(t *testing.T) {
	database := shared.NewDatabase(t)
	dsn := shared.DSN(database)
	replicas := []*testStore{open(t, dsn), open(t, dsn), open(t, dsn)}
	// The creations overlap: each takes 20 ms between its last statement and its commit.
	shared.Exec(t, database, `CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END';
		CREATE CONSTRAINT TRIGGER linger AFTER INSERT ON oauth_grants DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION linger()`)
	const creators = storage.MaxGrantsPerUserAndClient + 7
	var all sync.WaitGroup
	for i := range creators {
		all.Go(func() {
			g := newGrant(fmt.Sprint("g", i))
			if _, err := replicas[i%3].CreateGrant(t.Context(), g); err != nil {
				t.Errorf("CreateGrant: %v", err)
			}
		})
	}
	all.Wait()
	live := 0
	for i := range creators {
		g := mustGet(t, replicas[0], fmt.Sprint("g", i))
		if g.IsLive(time.Now()) {
			live++
		} else if g.EndReason != storage.EndBound {
			t.Errorf("%s has ended for %s", g.ID, g.EndReason)
		}
	}
	if live != storage.MaxGrantsPerUserAndClient {
		t.Errorf("%d of %d grants are live, want %d", live, creators, storage.MaxGrantsPerUserAndClient)
	}
}

func TestAnIDThatIsTakenEndsNothing(t *testing.T) {
	s := open(t, shared.DSN(shared.NewDatabase(t)))
	for i := range storage.MaxGrantsPerUserAndClient {
		mustCreate(t, s, newGrant(fmt.Sprint("g", i)))
	}
	if _, err := s.CreateGrant(t.Context(), newGrant("g7")); !errors.Is(err, storage.ErrExists) {
		t.Fatalf("creating it again: %v, want ErrExists", err)
	}
	for i := range storage.MaxGrantsPerUserAndClient {
		if g := mustGet(t, s, fmt.Sprint("g", i)); g.IsEnded() {
			t.Errorf("%s has ended", g.ID)
		}
	}
}

// newGrantOfUser returns a grant of the i-th user, so that only the bound of the server applies.
func newGrantOfUser(i int) storage.Grant {
	g := newGrant(fmt.Sprint("g", i))
	g.UserUID = fmt.Sprint("user-", i)
	return g
}

func TestAtTheBoundOfTheServerNothingIsCreatedAndReplaysAreStillSeen(t *testing.T) {
	s := open(t, shared.DSN(shared.NewDatabase(t)))
	s.SetGrantBounds(20, 5)
	for i := range 5 {
		mustCreate(t, s, newGrantOfUser(i))
	}
	if _, err := s.CreateGrant(t.Context(), newGrantOfUser(5)); !errors.Is(err, storage.ErrFull) {
		t.Fatalf("beyond the bound: %v, want ErrFull", err)
	}
	if _, err := s.CreateGrant(t.Context(), newGrantOfUser(3)); !errors.Is(err, storage.ErrExists) {
		t.Errorf("an id that is taken, at the bound: %v, want ErrExists", err)
	}
	ended := mustGet(t, s, "g2")
	ended.End(time.Now(), storage.EndRevoked)
	if _, err := s.UpdateGrant(t.Context(), ended); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, s, newGrantOfUser(5))
	if _, err := s.CreateGrant(t.Context(), newGrantOfUser(6)); !errors.Is(err, storage.ErrFull) {
		t.Errorf("beyond the bound again: %v, want ErrFull", err)
	}
}

func TestAtTheBoundOfTheServerRoomIsFoundWhenGrantsExpire(t *testing.T) {
	var mu sync.Mutex
	now := time.Now()
	s := open(t, shared.DSN(shared.NewDatabase(t)), func(o *postgres.Options) {
		o.Now = func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return now
		}
	})
	s.SetGrantBounds(20, 1)
	mustCreate(t, s, newGrantOfUser(0))
	if _, err := s.CreateGrant(t.Context(), newGrantOfUser(1)); !errors.Is(err, storage.ErrFull) {
		t.Fatalf("beyond the bound: %v, want ErrFull", err)
	}
	mu.Lock()
	now = now.Add(2 * time.Hour)
	mu.Unlock()
	later := newGrantOfUser(1)
	later.ExpiresAt = now.Add(time.Hour)
	mustCreate(t, s, later)
}

func TestReplicasTogetherExceedTheBoundOfTheServerByLittle(t *testing.T) {
	const limit, replicas = 200, 4
	database := shared.NewDatabase(t)
	var all sync.WaitGroup
	for replica := range replicas {
		s := open(t, shared.DSN(database))
		s.SetGrantBounds(20, limit)
		all.Go(func() {
			for i := range limit {
				_, err := s.CreateGrant(t.Context(), newGrantOfUser(1000*replica+i))
				if err != nil && !errors.Is(err, storage.ErrFull) {
					t.Errorf("CreateGrant: %v", err)
				}
			}
		})
	}
	all.Wait()
	// Each replica may use its share of what it counted as remaining after the others have reached the
	// bound: on a busy machine it may stop between its count and its creations.
	const share = limit / 16
	if live := postgrestest.QueryValue[int](t, shared, database, "SELECT count(*) FROM oauth_grants"); live < limit || live > limit+replicas*share {
		t.Errorf("%d grants are live, and the bound is %d", live, limit)
	}
}

func TestReplicasTogetherExceedABoundOnMarksByLittle(t *testing.T) {
	const limit, replicas = 50, 4
	for name, bounds := range map[string]storage.MarkBounds{
		"user and client": {PerUserAndClient: limit}, "client": {PerClient: limit}, "namespace": {PerNamespace: limit}, "server": {PerServer: limit},
	} {
		database := shared.NewDatabase(t)
		var all sync.WaitGroup
		for replica := range replicas {
			s := open(t, shared.DSN(database))
			s.SetMarkBounds(storage.MarkToken, bounds)
			all.Go(func() {
				for i := range limit {
					m := storage.Mark{
						Kind: storage.MarkToken, ID: fmt.Sprint(replica, "-", i), UserUID: "u", ClientUID: "c", Namespace: "n",
						ExpiresAt: time.Now().Add(time.Hour),
					}
					if err := s.SetMark(t.Context(), m); err != nil && !errors.Is(err, storage.ErrFull) {
						t.Errorf("Mark: %v", err)
					}
				}
			})
		}
		all.Wait()
		if n := postgrestest.QueryValue[int](t, shared, database, "SELECT count(*) FROM oauth_marks"); n < limit || n > limit+replicas*(limit/16) { // as above
			t.Errorf("%s: there are %d marks, and the bound is %d", name, n, limit)
		}
	}
}

func TestCountingTheLiveGrantsNeedsAnIndexAlone(t *testing.T) {
	database := shared.NewDatabase(t)
	open(t, shared.DSN(database))
	shared.Exec(t, database, `INSERT INTO oauth_grants SELECT 'server-uid', 'g' || n, '', '', '', '', '', 'u' || n, '', '', '', NULL, '{}', '{}', '{}',
		repeat('r', 300), '', '', false, false, 0, NULL, '', now(), NULL, NULL, now() + INTERVAL '1 hour', NULL, '' FROM generate_series(1, 20000) AS n`)
	shared.Exec(t, database, "VACUUM ANALYZE oauth_grants")
	// The planner prefers other scans of a table that is small or was not vacuumed for long.
	shared.Exec(t, database, "ALTER DATABASE "+database+" SET enable_seqscan = off")
	shared.Exec(t, database, "ALTER DATABASE "+database+" SET enable_bitmapscan = off")
	plan := postgrestest.QueryValue[string](t, shared, database, "EXPLAIN (FORMAT JSON) "+strings.NewReplacer(
		"@server_uid", "'server-uid'", "@now", "now()", "@limit", "100000").Replace(postgres.CountLiveGrants))
	if !strings.Contains(plan, "Index Only Scan") {
		t.Errorf("the plan is %s", plan)
	}
}

func TestServersInOneDatabaseDoNotSeeOneAnother(t *testing.T) {
	dsn := shared.DSN(shared.NewDatabase(t))
	as := func(uid string) *testStore { return open(t, dsn, func(o *postgres.Options) { o.ServerUID = uid }) }
	a, b := as("a"), as("b")
	mustCreate(t, a, newGrant("g"))
	if _, err := a.PutConsent(t.Context(), storage.Consent{UserUID: "user-uid", ClientUID: "client-uid"}); err != nil {
		t.Fatal(err)
	}
	if err := a.SetMark(t.Context(), storage.Mark{Kind: storage.MarkToken, ID: "m", ExpiresAt: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}

	if _, err := b.GetGrant(t.Context(), "g"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("another server reads the grant: %v", err)
	}
	if _, err := b.GetConsent(t.Context(), "user-uid", "client-uid"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("another server reads the consent: %v", err)
	}
	if marked, err := b.IsMarked(t.Context(), storage.MarkToken, "m"); err != nil || marked {
		t.Errorf("another server sees the mark: %v", err)
	}
	if err := b.DeleteConsent(t.Context(), "user-uid", "client-uid"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Sweep(t.Context(), time.Now().Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, b, newGrant("g"))
	mustGet(t, a, "g")
	if _, err := a.GetConsent(t.Context(), "user-uid", "client-uid"); err != nil {
		t.Errorf("the consent has gone: %v", err)
	}
}
