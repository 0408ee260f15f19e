// Package cluster reads and changes the objects of the operator for a person: with the rights that
// the person has and no others, so that what is missing is an answer and not a failure.
//
//	cluster.go     reading objects; MissingRight, which names a right that is missing
//	references.go  references such as client/billing, and the kinds that they name
//	token.go       tokens of ServiceAccounts
//	dryrun.go      has the API server check an object that is not applied yet
//	change.go      changes of one field, and who else manages it; creating and deleting
package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// Cluster is a cluster as the caller may see it.
type Cluster struct {
	client client.Client
	clock  *serverClock
}

// New returns the cluster of a configuration. It sends no request: the kinds that the program needs
// are known, so no right to discover others is needed.
func New(config *rest.Config) (*Cluster, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, authenticationv1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{v1alpha1.GroupVersion, corev1.SchemeGroupVersion})
	for gvk := range scheme.AllKnownTypes() {
		scope := meta.RESTScopeNamespace
		if gvk.Kind == "Namespace" {
			scope = meta.RESTScopeRoot
		}
		mapper.Add(gvk, scope)
	}
	clock := &serverClock{}
	config = rest.CopyConfig(config)
	config.WrapTransport = transport.Wrappers(config.WrapTransport, clock.wrap)
	c, err := client.New(config, client.Options{Scheme: scheme, Mapper: mapper})
	if err != nil {
		return nil, fmt.Errorf("reaching the cluster: %w", err)
	}
	return &Cluster{client: c, clock: clock}, nil
}

// MissingRight is the error of a request that the caller may not send.
type MissingRight struct {
	Verb string `json:"verb"`
	// Resource is as in a Role: "secrets", or with its group "oauthclients.oauth-operator.dev".
	Resource string `json:"resource"`
	// Namespace is empty for objects without one, and for lists of all namespaces.
	Namespace string `json:"namespace,omitempty"`
	// Name is empty for lists.
	Name string `json:"name,omitempty"`
}

func (m *MissingRight) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "you may not %s %s", m.Verb, m.Resource)
	if m.Name != "" {
		fmt.Fprintf(&text, " %q", m.Name)
	}
	if m.Namespace != "" {
		fmt.Fprintf(&text, " in namespace %q", m.Namespace)
	} else if m.Name == "" {
		text.WriteString(" in all namespaces")
	}
	fmt.Fprintf(&text, ": ask for a Role with the verb %s on %s", m.Verb, m.Resource)
	return text.String()
}

// ErrNotFound means that an object does not exist.
var ErrNotFound = errors.New("not found")

// Get reads an object. The error is a *MissingRight if the caller may not, and wraps ErrNotFound if
// there is no such object.
func (c *Cluster) Get(ctx context.Context, object client.Object, namespace, name string) error {
	err := c.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, object)
	return c.explainError(err, "get", object, namespace, name)
}

// List reads the objects of a namespace, or of all if it is empty. Errors are as for Get.
func (c *Cluster) List(ctx context.Context, list client.ObjectList, namespace string) error {
	err := c.client.List(ctx, list, client.InNamespace(namespace))
	return c.explainError(err, "list", list, namespace, "")
}

// explainError returns an error that says what the caller can do about it.
func (c *Cluster) explainError(err error, verb string, object runtime.Object, namespace, name string) error {
	if err == nil {
		return nil
	}
	gvk, gvkErr := apiutil.GVKForObject(object, c.client.Scheme())
	if gvkErr != nil {
		return err
	}
	kind := strings.TrimSuffix(gvk.Kind, "List")
	switch {
	case apierrors.IsForbidden(err) && isAuthorization(err):
		resource := resourceOf(schema.GroupKind{Group: gvk.Group, Kind: kind})
		return &MissingRight{Verb: verb, Resource: resource, Namespace: namespace, Name: name}
	case apierrors.IsNotFound(err) && isUnknownResource(err):
		return fmt.Errorf("the cluster has no kind %s: is oauth-operator installed there?", kind)
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%s %s is %w", kind, qualified(namespace, name), ErrNotFound)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("the API server does not know who you are: %w", err)
	}
	return fmt.Errorf("%s %s: %w", kind, qualified(namespace, name), err)
}

// isAuthorization tells a request that the caller may not send from one that an admission policy
// refuses: the API server answers both with 403, and names the user in the first.
func isAuthorization(err error) bool {
	return strings.Contains(err.Error(), `User "`) && strings.Contains(err.Error(), `" cannot `)
}

// isUnknownResource reports whether the API server knows no such resource, rather than no such
// object: only the latter has a name.
func isUnknownResource(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	return details == nil || details.Name == "" || details.Kind == ""
}

func resourceOf(kind schema.GroupKind) string {
	plural, _ := meta.UnsafeGuessKindToResource(kind.WithVersion(""))
	return plural.GroupResource().String()
}

func qualified(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return strings.TrimSuffix(namespace+"/"+name, "/")
}

// Now returns the time by the clock of the API server, which is that of the cluster: the caller's
// may be wrong by minutes, and a moment before which tokens are void must be one of the clocks that
// they were issued by. It is the time of the answer that was received last, to the second.
func (c *Cluster) Now() (time.Time, error) {
	c.clock.mu.Lock()
	defer c.clock.mu.Unlock()
	if c.clock.last.IsZero() {
		return time.Time{}, errors.New("the API server has told no time yet")
	}
	return c.clock.last, nil
}

// serverClock notes the header Date of each answer (RFC 9110 section 6.6.1).
type serverClock struct {
	mu   sync.Mutex
	last time.Time
}

func (s *serverClock) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
			s.mu.Lock()
			s.last = date.UTC()
			s.mu.Unlock()
		}
		return response, nil
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
