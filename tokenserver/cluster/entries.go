package cluster

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// rejection is why an Entry cannot be served, and the version of the Entry.
type rejection struct{ version, reason string }

// entryApplier is a cache.ReflectorStore that keeps no objects: each method applies its change to
// the registry, and to the keys if the server's document may have changed, before it returns. So
// the version that the reflector has reached is the version that is served.
type entryApplier struct {
	serverUID types.UID
	registry  *registry.Registry
	keys      *keys.Set
	log       *slog.Logger
	// onProgress is called after each event of the watch.
	onProgress func()
	// keysRevision is the revision of the registry that the keys were updated at. Only the
	// reflector uses it.
	keysRevision registry.Revision

	mu             sync.Mutex
	appliedVersion string
	rejected       map[string]rejection // by the name of the Entry
}

// Add implements cache.ReflectorStore.
func (s *entryApplier) Add(obj any) error { return s.apply(obj) }

// Update implements cache.ReflectorStore.
func (s *entryApplier) Update(obj any) error { return s.apply(obj) }

func (s *entryApplier) apply(obj any) error {
	e, err := s.read(obj)
	if err != nil {
		return err
	}
	if e.err == nil {
		e.err = s.registry.ApplyDecoded(e.decoded)
	} else {
		s.registry.Remove(e.name)
	}
	if e.err != nil {
		s.addRejection(e)
	} else {
		s.removeRejection(e.name)
	}
	s.updateKeys()
	return nil
}

// Delete implements cache.ReflectorStore.
func (s *entryApplier) Delete(obj any) error {
	e, err := asEntry(obj)
	if err != nil {
		return err
	}
	s.registry.Remove(e.Name)
	s.removeRejection(e.Name)
	s.updateKeys()
	return nil
}

// Replace implements cache.ReflectorStore.
func (s *entryApplier) Replace(list []any, resourceVersion string) error {
	read := make(map[string]*readEntry, len(list))
	applied := make([]*registry.Decoded, 0, len(list))
	for _, obj := range list {
		e, err := s.read(obj)
		if err != nil {
			return err
		}
		read[e.name] = e
		if e.err == nil {
			applied = append(applied, e.decoded)
		}
	}
	for name, err := range s.registry.Replace(applied) {
		read[name].err = err
	}
	s.updateKeys()
	s.mu.Lock()
	s.rejected = map[string]rejection{}
	s.mu.Unlock()
	for _, e := range read {
		if e.err != nil {
			s.addRejection(e)
		}
	}
	s.registry.SetSynced()
	s.UpdateResourceVersion(resourceVersion)
	return nil
}

// keep returns what is kept of an Entry of a list until all are there. So a process that starts holds
// each document once, as it is served.
func (s *entryApplier) keep(obj runtime.Object) (runtime.Object, error) { return s.read(obj) }

// readEntry is an Entry that has been read: the entry to apply, or why it cannot be served. It is
// immutable, and a runtime.Object so that a list can have it.
type readEntry struct {
	name, version string
	decoded       *registry.Decoded
	err           error
}

// GetObjectKind implements runtime.Object.
func (*readEntry) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject implements runtime.Object.
func (e *readEntry) DeepCopyObject() runtime.Object { return e }

// read reads an Entry, unless that has been done already.
func (s *entryApplier) read(obj any) (*readEntry, error) {
	if e, ok := obj.(*readEntry); ok {
		return e, nil
	}
	e, err := asEntry(obj)
	if err != nil {
		return nil, err
	}
	result := &readEntry{name: e.Name, version: e.ResourceVersion}
	if result.err = s.checkServer(e); result.err == nil {
		result.decoded = s.registry.Decode(e.Name, toRegistryEntry(e))
	}
	return result, nil
}

// Resync implements cache.ReflectorStore. There is nothing to do: only the reflector changes the
// registry.
func (s *entryApplier) Resync() error { return nil }

// UpdateResourceVersion is called by the reflector after each event of the watch, including
// bookmarks.
func (s *entryApplier) UpdateResourceVersion(resourceVersion string) {
	s.mu.Lock()
	s.appliedVersion = resourceVersion
	s.mu.Unlock()
	s.onProgress()
}

// checkServer rejects an Entry of another server. The label selects it, but the
// API server does not enforce that the label and the spec agree.
func (s *entryApplier) checkServer(e *internalv1alpha1.Entry) error {
	if e.Spec.ServerUID != s.serverUID {
		return fmt.Errorf("%w: it belongs to another server", registry.ErrRejected)
	}
	return nil
}

// updateKeys applies the server's document to the keys, if the registry may have another one now.
func (s *entryApplier) updateKeys() {
	revision := s.registry.RulesRevision()
	if revision == s.keysRevision {
		return
	}
	s.keysRevision = revision
	doc, ok := s.registry.Server()
	if !ok {
		doc = documents.Server{}
	}
	s.keys.SetDocument(doc)
}

func (s *entryApplier) addRejection(e *readEntry) {
	s.log.Warn("entry rejected", "entry", e.name, "resourceVersion", e.version, "reason", e.err.Error())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rejected[e.name] = rejection{version: e.version, reason: e.err.Error()}
}

func (s *entryApplier) removeRejection(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.rejected, name)
}

// state returns the version that is served and, ordered by name, as many rejected Entries as a
// Replica lists.
func (s *entryApplier) state() (appliedVersion string, rejected []internalv1alpha1.RejectedEntry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, r := range s.rejected {
		rejected = append(rejected, internalv1alpha1.RejectedEntry{
			Name: name, ResourceVersion: truncate(r.version, maxVersion), Reason: truncate(r.reason, maxReason),
		})
	}
	slices.SortFunc(rejected, func(a, b internalv1alpha1.RejectedEntry) int { return cmp.Compare(a.Name, b.Name) })
	return s.appliedVersion, rejected[:min(len(rejected), maxRejected)]
}

func (s *entryApplier) countRejected() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.rejected)
}

func asEntry(obj any) (*internalv1alpha1.Entry, error) {
	e, ok := obj.(*internalv1alpha1.Entry)
	if !ok {
		return nil, fmt.Errorf("the watch has sent a %T", obj)
	}
	return e, nil
}

func toRegistryEntry(e *internalv1alpha1.Entry) registry.Entry {
	return registry.Entry{
		Space: string(e.Spec.Space), Value: e.Spec.Value, OwnerUID: string(e.Spec.Owner.UID),
		Format: e.Spec.Format, Document: e.Spec.Document,
	}
}
