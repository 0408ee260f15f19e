// Package kubeclient makes the clients and reflectors of the two packages that talk to the
// Kubernetes API server: cluster, which reads Entries, and storage/kubernetes, which keeps records.
package kubeclient

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/oauth-operator/oauth-operator/version"
)

// LoadConfig returns the configuration of a kubeconfig file, or of the Pod's ServiceAccount if the
// path is empty. Tokens in files are read again as they are renewed.
func LoadConfig(kubeconfig string) (*rest.Config, error) {
	config, err := rest.InClusterConfig()
	if kubeconfig != "" {
		config, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	}
	if err != nil {
		return nil, fmt.Errorf("reading how to reach the API server: %w", err)
	}
	config.UserAgent = version.UserAgent("tokenserver")
	return config, nil
}

// New returns a client of one API group, whose kinds addToScheme registers. It does not limit the
// rate of requests: the token server bounds what it sends, and a limit here would delay logins.
func New(
	config *rest.Config, httpClient *http.Client, group schema.GroupVersion, addToScheme func(*runtime.Scheme) error,
) (rest.Interface, error) {
	scheme := runtime.NewScheme()
	if err := addToScheme(scheme); err != nil {
		return nil, fmt.Errorf("registering the kinds of %s: %w", group, err)
	}
	config = rest.CopyConfig(config)
	config.QPS = -1
	config.GroupVersion = &group
	config.APIPath = "/apis"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.ContentType = runtime.ContentTypeJSON
	client, err := rest.RESTClientForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, fmt.Errorf("making a client of %s: %w", group, err)
	}
	return client, nil
}

// Watch is what a reflector lists and watches, and where it puts it.
type Watch struct {
	Client              rest.Interface
	Namespace, Resource string
	LabelSelector       string
	// Object is an object of the kind.
	Object runtime.Object
	Store  cache.ReflectorStore
	// NewDecoder returns a decoder of the events in a response; nil: that of client-go.
	NewDecoder func(io.ReadCloser) watch.Decoder
	// MinRetryDelay and MaxRetryDelay bound the delay before a broken watch is opened again. The
	// default of client-go is up to half a minute.
	MinRetryDelay, MaxRetryDelay time.Duration

	// OnOpen is called when a watch has been opened. listing is true if it first sends all objects
	// that exist.
	OnOpen func(listing bool)
	// OnClose is called when a watch has ended or cannot be opened.
	OnClose func()
}

// NewReflector returns a reflector of w. It does nothing before it is run.
func NewReflector(w Watch) *cache.Reflector {
	lw := cache.NewFilteredListWatchFromClient(w.Client, w.Resource, w.Namespace, func(o *metav1.ListOptions) { o.LabelSelector = w.LabelSelector })
	lw.WatchFuncWithContext = func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
		opened, err := w.Open(ctx, o)
		if err != nil {
			w.OnClose()
			return nil, err
		}
		w.OnOpen(o.SendInitialEvents != nil && *o.SendInitialEvents)
		return &observedWatch{Interface: opened, onStop: w.OnClose}, nil
	}
	return cache.NewReflectorWithOptions(lw, w.Object, w.Store, cache.ReflectorOptions{
		Name: w.Resource,
		Backoff: &wait.Backoff{
			Duration: w.MinRetryDelay, Factor: 2, Jitter: 0.5, Steps: 10, Cap: w.MaxRetryDelay,
		},
	})
}

// Open opens a watch, whose events NewDecoder decodes.
func (w Watch) Open(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	o.Watch, o.LabelSelector = true, w.LabelSelector
	request := w.Client.Get().Namespace(w.Namespace).Resource(w.Resource).VersionedParams(&o, metav1.ParameterCodec)
	if w.NewDecoder == nil {
		return request.Watch(ctx)
	}
	body, err := request.Stream(ctx)
	if err != nil {
		return nil, err
	}
	reporter := apierrors.NewClientErrorReporter(http.StatusInternalServerError, http.MethodGet, "ClientWatchDecoding")
	return watch.NewStreamWatcher(w.NewDecoder(body), reporter), nil
}

// observedWatch reports when the reflector stops it.
type observedWatch struct {
	watch.Interface
	onStop func()
}

// Stop implements watch.Interface.
func (w *observedWatch) Stop() {
	w.onStop()
	w.Interface.Stop()
}
