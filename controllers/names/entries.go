// Package names decides which object has which name at an AuthorizationServer: client ids,
// subjects, usernames, resource identifiers and scopes. An object has a name when it owns the Entry
// of the name, which also carries the document of the object.
//
//	entries.go   reads, writes and deletes Entries
//	owners.go    decides which of the objects that ask for a name has it
//	requests.go  the names for which an object asks, and the indexes by which they are found
//
// The package needs a client of the API server and no controller.
package names

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
)

// ErrTaken is the error that a name belongs to another object. It says nothing about that object,
// which may be another tenant's.
var ErrTaken = errors.New("the name is taken")

// Entries reads and writes the Entries of AuthorizationServers.
type Entries struct {
	// Client reads from a cache that has the indexes of this package, and writes to the API server.
	Client client.Client
	// APIReader reads from the API server.
	APIReader client.Reader
	// CheckFormat returns an error if an Entry must not be written, since a token server or this
	// manager cannot read a document of its format. current is the Entry that it replaces, or nil.
	CheckFormat func(ctx context.Context, want, current *internalv1alpha1.Entry) error
	// IsWatched reports whether the manager sees the objects of a namespace. Nil: it sees all.
	IsWatched func(namespace string) bool
}

// Get returns the Entry of a name at a server from the cache, or nil if there is none. It belongs to the
// cache: the caller must not change it.
func (e *Entries) Get(ctx context.Context, server *v1alpha1.AuthorizationServer, name compile.Name) (*internalv1alpha1.Entry, error) {
	return Read(ctx, e.Client, server, name)
}

// GetConfirmed is Get, but asks the API server if the cache has no Entry. A caller that generates a
// credential must know that there is none.
func (e *Entries) GetConfirmed(ctx context.Context, server *v1alpha1.AuthorizationServer, name compile.Name) (*internalv1alpha1.Entry, error) {
	if found, err := e.Get(ctx, server, name); found != nil || err != nil {
		return found, err
	}
	return Read(ctx, e.APIReader, server, name)
}

// Read returns the Entry of a name at a server, or nil if there is none. The caller must not change it.
func Read(ctx context.Context, from client.Reader, server *v1alpha1.AuthorizationServer, name compile.Name) (*internalv1alpha1.Entry, error) {
	var found internalv1alpha1.Entry
	key := client.ObjectKey{Namespace: server.Namespace, Name: compile.EntryName(server.UID, name)}
	err := from.Get(ctx, key, &found, client.UnsafeDisableDeepCopy)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading an Entry: %w", err)
	}
	return &found, nil
}

// Ensure creates or updates an Entry and returns it as it is stored. Of two objects that create the
// Entry of one name the API server lets one succeed; the other gets ErrTaken while the owner
// exists. current is the Entry of the name that the caller has read, or nil. If it has changed
// since, the error is a conflict or AlreadyExists, and the caller has to decide again.
func (e *Entries) Ensure(ctx context.Context, want, current *internalv1alpha1.Entry) (*internalv1alpha1.Entry, error) {
	if current != nil && current.Spec.Owner.UID != want.Spec.Owner.UID {
		gone, err := e.IsOwnerGone(ctx, current.Spec.Owner)
		if err != nil {
			return nil, err
		}
		if !gone {
			return nil, ErrTaken
		}
		if err := e.Delete(ctx, current); err != nil {
			return nil, err
		}
		current = nil
	}
	if err := e.CheckFormat(ctx, want, current); err != nil {
		return nil, err
	}
	if current == nil {
		if err := e.Client.Create(ctx, want); err != nil {
			return nil, fmt.Errorf("creating the Entry of %s %q: %w", want.Spec.Space, want.Spec.Value, err)
		}
		return want, nil
	}
	if isCurrent(want, current) {
		return current, nil
	}
	next := current.DeepCopy()
	next.Spec, next.OwnerReferences = want.Spec, want.OwnerReferences
	if next.Labels == nil {
		next.Labels = map[string]string{}
	}
	maps.Copy(next.Labels, want.Labels)
	next.ManagedFields = untracked()
	if err := e.Client.Update(ctx, next); err != nil {
		return nil, fmt.Errorf("updating the Entry of %s %q: %w", want.Spec.Space, want.Spec.Value, err)
	}
	return next, nil
}

