// Package world is what a test needs to go from a manifest to an HTTP answer: what a user applies is read by the manager, served by the token
// server, and seen by a client. The API server is real, and both programs run as processes under their own ServiceAccounts with the shipped
// RBAC.
//
//	world.go    the control plane and the operator, which all tests of a package share
//	objects.go  a World: the namespaces, server and user of one test; applying objects and waiting for them
//	client.go   what a client does: its configuration, signing in, requests
//	tls.go      a certificate authority for servers that speak TLS
//	log.go      what the programs have said
//
// A package that uses it has a TestMain that calls Main.
package world

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	served "github.com/oauth-operator/oauth-operator/api/served/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
	"github.com/oauth-operator/oauth-operator/hack/local/operator"
)

// What all tests of a package share: one control plane and one operator, an administrator's client, and the programs' logs. Each World has
// namespaces and an issuer of its own.
var (
	Cluster  *controlplane.ControlPlane
	Operator *operator.Operator
	Kube     client.Client
	Logs     Log
)

var serial atomic.Int64

// Main starts what is shared, changed as the package wants it, runs the tests of the package, and returns the exit status.
func Main(m *testing.M, change ...func(*controlplane.Options)) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dir, err := os.MkdirTemp("", "world")
	if err != nil {
		return fail(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctrllog.SetLogger(logr.Discard())
	ctx := context.Background()
	programs, err := operator.Build(ctx, filepath.Join(dir, "bin"))
	if err != nil {
		return fail(err)
	}
	options := controlplane.Options{NoFsync: true}
	for _, f := range change {
		f(&options)
	}
	if Cluster, err = controlplane.Start(ctx, options); err != nil {
		return fail(err)
	}
	defer Cluster.Stop()
	if Operator, err = operator.Start(ctx, operator.Options{
		ControlPlane: Cluster, Programs: programs, Dir: filepath.Join(dir, "data"), ManagerLog: &Logs, TokenServerLog: &Logs,
	}); err != nil {
		return fail(err)
	}
	defer Operator.Stop()
	if Kube, err = NewClient(Cluster.AdminConfig()); err != nil {
		return fail(err)
	}
	return m.Run()
}

// NewClient is a client of the API server for Kubernetes' own kinds and ours.
func NewClient(config *rest.Config) (client.Client, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, served.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	return client.New(config, client.Options{Scheme: scheme})
}
