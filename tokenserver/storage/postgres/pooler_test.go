//go:build postgres && pgbouncer

package postgres_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres/postgrestest"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/storagetest"
)

func TestPostgresBehindAPoolerIsAStore(t *testing.T) {
	database := shared.NewDatabase(t)
	dsn := postgrestest.StartPooler(t, shared).DSN(database, "")
	storagetest.Run(t, func(t *testing.T) storagetest.Backend {
		s := open(t, dsn, func(o *postgres.Options) { o.ServerUID = t.Name() })
		s.dsn = shared.DSN(database) // for what people do
		return s
	})
}

// A pooler gives each transaction whichever session is free, where the statement that was prepared
// for the one before is not known, or is known already.
func TestAPoolerThatDoesNotKeepStatementsCostsNoRequest(t *testing.T) {
	pooler := postgrestest.StartPooler(t, shared, "default_pool_size = 5")
	dsn := pooler.DSN(shared.NewDatabase(t), "")
	for range 2 { // the second finds what the first has prepared
		var log lockedBuilder
		s := open(t, dsn, func(o *postgres.Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				for j := range 10 {
					g := newGrantOfUser(i*10 + j)
					created, err := s.CreateGrant(t.Context(), g)
					if err != nil && !errors.Is(err, storage.ErrExists) {
						t.Errorf("CreateGrant: %v", err)
						return
					}
					if err == nil {
						if _, err := s.UpdateGrant(t.Context(), created); err != nil {
							t.Errorf("UpdateGrant: %v", err)
						}
					}
					if found, err := s.GetGrant(t.Context(), g.ID); err != nil || found.ID != g.ID {
						t.Errorf("GetGrant: %q, %v", found.ID, err)
					}
				}
			})
		}
		all.Wait()
		if n := strings.Count(log.String(), "default_query_exec_mode=cache_describe"); n != 1 {
			t.Errorf("the log names the setting %d times:\n%s", n, log.String())
		}
		s.Close()
	}
}

func TestAPoolerThatRefusesAParameterOfTheDSNIsSaidWithItsSetting(t *testing.T) {
	const parameter = "&options=-csearch_path%3Dpublic"
	database := shared.NewDatabase(t)
	s := openUnchecked(t, postgrestest.StartPooler(t, shared).DSN(database, parameter))
	if err := s.Ready(); err == nil || !strings.Contains(err.Error(), "ignore_startup_parameters") || !strings.Contains(err.Error(), "options") {
		t.Errorf("the store says %v", err)
	}
	open(t, postgrestest.StartPooler(t, shared, "ignore_startup_parameters = options").DSN(database, parameter))
}

func TestAPoolerThatAcceptsFewerConnectionsIsSharedAndSaid(t *testing.T) {
	pooler := postgrestest.StartPooler(t, shared, "max_client_conn = 3")
	s := open(t, pooler.DSN(shared.NewDatabase(t), ""))
	createAtOnce(t, s, 200)
	eventually.True(t, "the store says so", func() bool { return strings.Contains(s.State().Problem, "accepts fewer connections") })
}

// A pooler goes on with a server that was demoted behind its back.
func TestAPoolerThatIsAtAReadOnlyServerByNowIsNotTrusted(t *testing.T) {
	server := postgrestest.Start(t)
	s := open(t, postgrestest.StartPooler(t, server).DSN("postgres", ""), withShortTimeout)
	g := mustCreate(t, s, newGrant("g"))
	setReadOnly(t, server, true)
	if _, err := s.UpdateGrant(t.Context(), g); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("a write: %v, want ErrUnavailable", err)
	}
	if _, err := s.GetGrant(t.Context(), "g"); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("a read after it: %v, want ErrUnavailable", err)
	}
	setReadOnly(t, server, false)
	eventually.True(t, "the store works again", func() bool {
		_, err := s.UpdateGrant(t.Context(), g)
		return err == nil
	})
}

// The sessions of a pooler say once that they have become read-only, to the replica that uses them then.
func TestReplicasThatOnlyReadBehindAPoolerLeaveAPrimaryThatWasDemoted(t *testing.T) {
	server := postgrestest.Start(t)
	dsn := postgrestest.StartPooler(t, server, "default_pool_size = 1").DSN("postgres", "")
	var later offset
	var replicas []*testStore
	for range 3 {
		replicas = append(replicas, open(t, dsn, withShortTimeout, func(o *postgres.Options) { o.Now = later.now }))
	}
	mustCreate(t, replicas[0], newGrant("g"))
	setReadOnly(t, server, true)
	later.add(5 * time.Second) // so that each checks its connections now
	for i, s := range replicas {
		eventually.True(t, fmt.Sprintf("replica %d answers no read", i), func() bool {
			_, err := s.GetGrant(t.Context(), "g")
			return errors.Is(err, storage.ErrUnavailable)
		})
	}
	setReadOnly(t, server, false)
	for i, s := range replicas {
		eventually.True(t, fmt.Sprintf("replica %d answers again", i), func() bool {
			_, err := s.GetGrant(t.Context(), "g")
			return err == nil
		})
	}
}

// A pooler tells new connections what its first session said, also after a promotion.
func TestAStandbyBehindAPoolerAnswersReadsOnceItIsPromoted(t *testing.T) {
	primary := postgrestest.Start(t)
	standby := primary.StartStandby(t, "standby")
	pooler := postgrestest.StartPooler(t, standby)
	s := open(t, postgrestest.HostsDSN("postgres", "sslmode=disable", primary.Address(), pooler.Address()))
	mustCreate(t, s, newGrant("g"))
	eventually.True(t, "the standby has it", func() bool {
		return postgrestest.QueryValue[int](t, standby, "postgres", "SELECT count(*) FROM oauth_grants") == 1
	})
	primary.Kill()
	standby.Promote(t)
	conn, err := pgconn.Connect(t.Context(), pooler.DSN("postgres", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context()) //nolint:errcheck // the test is over
	if conn.ParameterStatus("in_hot_standby") != "on" {
		t.Log("this PgBouncer tells new connections what holds now")
	}
	eventually.True(t, "a write is done", func() bool {
		_, err := s.CreateGrant(t.Context(), newGrant("another"))
		return err == nil || errors.Is(err, storage.ErrExists)
	})
	for range 20 {
		mustGet(t, s, "g")
	}
	eventually.True(t, "nothing is wrong", func() bool { return s.State() == postgres.State{Ready: true} })
}