// EnsureDocument is Ensure with the document of an object, in the Entry of its name.
func (e *Entries) EnsureDocument(
	ctx context.Context, server *v1alpha1.AuthorizationServer, name compile.Name, owner internalv1alpha1.Owner, document any,
	current *internalv1alpha1.Entry,
) (*internalv1alpha1.Entry, error) {
	want, err := compile.NewEntry(server, name, owner, document)
	if err != nil {
		return nil, err
	}
	return e.Ensure(ctx, want, current)
}

// EnsureLatest is EnsureDocument onto the Entry that there is now, for a document that does not
// depend on it. The document may be nil.
func (e *Entries) EnsureLatest(
	ctx context.Context, server *v1alpha1.AuthorizationServer, name compile.Name, owner internalv1alpha1.Owner, document any,
) (*internalv1alpha1.Entry, error) {
	current, err := e.Get(ctx, server, name)
	if err != nil {
		return nil, err
	}
	entry, err := e.EnsureDocument(ctx, server, name, owner, document, current)
	if !apierrors.IsAlreadyExists(err) {
		return entry, err
	}
	// The cache does not have it yet: another object's, or the owner's own from a moment ago.
	if current, err = Read(ctx, e.APIReader, server, name); err != nil {
		return nil, err
	}
	return e.EnsureDocument(ctx, server, name, owner, document, current)
}

// untracked has the API server forget which fields of an object which program wrote, and record no
// more of it: "Clearing managedFields" of Kubernetes' page on server-side apply. The record of an
// Entry, which one program writes, would take the API server a third of the time and the memory that
// the Entry takes, for each token server that reads it. Each update needs a list of its own: the answer
// is decoded into it.
func untracked() []metav1.ManagedFieldsEntry { return []metav1.ManagedFieldsEntry{{}} }

func isCurrent(want, current *internalv1alpha1.Entry) bool {
	for key, value := range want.Labels {
		if current.Labels[key] != value {
			return false
		}
	}
	return want.Spec == current.Spec && reflect.DeepEqual(want.OwnerReferences, current.OwnerReferences)
}

// Delete deletes this version of an Entry. It is no error if the Entry does not exist any more.
func (e *Entries) Delete(ctx context.Context, entry *internalv1alpha1.Entry) error {
	err := e.Client.Delete(ctx, entry, client.Preconditions{UID: &entry.UID, ResourceVersion: &entry.ResourceVersion})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting the Entry of %s %q: %w", entry.Spec.Space, entry.Spec.Value, err)
	}
	return nil
}

// DeleteOthers deletes the Entries of an object except the kept ones: those of names for which it
// does not ask any more. A kept Entry may be nil.
func (e *Entries) DeleteOthers(ctx context.Context, owner internalv1alpha1.Owner, keep ...*internalv1alpha1.Entry) error {
	entries, err := e.List(ctx, owner)
	if err != nil {
		return err
	}
	for i := range entries {
		if entries[i].Spec.Owner.UID != owner.UID || contains(keep, &entries[i]) {
			continue
		}
		if err := e.Delete(ctx, &entries[i]); err != nil {
			return err
		}
	}
	return nil
}

func contains(entries []*internalv1alpha1.Entry, entry *internalv1alpha1.Entry) bool {
	for _, kept := range entries {
		if kept != nil && kept.Namespace == entry.Namespace && kept.Name == entry.Name {
			return true
		}
	}
	return false
}

