package node

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/hack/local/identity"
)

// podSpec is what decides how the processes of an AuthorizationServer are run. It is comparable:
// another value, other processes.
type podSpec struct {
	key       types.NamespacedName
	uid       types.UID
	listen    string // host:port of the first replica
	tlsSecret string // empty: no TLS
	storage   string // as the flag has it
	// Where the DSN is; empty: there is none.
	dsnSecret, dsnKey string
}

// serviceAccount and keySecret are named by the operator, which makes both.
func (s podSpec) serviceAccount() string { return s.key.Name + "-tokenserver" }
func (s podSpec) keySecret() string      { return s.key.Name + "-tokenserver-keys" }

// pod is the processes of an AuthorizationServer for one podSpec.
type pod struct {
	spec     podSpec
	cancel   context.CancelFunc
	gone     chan struct{} // closed when all processes have ended
	removed  bool          // its AuthorizationServer is gone; guarded by Node.mu, as is the next
	replicas []*Replica    // from when its volumes are there
}

// startPod runs a pod until the context ends or its cancel is called. It takes the place of the one
// before, if there is one: that one ends first, for both want the same port and the same directory.
func (n *Node) startPod(ctx context.Context, spec podSpec, before *pod) *pod {
	ctx, cancel := context.WithCancel(ctx)
	p := &pod{spec: spec, cancel: cancel, gone: make(chan struct{})}
	if before != nil {
		before.cancel()
	}
	go func() {
		defer close(p.gone)
		if before != nil {
			<-before.gone
		}
		n.runPod(ctx, p)
	}()
	return p
}

func (n *Node) runPod(ctx context.Context, p *pod) {
	dir := n.dir(p.spec.key)
	volumes := volumes{keys: filepath.Join(dir, "keys"), kubeconfig: filepath.Join(dir, "serviceaccount", "kubeconfig")}
	if p.spec.tlsSecret != "" {
		volumes.tls = filepath.Join(dir, "tls")
	}
	if p.spec.dsnSecret != "" {
		volumes.storage = filepath.Join(dir, "storage")
	}
	var all sync.WaitGroup
	defer all.Wait()
	if !n.mount(ctx, &all, p.spec, dir, volumes) {
		return
	}
	var replicas []*Replica
	for i := range n.options.Replicas {
		replicas = append(replicas, n.startReplica(ctx, p.spec, i, volumes))
	}
	n.mu.Lock()
	p.replicas = replicas
	n.mu.Unlock()
	for _, r := range replicas {
		<-r.Done()
	}
}

// volumes are the paths that a token server gets in its flags.
type volumes struct {
	keys, tls, storage, kubeconfig string
}

// mount fills the directories and keeps them up to date until the context ends, by goroutines that
// it adds to all. It returns when everything is there for the first time, and says what it waits
// for when that takes long; false means that the context has ended.
func (n *Node) mount(ctx context.Context, all *sync.WaitGroup, spec podSpec, dir string, v volumes) bool {
	log, namespace := n.options.Log, spec.key.Namespace
	account, err := identity.MaintainToken(ctx, n.options.Config, namespace, spec.serviceAccount(), filepath.Dir(v.kubeconfig), log)
	if err != nil {
		_, _ = fmt.Fprintf(log, "%s: %v\n", spec.key, err)
		return false
	}
	type waiting struct {
		what  string
		ready <-chan struct{}
	}
	mounts := []waiting{
		{"ServiceAccount " + spec.serviceAccount(), account.Ready()},
		{"Secret " + spec.keySecret(), project(ctx, all, n.client, namespace, spec.keySecret(), v.keys, log)},
	}
	if v.tls != "" {
		mounts = append(mounts, waiting{"Secret " + spec.tlsSecret, project(ctx, all, n.client, namespace, spec.tlsSecret, v.tls, log)})
	}
	if v.storage != "" {
		mounts = append(mounts, waiting{"Secret " + spec.dsnSecret, project(ctx, all, n.client, namespace, spec.dsnSecret, v.storage, log)})
	}
	for _, w := range mounts {
		patience := time.After(5 * time.Second)
		for ready := false; !ready; {
			select {
			case <-w.ready:
				ready = true
			case <-patience:
				_, _ = fmt.Fprintf(log, "%s: the token server waits for %s in namespace %s\n", spec.key, w.what, namespace)
			case <-ctx.Done():
				return false
			}
		}
	}
	return true
}
