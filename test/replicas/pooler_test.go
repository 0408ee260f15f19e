//go:build postgres && pgbouncer

package replicas

import (
	"testing"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres/postgrestest"
)

// PgBouncer gives each transaction whichever session is free, and fewer than the replicas have
// connections.
func TestReplicasBehindAPoolerHaveOneTruth(t *testing.T) {
	database := postgrestest.Start(t, "synchronous_commit=on")
	pooler := postgrestest.StartPooler(t, database, "default_pool_size = 4", "server_login_retry = 1")
	r := records{
		change: usePostgreSQL(t, pooler.DSN("postgres", "")), dump: func() string { return database.Dump(t, "postgres") },
		stop: database.Kill, start: database.Start,
	}
	t.Run("races", func(t *testing.T) {
		s := newReplicatedServer(t, r.change)
		s.dumpRecords = r.dump
		raceForCodes(t, s)
		raceForRefreshTokens(t, s)
	})
	t.Run("outage", func(t *testing.T) { testOutage(t, r) })
}
