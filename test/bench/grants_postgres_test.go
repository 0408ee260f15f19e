//go:build postgres

package bench

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/test/bench/results"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres/postgrestest"
)

// fewGrants is the size that the others are compared with.
const fewGrants = 10_000

// manyGrants is how many grants a database has: as many as GRANTS says, for what takes long.
func manyGrants(b *testing.B) int {
	b.Helper()
	return sizeFrom(b, "GRANTS", 200_000, fewGrants)
}

// grantsOfServer is how many grants one server has at most: half of what it may have. A database that
// has more has those of other servers.
const grantsOfServer = storage.MaxGrantsPerServer / 2

// filledStore is a store of one server, in a database with the records of others.
type filledStore struct {
	*postgres.Store
	server   *postgrestest.Server
	database string
	all      int                  // grants in the database
	records  postgrestest.Records // of the server
	next     int                  // the number of the next new grant
}

// openFilled opens a store on one connection, in a new database with so many grants.
func openFilled(b *testing.B, server *postgrestest.Server, grants int) *filledStore {
	b.Helper()
	f := &filledStore{server: server, database: server.NewDatabase(b), all: grants}
	f.records = postgrestest.Records{ServerUID: "11111111-2222-4333-8444-555555555555", Grants: min(grants, grantsOfServer)}
	f.open(b, 1).Close() // it makes the schema
	server.Fill(b, f.database, f.records)
	if others := grants - f.records.Grants; others > 0 {
		server.Fill(b, f.database, postgrestest.Records{ServerUID: "66666666-7777-4888-8999-000000000000", Grants: others})
	}
	f.Store = f.open(b, 1)
	for range 22 * 50 { // of one user and client, the bound and what has ended
		if err := f.create(b.Context(), 0); err != nil {
			b.Fatal(err)
		}
	}
	return f
}

