// Package replicas tests several replicas of a token server with one store: what one replica has
// answered is true at all of them, whatever happens to a replica, to the store, or to the requests
// between the two.
//
//	races_test.go        fifty requests at once, and the effects of one replica's answers on the others
//	crashes_test.go      killed replicas, lost responses, outages of the store
//	writes_test.go       how many writes a request causes, by the API server's audit log
//	secrets_test.go      a client secret that is revoked, with one replica cut off
//	retirement_test.go   a client secret that is not used any more, with one replica cut off
//	burst_test.go        many logins, and the records that remain
//	assertions_test.go   clients that sign with their own keys
//	replicas_test.go     the set-up: an AuthorizationServer with three replicas, requests to each
//	leaks_test.go        the search for codes, tokens and secrets in objects, logs and metrics
//	fault_proxy_test.go  a proxy in front of the API server that loses or repeats requests
//	elsewhere_test.go    users from elsewhere: the provider, the record or the store is put back
//	strangers_test.go    users from elsewhere: what causes no write
//	directory_test.go    the same at a directory (build tag ldap)
//	backup_test.go       records that are saved and put back
//	postgresql_test.go   the same with records in PostgreSQL (build tag postgres)
//	failover_test.go     a standby of PostgreSQL that is promoted (build tag postgres)
//	pooler_test.go       PostgreSQL behind PgBouncer (build tag pgbouncer)
//	hung_test.go         PostgreSQL that hangs (build tag postgres)
//
// More rounds and logins take longer: go test ./test/replicas -args -rounds 100 -logins 10000.
package replicas

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
	"github.com/oauth-operator/oauth-operator/hack/local/operator"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

var (
	rounds   = flag.Int("rounds", 5, "how often fifty clients race for one code, and for one refresh token")
	requests = flag.Int("requests", 10_000, "how many requests must cost no write, of strangers and of machines each")
	logins   = flag.Int("logins", 600, "how many logins make a burst")
	outage   = flag.Duration("outage", 6*time.Second, "how long the store is away")
)

// What all tests share, besides the variables of package testenv.
var (
	apiProxy *faultProxy // between the replicas and the API server
	auditLog string      // the path
)

// auditPolicy has every write in the log, and nothing else.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, verbs: [get, list, watch]}
- {level: Metadata}
`

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "replicas")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	auditLog = filepath.Join(dir, "audit.log")
	defer func() {
		if apiProxy != nil {
			apiProxy.close()
		}
	}()
	return testenv.Main(m, testenv.Options{
		ControlPlane: controlplane.Options{NoFsync: true, AuditPolicy: auditPolicy, AuditLog: auditLog},
		Operator: func(o *operator.Options) error {
			var err error
			if apiProxy, err = newFaultProxy(testenv.ControlPlane.AdminConfig()); err != nil {
				return err
			}
			o.Replicas, o.NodeConfig = replicaCount, apiProxy.config()
			return nil
		},
	})
}
