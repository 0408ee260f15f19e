package controllers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
	localoperator "github.com/oauth-operator/oauth-operator/hack/local/operator"
)

// What all tests of the package share: one control plane with the kinds and the shipped RBAC. Each
// test has namespaces of its own.
var (
	plane *controlplane.ControlPlane
	// admin is an administrator: the people of the tests. Unknown fields are refused.
	admin client.Client
	// managerConfig is who the manager is: its ServiceAccount, with the rights that are shipped and
	// no others.
	managerConfig *rest.Config
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	silent := slog.NewTextHandler(io.Discard, nil)
	ctrl.SetLogger(logr.FromSlogHandler(silent))
	klog.SetSlogLogger(slog.New(silent))

	ctx := context.Background()
	var err error
	if plane, err = controlplane.Start(ctx, controlplane.Options{NoFsync: true, Log: os.Stderr}); err != nil {
		return fail(err)
	}
	defer plane.Stop()
	if err := localoperator.Install(ctx, plane); err != nil {
		return fail(err)
	}
	if managerConfig, err = plane.ConfigFor(ctx, localoperator.Namespace, localoperator.ServiceAccount); err != nil {
		return fail(err)
	}
	reasons, err := checkReasons(managerConfig)
	if err != nil {
		return fail(err)
	}
	adminConfig := plane.AdminConfig()
	adminConfig.QPS = -1
	plain, err := client.New(adminConfig, client.Options{Scheme: Scheme()})
	if err != nil {
		return fail(err)
	}
	admin = client.WithFieldValidation(plain, metav1.FieldValidationStrict)
	if err := rollOutDeployments(ctx, adminConfig); err != nil {
		return fail(err)
	}
	code := m.Run()
	for _, problem := range reasons.found() {
		code = fail(errors.New(problem))
	}
	return code
}

// newNamespace creates a namespace of the test's own, with labels if given.
func newNamespace(t *testing.T, labels ...map[string]string) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	for _, l := range labels {
		ns.Labels = l
	}
	create(t, ns)
	return ns.Name
}

// create creates objects as the administrator.
func create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		if err := admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
}

// clientOf returns a client that reads from the API server, with the rights of a configuration.
func clientOf(t *testing.T, c *rest.Config) client.Client {
	t.Helper()
	made, err := client.New(c, client.Options{Scheme: Scheme(), Mapper: admin.RESTMapper()})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// startManager runs all controllers as the manager until the test ends, and returns when their
// caches are synced. Change may set options.
func startManager(t *testing.T, change ...func(*Options)) ctrl.Manager {
	t.Helper()
	mgr, stop := runManager(t, change...)
	t.Cleanup(stop)
	return mgr
}

// runManager is startManager with a function that stops the manager and returns when it has ended.
func runManager(t *testing.T, change ...func(*Options)) (mgr ctrl.Manager, stop func()) {
	t.Helper()
	metrics.Registry = prometheus.NewRegistry() // the operator's metrics are registered once for each manager
	o := Options{Now: time.Now, Random: rand.Reader, SweepInterval: DefaultSweepInterval, SweepWait: DefaultSweepWait, CountInterval: 100 * time.Millisecond, Workers: DefaultWorkers, TokenServerImage: testImage}
	for _, f := range change {
		f(&o)
	}
	var err error
	mgr, err = ctrl.NewManager(managerConfig, ctrl.Options{
		Scheme: Scheme(), Cache: CacheOptions(o.Namespaces),
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: new(true)}, // several tests of one process have controllers of the same name
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	if err := SetUp(ctx, mgr, o); err != nil {
		cancel()
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the manager ended: %v", err)
		}
	})
	if !mgr.GetCache().WaitForCacheSync(t.Context()) {
		stop()
		t.Fatal("the caches were not filled")
	}
	return mgr, stop
}
