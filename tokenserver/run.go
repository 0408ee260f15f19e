package tokenserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel/trace"

	"github.com/oauth-operator/oauth-operator/tokenserver/clock"
	"github.com/oauth-operator/oauth-operator/tokenserver/cluster"
	"github.com/oauth-operator/oauth-operator/tokenserver/httpserver"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/kubeclient"
	"github.com/oauth-operator/oauth-operator/tokenserver/memorylimit"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/measured"
	"github.com/oauth-operator/oauth-operator/tokenserver/upstreamfiles"
	"github.com/oauth-operator/oauth-operator/version"
)

const (
	// drainTimeout is how long the requests in progress may take once the program accepts no more: as
	// long as a response may take.
	drainTimeout = 30 * time.Second
	// statusDrainTimeout is how long probes and scrapes in progress may take after that.
	statusDrainTimeout = time.Second
	// shutdownTimeout is how long deleting the Replica may take.
	shutdownTimeout = 5 * time.Second
	// sweepInterval is how often expired records are deleted.
	sweepInterval = time.Minute
	// missingInterval is how often a program that starts looks whether it can serve now.
	missingInterval = 10 * time.Millisecond
	// reloadInterval is how often mounted files are checked for changes.
	reloadInterval = time.Second
)

// Options of the program. All but PodUID, UpstreamsDir, TLSDir, DSNFile, Kubeconfig, ShutdownDelay
// and Tracer are required.
type Options struct {
	// Namespace, ServerName and ServerUID identify the AuthorizationServer; ReplicaName is the name
	// of the Replica object of this process, and of its Pod, whose UID PodUID is.
	Namespace   string
	ServerName  string
	ServerUID   string
	ReplicaName string
	PodUID      string
	// Listen is the address of the endpoints, StatusListen that of probes and metrics: "host:port".
	Listen       string
	StatusListen string
	// KeysDir is the directory of the key files, TLSDir that of tls.crt and tls.key; without TLSDir
	// the endpoints speak plain HTTP.
	KeysDir string
	TLSDir  string
	// UpstreamsDir is the directory of the credentials for identity providers.
	UpstreamsDir string
	// Storage is kubernetes, memory or postgresql, in any letter case. PostgreSQL needs DSNFile, a
	// file with the DSN of the database.
	Storage string
	DSNFile string
	// Kubeconfig is the file that says how to reach the API server; empty inside a Pod.
	Kubeconfig string
	// ShutdownDelay is how long the program serves on once it is told to end, and is not ready: until
	// it gets no new connections any more, and clients have left those that they keep.
	ShutdownDelay time.Duration

	Now    func() time.Time
	Random io.Reader
	Log    *slog.Logger
	// Tracer makes the spans of requests. It may be nil.
	Tracer trace.Tracer
}

// program is a running token server.
type program struct {
	options   Options
	registry  *registry.Registry
	keys      *keys.Set
	upstreams *upstreamfiles.Files
	store     store
	cluster   *cluster.Cluster
	endpoints Endpoints
	api       *httpserver.Server
	status    *httpserver.Server

	draining      atomic.Bool
	keyError      atomic.Pointer[string] // of the last attempt to load the keys; empty: it succeeded
	upstreamError atomic.Pointer[string] // the same, of the credentials for identity providers
	keySetsAway   atomic.Pointer[[]cluster.KeySetProblem]
}

