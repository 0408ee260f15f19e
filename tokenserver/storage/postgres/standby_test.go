//go:build postgres

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres/postgrestest"
)

// setReadOnly makes a server read-only, or writable again, while its connections stay.
func setReadOnly(t *testing.T, s *postgrestest.Server, is bool) {
	t.Helper()
	s.Exec(t, "postgres", fmt.Sprintf("ALTER SYSTEM SET default_transaction_read_only = %t", is))
	s.Exec(t, "postgres", "SELECT pg_reload_conf()")
	eventually.True(t, "the setting is read", func() bool {
		return postgrestest.QueryValue[bool](t, s, "postgres", "SELECT current_setting('default_transaction_read_only')::BOOLEAN") == is
	})
}

func TestAPrimaryThatWasDemotedIsLeftForTheOneThatWasPromoted(t *testing.T) {
	old := postgrestest.Start(t)
	next := old.StartStandby(t, "standby")
	s := open(t, postgrestest.HostsDSN("postgres", "sslmode=disable", old.Address(), next.Address()))
	g := mustCreate(t, s, newGrant("g"))
	eventually.True(t, "the standby has it", func() bool {
		return postgrestest.QueryValue[int](t, next, "postgres", "SELECT count(*) FROM oauth_grants") == 1
	})
	next.Promote(t)
	next.Exec(t, "postgres", "UPDATE oauth_grants SET ended_at = now(), end_reason = 'Revoked'")
	setReadOnly(t, old, true) // its connections go on to work, and it does not know that the grant has ended
	if g := mustGet(t, s, "g"); !g.IsEnded() {
		t.Error("a read is answered by the server that was demoted")
	}
	if _, err := s.UpdateGrant(t.Context(), g); err != nil {
		t.Errorf("an update of the version that both have: %v", err)
	}
	mustCreate(t, s, newGrant("another"))
	if n := postgrestest.QueryValue[int](t, next, "postgres", "SELECT count(*) FROM oauth_grants"); n != 2 {
		t.Errorf("the server that was promoted has %d grants, want 2", n)
	}
}

