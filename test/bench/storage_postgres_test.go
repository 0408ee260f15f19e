//go:build postgres

package bench

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/testenv"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres/postgrestest"
)

func init() { backends = append(backends, backend{v1alpha1.StoragePostgreSQL, 400, inPostgreSQL}) }

func inPostgreSQL(b *testing.B, server *v1alpha1.AuthorizationServer) *store {
	// As it is where people run it: a transaction waits for the disk.
	p := postgrestest.Start(b, "fsync=on", "synchronous_commit=on", "full_page_writes=on", "shared_buffers=128MB")
	database := p.NewDatabase(b)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: server.Namespace, Name: "database"}, StringData: map[string]string{"dsn": p.DSN(database)}}
	if err := testenv.Kube.Create(b.Context(), secret); err != nil {
		b.Fatal(err)
	}
	server.Spec.Storage.PostgreSQL = &v1alpha1.PostgreSQLSettings{SecretRef: v1alpha1.SecretKeyReference{Name: "database", Key: "dsn"}}
	value := func(b *testing.B, query string) float64 {
		return float64(postgrestest.QueryValue[int64](b, p, database, query))
	}
	return &store{
		floor: func(*testing.B, *testenv.Env) []string { return []string{"--dsn", p.DSN(database)} },
		// A transaction has a number only if it writes.
		written: func(b *testing.B) float64 {
			return value(b, "SELECT pg_snapshot_xmax(pg_current_snapshot())::TEXT::BIGINT")
		},
		unit: "writes",
		size: func(b *testing.B, _ *testenv.Env) (bytes, grants float64) {
			return value(b, "SELECT pg_total_relation_size('oauth_grants')"), value(b, "SELECT COUNT(*) FROM oauth_grants")
		},
	}
}
