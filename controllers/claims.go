package controllers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// errTaken: the name belongs to another object, which exists. It says nothing about that object,
// since it may be another tenant's.
var errTaken = errors.New("the name is taken")

// Kinds of owners.
const (
	kindServer         = "AuthorizationServer"
	kindClient         = "OAuthClient"
	kindUser           = "OAuthUser"
	kindResourceServer = "ResourceServer"
	kindNamespace      = "Namespace"
)

// entry of a name at a server, from the cache; nil if there is none there.
func (op *operator) getEntry(ctx context.Context, server *v1alpha1.AuthorizationServer, claim compile.Name) (*internalv1alpha1.Entry, error) {
	return readEntry(ctx, op.Client, server, claim)
}

// entryNow is entry, but asks the API server when the cache knows none: a caller that generates
// something new must know that nothing is there.
func (op *operator) getEntryConfirmed(ctx context.Context, server *v1alpha1.AuthorizationServer, claim compile.Name) (*internalv1alpha1.Entry, error) {
	if found, err := op.getEntry(ctx, server, claim); found != nil || err != nil {
		return found, err
	}
	return readEntry(ctx, op.apiReader, server, claim)
}

func readEntry(ctx context.Context, from client.Reader, server *v1alpha1.AuthorizationServer, claim compile.Name) (*internalv1alpha1.Entry, error) {
	var found internalv1alpha1.Entry
	err := from.Get(ctx, client.ObjectKey{Namespace: server.Namespace, Name: compile.EntryName(server.UID, claim)}, &found)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading an Entry: %w", err)
	}
	return &found, nil
}

// hold makes want exist and returns it as it is stored. The name is claimed by creating the Entry,
// so of two that want it the API server chooses one; the other gets errTaken while the owner
// exists. Current is the Entry that the caller has seen under that name, or nil; if it is no longer
// that one the error is a conflict, and the caller decides again on what is there.
func (op *operator) ensureEntry(ctx context.Context, want, current *internalv1alpha1.Entry) (*internalv1alpha1.Entry, error) {
	if current != nil && current.Spec.Owner.UID != want.Spec.Owner.UID {
		gone, err := op.isOwnerGone(ctx, current.Spec.Owner)
		if err != nil {
			return nil, err
		}
		if !gone {
			return nil, errTaken
		}
		if err := op.deleteEntry(ctx, current); err != nil {
			return nil, err
		}
		current = nil
	}
	if err := op.checkFormat(ctx, want, current); err != nil {
		return nil, err
	}
	if current == nil {
		if err := op.Create(ctx, want, client.FieldOwner(FieldManager)); err != nil {
			return nil, fmt.Errorf("claiming %s %q: %w", want.Spec.Space, want.Spec.Value, err)
		}
		return want, nil
	}
	if sameEntry(want, current) {
		return current, nil
	}
	next := current.DeepCopy()
	next.Spec, next.OwnerReferences = want.Spec, want.OwnerReferences
	if next.Labels == nil {
		next.Labels = map[string]string{}
	}
	maps.Copy(next.Labels, want.Labels)
	if err := op.Update(ctx, next, client.FieldOwner(FieldManager)); err != nil {
		return nil, fmt.Errorf("updating the Entry of %s %q: %w", want.Spec.Space, want.Spec.Value, err)
	}
	return next, nil
}

// claim holds a name whose Entry has nothing to be generated: it depends on the object alone, so
// what is there already is just brought up to date.
func (op *operator) ensureDocument(
	ctx context.Context, server *v1alpha1.AuthorizationServer, claim compile.Name, owner internalv1alpha1.Owner, format string, document any,
) (*internalv1alpha1.Entry, error) {
	text := ""
	if format != "" {
		var err error
		if text, err = documents.Encode(document); err != nil {
			return nil, err
		}
	}
	current, err := op.getEntry(ctx, server, claim)
	if err != nil {
		return nil, err
	}
	held, err := op.ensureEntry(ctx, compile.NewEntry(server, claim, owner, format, text), current)
	if !apierrors.IsAlreadyExists(err) {
		return held, err
	}
	// The cache does not know it yet: another client's, or our own from a moment ago.
	if current, err = readEntry(ctx, op.apiReader, server, claim); err != nil {
		return nil, err
	}
	return op.ensureEntry(ctx, compile.NewEntry(server, claim, owner, format, text), current)
}

// claimName claims a name that has no document, unless it belongs to another object: then the error
// is errTaken.
func (op *operator) reserveName(ctx context.Context, at *resolvedServer, claim compile.Name, kind string, object client.Object) (*internalv1alpha1.Entry, error) {
	current, err := op.getEntry(ctx, at.object, claim)
	if err != nil {
		return nil, err
	}
	taken, err := op.isTaken(ctx, at, claim, object, current)
	if err != nil {
		return nil, err
	}
	if taken {
		return nil, errTaken
	}
	return op.ensureDocument(ctx, at.object, claim, compile.Owner(kind, object), "", nil)
}