// Run serves until ctx ends. Then it reports that it is not ready, serves on for ShutdownDelay,
// finishes the requests in progress and deletes its Replica. It returns an error if it cannot start. Later failures are
// reported by readiness, Replica and log, and what failed is tried again.
func Run(ctx context.Context, o Options) error {
	memory, restore := memorylimit.Set(os.DirFS("/"))
	defer restore()
	p, err := newProgram(o, hashMemory(memory))
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	o.Log.Info("starting", "memoryLimit", memory, "passwordHashMemory", hashMemory(memory))
	var tasks sync.WaitGroup
	for _, run := range []func(context.Context){p.serve, p.status.Run, p.cluster.Run, p.endpoints.Workloads.Run, p.endpoints.Providers.Run, p.endpoints.Directories.Run, p.keepKeySets, p.noteKeySets, p.store.run, p.watchFiles, p.sweep} {
		tasks.Go(func() { run(running) })
	}
	<-ctx.Done()

	o.Log.Info("shutting down")
	p.draining.Store(true)
	p.cluster.WriteReplicaSoon()
	p.api.CloseAfterResponses()
	clock.Sleep(running, o.ShutdownDelay)
	ending, cancel := context.WithTimeout(running, drainTimeout)
	p.api.Shutdown(ending)
	cancel()
	stop()
	ending, cancel = context.WithTimeout(context.WithoutCancel(ctx), statusDrainTimeout)
	p.status.Shutdown(ending)
	cancel()
	tasks.Wait() // so that none of them writes the Replica again
	ending, cancel = context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := p.cluster.Shutdown(ending); err != nil {
		o.Log.Warn("cannot delete the Replica of this process", "error", err.Error())
	}
	return nil
}

// newProgram returns a program that does not serve yet. hashMemory is how many bytes the password
// hashes that are computed at once may take.
func newProgram(o Options, hashMemory int64) (*program, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	p := &program{options: o, registry: registry.New(o.Now), keys: keys.NewSet(o.Random), upstreams: &upstreamfiles.Files{}}
	if err := p.connect(metrics); err != nil {
		return nil, err
	}
	var err error
	if p.store, err = p.openStore(metrics); err != nil { // it reports changes to p.cluster
		return nil, err
	}
	if p.store.Store, err = measured.New(p.store.Store, maxStoreOperations, o.Now, metrics); err != nil {
		return nil, err
	}
	server := &Server{
		Registry: p.registry, Keys: p.keys, Store: p.store.Store, StoreID: p.store.id, Used: p.cluster.RecordUse, HashMemory: hashMemory,
		Cluster: p.cluster.ServiceAccounts(), Upstream: p.upstreams.Lookup, Replicas: p.cluster.LiveReplicas, OnProblem: p.cluster.WriteReplicaSoon,
		Now: o.Now, Random: o.Random, Log: o.Log, Metrics: metrics, Tracer: o.Tracer,
	}
	if p.endpoints, err = server.Endpoints(); err != nil {
		return nil, err
	}
	p.api = p.newHTTPServer(o.Listen, p.endpoints, o.TLSDir)
	metrics.MustRegister(p.api.Metrics()...)
	metrics.MustRegister(p.readiness(), version.Collector("tokenserver"))
	p.status = p.newHTTPServer(o.StatusListen, statusHandler(metrics, p.problem), "")
	p.loadFiles()
	return p, nil
}

func (p *program) newHTTPServer(address string, handler http.Handler, tlsDir string) *httpserver.Server {
	return httpserver.New(httpserver.Config{
		Address: address, Handler: handler, TLSDir: tlsDir, Limits: httpserver.DefaultLimits(), Log: p.options.Log, Changed: p.cluster.WriteReplicaSoon,
	})
}

// check returns an error if a required option is missing.
func (o Options) check() error {
	for _, required := range []struct{ name, value string }{
		{"namespace", o.Namespace}, {"server name", o.ServerName}, {"server UID", o.ServerUID}, {"replica name", o.ReplicaName},
		{"address", o.Listen}, {"status address", o.StatusListen}, {"key directory", o.KeysDir},
		{"storage", o.Storage},
	} {
		if required.value == "" {
			return fmt.Errorf("the %s is missing", required.name)
		}
	}
	if o.Now == nil || o.Random == nil || o.Log == nil {
		return errors.New("the clock, the randomness or the log is missing")
	}
	return nil
}

func (p *program) connect(metrics prometheus.Registerer) error {
	api, err := kubeclient.LoadConfig(p.options.Kubeconfig)
	if err != nil {
		return err
	}
	p.cluster, err = cluster.New(api, cluster.Config{
		Namespace: p.options.Namespace, ServerName: p.options.ServerName, ServerUID: p.options.ServerUID,
		ReplicaName: p.options.ReplicaName, PodUID: p.options.PodUID, Registry: p.registry, Keys: p.keys, State: p.state,
		Now: p.options.Now, Log: p.options.Log, Metrics: metrics,
	})
	return err
}

