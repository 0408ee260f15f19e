package cluster

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// rejection is an Entry that cannot be served, and the version of it.
type rejection struct{ version, reason string }

// entries is the store that the reflector feeds. It keeps no objects: each change goes to the registry, and to the keys if it is the server's
// document, before the call returns. So the version that the reflector has come to is the version that is served.
type entries struct {
	serverUID types.UID
	registry  *registry.Registry
	keys      *keys.Set
	log       *slog.Logger
	seen      func() // after each sign of life of the watch
	changed   func() // after a change of what follows
	used      uint64 // the epoch of the registry that the keys know; only the reflector calls what needs it

	mu       sync.Mutex
	applied  string
	rejected map[string]rejection
}

// Add applies an Entry that has appeared.
func (s *entries) Add(obj any) error { return s.apply(obj) }

// Update applies an Entry that has changed.
func (s *entries) Update(obj any) error { return s.apply(obj) }

func (s *entries) apply(obj any) error {
	e, err := entryOf(obj)
	if err != nil {
		return err
	}
	if err := s.check(e); err != nil {
		s.registry.Remove(e.Name)
		s.reject(e, err)
	} else if err := s.registry.Apply(e.Name, served(e)); err != nil {
		s.reject(e, err)
	} else {
		s.accept(e.Name)
	}
	s.useKeys()
	return nil
}

// Delete takes an Entry out of force.
func (s *entries) Delete(obj any) error {
	e, err := entryOf(obj)
	if err != nil {
		return err
	}
	s.registry.Remove(e.Name)
	s.accept(e.Name)
	s.useKeys()
	return nil
}

// Replace puts a list in force in place of all that was.
func (s *entries) Replace(list []any, resourceVersion string) error {
	byName := make(map[string]*internalv1alpha1.Entry, len(list))
	admitted := make(map[string]registry.Entry, len(list))
	rejected := map[string]error{}
	for _, obj := range list {
		e, err := entryOf(obj)
		if err != nil {
			return err
		}
		byName[e.Name] = e
		if err := s.check(e); err != nil {
			rejected[e.Name] = err
			continue
		}
		admitted[e.Name] = served(e)
	}
	for name, err := range s.registry.Replace(admitted) {
		rejected[name] = err
	}
	s.useKeys()
	s.mu.Lock()
	s.rejected = map[string]rejection{}
	s.mu.Unlock()
	for name, err := range rejected {
		s.reject(byName[name], err)
	}
	s.registry.SetSynced()
	s.UpdateResourceVersion(resourceVersion)
	return nil
}

// Resync does nothing: no one else changes the registry.
func (s *entries) Resync() error { return nil }

// UpdateResourceVersion is called after each event of the watch, also one that only carries the version (a bookmark).
func (s *entries) UpdateResourceVersion(resourceVersion string) {
	s.mu.Lock()
	s.applied = resourceVersion
	s.mu.Unlock()
	s.seen()
	s.changed()
}

// check refuses an Entry of another server, which the label alone would let in.
func (s *entries) check(e *internalv1alpha1.Entry) error {
	if e.Spec.ServerUID != s.serverUID {
		return fmt.Errorf("%w: it belongs to another server", registry.ErrRejected)
	}
	return nil
}

// useKeys puts the server's document in force for the keys, if it may be another one.
func (s *entries) useKeys() {
	epoch := s.registry.Epoch()
	if epoch == s.used {
		return
	}
	s.used = epoch
	doc, ok := s.registry.Server()
	if !ok {
		doc = documents.Server{}
	}
	s.keys.Use(doc)
}

func (s *entries) reject(e *internalv1alpha1.Entry, err error) {
	s.log.Warn("entry rejected", "entry", e.Name, "resourceVersion", e.ResourceVersion, "reason", err.Error())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rejected[e.Name] = rejection{version: e.ResourceVersion, reason: err.Error()}
}

func (s *entries) accept(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.rejected, name)
}

// state is the version that is served, and the first of what is rejected.
func (s *entries) state() (applied string, rejected []internalv1alpha1.RejectedEntry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, r := range s.rejected {
		rejected = append(rejected, internalv1alpha1.RejectedEntry{
			Name: name, ResourceVersion: truncate(r.version, maxVersion), Reason: truncate(r.reason, maxReason),
		})
	}
	slices.SortFunc(rejected, byName)
	return s.applied, rejected[:min(len(rejected), maxRejected)]
}

// rejections is how many Entries are rejected.
func (s *entries) rejections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.rejected)
}

func entryOf(obj any) (*internalv1alpha1.Entry, error) {
	e, ok := obj.(*internalv1alpha1.Entry)
	if !ok {
		return nil, fmt.Errorf("the watch brought a %T", obj)
	}
	return e, nil
}

func served(e *internalv1alpha1.Entry) registry.Entry {
	return registry.Entry{
		Space: string(e.Spec.Space), Value: e.Spec.Value, OwnerUID: string(e.Spec.Owner.UID),
		Format: e.Spec.Format, Document: e.Spec.Document,
	}
}
