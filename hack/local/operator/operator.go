// Package operator puts the operator onto a local control plane the way its users would:
// CustomResourceDefinitions and RBAC from config, the manager under its own ServiceAccount, a token
// server for each AuthorizationServer under that server's. Nothing runs as an administrator but
// what stands in for Kubernetes itself. `make run` and the tests that go from a manifest to an HTTP
// answer use it.
package operator

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
	"github.com/oauth-operator/oauth-operator/hack/local/loopback"
	"github.com/oauth-operator/oauth-operator/hack/local/node"
	"github.com/oauth-operator/oauth-operator/hack/local/process"
)

// Namespace is where the manager lives, and ServiceAccount who it is there, as config/rbac has it.
const (
	Namespace      = "oauth-operator-system"
	ServiceAccount = "oauth-operator-manager"
)

// TokenServerImage is the image that the operator is told to run token servers from. There is none
// of that name: the node runs the program in its place.
const TokenServerImage = "localhost/oauth-operator:local"

// FieldManager applies what is in config.
const FieldManager = "local-operator"

const managerGrace = 10 * time.Second

// Options say what to run.
type Options struct {
	ControlPlane *controlplane.ControlPlane
	Programs     Programs
	// Dir holds the manager's token and the token servers' volumes.
	Dir string
	// Replicas of each token server; default 1.
	Replicas int
	// NodeConfig is how the node and its token servers reach the API server; default: as its
	// administrators do.
	NodeConfig *rest.Config
	// ManagerArgs are flags of the manager that come after those that it has here.
	ManagerArgs []string
	// ManagerLog and TokenServerLog receive the programs' output.
	ManagerLog, TokenServerLog io.Writer
}

// Operator is the running operator.
type Operator struct {
	Node    *node.Node
	Manager *Manager

	cancel context.CancelFunc
}

// Manager is the process of the manager, across its restarts.
type Manager struct {
	*process.Supervisor

	mu     sync.Mutex
	health string
}

// Health is the address (host:port) of the manager's probes. It is another one after each restart.
func (m *Manager) Health() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.health
}

// Install applies what is in config: the CustomResourceDefinitions, the manager's namespace, RBAC,
// and the admission policies.
func Install(ctx context.Context, cp *controlplane.ControlPlane) error {
	root, err := controlplane.Root()
	if err != nil {
		return err
	}
	if err := cp.InstallCRDs(ctx, filepath.Join(root, "config", "crd", "bases")); err != nil {
		return err
	}
	for _, dir := range []string{"rbac", "admission"} {
		if err := cp.ApplyDir(ctx, FieldManager, filepath.Join(root, "config", dir)); err != nil {
			return err
		}
	}
	return nil
}

// Start installs and starts the operator. It returns when the programs are started, not when they
// are ready: conditions tell that. They run until Stop, and never longer than this process.
func Start(ctx context.Context, o Options) (*Operator, error) {
	if o.ManagerLog == nil {
		o.ManagerLog = io.Discard
	}
	if err := Install(ctx, o.ControlPlane); err != nil {
		return nil, fmt.Errorf("installing the operator: %w", err)
	}
	kubeconfig, err := o.ControlPlane.WriteServiceAccountKubeconfig(ctx, Namespace, ServiceAccount, filepath.Join(o.Dir, "manager"))
	if err != nil {
		return nil, err
	}
	if o.NodeConfig == nil {
		o.NodeConfig = o.ControlPlane.AdminConfig()
	}
	n, err := node.Start(node.Options{
		Config: o.NodeConfig, Program: o.Programs.TokenServer, Dir: filepath.Join(o.Dir, "volumes"),
		Replicas: o.Replicas, Log: o.TokenServerLog,
	})
	if err != nil {
		return nil, err
	}
	running, cancel := context.WithCancel(context.Background())
	m := &Manager{}
	m.Supervisor = process.Supervise(running, "the manager", func() (process.Command, error) {
		port, err := loopback.FreePort("127.0.0.1")
		if err != nil {
			return process.Command{}, err
		}
		health := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		m.mu.Lock()
		m.health = health
		m.mu.Unlock()
		return process.Command{
			Path: o.Programs.Manager,
			Args: append([]string{
				"--kubeconfig", kubeconfig, "--metrics-bind-address", "127.0.0.1:0", "--metrics-secure=false", "--health-probe-bind-address", health,
				"--tokenserver-image", TokenServerImage,
			}, o.ManagerArgs...),
			Output: o.ManagerLog,
		}, nil
	}, managerGrace, o.ManagerLog)
	return &Operator{Node: n, Manager: m, cancel: cancel}, nil
}

// Stop stops the manager and the token servers and returns when they are gone.
func (o *Operator) Stop() {
	o.cancel()
	o.Node.Stop()
	<-o.Manager.Done()
}
