// Package node does on this machine what a cluster does with the Deployments of the operator: it
// runs the token server that each describes, with its volumes as files, asks its probes, runs it
// again when it ends, and says so in the status of Pods and Deployment.
//
//	node.go        which Deployments there are, and what follows from each
//	deployment.go  one of them: its volumes, its processes and its status, from beginning to end
//	replica.go     one process of it, and what a test may do to that
//	container.go   how the process is started, from the template of the Pods
//	pod.go         the Pod that the process stands for, and its readiness
//	projection.go  a Secret as a directory whose files change all at once
//
// It stands in for the controllers of Deployments, the scheduler and the kubelet; `make run` and the
// tests use it. What a token server's arguments, volumes and probes are is the template's to say.
// Its own are how many processes run and where they listen, since all are on one machine.
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
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
	"github.com/oauth-operator/oauth-operator/hack/local/process"
)

// Options say how to run token servers.
type Options struct {
	// Config is the node's own identity: it may read AuthorizationServers, Deployments and Secrets,
	// request tokens of ServiceAccounts, and write Pods and the status of Deployments.
	Config *rest.Config
	// Program is the path of the token server's program.
	Program string
	// Dir holds the volumes, a directory for each Deployment. What a deleted one leaves in it is
	// removed.
	Dir string
	// Replicas of each Deployment that is not scaled to 0, whatever number it has; default 1. The
	// first listens on the issuer's port, the others on free ones.
	Replicas int
	// Log receives the output of all processes, each line behind "<namespace>/<replica>: ", and the
	// node's own remarks.
	Log io.Writer
}

// Node runs token servers.
type Node struct {
	options Options
	client  kubernetes.Interface
	servers rest.Interface // of the kinds that people write
	cancel  context.CancelFunc
	watched chan struct{} // closed when no more Deployments are heard of

	mu          sync.Mutex
	deployments map[types.NamespacedName]*deployment // by their own names
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
	n := &Node{
		options: o, client: client, servers: servers, cancel: cancel, watched: make(chan struct{}), deployments: map[types.NamespacedName]*deployment{},
	}
	go n.watch(ctx)
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

func (n *Node) watch(ctx context.Context) {
	defer close(n.watched)
	ours := labels.SelectorFromSet(labels.Set{workload.ManagedByLabel: workload.ManagedBy})
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.NewFilteredListWatchFromClient(n.client.AppsV1().RESTClient(), "deployments", "", func(o *metav1.ListOptions) {
			o.LabelSelector = ours.String()
		}),
		ObjectType: &appsv1.Deployment{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { n.startOrReplace(ctx, o.(*appsv1.Deployment)) },
			UpdateFunc: func(_, o any) { n.startOrReplace(ctx, o.(*appsv1.Deployment)) },
			DeleteFunc: func(o any) {
				if last, ok := o.(cache.DeletedFinalStateUnknown); ok {
					o = last.Obj
				}
				d := o.(*appsv1.Deployment)
				n.remove(types.NamespacedName{Namespace: d.Namespace, Name: d.Name})
			},
		},
	})
	informer.RunWithContext(ctx)
}

// startOrReplace starts the processes of a Deployment, and replaces them when the template of their
// Pods has changed.
func (n *Node) startOrReplace(ctx context.Context, object *appsv1.Deployment) {
	key := types.NamespacedName{Namespace: object.Namespace, Name: object.Name}
	n.mu.Lock()
	defer n.mu.Unlock()
	old := n.deployments[key]
	spec := newDeploymentSpec(object)
	if old != nil && old.spec.equals(spec) && !old.removed {
		old.observe(object)
		return
	}
	n.deployments[key] = n.startDeployment(ctx, spec, object, old)
}

// remove ends what runs for a Deployment. Until it is gone it stays known: one of the same name that
// comes meanwhile waits for it.
func (n *Node) remove(key types.NamespacedName) {
	n.mu.Lock()
	defer n.mu.Unlock()
	old := n.deployments[key]
	if old == nil {
		return
	}
	old.removed = true
	old.cancel()
	go func() {
		<-old.gone
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.deployments[key] == old { // else the one that took its place uses the directory
			delete(n.deployments, key)
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
	for _, d := range n.deployments {
		if d.spec.key.Namespace != namespace || d.spec.server != server {
			continue
		}
		var running []*Replica
		for _, r := range d.replicas {
			if r.PID() != 0 {
				running = append(running, r)
			}
		}
		return running
	}
	return nil
}

// Stop stops all token servers, each as when its Deployment is deleted, and returns when they are
// gone.
func (n *Node) Stop() {
	n.cancel()
	<-n.watched
	n.mu.Lock()
	deployments := slices.Collect(maps.Values(n.deployments))
	n.mu.Unlock()
	for _, d := range deployments {
		<-d.gone
	}
}

// issuerOf is the issuer of the AuthorizationServer that a Deployment runs.
func (n *Node) issuerOf(ctx context.Context, namespace, server string) (string, error) {
	var found v1alpha1.AuthorizationServer
	err := n.servers.Get().Namespace(namespace).Resource("authorizationservers").Name(server).Do(ctx).Into(&found)
	return found.Spec.Issuer, err
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
