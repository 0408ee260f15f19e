// Package node does on this machine what a node of a cluster does for the token servers: it runs
// one for each AuthorizationServer, with its Secrets as files and its ServiceAccount's token, and
// runs it again when it ends.
//
//	node.go        which AuthorizationServers there are, and what follows from each
//	pod.go         one of them: its files, its processes, from beginning to end
//	replica.go     one process of it, and what a test may do to that
//	projection.go  a Secret as a directory whose files change all at once
//
// It stands in for the Deployment that the operator writes, its Pods and the kubelet. `make run`
// and the tests use it.
package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/hack/local/process"
)

// Options say how to run token servers.
type Options struct {
	// Config is the node's own identity: it may read AuthorizationServers and Secrets and request
	// tokens of ServiceAccounts.
	Config *rest.Config
	// Program is the path of the token server's program.
	Program string
	// Dir holds the volumes, a directory for each AuthorizationServer. What a deleted one leaves in
	// it is removed.
	Dir string
	// Replicas of each AuthorizationServer; default 1. The first listens on the issuer's port, the
	// others on free ones.
	Replicas int
	// Log receives the output of all processes, each line behind "<namespace>/<replica>: ", and the
	// node's own remarks.
	Log io.Writer
}

// Node runs token servers.
type Node struct {
	options Options
	client  kubernetes.Interface
	cancel  context.CancelFunc
	watched chan struct{} // closed when no more AuthorizationServers are heard of

	mu   sync.Mutex
	pods map[types.NamespacedName]*pod
}

// Start starts a node. It runs until Stop, and its processes never longer than this process.
func Start(o Options) (*Node, error) {
	if o.Replicas == 0 {
		o.Replicas = 1
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	o.Log = process.NewSyncWriter(o.Log)
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	o.Dir = dir
	client, err := kubernetes.NewForConfig(o.Config)
	if err != nil {
		return nil, err
	}
	servers, err := restClient(o.Config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := &Node{options: o, client: client, cancel: cancel, watched: make(chan struct{}), pods: map[types.NamespacedName]*pod{}}
	go n.watch(ctx, servers)
	return n, nil
}

func restClient(c *rest.Config) (rest.Interface, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	c = rest.CopyConfig(c)
	c.APIPath = "/apis"
	c.GroupVersion = &v1alpha1.GroupVersion
	c.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	return rest.RESTClientFor(c)
}

func (n *Node) watch(ctx context.Context, servers rest.Interface) {
	defer close(n.watched)
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.NewListWatchFromClient(servers, "authorizationservers", "", fields.Everything()),
		ObjectType:    &v1alpha1.AuthorizationServer{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { n.startOrReplacePod(ctx, o.(*v1alpha1.AuthorizationServer)) },
			UpdateFunc: func(_, o any) { n.startOrReplacePod(ctx, o.(*v1alpha1.AuthorizationServer)) },
			DeleteFunc: func(o any) {
				if last, ok := o.(cache.DeletedFinalStateUnknown); ok {
					o = last.Obj
				}
				server := o.(*v1alpha1.AuthorizationServer)
				n.remove(types.NamespacedName{Namespace: server.Namespace, Name: server.Name})
			},
		},
	})
	informer.RunWithContext(ctx)
}

// startOrReplacePod starts the token server of an AuthorizationServer, and replaces its processes
// when one of their arguments has changed.
func (n *Node) startOrReplacePod(ctx context.Context, server *v1alpha1.AuthorizationServer) {
	key := types.NamespacedName{Namespace: server.Namespace, Name: server.Name}
	listen, err := listenAddress(server.Spec.Issuer)
	if err != nil {
		_, _ = fmt.Fprintf(n.options.Log, "%s: %v\n", key, err)
		return
	}
	spec := podSpec{key: key, uid: server.UID, listen: listen, storage: strings.ToLower(string(compile.Storage(server)))}
	if ref := compile.DSN(server); ref != nil {
		spec.dsnSecret, spec.dsnKey = string(ref.Name), string(ref.Key)
	}
	if server.Spec.TLS != nil {
		spec.tlsSecret = server.Spec.TLS.SecretName
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	old := n.pods[key]
	if old != nil && old.spec == spec && !old.removed {
		return
	}
	n.pods[key] = n.startPod(ctx, spec, old)
}

// remove ends what runs for an AuthorizationServer. Until it is gone it stays known: one of the
// same name that comes meanwhile waits for it.
func (n *Node) remove(key types.NamespacedName) {
	n.mu.Lock()
	defer n.mu.Unlock()
	old := n.pods[key]
	if old == nil {
		return
	}
	old.removed = true
	old.cancel()
	go func() {
		<-old.gone
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.pods[key] == old { // else the one that took its place uses the directory
			delete(n.pods, key)
			_ = os.RemoveAll(n.dir(key)) // a leftover is overwritten by the next volume
		}
	}()
}

func (n *Node) dir(key types.NamespacedName) string {
	return filepath.Join(n.options.Dir, key.Namespace, key.Name)
}

// Replicas are the processes that run now for an AuthorizationServer, the one on the issuer's port
// first. It is for the caller to wait until they are ready.
func (n *Node) Replicas(namespace, server string) []*Replica {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.pods[types.NamespacedName{Namespace: namespace, Name: server}]
	if p == nil {
		return nil
	}
	var running []*Replica
	for _, r := range p.replicas {
		if r.PID() != 0 {
			running = append(running, r)
		}
	}
	return running
}

// Stop stops all token servers, each as when its AuthorizationServer is deleted, and returns when
// they are gone.
func (n *Node) Stop() {
	n.cancel()
	<-n.watched
	n.mu.Lock()
	pods := slices.Collect(maps.Values(n.pods))
	n.mu.Unlock()
	for _, p := range pods {
		<-p.gone
	}
}

// listenAddress is where the token server of an issuer listens: on the issuer's port, and on the
// loopback address that the issuer names, else on 127.0.0.1.
func listenAddress(issuer string) (string, error) {
	u, err := url.Parse(issuer)
	if err != nil {
		return "", fmt.Errorf("reading the issuer: %w", err)
	}
	if u.Host == "" {
		return "", errors.New("the issuer names no host")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	host := "127.0.0.1"
	if ip := net.ParseIP(u.Hostname()); ip != nil && ip.IsLoopback() {
		host = ip.String()
	}
	return net.JoinHostPort(host, port), nil
}
