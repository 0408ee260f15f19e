// Package testenv is the environment of tests that go from a manifest to an HTTP response: a test
// creates objects, the manager reads them, the token server serves them, and the test is its
// client. The API server is real, and both programs run as processes under their own
// ServiceAccounts with the shipped RBAC.
//
//	testenv.go  the control plane and the operator, which all tests of a package share
//	env.go      an Env: the namespaces, server and user of one test
//	objects.go  creating, changing and waiting for objects
//	client.go   what a client does: its configuration, signing in, requests
//	trust.go    another cluster, which takes the users of an Env
//	tls.go      a certificate authority for servers that use TLS
//	log.go      the output of the programs
//
// A package that uses it has a TestMain that calls Main.
package testenv

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

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
	"github.com/oauth-operator/oauth-operator/hack/local/operator"
)

// What all tests of a package share. Each Env has namespaces and an issuer of its own.
var (
	ControlPlane *controlplane.ControlPlane
	Operator     *operator.Operator
	Kube         client.Client // an administrator's
	Logs         Log           // of the manager and the token servers
)

var serial atomic.Int64

// Options say how the shared control plane and operator run.
type Options struct {
	ControlPlane controlplane.Options
	// Operator changes the options of the operator, once the control plane runs.
	Operator func(*operator.Options) error
}

// Main starts what is shared, runs the tests of the package, and returns the exit status.
func Main(m *testing.M, o Options) int {
	dir, err := os.MkdirTemp("", "testenv")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		err = start(dir, o)
	}
	defer stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func start(dir string, o Options) error {
	ctrllog.SetLogger(logr.Discard())
	ctx := context.Background()
	programs, err := operator.Build(ctx, filepath.Join(dir, "bin"))
	if err != nil {
		return err
	}
	if ControlPlane, err = controlplane.Start(ctx, o.ControlPlane); err != nil {
		return err
	}
	options := operator.Options{
		ControlPlane: ControlPlane, Programs: programs, Dir: filepath.Join(dir, "data"), ManagerLog: &Logs, TokenServerLog: &Logs,
	}
	if o.Operator != nil {
		if err := o.Operator(&options); err != nil {
			return err
		}
	}
	if Operator, err = operator.Start(ctx, options); err != nil {
		return err
	}
	Kube, err = NewClient(ControlPlane.AdminConfig())
	return err
}

func stop() {
	if Operator != nil {
		Operator.Stop()
	}
	if ControlPlane != nil {
		ControlPlane.Stop()
	}
}

// NewClient returns a client of the API server for the kinds of Kubernetes and of this project.
func NewClient(config *rest.Config) (client.Client, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, internalv1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	return client.New(config, client.Options{Scheme: scheme})
}
