// Package cluster connects a token server to the cluster: it serves what the Entries say, and says of
// itself in a Replica what it serves.
//
// cluster.go puts the parts together, entries.go applies Entries to registry and keys, replica.go
// keeps the Replica, usage.go remembers when credentials were last used and keeps the Usage.
//
// All Entries come through one watch in one order. When the API server cannot be reached, what was
// served stays served, and the watch begins again by itself when it can.
package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/version"
)

// Config says whose Entries are served and where they go. All fields are needed.
type Config struct {
	// Namespace, ServerName and ServerUID are those of the AuthorizationServer.
	Namespace  string
	ServerName string
	ServerUID  string
	// ReplicaName is the name of this process's Replica.
	ReplicaName string

	Registry *registry.Registry
	Keys     *keys.Set
	// State is what the Replica says beside the Entries.
	State   func() ReplicaState
	Now     func() time.Time
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Cluster is the connection of one process.
type Cluster struct {
	config  Config
	client  rest.Interface
	entries *entries
	usage   *Usage
	wake    chan struct{}

	watching atomic.Bool
	seen     atomic.Int64 // when the cluster last confirmed what is served, in Unix nanoseconds; 0: never
}

// RESTConfig reads how the API server is reached: from a kubeconfig, or from the Pod's ServiceAccount if the path is empty. Tokens in files are
// read again as they are renewed. There is no limit of requests on this side; what this program sends is bounded by what it does.
func RESTConfig(kubeconfig string) (*rest.Config, error) {
	config, err := rest.InClusterConfig()
	if kubeconfig != "" {
		config, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	}
	if err != nil {
		return nil, fmt.Errorf("read how to reach the API server: %w", err)
	}
	config.QPS = -1
	config.UserAgent = version.UserAgent("tokenserver")
	return config, nil
}

// New prepares the connection. It does not talk to the API server yet.
func New(api *rest.Config, config Config) (*Cluster, error) {
	client, err := restClient(api)
	if err != nil {
		return nil, err
	}
	c := &Cluster{config: config, client: client, usage: NewUsage(config.Now), wake: make(chan struct{}, 1)}
	c.entries = &entries{
		serverUID: types.UID(config.ServerUID), registry: config.Registry, keys: config.Keys, log: config.Log,
		seen: c.sawCluster, changed: c.Changed, rejected: map[string]rejection{},
	}
	if err := c.register(config.Metrics); err != nil {
		return nil, err
	}
	return c, nil
}

func restClient(api *rest.Config) (rest.Interface, error) {
	scheme := runtime.NewScheme()
	if err := internalv1alpha1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("register kinds: %w", err)
	}
	config := rest.CopyConfig(api)
	config.GroupVersion = &internalv1alpha1.GroupVersion
	config.APIPath = "/apis"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.ContentType = runtime.ContentTypeJSON
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	return client, nil
}

func (c *Cluster) register(metrics prometheus.Registerer) error {
	age := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "oauth_operator", Subsystem: "tokenserver", Name: "served_state_age_seconds",
		Help: "How long ago the cluster last confirmed what is served. Some 10 seconds at most while the API server can be reached; +Inf before the first time.",
	}, c.age)
	clients := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "oauth_operator", Subsystem: "tokenserver", Name: "registered_clients",
		Help: "Clients that the server knows, also those it refuses.",
	}, func() float64 { return float64(c.config.Registry.Clients()) })
	rejected := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "oauth_operator", Subsystem: "tokenserver", Name: "rejected_entries",
		Help: "Entries that the server cannot read or serve.",
	}, func() float64 { return float64(c.entries.rejections()) })
	for _, collector := range []prometheus.Collector{age, clients, rejected} {
		if err := metrics.Register(collector); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

// Run serves the Entries and keeps the Replica and the Usage, until ctx ends.
func (c *Cluster) Run(ctx context.Context) {
	var running sync.WaitGroup
	running.Go(func() { c.reflector().RunWithContext(ctx) })
	running.Go(func() { c.keepReplica(ctx) })
	running.Go(func() { c.keepUsage(ctx) })
	running.Wait()
}

// Changed says that what State returns may have changed.
func (c *Cluster) Changed() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Used notes that a client's credential was used now. It causes one write an hour at most.
func (c *Cluster) Used(use registry.Use) { c.usage.Used(use) }

func (c *Cluster) reflector() *cache.Reflector {
	mine := func(o *metav1.ListOptions) {
		o.LabelSelector = internalv1alpha1.ServerUIDLabel + "=" + c.config.ServerUID
	}
	lw := cache.NewFilteredListWatchFromClient(c.client, "entries", c.config.Namespace, mine)
	inner := lw.WatchFuncWithContext
	lw.WatchFuncWithContext = func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
		w, err := inner(ctx, o)
		if err != nil {
			c.watching.Store(false)
			return nil, err
		}
		c.watching.Store(true)
		return &endingWatch{Interface: w, ended: func() { c.watching.Store(false) }}, nil
	}
	return cache.NewReflectorWithOptions(lw, &internalv1alpha1.Entry{}, c.entries, cache.ReflectorOptions{
		Name: "entries",
		// An outage ends within seconds of its end, not within the half minute of the default.
		Backoff: &wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 10, Cap: 5 * time.Second},
	})
}

// endingWatch tells when it ends.
type endingWatch struct {
	watch.Interface
	ended func()
}

// Stop ends the watch.
func (w *endingWatch) Stop() {
	w.ended()
	w.Interface.Stop()
}

// sawCluster notes that the cluster confirmed what is served: by an event of the watch, or by answering while the watch is open.
func (c *Cluster) sawCluster() { c.seen.Store(c.config.Now().UnixNano()) }

// age of what is served, in seconds.
func (c *Cluster) age() float64 {
	seen := c.seen.Load()
	if seen == 0 {
		return math.Inf(1)
	}
	return max(0, c.config.Now().Sub(time.Unix(0, seen)).Seconds())
}