// DeleteOrphaned deletes the Entries of the objects that had the kind, namespace and name of an
// owner before it, or if its UID is empty, of all that had them. An object that is deleted and
// created again at once may never be seen to be gone, and the next one must not inherit what the
// former was allowed. The cache only says where to look: the API server confirms each owner's end.
// The document goes before the names without one: an object that lacks a name is one with a mistake
// to token servers, and not one that is gone.
func (e *Entries) DeleteOrphaned(ctx context.Context, owner internalv1alpha1.Owner) error {
	entries, err := e.List(ctx, owner)
	if err != nil {
		return err
	}
	slices.SortStableFunc(entries, func(a, b internalv1alpha1.Entry) int {
		return cmp.Compare(b.Spec.Format, a.Spec.Format) // the empty one is the last
	})
	for i := range entries {
		if entries[i].Spec.Owner.UID == owner.UID {
			continue
		}
		gone, err := e.IsOwnerGone(ctx, entries[i].Spec.Owner)
		if err != nil {
			return err
		}
		if gone {
			if err := e.Delete(ctx, &entries[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// List returns the Entries of the objects that have, or had, the kind, namespace and name of an
// owner. They belong to the cache: the caller must not change them.
func (e *Entries) List(ctx context.Context, owner internalv1alpha1.Owner) ([]internalv1alpha1.Entry, error) {
	var list internalv1alpha1.EntryList
	if err := e.Client.List(ctx, &list, client.MatchingFields{IndexOwner: OwnerKey(owner)}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing Entries: %w", err)
	}
	return list.Items, nil
}

// IsOwnerGone asks the API server whether the owner of an Entry is gone: no object has its name,
// the object has another UID, or it is being deleted, which cannot be undone, whatever finalizer it
// waits for. Any other answer than the object or NotFound is an error, and then the caller must
// conclude nothing. A 404 that is no Status of the object is such an answer: it comes from an API
// server that does not serve the kind, or from a proxy.
//
// An owner that the manager does not see is not gone, unless its namespace is, and with it the
// RoleBinding that let the manager see the owner.
func (e *Entries) IsOwnerGone(ctx context.Context, owner internalv1alpha1.Owner) (bool, error) {
	if e.IsWatched != nil && !e.IsWatched(owner.Namespace) {
		return false, nil
	}
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(kindOf(owner))
	err := e.APIReader.Get(ctx, client.ObjectKey{Namespace: owner.Namespace, Name: owner.Name}, object)
	switch {
	case isGone(err):
		return true, nil
	case apierrors.IsForbidden(err) && owner.Namespace != "":
		if gone, namespaceErr := e.isNamespaceGone(ctx, owner.Namespace); gone || namespaceErr != nil {
			return gone, namespaceErr
		}
	}
	if err != nil {
		return false, fmt.Errorf("reading the owner of an Entry: %w", err)
	}
	return object.UID != owner.UID || !object.DeletionTimestamp.IsZero() && !isNeededUntilGone(owner.Kind), nil
}

// IsServerGone asks the API server whether an AuthorizationServer that was in a namespace is gone,
// which its UID alone says. Any other answer than a list is an error, and then the caller must
// conclude nothing.
func (e *Entries) IsServerGone(ctx context.Context, namespace string, uid types.UID) (bool, error) {
	servers := &metav1.PartialObjectMetadataList{}
	servers.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(compile.KindServer + "List"))
	if err := e.APIReader.List(ctx, servers, client.InNamespace(namespace)); err != nil {
		return false, fmt.Errorf("listing the AuthorizationServers of a namespace: %w", err)
	}
	return !slices.ContainsFunc(servers.Items, func(s metav1.PartialObjectMetadata) bool { return s.UID == uid }), nil
}

// isNamespaceGone asks the API server whether a namespace does not exist or is being deleted.
func (e *Entries) isNamespaceGone(ctx context.Context, name string) (bool, error) {
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(compile.KindNamespace))
	err := e.APIReader.Get(ctx, client.ObjectKey{Name: name}, namespace)
	if isGone(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the namespace of the owner of an Entry: %w", err)
	}
	return !namespace.DeletionTimestamp.IsZero(), nil
}

// isGone reports whether err is an answer about an object that does not exist.
func isGone(err error) bool {
	return apierrors.IsNotFound(err) && !apierrors.IsUnexpectedServerError(err)
}

// isNeededUntilGone reports whether objects of a kind are needed while they are being deleted: the
// objects in a namespace are deleted one by one before it, and a server's documents are deleted by
// the garbage collector.
func isNeededUntilGone(kind string) bool {
	return kind == compile.KindNamespace || kind == compile.KindServer
}

func kindOf(owner internalv1alpha1.Owner) schema.GroupVersionKind {
	if owner.Kind == compile.KindNamespace {
		return corev1.SchemeGroupVersion.WithKind(owner.Kind)
	}
	return v1alpha1.GroupVersion.WithKind(owner.Kind)
}
