// Package features goes from a manifest to an HTTP answer: what a user applies is read by the manager, served by the token server, and seen
// by a client.
//
//	flows_test.go       the five flows
//	discovery_test.go   what is advertised, and no more, works
//	life_test.go        clients, rules and namespaces come, change and go
//	users_test.go       users, APIs and keys do
//	ends_test.go        logins and what came from them end
//	outage_test.go      the API server, the manager or a replica is away
//	tls_test.go         certificates
//	storage_test.go     records in the cluster
//	postgresql_test.go  records in a database (build tag postgres)
//	browser_test.go     a person at a browser (build tag browser)
//	logout_test.go      the person signs out (build tag browser)
package features

import (
	"os"
	"testing"

	"github.com/oauth-operator/oauth-operator/test/world"
)

func TestMain(m *testing.M) { os.Exit(world.Main(m)) }
