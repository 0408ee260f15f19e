package controllers

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/policy"
)

// Who owns a name at a server: the object that holds the Entry; where there is none, the object
// that held the name last by its own status; else the oldest object that asks for it and that
// policy allows. So names do not change hands when a server is created again, when Entries are
// lost, or when a cluster is restored with the status of its objects. Two that decide at once
// decide alike, and if their caches differ the API server lets one create the Entry.

// claimantKinds are the kinds of objects that ask for names.
func claimantKinds() []client.Object {
	return []client.Object{&v1alpha1.OAuthClient{}, &v1alpha1.OAuthUser{}, &v1alpha1.ResourceServer{}}
}

// namesOf an object, and the server at which it asks for them.
func namesOf(object client.Object) (server client.ObjectKey, names compile.Names) {
	switch o := object.(type) {
	case *v1alpha1.OAuthClient:
		return serverOfClient(o), compile.ClientNames(o)
	case *v1alpha1.OAuthUser:
		return serverOfUser(o), compile.UserNames(o)
	case *v1alpha1.ResourceServer:
		return serverOfResourceServer(o), compile.ResourceServerNames(o)
	}
	return client.ObjectKey{}, compile.Names{}
}

// taken reports whether a name belongs to another object than this one. Current is the name's
// Entry, nil if there is none. It is asked before anything else is claimed: an object that does not
// get its first name claims no others, or each look would claim and release them anew.
func (op *operator) isTaken(ctx context.Context, at *resolvedServer, claim compile.Name, object client.Object, current *internalv1alpha1.Entry) (bool, error) {
	if current != nil {
		if current.Spec.Owner.UID == object.GetUID() {
			return false, nil
		}
		gone, err := op.isOwnerGone(ctx, current.Spec.Owner)
		if err != nil {
			return false, err
		}
		if !gone {
			return true, nil
		}
	}
	next, err := op.findRightfulOwner(ctx, at, claim)
	if err != nil {
		return false, err
	}
	return next != nil && next.GetUID() != object.GetUID(), nil
}

// nextOwner is the object that a name without an Entry belongs to; nil if there is none. One that
// held the name has it also while it is invalid or policy refuses it, as one that holds the Entry
// has.
func (op *operator) findRightfulOwner(ctx context.Context, at *resolvedServer, claim compile.Name) (client.Object, error) {
	claimants, err := op.claimants(ctx, at.object, claim)
	if err != nil {
		return nil, err
	}
	for _, c := range claimants {
		allowed := c.held
		if !allowed {
			if allowed, err = op.isAllowedName(ctx, at, claim, c.object); err != nil {
				return nil, err
			}
		}
		if allowed {
			return c.object, nil
		}
	}
	return nil, nil
}

// claimant is an object that asks for a name.
type claimant struct {
	object client.Object
	held   bool // the name, by its own status
}

// claimants of a name: first those that held it, then by age. The cache is complete when it
// answers: it waits until what was there when the manager started has been read.
func (op *operator) claimants(ctx context.Context, server *v1alpha1.AuthorizationServer, claim compile.Name) ([]claimant, error) {
	asks := client.MatchingFields{indexName: nameKey(client.ObjectKeyFromObject(server), claim)}
	var found []claimant
	for _, list := range []client.ObjectList{&v1alpha1.OAuthClientList{}, &v1alpha1.OAuthUserList{}, &v1alpha1.ResourceServerList{}} {
		if err := op.List(ctx, list, asks, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("listing the objects that ask for %s %q: %w", claim.Space, claim.Value, err)
		}
		if err := meta.EachListItem(list, func(item runtime.Object) error {
			object, ok := item.(client.Object)
			if ok && object.GetDeletionTimestamp().IsZero() {
				_, names := namesOf(object)
				found = append(found, claimant{object, slices.Contains(names.Held, claim)})
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(found, func(a, b claimant) int {
		if a.held != b.held {
			if a.held {
				return -1
			}
			return 1
		}
		return byAge(a.object, b.object)
	})
	return found, nil
}

// byAge orders objects by their creation; those of one second by their UID.
func byAge(a, b metav1.Object) int {
	created := a.GetCreationTimestamp()
	return cmp.Or(created.Compare(b.GetCreationTimestamp().Time), cmp.Compare(a.GetUID(), b.GetUID()))
}

// mayHave reports whether an object that never held a name could be served under it: it is valid,
// policy allows it, and the names that it cannot do without are not another's.
func (op *operator) isAllowedName(ctx context.Context, at *resolvedServer, claim compile.Name, object client.Object) (bool, error) {
	switch o := object.(type) {
	case *v1alpha1.OAuthClient:
		labels, err := op.namespaceLabels(ctx, o.Namespace)
		return err == nil && policy.EvaluateClient(at.document, labels, compile.Client(o, nil)).Accepted, err
	case *v1alpha1.OAuthUser:
		if _, findings := compile.User(o); len(findings) > 0 {
			return false, nil
		}
		return op.hasNoOtherOwner(ctx, at.object, claim, o, compile.UserNames(o).Requested)
	case *v1alpha1.ResourceServer:
		doc, findings := compile.ResourceServer(o)
		if len(findings) > 0 {
			return false, nil
		}
		labels, err := op.namespaceLabels(ctx, o.Namespace)
		if err != nil || !policy.EvaluateResourceServer(at.document, labels, doc).Accepted {
			return false, err
		}
		return op.hasNoOtherOwner(ctx, at.object, claim, o, []compile.Name{compile.IdentifierName(o.Spec.Identifier)})
	}
	return false, nil
}

// othersFree reports whether no other object has a name that the object needs beside the one that it
// claims: by an Entry, or where there is none, by having held the name last.
func (op *operator) hasNoOtherOwner(
	ctx context.Context, server *v1alpha1.AuthorizationServer, claim compile.Name, object client.Object, needed []compile.Name,
) (bool, error) {
	for _, name := range needed {
		if name == claim {
			continue
		}
		e, err := op.getEntry(ctx, server, name)
		if err != nil {
			return false, err
		}
		if e != nil {
			if e.Spec.Owner.UID != object.GetUID() {
				return false, nil
			}
			continue
		}
		first, err := op.claimants(ctx, server, name)
		if err != nil {
			return false, err
		}
		if len(first) > 0 && first[0].held && first[0].object.GetUID() != object.GetUID() {
			return false, nil
		}
	}
	return true, nil
}

// labelsOf a namespace, for policy; nil if it is not there.
func (op *operator) namespaceLabels(ctx context.Context, name string) (map[string]string, error) {
	var namespace corev1.Namespace
	err := op.Get(ctx, client.ObjectKey{Name: name}, &namespace)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading namespace %s: %w", name, err)
	}
	return known(namespace.Labels), nil
}
