// Package features tests what users see: a test applies objects, and checks what a client of the
// token server gets, and the conditions.
//
//	flows_test.go       the five flows
//	workloads_test.go   clients that are ServiceAccounts
//	workload_issuers_test.go  clients that are workloads elsewhere
//	workload_page_test.go     the manifests and programs of docs/workload-identity.md
//	discovery_test.go   what the metadata advertises works, and nothing else does
//	keys_test.go        clients that sign with their own keys
//	keydocs_test.go     those of the documentation
//	rotation_test.go    client secrets are replaced and revoked
//	life_test.go        clients, rules and namespaces are created, changed and deleted
//	users_test.go       users, APIs and keys are
//	identityprovider_test.go  users of one server sign in to clients of another
//	directory_test.go   users sign in in a directory (build tag ldap)
//	kubernetes_groups_test.go  a Kubernetes API server sees the groups of a provider
//	oauthidentity_test.go     what the owner says of users from elsewhere
//	ends_test.go        the end of sessions, grants and tokens
//	outage_test.go      outages of the API server, the manager and a replica
//	tls_test.go         certificates
//	storage_test.go     records in the cluster
//	postgresql_test.go  records in a database (build tag postgres)
//	quickstart_test.go  the manifests of the README
//	browser_test.go     signing in with Chromium (build tag browser)
//	logout_test.go      signing out with Chromium (build tag browser)
package features

import (
	"os"
	"testing"

	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

func TestMain(m *testing.M) {
	os.Exit(testenv.Main(m, testenv.Options{ControlPlane: controlplane.Options{NoFsync: true}}))
}
