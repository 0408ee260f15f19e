// Package controlplane runs a real Kubernetes control plane on the loopback addresses, from Go
// modules alone: etcd, kube-apiserver, and of kube-controller-manager the garbage collector and the
// namespace controller, without which ownerReferences and the deletion of namespaces do nothing.
// There is no node and no Pod.
//
//	build.go         the programs: built from source once, kept in the user's cache directory
//	controlplane.go  start and stop; an outage of the API server
//	programs.go      the three programs' flags, and how each is known to be up
//	certificates.go  the authorities, certificates and keys
//	identities.go    who one can be: an administrator, any user, a ServiceAccount
//	apply.go         YAML into the cluster
//
// It is made for `make run` and for tests. Authorization is RBAC, anonymous requests are refused,
// every connection is TLS.
package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/rest"

	"github.com/oauth-operator/oauth-operator/hack/local/process"
)

// Options say what to start. The zero value is a new control plane that leaves nothing behind.
type Options struct {
	// Binaries are the programs; default: those of Build.
	Binaries Binaries
	// DataDir keeps the cluster's state, keys and logs. Starting on it again continues with what is
	// there. Default: a temporary directory that Stop removes.
	DataDir string
	// Port of the API server; default: a free one.
	Port int
	// NoFsync lets etcd leave the disk alone: faster, and only a crash of the whole machine can
	// lose anything. For tests.
	NoFsync bool
	// AuditPolicy is an audit.k8s.io/v1 Policy in YAML; AuditLog the file that the events go to,
	// one JSON object a line. Both or none. An event is in the file when its request is answered,
	// or within the same millisecond.
	AuditPolicy, AuditLog string
	// APIServerArgs are added to the flags of kube-apiserver, and win over them.
	APIServerArgs []string
	// Log hears what takes long and what goes wrong. The programs' own output is in DataDir/logs.
	Log io.Writer
}

// ControlPlane is a control plane that runs.
type ControlPlane struct {
	options   Options
	dataDir   string
	temporary bool
	binaries  Binaries

	etcdCA, clusterCA *authority
	unlock            func()
	admin             *rest.Config
	background        context.Context // ends with Stop
	cancel            context.CancelFunc
	failed            chan error

	mu                          sync.Mutex // held while programs are started and stopped
	etcdPort, apiPort           int
	etcd, apiServer, controller *process.Process
	stopped                     bool
}

// Start starts a control plane and returns when it serves. The context bounds the start, not what
// was started: that runs until Stop, and never longer than this process.
func Start(ctx context.Context, o Options) (*ControlPlane, error) {
	if (o.AuditPolicy == "") != (o.AuditLog == "") {
		return nil, errors.New("an audit log needs both AuditPolicy and AuditLog")
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	cp := &ControlPlane{options: o, dataDir: o.DataDir, binaries: o.Binaries, apiPort: o.Port, failed: make(chan error, 1)}
	cp.background, cp.cancel = context.WithCancel(context.Background())
	if err := cp.start(ctx); err != nil {
		cp.Stop()
		return nil, err
	}
	return cp, nil
}

func (cp *ControlPlane) start(ctx context.Context) error {
	if cp.binaries == (Binaries{}) {
		binaries, err := Build(ctx, cp.options.Log)
		if err != nil {
			return err
		}
		cp.binaries = binaries
	}
	if err := cp.prepareData(); err != nil {
		return err
	}
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if err := cp.startEtcd(ctx); err != nil {
		return err
	}
	if err := cp.startAPIServer(ctx); err != nil {
		return err
	}
	return cp.startController()
}

func (cp *ControlPlane) prepareData() error {
	if cp.dataDir == "" {
		dir, err := os.MkdirTemp("", "controlplane-*")
		if err != nil {
			return err
		}
		cp.dataDir, cp.temporary = dir, true
	}
	dir, err := filepath.Abs(cp.dataDir)
	if err != nil {
		return err
	}
	cp.dataDir = dir
	for _, sub := range []string{cp.pki(), cp.logs()} {
		if err := os.MkdirAll(sub, 0o700); err != nil {
			return err
		}
	}
	if cp.unlock, err = lockData(filepath.Join(dir, "lock")); err != nil {
		return err
	}
	if cp.etcdCA, err = loadAuthority(cp.pki(), "etcd-ca"); err != nil {
		return err
	}
	cp.clusterCA, err = loadAuthority(cp.pki(), "cluster-ca")
	return err
}

func (cp *ControlPlane) pki() string  { return filepath.Join(cp.dataDir, "pki") }
func (cp *ControlPlane) logs() string { return filepath.Join(cp.dataDir, "logs") }

// lockData refuses a directory that another control plane runs on: two of them would ruin it.
func lockData(path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("a control plane runs on %s already (%w)", filepath.Dir(path), err)
	}
	return func() { _ = f.Close() }, nil // closing it releases the lock
}

// Failed receives an error when one of the programs has ended although it was not stopped.
func (cp *ControlPlane) Failed() <-chan error { return cp.failed }

// Stop ends all programs and returns when they are gone. It may be called more than once.
func (cp *ControlPlane) Stop() {
	cp.cancel() // first: a start that waits gives up
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if cp.stopped {
		return
	}
	cp.stopped = true
	if cp.controller != nil {
		cp.controller.Kill() // it keeps no state
	}
	if cp.apiServer != nil {
		cp.apiServer.Kill() // it keeps no state either, and would wait for its clients' watches
	}
	if cp.etcd != nil {
		cp.etcd.Stop(10 * time.Second)
	}
	if cp.unlock != nil {
		cp.unlock()
	}
	if cp.temporary {
		_ = os.RemoveAll(cp.dataDir) // a leftover in the temporary directory does no harm
	}
}

// StopAPIServer is an outage: the API server is gone, at once, and all its connections with it.
func (cp *ControlPlane) StopAPIServer() {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if cp.apiServer != nil {
		server := cp.apiServer
		cp.apiServer = nil // it does not fail, it is stopped
		server.Kill()
	}
}

// StartAPIServer ends the outage, on the same port, and returns when the API server serves.
func (cp *ControlPlane) StartAPIServer(ctx context.Context) error {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	switch {
	case cp.stopped:
		return errors.New("the control plane is stopped")
	case cp.apiServer != nil:
		return nil
	}
	return cp.startAPIServer(ctx)
}

// PauseController stops the process of the two controllers where it is, until resume is called.
func (cp *ControlPlane) PauseController() (resume func() error, err error) {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	controller := cp.controller
	return func() error { return controller.Signal(syscall.SIGCONT) }, controller.Signal(syscall.SIGSTOP)
}

// RotateServiceAccountKey starts the API server again with a new key, which signs the tokens of
// ServiceAccounts from then on. Those that the keys before have signed stay good.
func (cp *ControlPlane) RotateServiceAccountKey(ctx context.Context) error {
	keys, err := serviceAccountKeys(cp.pki())
	if err != nil {
		return err
	}
	if _, err := newServiceAccountKey(cp.pki(), len(keys)+1); err != nil {
		return err
	}
	cp.StopAPIServer()
	return cp.StartAPIServer(ctx)
}
