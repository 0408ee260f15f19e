// Package replicas has several processes of a token server over one store: what one of them has answered holds at all of them, whatever happens
// to a process, to the store, or to what is said between the two.
//
//	races_test.go       fifty clients at once, and what one replica did seen from the others
//	crashes_test.go     a replica is killed, an answer is lost, the store is away
//	writes_test.go      what the API server's audit log says about what a request costs
//	burst_test.go       many logins, and what is left of them
//	replicas_test.go    three replicas, requests to each, and the search for what nobody may find
//	gateway_test.go     what stands between the replicas and the API server
//	postgresql_test.go  the same with records in PostgreSQL (build tag postgres)
//
// How much is done can be raised: go test ./test/replicas -args -rounds 100 -logins 10000.
package replicas

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
	"github.com/oauth-operator/oauth-operator/hack/local/operator"
	"github.com/oauth-operator/oauth-operator/test/world"
)

var (
	rounds   = flag.Int("rounds", 5, "how often fifty clients race for one code, and for one refresh token")
	requests = flag.Int("requests", 10_000, "how many requests must cost no write, of strangers and of machines each")
	logins   = flag.Int("logins", 600, "how many logins make a burst")
	outage   = flag.Duration("outage", 6*time.Second, "how long the store is away")
)

// What all tests share, beside what package world holds.
var (
	between  *gateway
	auditLog string
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
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		err = start(dir)
	}
	defer stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func start(dir string) error {
	ctrllog.SetLogger(logr.Discard())
	ctx := context.Background()
	programs, err := operator.Build(ctx, filepath.Join(dir, "bin"))
	if err != nil {
		return err
	}
	auditLog = filepath.Join(dir, "audit.log")
	if world.Cluster, err = controlplane.Start(ctx, controlplane.Options{NoFsync: true, AuditPolicy: auditPolicy, AuditLog: auditLog}); err != nil {
		return err
	}
	if between, err = newGateway(world.Cluster.AdminConfig()); err != nil {
		return err
	}
	if world.Operator, err = operator.Start(ctx, operator.Options{
		ControlPlane: world.Cluster, Programs: programs, Dir: filepath.Join(dir, "data"), Replicas: 3, NodeConfig: between.config(),
		ManagerLog: &world.Logs, TokenServerLog: &world.Logs,
	}); err != nil {
		return err
	}
	world.Kube, err = world.NewClient(world.Cluster.AdminConfig())
	return err
}

func stop() {
	if world.Operator != nil {
		world.Operator.Stop()
	}
	if between != nil {
		between.close()
	}
	if world.Cluster != nil {
		world.Cluster.Stop()
	}
}
