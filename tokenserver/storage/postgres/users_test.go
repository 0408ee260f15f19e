//go:build postgres

package postgres_test

import (
	"testing"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres"
	"github.com/oauth-operator/oauth-operator/tokenserver/users/userstest"
)

func TestUsersFromElsewhereAreAlikeAtAllReplicasWithPostgreSQL(t *testing.T) {
	dsn := shared.DSN(shared.NewDatabase(t))
	userstest.Run(t, func(t *testing.T) userstest.Storage {
		var replicas []*testStore
		s := userstest.Storage{}
		for range 3 {
			r := open(t, dsn, func(o *postgres.Options) { o.ServerUID = t.Name() })
			replicas = append(replicas, r)
			s.Stores = append(s.Stores, storage.Store(r.Store))
		}
		s.DeleteIdentity = replicas[0].DeleteIdentity
		return s
	})
}
