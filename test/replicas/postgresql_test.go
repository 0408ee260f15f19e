//go:build postgres

package replicas

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/testenv"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres/postgrestest"
)

func init() { backends = append(backends, backend{"PostgreSQL", openPostgreSQL}) }

// openPostgreSQL starts a database, and tells the server of it by a Secret.
func openPostgreSQL(t *testing.T) records {
	t.Helper()
	database := postgrestest.Start(t, "synchronous_commit=on") // what it has acknowledged survives that it is killed
	change := func(server *v1alpha1.AuthorizationServer) {
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: server.Namespace, Name: "database"}, StringData: map[string]string{"uri": database.DSN("postgres")},
		}
		if err := testenv.Kube.Create(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		server.Spec.Storage = &v1alpha1.StorageSettings{
			Type:       v1alpha1.StoragePostgreSQL,
			PostgreSQL: &v1alpha1.PostgreSQLSettings{SecretRef: v1alpha1.SecretKeyReference{Name: "database", Key: "uri"}},
		}
	}
	return records{change, func() string { return database.Dump(t, "postgres") }, database.Kill, database.Start}
}
