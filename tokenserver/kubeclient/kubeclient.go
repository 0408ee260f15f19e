// Package kubeclient makes the clients and reflectors of the two packages that talk to the
// Kubernetes API server: cluster, which reads Entries, and storage/kubernetes, which keeps records.
//
//	kubeclient.go  clients, and reflectors: Watch
//	list.go        the list before a watch
//	stream.go      the events of a watch
//	decoder.go     Decoder, which reads of both what the caller needs
package kubeclient

import (
	"context"
	"fmt"
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
	// Decoder decodes lists and watches; nil: client-go does.
	Decoder Decoder
	// Keep returns what of an object of a list is put into the Store; nil: the object. It needs a
	// Decoder. A process that starts holds what Keep returns, and not the objects, until it has all.
	Keep func(runtime.Object) (runtime.Object, error)
	// MinRetryDelay and MaxRetryDelay bound the delay before a broken watch is opened again. The
	// default of client-go is up to half a minute.
	MinRetryDelay, MaxRetryDelay time.Duration

	// OnOpen is called when a watch has been opened.
	OnOpen func()
	// OnClose is called when a watch has ended or cannot be opened.
	OnClose func()
}

// NewReflector returns a reflector of w. It does nothing before it is run.
//
// It lists the objects and then watches from that moment on. A watch can send all objects first, but
// that takes an API server half as much time again or more: it encodes each event around an object
// that it has encoded already.
func NewReflector(w Watch) *cache.Reflector {
	lw := listsFirst{&cache.ListWatch{ListWithContextFunc: w.list, WatchFuncWithContext: w.watch}}
	reflector := cache.NewReflectorWithOptions(lw, w.Object, w.Store, cache.ReflectorOptions{
		Name: w.Resource,
		Backoff: &wait.Backoff{
			Duration: w.MinRetryDelay, Factor: 2, Jitter: 0.5, Steps: 10, Cap: w.MaxRetryDelay,
		},
	})
	reflector.WatchListPageSize = PageSize
	return reflector
}

// listsFirst says that the reflector shall list, as package watchlist of client-go has it.
type listsFirst struct{ *cache.ListWatch }

// IsWatchListSemanticsUnSupported is what the reflector asks.
func (listsFirst) IsWatchListSemanticsUnSupported() bool { return true }

func (w Watch) watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	opened, err := w.Open(ctx, o)
	if err != nil {
		w.OnClose()
		return nil, err
	}
	w.OnOpen()
	return &observedWatch{Interface: opened, onStop: w.OnClose}, nil
}

// Open opens a watch.
func (w Watch) Open(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	o.Watch, o.LabelSelector = true, w.LabelSelector
	request := w.Client.Get().Namespace(w.Namespace).Resource(w.Resource).VersionedParams(&o, metav1.ParameterCodec)
	if w.Decoder == nil {
		return request.Watch(ctx)
	}
	body, err := request.Stream(ctx)
	if err != nil {
		return nil, err
	}
	reporter := apierrors.NewClientErrorReporter(http.StatusInternalServerError, http.MethodGet, "ClientWatchDecoding")
	return watch.NewStreamWatcher(w.Decoder.Watch(body), reporter), nil
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
