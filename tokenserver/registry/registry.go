// Package registry holds what is served now: the server, its clients, users, resource servers and namespaces. It is fed with the entries of
// the cluster, one at a time, and asked by the endpoints at every use, so that what it says next is in force at once.
//
// registry.go keeps the entries and the indexes, apply.go puts one in, client.go answers about clients and decides scopes and audiences,
// object.go tells a resource server from one that is created again under its identifier, user.go answers about users, mix.go about what the passwords of users cost, resource.go about resource servers and scopes.
//
// A name has one owner: who holds the entry of that space and value. A client, resource server or user is served only under names that its own
// UID holds; a user needs the entries of its subject and of its username (the document is in either), a scope the entry of the scope.
//
// Whether the server's rules allow a client is worked out when it is asked for, and kept with the client until a server, namespace, resource
// server or scope changes. So such a change costs one write and no walk, and a request costs a look-up.
package registry

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// Spaces of names, as in the entries.
const (
	SpaceIdentity  = "identity"
	SpaceUsername  = "username"
	SpaceScope     = "scope"
	SpaceNamespace = "namespace"
)

// Entry is one claimed name and the document about its owner, if it carries one.
type Entry struct {
	Space    string
	Value    string
	OwnerUID string
	// Format and Document as in package documents; both are empty for a claim alone.
	Format   string
	Document string
}

var (
	// ErrRejected: the entry cannot be served; the error that wraps it says why, and quotes nothing of the document.
	ErrRejected = errors.New("rejected")
	// ErrInvalidTarget: a resource is unknown, or the client may not ask for it (RFC 8707 section 2).
	ErrInvalidTarget = errors.New("invalid target")
	// ErrInvalidScope: a scope is unknown, or the client may not ask for it (RFC 6749 section 5.2).
	ErrInvalidScope = errors.New("invalid scope")
	// ErrNotServing: the server's document is not there, or nothing can be made by it now. It may be in a moment.
	ErrNotServing = errors.New("not serving yet")
)

// Registry is safe for many readers and writers. What it hands out is immutable.
type Registry struct {
	synced atomic.Bool

	mu      sync.RWMutex
	entries map[string]Entry
	names   map[nameKey]nameOwner
	// epoch grows with every change that decisions follow from.
	rulesRevision uint64

	server               *entryDocument[documents.Server]
	clients              map[string]*clientRecord // by client id
	clientsByUID         map[string]*clientRecord
	users                map[string]*entryDocument[documents.User]           // by UID
	hashCosts            hashCosts                                           // of users
	resourceServers      map[string]*entryDocument[documents.ResourceServer] // by canonical identifier
	namespaces           map[string]*entryDocument[documents.Namespace]      // by name
	resourceServersByUID map[string]*entryDocument[documents.ResourceServer] // by UID
}

// claim is one name in a space.
type nameKey struct{ space, value string }

// holder is the entry by which a name is held, and whose it is.
type nameOwner struct{ entry, uid string }

// holding is a document and the entry it came with.
type entryDocument[T any] struct {
	entry    string
	document T
}

// New returns an empty registry.
func New() *Registry {
	return &Registry{
		entries:              map[string]Entry{},
		names:                map[nameKey]nameOwner{},
		clients:              map[string]*clientRecord{},
		clientsByUID:         map[string]*clientRecord{},
		users:                map[string]*entryDocument[documents.User]{},
		hashCosts:            hashCosts{},
		resourceServers:      map[string]*entryDocument[documents.ResourceServer]{},
		namespaces:           map[string]*entryDocument[documents.Namespace]{},
		resourceServersByUID: map[string]*entryDocument[documents.ResourceServer]{},
	}
}

// SetSynced says that everything that was there when the program started has been applied.
func (r *Registry) SetSynced() { r.synced.Store(true) }

// Synced says whether SetSynced was called. It stays true when the cluster cannot be reached later.
func (r *Registry) HasSynced() bool { return r.synced.Load() }

// Server is the server's own document; false before it has arrived.
func (r *Registry) Server() (documents.Server, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.server == nil {
		return documents.Server{}, false
	}
	return r.server.document, true
}

// holds says whether uid holds a name. The caller has the lock.
func (r *Registry) ownsName(space, value, uid string) bool {
	h, ok := r.names[nameKey{space, value}]
	return ok && uid != "" && h.uid == uid
}

// labels of a namespace; nil if it is not known. The caller has the lock.
func (r *Registry) namespaceLabels(namespace string) map[string]string {
	n := r.namespaces[namespace]
	if n == nil {
		return nil
	}
	return n.document.Labels
}
