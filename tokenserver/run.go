package tokenserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/oauth-operator/oauth-operator/tokenserver/cluster"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

const (
	// drain is how long requests under way may take after the program was told to end.
	drain = 10 * time.Second
	// statusDrain is how long probes and scrapes under way may take after that.
	statusDrain = time.Second
	// leave is how long taking the Replica away may take.
	leave = 5 * time.Second
	// sweepEvery is how often expired records are removed.
	sweepEvery = time.Minute
)

// Options of the program. All are needed, but for TLSDir, DSNFile and Kubeconfig.
type Options struct {
	// Namespace, ServerName and ServerUID are those of the AuthorizationServer that is served; ReplicaName names this process.
	Namespace   string
	ServerName  string
	ServerUID   string
	ReplicaName string
	// Listen is the address of the endpoints, StatusListen that of probes and metrics: host and port.
	Listen       string
	StatusListen string
	// KeysDir has the key files, TLSDir tls.crt and tls.key; without TLSDir the endpoints speak plain HTTP.
	KeysDir string
	TLSDir  string
	// Storage is where records are kept: kubernetes, memory or postgresql. DSNFile is for the last, and holds the DSN.
	Storage string
	DSNFile string
	// Kubeconfig says how the API server is reached; empty inside a Pod.
	Kubeconfig string

	Now    func() time.Time
	Random io.Reader
	Log    *slog.Logger
}

// program is a running token server.
type program struct {
	options  Options
	registry *registry.Registry
	keys     *keys.Set
	records  records
	cluster  *cluster.Cluster
	api      *listener
	status   *listener

	draining   atomic.Bool
	keyProblem atomic.Pointer[string]
	tlsProblem string // as it was said last; watchFiles alone uses it
}

// Run serves until ctx ends, and then ends in order: it is not ready any more, finishes the requests under way, and takes its Replica away.
// The error says why it could not start; once it runs, what goes wrong is said by readiness, Replica and log, and tried again.
func Run(ctx context.Context, o Options) error {
	limit, unlimit := limitMemory(os.DirFS("/"))
	defer unlimit()
	hashes := hashMemory(limit)
	p, err := newProgram(o, hashes)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	o.Log.Info("starting", "memoryLimit", limit, "passwordHashMemory", hashes)
	var parts sync.WaitGroup
	for _, part := range []func(context.Context){p.api.run, p.status.run, p.cluster.Run, p.records.run, p.watchFiles, p.sweep, p.keepRoom} {
		parts.Go(func() { part(running) })
	}
	<-ctx.Done()

	o.Log.Info("shutting down")
	p.draining.Store(true)
	p.cluster.Changed()
	ending, cancel := context.WithTimeout(running, drain)
	p.api.shutdown(ending)
	cancel()
	stop()
	ending, cancel = context.WithTimeout(context.WithoutCancel(ctx), statusDrain)
	p.status.shutdown(ending)
	cancel()
	parts.Wait() // nobody writes the Replica any more
	ending, cancel = context.WithTimeout(context.WithoutCancel(ctx), leave)
	defer cancel()
	if err := p.cluster.Leave(ending); err != nil {
		o.Log.Warn("the replica stays behind", "error", err.Error())
	}
	return nil
}

// newProgram makes the program. Hashes is how much memory the password hashes that are computed at
// once may take.
func newProgram(o Options, hashes int64) (*program, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	p := &program{options: o, registry: registry.New(), keys: keys.NewSet(o.Random)}
	if err := p.connect(metrics); err != nil {
		return nil, err
	}
	var err error
	if p.records, err = p.openRecords(metrics); err != nil { // it tells the cluster of its changes
		return nil, err
	}
	server := &Server{
		Registry: p.registry, Keys: p.keys, Store: p.records.Store, Epoch: p.records.epoch, Used: p.cluster.Used, HashMemory: hashes,
		Now: o.Now, Random: o.Random, Log: o.Log, Metrics: metrics,
	}
	handler, err := server.Handler()
	if err != nil {
		return nil, err
	}
	p.api = newListener(o.Listen, handler, o.Log, p.cluster.Changed)
	metrics.MustRegister(p.api.door.metrics()...)
	if o.TLSDir != "" {
		p.api.certificate = &certificate{dir: o.TLSDir}
	}
	p.status = newListener(o.StatusListen, statusHandler(metrics, p.problem), o.Log, p.cluster.Changed)
	p.loadFiles()
	return p, nil
}

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
		return errors.New("clock, randomness or log is missing")
	}
	return nil
}

func (p *program) connect(metrics prometheus.Registerer) error {
	api, err := cluster.RESTConfig(p.options.Kubeconfig)
	if err != nil {
		return err
	}
	p.cluster, err = cluster.New(api, cluster.Config{
		Namespace: p.options.Namespace, ServerName: p.options.ServerName, ServerUID: p.options.ServerUID,
		ReplicaName: p.options.ReplicaName, Registry: p.registry, Keys: p.keys, State: p.state,
		Now: p.options.Now, Log: p.options.Log, Metrics: metrics,
	})
	return err
}

// state is what the Replica says of this process.
func (p *program) state() cluster.ReplicaState {
	problem := p.problem()
	ready := problem == ""
	if ready && p.records.trouble != nil {
		problem = p.records.trouble()
	}
	return cluster.ReplicaState{Ready: ready, Problem: problem, Keys: p.keys.Held()}
}

// problem says what keeps the server from being ready; empty if nothing does.
func (p *program) problem() string {
	if p.draining.Load() {
		return "shutting down"
	}
	if problem, _ := p.api.state(); problem != "" {
		return problem
	}
	if problem, _ := p.status.state(); problem != "" {
		return problem
	}
	if !p.registry.Synced() {
		return "the Entries have not been read yet"
	}
	if problem := p.recordsProblem(); problem != "" {
		return problem
	}
	problem := p.keys.Problem()
	if failed := p.keyProblem.Load(); problem != "" && failed != nil && *failed != "" {
		problem += " (" + *failed + ")"
	}
	return problem
}

// watchFiles reads keys and certificate again when they change.
func (p *program) watchFiles(ctx context.Context) {
	for wait(ctx, poll) {
		p.loadFiles()
	}
}

// loadFiles reads what is mounted. What cannot be read leaves what was there, and is said once.
func (p *program) loadFiles() {
	held := p.keys.Ring()
	said := ""
	if err := p.keys.LoadDir(p.options.KeysDir); err != nil {
		said = err.Error()
	}
	before := p.keyProblem.Swap(&said)
	if said != "" && (before == nil || *before != said) {
		p.options.Log.Warn("cannot load keys", "error", said)
	}
	if p.keys.Ring() != held || before != nil && *before != said {
		p.cluster.Changed()
	}
	if p.api.certificate == nil {
		return
	}
	changed, err := p.api.certificate.load()
	if changed {
		p.options.Log.Info("loaded the TLS certificate")
	}
	said = ""
	if err != nil && p.api.certificate.missing() == nil {
		said = err.Error()
	}
	if said != "" && said != p.tlsProblem {
		p.options.Log.Warn("the TLS certificate that was loaded before stays", "error", said)
	}
	p.tlsProblem = said
}

// sweep removes expired records now and then.
func (p *program) sweep(ctx context.Context) {
	for wait(ctx, sweepEvery) {
		removed, err := p.records.Sweep(ctx, p.options.Now())
		if err != nil {
			p.options.Log.Warn("cannot remove expired records", "error", err.Error())
			continue
		}
		if removed > 0 {
			p.options.Log.Info("removed expired records", "count", removed)
		}
	}
}
