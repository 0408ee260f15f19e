// Command manager runs the controllers. They compile the objects that users apply into the documents
// that token servers serve, and report the result in conditions. Its flags are its only
// configuration.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/oauth-operator/oauth-operator/controllers"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
	"github.com/oauth-operator/oauth-operator/tokenserver/memorylimit"
	"github.com/oauth-operator/oauth-operator/version"
)

// leaseName is the Lease that managers elect their leader by.
const leaseName = "oauth-operator-manager"

const (
	// shutdownTimeout is how long reconciles in progress may take once the program is told to end.
	shutdownTimeout = 8 * time.Second
	// probeTimeout is how long the readiness probe waits, less than the second of a kubelet.
	probeTimeout = 500 * time.Millisecond
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop) // a second signal kills the process
	setLog(os.Stdout)
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintln(os.Stderr, "manager: "+err.Error())
		os.Exit(1)
	}
}

// setLog sets up JSON logs for the whole program.
func setLog(out io.Writer) {
	log := slog.New(slog.NewJSONHandler(out, nil))
	klog.SetSlogLogger(log)
	ctrl.SetLogger(logr.FromSlogHandler(log.Handler()))
}

// options are the flags.
type options struct {
	metrics          metricsOptions
	probes           string
	elect            bool
	electIn          string
	tokenServerImage string
	namespaces       namespaces
}

// run parses the flags, and runs the controllers until ctx ends.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	var o options
	flags := flag.NewFlagSet("manager", flag.ContinueOnError)
	config.RegisterFlags(flags) // --kubeconfig
	flags.StringVar(&o.metrics.address, "metrics-bind-address", "0", "address of /metrics, such as :8443; 0 for none")
	flags.BoolVar(&o.metrics.secure, "metrics-secure", true,
		"serve /metrics over TLS, and only to whom the API server lets get that URL; false: over plain HTTP, to everybody")
	flags.StringVar(&o.metrics.certDir, "metrics-cert-dir", "",
		"directory of the files tls.crt and tls.key for /metrics, read again when they change (default: a self-signed certificate)")
	flags.StringVar(&o.probes, "health-probe-bind-address", ":8081", "address of /healthz and /readyz; 0 for none")
	flags.BoolVar(&o.elect, "leader-elect", false, "have only one of several managers at work at a time")
	flags.StringVar(&o.electIn, "leader-election-namespace", defaultNamespace(), "namespace of the Lease that leaders are elected by")
	flags.StringVar(&o.tokenServerImage, "tokenserver-image", "", "image that token servers run from (default: that of the manager's own Pod)")
	flags.Var(&o.namespaces, "namespaces", "the namespaces to work in, by commas; a RoleBinding in each gives the manager its rights there (default: all)")
	printVersion := flags.Bool("version", false, "print the version and exit")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	if *printVersion {
		_, err := fmt.Fprintln(stdout, version.String())
		return err
	}
	memory, restore := memorylimit.Set(os.DirFS("/"))
	defer restore()
	ctrl.Log.Info("starting", "version", version.Version(), "commit", version.Commit(), "memoryLimit", memory)
	api, err := config.GetConfig()
	if err != nil {
		return fmt.Errorf("reading how to reach the API server: %w", err)
	}
	// The API server limits requests by priority and fairness. The limit of client-go would be lower.
	api.QPS = -1
	api.UserAgent = version.UserAgent("manager")
	if o.tokenServerImage == "" {
		if o.tokenServerImage, err = ownImage(ctx, api, os.Getenv); err != nil {
			return err
		}
	}
	if o.namespaces, err = o.namespaces.accessible(ctx, api); err != nil {
		return err
	}
	mgr, err := newManager(ctx, api, o)
	if err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// defaultNamespace returns the namespace of the manager's Pod.
func defaultNamespace() string {
	if namespace := os.Getenv(podNamespaceVariable); namespace != "" {
		return namespace
	}
	return "oauth-operator-system"
}

func newManager(ctx context.Context, api *rest.Config, o options) (ctrl.Manager, error) {
	metricsServer, err := o.metrics.server()
	if err != nil {
		return nil, err
	}
	grace := shutdownTimeout
	mgr, err := ctrl.NewManager(api, ctrl.Options{
		Scheme:                        controllers.Scheme(),
		Cache:                         controllers.CacheOptions(o.namespaces),
		Metrics:                       metricsServer,
		HealthProbeBindAddress:        o.probes,
		LeaderElection:                o.elect,
		LeaderElectionID:              leaseName,
		LeaderElectionNamespace:       o.electIn,
		LeaderElectionReleaseOnCancel: true, // safe, since the process ends when the manager does
		GracefulShutdownTimeout:       &grace,
	})
	if err != nil {
		return nil, fmt.Errorf("setting up the manager: %w", err)
	}
	if err := errors.Join(mgr.AddHealthzCheck("ping", healthz.Ping), mgr.AddReadyzCheck("caches", cachesFilled(mgr))); err != nil {
		return nil, fmt.Errorf("setting up the probes: %w", err)
	}
	if err := metrics.Registry.Register(version.Collector("manager")); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	err = controllers.SetUp(ctx, mgr, controllers.Options{
		Now: time.Now, Random: rand.Reader,
		SweepInterval: controllers.DefaultSweepInterval, SweepWait: controllers.DefaultSweepWait,
		CountInterval: controllers.DefaultCountInterval, Workers: controllers.DefaultWorkers,
		TokenServerImage: o.tokenServerImage, TokenServerVariables: workload.TraceVariables(os.Getenv), Namespaces: o.namespaces,
	})
	if err != nil {
		return nil, fmt.Errorf("setting up the controllers: %w", err)
	}
	return mgr, nil
}

// cachesFilled returns the check of a manager's readiness: its caches are filled, whether or not it
// is the leader.
func cachesFilled(mgr manager.Manager) healthz.Checker {
	return func(r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), probeTimeout)
		defer cancel()
		if !mgr.GetCache().WaitForCacheSync(ctx) {
			return errors.New("the caches are not filled yet")
		}
		return nil
	}
}