// loseSynchronousStandby gives the primary a synchronous standby, and kills that. No commit is
// confirmed until it is started.
func loseSynchronousStandby(t *testing.T, primary *postgrestest.Server) (standby *postgrestest.Server) {
	t.Helper()
	standby = primary.StartStandby(t, "standby")
	primary.Exec(t, "postgres", "ALTER SYSTEM SET synchronous_standby_names = 'standby'")
	primary.Exec(t, "postgres", "SELECT pg_reload_conf()")
	eventually.True(t, "the standby is synchronous", func() bool {
		return postgrestest.QueryValue[int](t, primary, "postgres", "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == 1
	})
	standby.Kill()
	eventually.True(t, "the standby is gone", func() bool {
		return postgrestest.QueryValue[int](t, primary, "postgres", "SELECT count(*) FROM pg_stat_replication") == 0
	})
	return standby
}

// What PostgreSQL has committed and not replicated is lost with the primary. If the wait for the
// standby is cancelled, reads see it all the same.
func TestACommitThatWaitsForItsStandbyIsNeitherCutShortNorSeen(t *testing.T) {
	primary := postgrestest.Start(t, "synchronous_commit=on")
	s := open(t, primary.DSN("postgres"), withShortTimeout)
	g := mustCreate(t, s, newGrant("g"))
	standby := loseSynchronousStandby(t, primary)
	g.RefreshTokenNumber++
	if _, err := s.UpdateGrant(t.Context(), g); !errors.Is(err, storage.ErrAmbiguous) {
		t.Errorf("an update that no standby confirms: %v, want ErrAmbiguous", err)
	}
	if _, err := s.CreateGrant(t.Context(), newGrant("another")); !errors.Is(err, storage.ErrAmbiguous) {
		t.Errorf("a creation that no standby confirms: %v, want ErrAmbiguous", err)
	}
	for range 20 {
		if found := mustGet(t, s, "g"); found.RefreshTokenNumber == g.RefreshTokenNumber {
			t.Fatal("the update is seen, and would be lost with the primary")
		}
		if _, err := s.GetGrant(t.Context(), "another"); !errors.Is(err, storage.ErrNotFound) {
			t.Fatalf("the creation is seen, and would be lost with the primary: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := standby.Start(); err != nil {
		t.Fatal(err)
	}
	eventually.True(t, "both are seen once the standby has them", func() bool {
		_, err := s.GetGrant(t.Context(), "another")
		return err == nil && mustGet(t, s, "g").RefreshTokenNumber == g.RefreshTokenNumber
	})
}

// connectionsOf returns how many connections the store has, as the server counts them.
func connectionsOf(t *testing.T, s *postgrestest.Server) int {
	t.Helper()
	return postgrestest.QueryValue[int](t, s, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'oauth-operator'")
}

// A session of PostgreSQL that waits for a standby does not notice that its client is gone.
func TestWritesThatNoStandbyConfirmsTakeNoMoreConnectionsThanThePoolHasAndLeaveSomeForReads(t *testing.T) {
	primary := postgrestest.Start(t, "synchronous_commit=on")
	s := open(t, primary.DSN("postgres"), func(o *postgres.Options) { o.CallTimeout = 2 * time.Second })
	mustCreate(t, s, newGrant("g"))
	standby := loseSynchronousStandby(t, primary)
	var all sync.WaitGroup
	var ambiguous atomic.Int64
	for i := range 12 {
		all.Go(func() {
			for j := range 4 {
				_, err := s.CreateGrant(t.Context(), newGrantOfUser(100*i+j))
				if errors.Is(err, storage.ErrAmbiguous) {
					ambiguous.Add(1)
				} else if !errors.Is(err, storage.ErrUnavailable) {
					t.Errorf("a creation that no standby confirms: %v", err)
				}
				if _, err := s.GetGrant(t.Context(), "g"); err != nil {
					t.Errorf("a read meanwhile: %v", err)
				}
				if n := connectionsOf(t, primary); n > 10 {
					t.Errorf("the store has %d connections, and its pool has 10", n)
				}
			}
		})
	}
	all.Wait()
	if n := ambiguous.Load(); n != 8 {
		t.Errorf("%d writes have reached the server, want 8", n)
	}
	eventually.True(t, "the store says so", func() bool { return strings.Contains(s.State().Problem, "see whether a standby confirms") })
	if err := standby.Start(); err != nil {
		t.Fatal(err)
	}
	eventually.True(t, "writes are done again", func() bool {
		_, err := s.CreateGrant(t.Context(), newGrant("another"))
		return err == nil || errors.Is(err, storage.ErrExists)
	})
	eventually.True(t, "nothing is wrong", func() bool { return s.State() == postgres.State{Ready: true} })
	createAtOnce(t, s, 100)
}

// A replica that ends does not wait for a standby.
func TestWritesThatNoStandbyConfirmsDoNotHoldUpClosing(t *testing.T) {
	primary := postgrestest.Start(t, "synchronous_commit=on")
	s := open(t, primary.DSN("postgres"), withShortTimeout)
	g := mustCreate(t, s, newGrant("g"))
	loseSynchronousStandby(t, primary)
	if _, err := s.UpdateGrant(t.Context(), g); !errors.Is(err, storage.ErrAmbiguous) {
		t.Errorf("an update that no standby confirms: %v, want ErrAmbiguous", err)
	}
	s.Close()
	eventually.True(t, "the connection is closed", func() bool {
		stacks := make([]byte, 1<<20)
		return !strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "postgres.waitForAnswer")
	})
}

func TestADSNThatAsksForAStandbyIsRefused(t *testing.T) {
	for _, attributes := range []string{"read-only", "standby", "prefer-standby"} {
		s := openUnchecked(t, shared.DSN("postgres")+"&target_session_attrs="+attributes)
		if err := s.Ready(); err == nil || !strings.Contains(err.Error(), "target_session_attrs="+attributes) || !strings.Contains(err.Error(), "read-write") {
			t.Errorf("the store says %v", err)
		}
	}
}

func TestAHostThatDoesNotAnswerLeavesTimeForTheNext(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts connections, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close() //nolint:errcheck // the test is over
	dsn := postgrestest.HostsDSN(shared.NewDatabase(t), "sslmode=disable", silent.Addr().String(), shared.Address())
	s := open(t, dsn, func(o *postgres.Options) { o.CallTimeout = 3 * time.Second })
	createAtOnce(t, s, 10)
}

func TestAnAddressOfANameThatDoesNotAnswerLeavesTimeForTheNext(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close() //nolint:errcheck // the test is over
	config, err := pgx.ParseConfig(postgrestest.DSN("db.example.com:5432", "postgres", "sslmode=disable"))
	if err != nil {
		t.Fatal(err)
	}
	config.ConnectTimeout = 3 * time.Second
	config.LookupFunc = func(context.Context, string) ([]string, error) {
		return []string{silent.Addr().String(), shared.Address()}, nil
	}
	postgres.DivideTime(t.Context(), config, config.ConnectTimeout)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close(ctx)
}

// newRole creates a role that owns a database, and returns the DSN of both.
func newRole(t *testing.T, connectionLimit int) (role, dsn string) {
	t.Helper()
	database := shared.NewDatabase(t)
	role = "limited_" + database
	shared.Exec(t, "postgres", fmt.Sprintf("CREATE ROLE %[1]s LOGIN PASSWORD 'limited' CONNECTION LIMIT %[2]d; ALTER DATABASE %[3]s OWNER TO %[1]s", role, connectionLimit, database))
	return role, fmt.Sprintf("postgres://%s:limited@%s/%s?sslmode=disable", role, shared.Address(), database)
}

func TestWhereTheDatabaseAcceptsFewerConnectionsThoseAreSharedAndThatIsSaid(t *testing.T) {
	role, dsn := newRole(t, 3)
	var later offset
	s := open(t, dsn, func(o *postgres.Options) { o.Now = later.now })
	createAtOnce(t, s, 200)
	eventually.True(t, "the store says so", func() bool {
		state := s.State()
		return state.Ready && strings.Contains(state.Problem, "accepts fewer connections of this replica than its pool may have, which is 10") &&
			strings.Contains(state.Problem, "max_connections")
	})
	shared.Exec(t, "postgres", "ALTER ROLE "+role+" CONNECTION LIMIT -1")
	later.add(2 * time.Minute)
	eventually.True(t, "the store says nothing any more", func() bool { return s.State() == postgres.State{Ready: true} })
	eventually.True(t, "all connections are used", func() bool {
		createAtOnce(t, s, 100)
		return postgrestest.QueryValue[int](t, shared, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE usename = $1", role) > 3
	})
}

func TestWhereTheDatabaseAcceptsNoConnectionNothingIsConsumedAndThatIsSaid(t *testing.T) {
	role, dsn := newRole(t, -1)
	s := open(t, dsn, withShortTimeout)
	g := mustCreate(t, s, newGrant("g"))
	shared.Exec(t, "postgres", "ALTER ROLE "+role+" CONNECTION LIMIT 0")
	shared.Exec(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '"+role+"'")
	eventually.True(t, "the connections are gone", func() bool {
		_, err := s.GetGrant(t.Context(), "g")
		return errors.Is(err, storage.ErrUnavailable)
	})
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			if _, err := s.UpdateGrant(t.Context(), g); !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("an update: %v, want ErrUnavailable", err)
			}
		})
	}
	all.Wait()
	eventually.True(t, "the store says so", func() bool {
		return strings.Contains(s.State().Problem, "accepts no connection of this replica") && strings.Contains(s.State().Problem, "lower pool_max_conns")
	})
	if second := openUnchecked(t, dsn); second.Ready() == nil || !strings.Contains(second.Ready().Error(), "CONNECTION LIMIT") {
		t.Errorf("a replica that starts meanwhile says %v", second.Ready())
	}
	shared.Exec(t, "postgres", "ALTER ROLE "+role+" CONNECTION LIMIT -1")
	eventually.True(t, "the update is done", func() bool {
		_, err := s.UpdateGrant(t.Context(), g)
		return err == nil
	})
}