// state returns what the Replica reports of this process.
func (p *program) state() cluster.ReplicaState {
	problem := p.problem()
	ready := problem == ""
	if ready && p.store.warning != nil {
		problem = p.store.warning()
	}
	if ready && problem == "" {
		problem = p.endpoints.Workloads.Problem()
	}
	return cluster.ReplicaState{
		Ready: ready, Problem: problem, Keys: p.keys.LoadedKIDs(), Upstreams: p.upstreams.Loaded(),
		KeySetProblems: p.keySetProblems(), IdentityProviderProblems: p.identityProviderProblems(),
	}
}

// serve binds the port of the endpoints as soon as requests can be answered there, and serves until
// ctx ends. A process that starts anew after a crash is in its Service until the kubelet has seen
// that it is not ready: a client whose connection is refused meanwhile tries another replica, and
// one that is answered with an error does not.
func (p *program) serve(ctx context.Context) {
	for p.missing() != "" {
		if !clock.Sleep(ctx, missingInterval) {
			return
		}
	}
	p.api.Run(ctx)
}

// problem returns why the server is not ready; empty if it is.
func (p *program) problem() string {
	if p.draining.Load() {
		return "shutting down"
	}
	if problem := p.status.Problem(); problem != "" {
		return problem
	}
	if problem := p.missing(); problem != "" {
		return problem
	}
	if problem := p.api.Problem(); problem != "" {
		return problem
	}
	return p.storeProblem()
}

// missing returns what the program lacks to answer any request; empty if it lacks nothing.
func (p *program) missing() string {
	if !p.registry.HasSynced() {
		return "the Entries have not been read yet"
	}
	problem := p.keys.Problem()
	if failed := p.keyError.Load(); problem != "" && failed != nil && *failed != "" {
		problem += " (" + *failed + ")"
	}
	return problem
}

// watchFiles loads keys, credentials and certificate again when their files change.
func (p *program) watchFiles(ctx context.Context) {
	for clock.Sleep(ctx, reloadInterval) {
		p.loadFiles()
	}
}

// loadFiles loads the keys, the credentials for identity providers and the certificate. If their
// files cannot be read, what was loaded before stays in use.
func (p *program) loadFiles() {
	before := p.keys.Ring()
	problem := ""
	if err := p.keys.LoadDir(p.options.KeysDir); err != nil {
		problem = err.Error()
	}
	last := p.keyError.Swap(&problem)
	if problem != "" && (last == nil || *last != problem) {
		p.options.Log.Warn("cannot load keys", "error", problem)
	}
	if p.keys.Ring() != before || last != nil && *last != problem {
		p.cluster.WriteReplicaSoon()
	}
	p.loadUpstreams()
	p.api.ReloadCertificate()
}

// loadUpstreams loads the credentials for identity providers. The Replica says which there are, and
// the manager waits for them.
func (p *program) loadUpstreams() {
	if p.options.UpstreamsDir == "" {
		return
	}
	problem := ""
	changed, err := p.upstreams.LoadDir(p.options.UpstreamsDir)
	if err != nil {
		problem = err.Error()
	}
	if last := p.upstreamError.Swap(&problem); problem != "" && (last == nil || *last != problem) {
		p.options.Log.Warn("cannot load the credentials for identity providers", "error", problem)
	}
	if changed {
		p.cluster.WriteReplicaSoon()
	}
}

// sweep deletes expired records once a minute.
func (p *program) sweep(ctx context.Context) {
	for clock.Sleep(ctx, sweepInterval) {
		removed, err := p.store.Sweep(ctx, p.options.Now())
		if err != nil {
			p.options.Log.Warn("cannot remove expired records", "error", err.Error())
			continue
		}
		if removed > 0 {
			p.options.Log.Info("removed expired records", "count", removed)
		}
	}
}
