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
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/rest"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/kubeclient"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// requestTimeout bounds one request.
const requestTimeout = 5 * time.Second

// Resources, as in URLs.
const (
	grantResource    = "oauthgrants"
	consentResource  = "oauthconsents"
	identityResource = "oauthidentities"
	markResource     = "marks"
	leaseResource    = "leases"
	eventResource    = "events"
)

// clients of the API groups. They share their connections.
type clients struct{ public, internal, leases, events rest.Interface }

func newClients(api *rest.Config) (clients, error) {
	httpClient, err := rest.HTTPClientFor(api)
	if err != nil {
		return clients{}, fmt.Errorf("making a client of the API server: %w", err)
	}
	var c clients
	for _, group := range []struct {
		client      *rest.Interface
		version     schema.GroupVersion
		addToScheme func(*runtime.Scheme) error
	}{
		{&c.public, v1alpha1.GroupVersion, v1alpha1.AddToScheme},
		{&c.internal, internalv1alpha1.GroupVersion, internalv1alpha1.AddToScheme},
		{&c.leases, coordinationv1.SchemeGroupVersion, coordinationv1.AddToScheme},
		{&c.events, eventsv1.SchemeGroupVersion, eventsv1.AddToScheme},
	} {
		if *group.client, err = kubeclient.New(api, httpClient, group.version, group.addToScheme); err != nil {
			return clients{}, err
		}
	}
	return c, nil
}

// of returns the client of the group that has the resource.
func (c clients) of(resource string) rest.Interface {
	switch resource {
	case markResource:
		return c.internal
	case leaseResource:
		return c.leases
	case eventResource:
		return c.events
	default:
		return c.public
	}
}

// request returns a request for a resource in the namespace of the server.
func (s *Store) request(method, resource string) *rest.Request {
	return s.clients.of(resource).Verb(method).Namespace(s.config.Namespace).Resource(resource)
}

// write sends a request that changes something, once, and reads the answer into an object, if that
// is not nil. The error is ErrExists, ErrConflict or ErrNotFound if the API server says so,
// ErrUnavailable if nothing was written, and ErrAmbiguous if that is not known.
func write(ctx context.Context, r *rest.Request, into runtime.Object) error {
	if ctx.Err() != nil {
		return storage.ErrUnavailable
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	result := r.MaxRetries(0).Do(ctx)
	if err := result.Error(); err != nil {
		return writeError(err, connected.Load())
	}
	if into != nil && decode(result, into) != nil {
		return fmt.Errorf("%w: the answer cannot be read", storage.ErrAmbiguous)
	}
	return nil
}

type object interface {
	metav1.Object
	runtime.Object
}

// answer is what the answer of the API server is read into: an object, or what is needed of one.
type answer interface {
	runtime.Object
	GetName() string
}

// writeObject writes an object and reads the answer, which must be about the object: a proxy on the
// way may mix up answers.
func writeObject(ctx context.Context, r *rest.Request, o object, into answer) error {
	if err := write(ctx, r.Body(o), into); err != nil {
		return err
	}
	if into.GetName() != o.GetName() {
		return fmt.Errorf("%w: the answer is about another object", storage.ErrAmbiguous)
	}
	return nil
}

// decode reads the answer of a request that has succeeded. It does without the decoder of
// client-go, which parses every object twice, the first time to find its kind; here the kind is
// known and only checked.
func decode(result rest.Result, into runtime.Object) error {
	body, err := result.Raw()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return err
	}
	kind, want := into.GetObjectKind(), reflect.TypeOf(into).Elem().Name()
	if _, ok := into.(*writtenGrant); ok {
		want = "OAuthGrant"
	}
	if got := kind.GroupVersionKind().Kind; got != want {
		return fmt.Errorf("the answer is a %q, not a %s", got, want)
	}
	kind.SetGroupVersionKind(schema.GroupVersionKind{}) // as the decoder of client-go does
	return nil
}

// writeError returns what the error of a write means. An answer of 5xx may come from anywhere on
// the way, after the write or before it. The text of an answer is left out, since it may quote what
// was sent.
func writeError(err error, connected bool) error {
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
	case isObjectNotFound(status.Status()):
		return storage.ErrNotFound
	case status.Status().Code >= http.StatusInternalServerError:
		return statusError(storage.ErrAmbiguous, status.Status())
	default:
		return statusError(storage.ErrUnavailable, status.Status())
	}
}

// read sends a request that changes nothing. The error is ErrNotFound or ErrUnavailable.
func read(ctx context.Context, r *rest.Request, into runtime.Object) error {
	if ctx.Err() != nil {
		return storage.ErrUnavailable
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
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
	case isObjectNotFound(status.Status()):
		return storage.ErrNotFound
	default:
		return statusError(storage.ErrUnavailable, status.Status())
	}
}

// readObject reads the object of a name. An answer about another object is ErrUnavailable.
func (s *Store) readObject(ctx context.Context, resource, name string, into object) error {
	if err := read(ctx, s.request(http.MethodGet, resource).Name(name), into); err != nil {
		return err
	}
	if into.GetName() != name {
		return fmt.Errorf("%w: the answer is about another object", storage.ErrUnavailable)
	}
	return nil
}

// readRecord is readObject for objects that people delete. One that is being deleted is ErrNotFound,
// although a finalizer still keeps it: that cannot be undone.
func (s *Store) readRecord(ctx context.Context, resource, name string, into object) error {
	err := s.readObject(ctx, resource, name, into)
	if err == nil && into.GetDeletionTimestamp() != nil {
		return storage.ErrNotFound
	}
	return err
}

// createObject creates an object and reads the answer. ErrUnavailable if the namespace
// or the kind does not exist.
func (s *Store) createObject(ctx context.Context, resource string, o object, into answer) error {
	err := writeObject(ctx, s.request(http.MethodPost, resource), o, into)
	if errors.Is(err, storage.ErrNotFound) {
		return storage.ErrUnavailable
	}
	return err
}

// updateObject replaces an object and reads the answer.
func (s *Store) updateObject(ctx context.Context, resource string, o object, into answer) error {
	return writeObject(ctx, s.request(http.MethodPut, resource).Name(o.GetName()), o, into)
}

// deleteObject deletes an object if it meets the preconditions.
func (s *Store) deleteObject(ctx context.Context, resource, name string, preconditions *metav1.Preconditions) error {
	options := &metav1.DeleteOptions{Preconditions: preconditions}
	return write(ctx, s.request(http.MethodDelete, resource).Name(name).Body(options), nil)
}

// isObjectNotFound reports whether the status says that an object does not exist, rather than its
// kind, which would say nothing about the object.
func isObjectNotFound(s metav1.Status) bool {
	if s.Reason != metav1.StatusReasonNotFound {
		return false
	}
	return s.Details == nil || !slices.ContainsFunc(s.Details.Causes, func(c metav1.StatusCause) bool {
		return c.Type == metav1.CauseTypeUnexpectedServerResponse
	})
}

func statusError(err error, s metav1.Status) error {
	return fmt.Errorf("%w: the API server answered %d %s", err, s.Code, s.Reason)
}
