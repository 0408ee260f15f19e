//go:build postgres

package replicas

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/testenv"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres/postgrestest"
)

// recordTables are what a backup of the database has.
var recordTables = []string{"oauth_grants", "oauth_pairs", "oauth_consents", "oauth_marks", "oauth_identities"}

func init() { backends = append(backends, backend{"PostgreSQL", openPostgreSQL}) }

// usePostgreSQL returns a change of a server that has it keep its records in the database of a DSN,
// which it is told by a Secret.
func usePostgreSQL(t *testing.T, dsn string) func(*v1alpha1.AuthorizationServer) {
	return func(server *v1alpha1.AuthorizationServer) {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: server.Namespace, Name: "database"}, StringData: map[string]string{"uri": dsn}}
		if err := testenv.Kube.Create(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		server.Spec.Storage = &v1alpha1.StorageSettings{
			Type:       v1alpha1.StoragePostgreSQL,
			PostgreSQL: &v1alpha1.PostgreSQLSettings{SecretRef: v1alpha1.SecretKeyReference{Name: "database", Key: "uri"}},
		}
	}
}

// openPostgreSQL starts a database for the records of a server.
func openPostgreSQL(t *testing.T) records {
	t.Helper()
	database := postgrestest.Start(t, "synchronous_commit=on") // what it has acknowledged survives that it is killed
	return records{
		change: usePostgreSQL(t, database.DSN("postgres")), dump: func() string { return database.Dump(t, "postgres") }, stop: database.Kill, start: database.Start,
		backUp: func(t *testing.T, _ string) func() {
			t.Helper()
			for _, table := range recordTables {
				database.Exec(t, "postgres", fmt.Sprintf("DROP TABLE IF EXISTS saved_%[1]s; CREATE TABLE saved_%[1]s AS TABLE %[1]s", table))
			}
			return func() {
				var statements []string
				for _, table := range recordTables {
					statements = append(statements, fmt.Sprintf("DELETE FROM %[1]s; INSERT INTO %[1]s SELECT * FROM saved_%[1]s", table))
				}
				database.Exec(t, "postgres", "BEGIN; "+strings.Join(statements, "; ")+"; COMMIT")
			}
		},
		loseIdentities: func(t *testing.T, _ string) {
			t.Helper()
			database.Exec(t, "postgres", "DELETE FROM oauth_identities")
		},
	}
}