func sameEntry(want, have *internalv1alpha1.Entry) bool {
	for key, value := range want.Labels {
		if have.Labels[key] != value {
			return false
		}
	}
	return want.Spec == have.Spec && reflect.DeepEqual(want.OwnerReferences, have.OwnerReferences)
}

// remove deletes exactly this version of an Entry; that it is gone already is no error.
func (op *operator) deleteEntry(ctx context.Context, e *internalv1alpha1.Entry) error {
	err := op.Delete(ctx, e, client.Preconditions{UID: &e.UID, ResourceVersion: &e.ResourceVersion})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("removing the Entry of %s %q: %w", e.Spec.Space, e.Spec.Value, err)
	}
	return nil
}

// releaseOthers removes the Entries of an object that are not in keep: names that it asks for no
// more.
func (op *operator) deleteOtherEntries(ctx context.Context, owner internalv1alpha1.Owner, keep ...*internalv1alpha1.Entry) error {
	entries, err := op.listEntries(ctx, owner)
	if err != nil {
		return err
	}
	for i := range entries {
		if entries[i].Spec.Owner.UID != owner.UID || containsEntry(keep, &entries[i]) {
			continue
		}
		if err := op.deleteEntry(ctx, &entries[i]); err != nil {
			return err
		}
	}
	return nil
}

func containsEntry(entries []*internalv1alpha1.Entry, e *internalv1alpha1.Entry) bool {
	for _, kept := range entries {
		if kept != nil && kept.Namespace == e.Namespace && kept.Name == e.Name {
			return true
		}
	}
	return false
}

// forget removes the Entries of an owner that does not exist any more. The cache only says where to
// look: each deletion is preceded by an answer of the API server.
func (op *operator) forget(ctx context.Context, kind string, key client.ObjectKey) error {
	return op.forgetFormer(ctx, internalv1alpha1.Owner{Kind: kind, Namespace: key.Namespace, Name: key.Name})
}

// forgetFormer removes the Entries of objects that had the owner's name before it. Who is deleted
// and created again at once may never be seen to be gone, and what the former one was allowed must
// not outlive it.
func (op *operator) forgetFormer(ctx context.Context, owner internalv1alpha1.Owner) error {
	entries, err := op.listEntries(ctx, owner)
	if err != nil {
		return err
	}
	for i := range entries {
		if entries[i].Spec.Owner.UID == owner.UID {
			continue
		}
		gone, err := op.isOwnerGone(ctx, entries[i].Spec.Owner)
		if err != nil {
			return err
		}
		if gone {
			if err := op.deleteEntry(ctx, &entries[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// entriesOf an object. They are the cache's own.
func (op *operator) listEntries(ctx context.Context, owner internalv1alpha1.Owner) ([]internalv1alpha1.Entry, error) {
	var list internalv1alpha1.EntryList
	if err := op.List(ctx, &list, client.MatchingFields{indexOwner: ownerKey(owner)}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing Entries: %w", err)
	}
	return list.Items, nil
}

// ownerGone asks the API server whether the owner of an Entry is gone: there is none of that name,
// it has another UID, or it is being deleted, which cannot be taken back, whatever finalizer it
// waits for. Any other answer than the object or NotFound is an error, and then nothing may be
// concluded. A 404 that does not speak of the object is such an answer: it comes from an API server
// that does not serve the kind, or from something in front of it.
func ownerGone(ctx context.Context, live client.Reader, owner internalv1alpha1.Owner) (bool, error) {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(ownerKind(owner.Kind))
	err := live.Get(ctx, client.ObjectKey{Namespace: owner.Namespace, Name: owner.Name}, object)
	if apierrors.IsNotFound(err) && !apierrors.IsUnexpectedServerError(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for the owner of an Entry: %w", err)
	}
	return object.UID != owner.UID || !object.DeletionTimestamp.IsZero() && !outlivesDeletion(owner.Kind), nil
}

// outlivesDeletion says whether objects of a kind are needed while they are being deleted: what is
// in a namespace goes one by one before it, and a server's documents are the garbage collector's.
func outlivesDeletion(kind string) bool { return kind == kindNamespace || kind == kindServer }

func ownerKind(kind string) schema.GroupVersionKind {
	if kind == kindNamespace {
		return corev1.SchemeGroupVersion.WithKind(kindNamespace)
	}
	return v1alpha1.GroupVersion.WithKind(kind)
}
