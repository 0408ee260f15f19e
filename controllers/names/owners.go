package names

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/policy"
)

// The owner of a name at a server is the object that owns its Entry; if there is no Entry, the
// object that had the name last according to its own status; else the oldest object that asks for
// the name and that policy allows. So names do not change hands when a server is created again,
// when Entries are lost, or when a cluster is restored with the status of its objects. Two
// reconcilers that decide at the same time decide alike, and if their caches differ, the API server
// lets one create the Entry.

// Server is an AuthorizationServer, and the document by which its policy is decided.
type Server struct {
	*v1alpha1.AuthorizationServer

	Document documents.Server
}

// Reserve ensures that an object has a name that carries no document, and returns its Entry. The
// error is ErrTaken if the name belongs to another object.
func (e *Entries) Reserve(ctx context.Context, server Server, name compile.Name, object client.Object) (*internalv1alpha1.Entry, error) {
	current, err := e.Get(ctx, server.AuthorizationServer, name)
	if err != nil {
		return nil, err
	}
	taken, err := e.IsTaken(ctx, server, name, object, current)
	if err != nil {
		return nil, err
	}
	if taken {
		return nil, ErrTaken
	}
	return e.EnsureLatest(ctx, server.AuthorizationServer, name, compile.OwnerOf(object), nil)
}

// IsTaken reports whether a name belongs to another object than this one. current is the Entry of
// the name, or nil. A reconciler asks about the first name of an object before it reserves others:
// an object that does not get its first name has no others, which each pass would otherwise reserve
// and release.
func (e *Entries) IsTaken(ctx context.Context, server Server, name compile.Name, object client.Object, current *internalv1alpha1.Entry) (bool, error) {
	if current != nil {
		if current.Spec.Owner.UID == object.GetUID() {
			return false, nil
		}
		gone, err := e.IsOwnerGone(ctx, current.Spec.Owner)
		if err != nil {
			return false, err
		}
		if !gone {
			return true, nil
		}
	}
	next, err := e.findOwner(ctx, server, name)
	if err != nil {
		return false, err
	}
	return next != nil && next.GetUID() != object.GetUID(), nil
}

// findOwner returns the object to which a name without an Entry belongs, or nil. An object that had
// the name keeps it also while it is invalid or policy refuses it, as one that has the Entry does.
func (e *Entries) findOwner(ctx context.Context, server Server, name compile.Name) (client.Object, error) {
	requesters, err := e.listRequesters(ctx, server.AuthorizationServer, name)
	if err != nil {
		return nil, err
	}
	for _, r := range requesters {
		allowed := r.hadName
		if !allowed {
			if allowed, err = e.isAllowed(ctx, server, name, r.object); err != nil {
				return nil, err
			}
		}
		if allowed {
			return r.object, nil
		}
	}
	return nil, nil
}

// requester is an object that asks for a name.
type requester struct {
	object  client.Object
	hadName bool // according to its own status
}

// listRequesters returns the objects that ask for a name: first those that had it, then by age. The
// cache is complete: reconcilers start when it has all objects that existed before.
func (e *Entries) listRequesters(ctx context.Context, server *v1alpha1.AuthorizationServer, name compile.Name) ([]requester, error) {
	byName := client.MatchingFields{IndexName: Key(client.ObjectKeyFromObject(server), name)}
	var found []requester
	for _, list := range []client.ObjectList{
		&v1alpha1.OAuthClientList{}, &v1alpha1.OAuthUserList{}, &v1alpha1.ResourceServerList{}, &v1alpha1.IdentityProviderList{},
	} {
		if err := e.Client.List(ctx, list, byName, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("listing the objects that ask for %s %q: %w", name.Space, name.Value, err)
		}
		if err := meta.EachListItem(list, func(item runtime.Object) error {
			object, ok := item.(client.Object)
			if ok && object.GetDeletionTimestamp().IsZero() {
				found = append(found, requester{object, slices.Contains(Of(object).Held, name)})
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(found, func(a, b requester) int {
		if a.hadName != b.hadName {
			if a.hadName {
				return -1
			}
			return 1
		}
		return CompareAge(a.object, b.object)
	})
	return found, nil
}

// CompareAge orders objects by their creation; those of one second by their UID.
func CompareAge(a, b metav1.Object) int {
	created := a.GetCreationTimestamp()
	return cmp.Or(created.Compare(b.GetCreationTimestamp().Time), cmp.Compare(a.GetUID(), b.GetUID()))
}

// isAllowed reports whether an object that never had a name could be served under it: the object is
// valid, policy allows it, and the names that it needs besides belong to no other object.
func (e *Entries) isAllowed(ctx context.Context, server Server, name compile.Name, object client.Object) (bool, error) {
	switch o := object.(type) {
	case *v1alpha1.OAuthClient:
		labels, err := e.namespaceLabels(ctx, o.Namespace)
		// Time alone refuses no client, so any time will do.
		return err == nil && policy.EvaluateClient(server.Document, labels, compile.Client(o, nil), time.Time{}).Accepted, err
	case *v1alpha1.OAuthUser:
		if _, findings := compile.User(o); len(findings) > 0 {
			return false, nil
		}
	case *v1alpha1.IdentityProvider:
		doc, findings := compile.IdentityProvider(o)
		return len(findings) == 0 && compile.MappingExamples(o) == nil && !compile.IsOwnIssuer(doc, server.Document.Issuer), nil
	case *v1alpha1.ResourceServer:
		doc, findings := compile.ResourceServer(o)
		if len(findings) > 0 {
			return false, nil
		}
		labels, err := e.namespaceLabels(ctx, o.Namespace)
		if err != nil || !policy.EvaluateResourceServer(server.Document, labels, doc).Accepted {
			return false, err
		}
	default:
		return false, nil
	}
	return e.canHave(ctx, server.AuthorizationServer, neededBesides(object, name), object)
}

// neededBesides returns the names without which an object is not served, except one. A user needs
// both names, and a ResourceServer its identifier: a scope that another object has is left out.
func neededBesides(object client.Object, except compile.Name) []compile.Name {
	needed := Of(object).Requested
	if _, ok := object.(*v1alpha1.ResourceServer); ok {
		needed = needed[:1]
	}
	return slices.DeleteFunc(needed, func(name compile.Name) bool { return name == except })
}

// canHave reports whether no other object has one of the names: by an Entry, or where there is
// none, by having had it last.
func (e *Entries) canHave(ctx context.Context, server *v1alpha1.AuthorizationServer, names []compile.Name, object client.Object) (bool, error) {
	for _, name := range names {
		entry, err := e.Get(ctx, server, name)
		if err != nil {
			return false, err
		}
		if entry != nil {
			if entry.Spec.Owner.UID != object.GetUID() {
				return false, nil
			}
			continue
		}
		requesters, err := e.listRequesters(ctx, server, name)
		if err != nil {
			return false, err
		}
		if len(requesters) > 0 && requesters[0].hadName && requesters[0].object.GetUID() != object.GetUID() {
			return false, nil
		}
	}
	return true, nil
}

// namespaceLabels returns the labels of a namespace for policy, or nil if it does not exist.
func (e *Entries) namespaceLabels(ctx context.Context, name string) (map[string]string, error) {
	var namespace corev1.Namespace
	err := e.Client.Get(ctx, client.ObjectKey{Name: name}, &namespace)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading namespace %s: %w", name, err)
	}
	return compile.KnownLabels(namespace.Labels), nil
}
