package sweep

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
)

// candidates are the Entries of one server whose owner is not in the cache.
type candidates struct {
	uid       types.UID // of the server
	namespace string
	regarding client.Object // the object that events are about
	total     int           // all Entries of the server
	entries   []*internalv1alpha1.Entry
	// leftBehind is whether the server is not in the cache and has left its Entries behind. Then all
	// of them are candidates.
	leftBehind bool
}

// findCandidates returns the candidates of each server that exists, and of each that has left
// Entries behind. It reads the cache without copying, since there may be a hundred thousand Entries,
// and as many owners, of which it does not make a list.
func (s *Sweeper) findCandidates(ctx context.Context) ([]candidates, error) {
	var servers v1alpha1.AuthorizationServerList
	var entries internalv1alpha1.EntryList
	if err := s.Cache.List(ctx, &entries, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing Entries: %w", err)
	}
	// The servers and other owners are read after what they own, so that one which was created in
	// between is found.
	if err := s.Cache.List(ctx, &servers, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing AuthorizationServers: %w", err)
	}
	existing := map[types.UID]*candidates{}
	for i := range servers.Items {
		server := &servers.Items[i]
		existing[server.UID] = &candidates{uid: server.UID, namespace: server.Namespace, regarding: server}
	}
	former := map[types.UID]*candidates{}
	for i := range entries.Items {
		e := &entries.Items[i]
		switch of := existing[e.Spec.ServerUID]; {
		case of == nil:
			addLeftBehind(former, e)
		case of.namespace == e.Namespace:
			of.total++
			hasOwner, err := s.hasOwner(ctx, e.Spec.Owner)
			if err != nil {
				return nil, err
			}
			if !hasOwner {
				of.entries = append(of.entries, e.DeepCopy())
			}
		}
	}
	var all []candidates
	for _, c := range existing {
		all = append(all, *c)
	}
	for _, c := range former {
		all = append(all, *c)
	}
	return all, nil
}

// addLeftBehind adds an Entry to the candidates of a server that is not in the cache, unless the
// garbage collector deletes it.
func addLeftBehind(former map[types.UID]*candidates, e *internalv1alpha1.Entry) {
	if slices.ContainsFunc(e.OwnerReferences, func(ref metav1.OwnerReference) bool { return ref.UID == e.Spec.ServerUID }) {
		return
	}
	e = e.DeepCopy()
	of := former[e.Spec.ServerUID]
	if of == nil {
		of = &candidates{uid: e.Spec.ServerUID, namespace: e.Namespace, regarding: e, leftBehind: true}
		former[of.uid] = of
	}
	if of.namespace == e.Namespace {
		of.total++
		of.entries = append(of.entries, e)
	}
}

// hasOwner reports whether the cache has the owner of an Entry.
func (s *Sweeper) hasOwner(ctx context.Context, owner internalv1alpha1.Owner) (bool, error) {
	object := newOwner(owner.Kind)
	if object == nil {
		return false, nil
	}
	err := s.Cache.Get(ctx, client.ObjectKey{Namespace: owner.Namespace, Name: owner.Name}, object, client.UnsafeDisableDeepCopy)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking up the owner of an Entry: %w", err)
	}
	return object.GetUID() == owner.UID, nil
}

// newOwner returns an empty object of a kind that can own an Entry; nil if there is no such kind.
func newOwner(kind string) client.Object {
	switch kind {
	case compile.KindServer:
		return &v1alpha1.AuthorizationServer{}
	case compile.KindClient:
		return &v1alpha1.OAuthClient{}
	case compile.KindUser:
		return &v1alpha1.OAuthUser{}
	case compile.KindIdentity:
		return &v1alpha1.OAuthIdentity{}
	case compile.KindResourceServer:
		return &v1alpha1.ResourceServer{}
	case compile.KindIdentityProvider:
		return &v1alpha1.IdentityProvider{}
	case compile.KindNamespace:
		return &corev1.Namespace{}
	}
	return nil
}