func (f *filledStore) open(b *testing.B, connections int) *postgres.Store {
	b.Helper()
	file := filepath.Join(b.TempDir(), "dsn")
	dsn := postgrestest.DSN(f.server.Address(), f.database, fmt.Sprintf("sslmode=disable&application_name=store&pool_max_conns=%d", connections))
	if err := os.WriteFile(file, []byte(dsn), 0o600); err != nil {
		b.Fatal(err)
	}
	s, err := postgres.Open(b.Context(), postgres.Options{
		DSNFile: file, ServerUID: f.records.ServerUID, CallTimeout: time.Minute, Now: time.Now, Random: rand.Reader, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil || !s.State().Ready {
		b.Fatalf("the store is not ready: %v, %s", err, s.State().Problem)
	}
	b.Cleanup(s.Close)
	return s
}

// create creates a grant like the i-th, of the same user and client, and in a session of its own: that
// of the i-th may have ended.
func (f *filledStore) create(ctx context.Context, i int) error {
	g, err := f.GetGrant(ctx, f.records.GrantID(i))
	if err != nil {
		return err
	}
	f.next++
	g.ID, g.CreatedAt = fmt.Sprintf("%040d", f.next), time.Now()
	if g.SessionHash != "" {
		g.SessionHash = g.ID
	}
	_, err = f.CreateGrant(ctx, g)
	return err
}

// refresh reads a grant and replaces its refresh token.
func (f *filledStore) refresh(ctx context.Context, i int) error {
	g, err := f.GetGrant(ctx, f.records.GrantID(i))
	if err != nil {
		return err
	}
	now := time.Now()
	_, _, _, err = f.Rotate(ctx, storage.Rotation{
		GrantID: g.ID, Incarnation: g.Incarnation, ClientUID: g.ClientUID, ClientID: g.ClientID, Number: g.RefreshTokenNumber,
		Attempt: g.Attempt, At: now, Expiry: storage.Expiry{IdleUntil: now.Add(30 * 24 * time.Hour), Lag: time.Minute},
	})
	return err
}

// value is a number that a query gives.
func (f *filledStore) value(b *testing.B, query string) float64 {
	b.Helper()
	return postgrestest.QueryValue[float64](b, f.server, f.database, "SELECT ("+query+")::DOUBLE PRECISION")
}

// cpu is the CPU time that the database's process for the connection uses for each of so many steps.
func (f *filledStore) cpu(b *testing.B, steps int, do func(step int) error) time.Duration {
	b.Helper()
	pid := int(f.value(b, "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'store'"))
	before := cpuOf(b, pid)
	for step := range steps {
		if err := do(step); err != nil {
			b.Fatal(err)
		}
	}
	return (cpuOf(b, pid) - before) / time.Duration(steps)
}

// startForGrants starts a server that is configured for many grants.
func startForGrants(b *testing.B) *postgrestest.Server {
	b.Helper()
	return postgrestest.Start(b, "fsync=on", "synchronous_commit=on", "full_page_writes=on", "shared_buffers=1GB", "max_wal_size=8GB")
}

// BenchmarkGrantsInPostgreSQL is what many grants cost a database that holds them: their size, the time
// in which their indexes are made, and the CPU time of the database for a refresh, a code and a sweep,
// against that with a few.
func BenchmarkGrantsInPostgreSQL(b *testing.B) {
	n := manyGrants(b)
	server := startForGrants(b)
	few, many := openFilled(b, server, fewGrants), openFilled(b, server, n)
	for _, relation := range []string{"oauth_grants", "oauth_grants_pkey", "oauth_grants_due", "oauth_grants_live_of_pair"} {
		size := many.value(b, "SELECT pg_relation_size('"+relation+"')") / many.value(b, "SELECT COUNT(*) FROM oauth_grants")
		table.add(b, results.Row{Group: grantRows, Name: fmt.Sprintf("a grant in PostgreSQL, of %d: %s", n, relation), Unit: "bytes", Value: size})
	}
	measureIndexes(b, many)
	measureStatements(b, few, many)
}

// BenchmarkDayOfGrantsInPostgreSQL does what the users of one server do in a day, and looks what has
// grown.
func BenchmarkDayOfGrantsInPostgreSQL(b *testing.B) {
	measureDay(b, openFilled(b, startForGrants(b), grantsOfServer))
}

// measureIndexes adds rows of the time in which a migration makes an index of the grants while others
// write.
func measureIndexes(b *testing.B, f *filledStore) {
	b.Helper()
	for _, index := range []string{"oauth_grants_due", "oauth_grants_live_of_pair"} {
		began := time.Now()
		f.server.Exec(b, f.database, "REINDEX INDEX CONCURRENTLY "+index)
		name := fmt.Sprintf("an index of %d grants in PostgreSQL: %s", f.all, index)
		table.add(b, results.Row{Group: grantRows, Name: name, Unit: "s", Value: time.Since(began).Seconds()})
	}
}

// measureStatements adds rows of the CPU time of the database.
func measureStatements(b *testing.B, few, many *filledStore) {
	b.Helper()
	const turns, each = 7, 400
	at := 0
	for _, c := range []struct {
		name  string
		steps int
		do    func(f *filledStore, i int) error
	}{
		{"reading and refreshing a grant", each, func(f *filledStore, i int) error { return f.refresh(b.Context(), i) }},
		{"a code", each, func(f *filledStore, i int) error { return f.create(b.Context(), i) }},
		{"a code of a user and client at the bound", each, func(f *filledStore, _ int) error { return f.create(b.Context(), 0) }},
		{"a sweep that finds nothing", 1, func(f *filledStore, _ int) error { return f.sweep(b, 0) }},
		{"a sweep of 500 grants that have expired", 1, func(f *filledStore, _ int) error { return f.sweep(b, 500) }},
	} {
		costs := map[*filledStore][]time.Duration{}
		for range turns {
			for _, f := range []*filledStore{few, many} {
				costs[f] = append(costs[f], f.cpu(b, c.steps, func(step int) error {
					at += 7919
					return c.do(f, 1+at%(f.records.Grants/2)) // the other half is for sweeps
				}))
			}
		}
		name := fmt.Sprintf("%s in PostgreSQL with %d grants, against %d: its database", c.name, many.all, fewGrants)
		table.add(b, compared(grantRows, name, costs[many], costs[few], ratios(costs[many], costs[few])))
	}
}

// sweep lets so many grants expire, and sweeps.
func (f *filledStore) sweep(b *testing.B, expired int) error {
	b.Helper()
	if expired > 0 {
		f.server.Exec(b, f.database, fmt.Sprintf(`UPDATE oauth_grants SET expires_at = now(), due_at = now() WHERE id IN (
			SELECT id FROM oauth_grants WHERE server_uid = '%s' AND ended_at IS NULL ORDER BY due_at DESC LIMIT %d)`,
			f.records.ServerUID, expired))
	}
	removed, err := f.Sweep(b.Context(), time.Now())
	if err == nil && removed < expired {
		err = fmt.Errorf("the sweep removed %d records of %d", removed, expired)
	}
	return err
}

// measureDay adds rows of what a day leaves: each of a twentieth of the grants is refreshed once
// an hour, and there is a sweep after each hour.
func measureDay(b *testing.B, f *filledStore) {
	b.Helper()
	const hours = 24
	active, users := f.records.Grants/20, *f
	users.Store = f.open(b, workers)
	sizes := func() float64 { return f.value(b, "SELECT pg_total_relation_size('oauth_grants')") }
	before, began := sizes(), time.Now()
	for range hours {
		var all sync.WaitGroup
		for w := range workers {
			all.Go(func() {
				for i := w; i < active; i += workers {
					if err := users.refresh(b.Context(), 1+i*5); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
		if err := f.sweep(b, 0); err != nil {
			b.Fatal(err)
		}
	}
	took := time.Since(began)
	b.Logf("%d refreshes, %.0f a second", hours*active, float64(hours*active)/took.Seconds())
	users.Close() // connections tell what they did when they end
	hot := f.value(b, "SELECT n_tup_hot_upd::DOUBLE PRECISION / n_tup_upd FROM pg_stat_user_tables WHERE relname = 'oauth_grants'")
	name := fmt.Sprintf("a day in PostgreSQL with %d grants", f.all)
	table.add(b, results.Row{Group: grantRows, Name: name + ": the table and its indexes grow by", Unit: "%", Value: 100 * (sizes()/before - 1)})
	table.add(b, results.Row{Group: grantRows, Name: name + ": refreshes that leave the indexes as they are", Unit: "%", Value: 100 * hot})
}
