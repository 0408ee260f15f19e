// Package cluster connects a token server to the cluster: it applies the documents in the Entries,
// and reports in a Replica which of them the process serves.
//
//	cluster.go          Cluster, which puts the parts together
//	entries.go          applies Entries to the registry and the keys
//	stream.go           what is read of an Entry
//	replica.go          writes the Replica
//	live.go             counts the Replicas
//	usage.go            records when credentials were last used, and writes the Usage
//	serviceaccounts.go  asks about the tokens of ServiceAccounts
//	metrics.go          how much is served, and how old it is
//
// All Entries come by one list and the watch that follows it, in one order. While the API server cannot be reached, the
// token server serves what it has read before, and the watch is opened again as soon as that is
// possible.
package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/kubeclient"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/workload"
)

// Config configures a Cluster. All fields are required.
type Config struct {
	// Namespace, ServerName and ServerUID are those of the AuthorizationServer.
	Namespace  string
	ServerName string
	ServerUID  string
	// ReplicaName is the name of the Replica of this process, and of its Pod. PodUID is the UID of the
	// Pod; empty if there is none.
	ReplicaName string
	PodUID      string

	// Registry and Keys serve what the Entries hold.
	Registry *registry.Registry
	Keys     *keys.Set
	// State returns what the Replica reports beside the Entries. WriteReplicaSoon has to be called
	// when its result changes.
	State   func() ReplicaState
	Now     func() time.Time
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Cluster is the connection of one process to the cluster.
type Cluster struct {
	config   Config
	client   rest.Interface
	entries  *entryApplier
	usage    *usageRecorder
	accounts *serviceAccounts

	replicaChanged chan struct{} // has capacity 1
	isWatching     atomic.Bool
	// lastConfirmed is when the cluster last confirmed what is served, in nanoseconds since 1970; 0
	// if never.
	lastConfirmed atomic.Int64
	liveReplicas  replicaCounts
}

// New returns a Cluster. It sends no request before Run.
func New(api *rest.Config, config Config) (*Cluster, error) {
	httpClient, err := rest.HTTPClientFor(api)
	if err != nil {
		return nil, fmt.Errorf("making a client of the API server: %w", err)
	}
	client, err := kubeclient.New(api, httpClient, internalv1alpha1.GroupVersion, internalv1alpha1.AddToScheme)
	if err != nil {
		return nil, err
	}
	accounts, err := newServiceAccounts(api, httpClient)
	if err != nil {
		return nil, err
	}
	c := &Cluster{config: config, client: client, accounts: accounts, usage: newUsageRecorder(config.Now), replicaChanged: make(chan struct{}, 1)}
	c.entries = &entryApplier{
		serverUID: types.UID(config.ServerUID), registry: config.Registry, keys: config.Keys, log: config.Log,
		onProgress: func() {
			c.confirmServed()
			c.WriteReplicaSoon()
		},
		rejected: map[string]rejection{},
	}
	if err := c.registerMetrics(config.Metrics); err != nil {
		return nil, err
	}
	return c, nil
}

// Run serves the Entries and writes the Replica and the Usage until ctx ends.
func (c *Cluster) Run(ctx context.Context) {
	var running sync.WaitGroup
	running.Go(func() { c.newReflector().RunWithContext(ctx) })
	running.Go(func() { c.keepReplica(ctx) })
	running.Go(func() { c.keepUsage(ctx) })
	running.Go(func() { c.keepLiveReplicas(ctx) })
	running.Wait()
}

// WriteReplicaSoon has the Replica written within a fraction of a second. It does not block.
func (c *Cluster) WriteReplicaSoon() {
	select {
	case c.replicaChanged <- struct{}{}:
	default:
	}
}

// RecordUse records that a credential was used now. It causes at most one write an hour.
func (c *Cluster) RecordUse(use registry.CredentialUse) { c.usage.record(use) }

// ServiceAccounts returns what the API server says of the tokens of ServiceAccounts.
func (c *Cluster) ServiceAccounts() workload.Cluster { return c.accounts }

func (c *Cluster) newReflector() *cache.Reflector {
	return kubeclient.NewReflector(kubeclient.Watch{
		Client: c.client, Namespace: c.config.Namespace, Resource: "entries",
		LabelSelector: internalv1alpha1.ServerUIDLabel + "=" + c.config.ServerUID,
		Object:        &internalv1alpha1.Entry{}, Store: c.entries, Decoder: entryDecoder, Keep: c.entries.keep,
		MinRetryDelay: 200 * time.Millisecond, MaxRetryDelay: 5 * time.Second,
		OnOpen: func() { c.isWatching.Store(true) }, OnClose: func() { c.isWatching.Store(false) },
	})
}

// confirmServed records that the cluster has confirmed what is served: by an event of the watch, or
// by an answer to another request while the watch is open.
func (c *Cluster) confirmServed() { c.lastConfirmed.Store(c.config.Now().UnixNano()) }
