package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/rest"

	servedv1alpha1 "github.com/oauth-operator/oauth-operator/api/served/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// callTimeout bounds one request.
const callTimeout = 5 * time.Second

// Resources, as in URLs.
const (
	grantResource   = "oauthgrants"
	consentResource = "oauthconsents"
	markResource    = "marks"
	leaseResource   = "leases"
	eventResource   = "events"
)

// clients of the API groups. They share their connections.
type clients struct{ public, internal, leases, events rest.Interface }

func newClients(api *rest.Config) (clients, error) {
	// What this program sends is bounded by what it does, and by the API server; a limit on this side would only make logins wait.
	api = rest.CopyConfig(api)
	api.QPS = -1
	transport, err := rest.HTTPClientFor(api)
	if err != nil {
		return clients{}, fmt.Errorf("make a client of the API server: %w", err)
	}
	var c clients
	for _, group := range []struct {
		client  *rest.Interface
		version schema.GroupVersion
		add     func(*runtime.Scheme) error
	}{
		{&c.public, v1alpha1.GroupVersion, v1alpha1.AddToScheme},
		{&c.internal, servedv1alpha1.GroupVersion, servedv1alpha1.AddToScheme},
		{&c.leases, coordinationv1.SchemeGroupVersion, coordinationv1.AddToScheme},
		{&c.events, eventsv1.SchemeGroupVersion, eventsv1.AddToScheme},
	} {
		if *group.client, err = restClient(api, transport, group.version, group.add); err != nil {
			return clients{}, err
		}
	}
	return c, nil
}

func restClient(api *rest.Config, transport *http.Client, version schema.GroupVersion, add func(*runtime.Scheme) error) (rest.Interface, error) {
	scheme := runtime.NewScheme()
	if err := add(scheme); err != nil {
		return nil, fmt.Errorf("register kinds: %w", err)
	}
	config := rest.CopyConfig(api)
	config.GroupVersion = &version
	config.APIPath = "/apis"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.ContentType = runtime.ContentTypeJSON
	client, err := rest.RESTClientForConfigAndClient(config, transport)
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	return client, nil
}

// in this namespace, a request for a resource.
func (s *Store) in(r *rest.Request, resource string) *rest.Request {
	return r.Namespace(s.config.Namespace).Resource(resource)
}

// write sends a request that changes something, once, and reads the object that the API server answers. The error is ErrExists, ErrConflict or
// ErrNotFound if the API server says so, ErrUnavailable if nothing was written, and ErrAmbiguous if that is not known.
func write(ctx context.Context, r *rest.Request, into runtime.Object) error {
	if ctx.Err() != nil {
		return storage.ErrUnavailable
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	result := r.MaxRetries(0).Do(ctx)
	if err := result.Error(); err != nil {
		return outcome(err, connected.Load())
	}
	if into != nil && decode(result, into) != nil {
		return fmt.Errorf("%w: the answer cannot be read", storage.ErrAmbiguous)
	}
	return nil
}

// object of the cluster.
type object interface {
	metav1.Object
	runtime.Object
}

// put sends an object by a write, and reads what the API server answers. The answer has to be about this object: what is between here and the
// API server may mix answers up.
func put(ctx context.Context, r *rest.Request, o, into object) error {
	if err := write(ctx, r.Body(o), into); err != nil {
		return err
	}
	if into.GetName() != o.GetName() {
		return fmt.Errorf("%w: the answer is about another object", storage.ErrAmbiguous)
	}
	return nil
}

// decode reads the object of an answer without an error. The decoder of client-go reads every object twice, once to find out its kind; here it is
// known, and only checked.
func decode(result rest.Result, into runtime.Object) error {
	body, err := result.Raw()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return err
	}
	kind := into.GetObjectKind()
	if got, want := kind.GroupVersionKind().Kind, reflect.TypeOf(into).Elem().Name(); got != want {
		return fmt.Errorf("the answer is a %q, not a %s", got, want)
	}
	kind.SetGroupVersionKind(schema.GroupVersionKind{}) // as client-go has it
	return nil
}

// outcome of a write. An answer of 5xx may come from anywhere on the way, after the write or before it. The text of an answer is not passed on,
// for it may quote what was sent.
func outcome(err error, connected bool) error {
	var status apierrors.APIStatus
	switch {
	case !errors.As(err, &status) && !connected:
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	case !errors.As(err, &status):
		return fmt.Errorf("%w: %w", storage.ErrAmbiguous, err)
	case apierrors.IsAlreadyExists(err):
		return storage.ErrExists
	case apierrors.IsConflict(err):
		return storage.ErrConflict
	case noSuchObject(status.Status()):
		return storage.ErrNotFound
	case status.Status().Code >= http.StatusInternalServerError:
		return answered(storage.ErrAmbiguous, status.Status())
	default:
		return answered(storage.ErrUnavailable, status.Status())
	}
}

// read sends a request that changes nothing. The error is ErrNotFound or ErrUnavailable.
func read(ctx context.Context, r *rest.Request, into runtime.Object) error {
	if ctx.Err() != nil {
		return storage.ErrUnavailable
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	result := r.MaxRetries(1).Do(ctx)
	err := result.Error()
	if err == nil {
		err = decode(result, into)
	}
	var status apierrors.APIStatus
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &status):
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	case noSuchObject(status.Status()):
		return storage.ErrNotFound
	default:
		return answered(storage.ErrUnavailable, status.Status())
	}
}

// get reads the object of a name, and of no other.
func get(ctx context.Context, r *rest.Request, name string, into object) error {
	if err := read(ctx, r.Name(name), into); err != nil {
		return err
	}
	if into.GetName() != name {
		return fmt.Errorf("%w: the answer is about another object", storage.ErrUnavailable)
	}
	return nil
}

// noSuchObject tells an object that is not there from a kind that is not served, which says nothing about the object.
func noSuchObject(s metav1.Status) bool {
	if s.Reason != metav1.StatusReasonNotFound {
		return false
	}
	return s.Details == nil || !slices.ContainsFunc(s.Details.Causes, func(c metav1.StatusCause) bool {
		return c.Type == metav1.CauseTypeUnexpectedServerResponse
	})
}

func answered(err error, s metav1.Status) error {
	return fmt.Errorf("%w: the API server answered %d %s", err, s.Code, s.Reason)
}
