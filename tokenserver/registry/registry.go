// Package registry keeps in memory what the token server serves now: the server's document, its
// clients, users, resource servers, namespaces and identity providers. Package cluster writes the
// Entries of the cluster into it, one at a time, and the endpoints read it for every request, so a
// change is in force at once.
//
//	registry.go           Registry: the entries and the indexes
//	decode.go             entries into what is served of them
//	apply.go              adds, replaces and removes entries
//	client.go             clients, and what they may do
//	workloads.go          the clients of ServiceAccounts
//	client_scopes.go      the scopes and the audience of a client's requests
//	resource_server.go    resource servers and scopes
//	binding.go            tells a resource server from one that is created again under its identifier
//	previous_auth.go      how a client may authenticate after its method was changed
//	user.go               users
//	identity_provider.go  identity providers, and what is said about their users
//	not_before.go         what the tokensNotBefore of documents void
//	key_set.go            where the keys of clients are
//	hash_costs.go         how much verifying the passwords of users costs
//	credential_use.go     CredentialUse: a request that presented a credential of a client
//
// A name has one owner: the object that the entry of that space and value names. A client, resource
// server or user is served only under names that its own UID owns. A user needs the entries of its
// subject and of its username (either has the document), a scope the entry of the scope, and an
// identity provider that of its realm beside that of its name, which has the document.
//
// Whether the rules of the server accept a client is evaluated (package policy) when the client is
// read, and kept with the client until the server, a namespace, a resource server or a scope
// changes, or the legacyUntil of a rule comes. So such a change costs one write, however many
// clients there are, and a request costs a look-up.
package registry

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/notbefore"
	"github.com/oauth-operator/oauth-operator/tokenserver/policy"
)

// Spaces of names, as in Entries.
const (
	SpaceIdentity  = "identity"
	SpaceUsername  = "username"
	SpaceScope     = "scope"
	SpaceNamespace = "namespace"
	// SpaceIdentityProvider has names of identity providers, SpaceRealm what the subjects of their
	// users are derived from, and SpaceIdentitySpec the subjects about which the owner of the server
	// says something.
	SpaceIdentityProvider = "identityprovider"
	SpaceRealm            = "realm"
	SpaceIdentitySpec     = "identityspec"
)

// Entry is a name with its owner, and the document of the owner if this entry has it.
type Entry struct {
	Space    string
	Value    string
	OwnerUID string
	// Format and Document are as in package documents; both are empty in an entry that is only a
	// name.
	Format   string
	Document string
}

var (
	// ErrRejected means that an entry cannot be served. The error that wraps it says why, and
	// quotes nothing of the document.
	ErrRejected = errors.New("rejected")
	// ErrInvalidTarget means that a resource is unknown, or that the client may not ask for it (RFC
	// 8707 section 2).
	ErrInvalidTarget = errors.New("invalid target")
	// ErrInvalidScope means that a scope is unknown, or that the client may not ask for it (RFC
	// 6749 section 5.2).
	ErrInvalidScope = errors.New("invalid scope")
	// ErrNotServing means that the server has no document, or no keys to sign with, yet.
	ErrNotServing = errors.New("not serving yet")
)

// Registry is safe for concurrent use. What it returns is immutable.
type Registry struct {
	now    func() time.Time
	synced atomic.Bool

	mu      sync.RWMutex
	entries map[string]*Decoded            // by name
	names   map[string]map[string]*Decoded // by space and value
	// rulesRevision grows with every change that may change how the rules evaluate a client.
	rulesRevision uint64
	// limits are the tokensNotBefore of all documents that have one. notBefore is a copy that does not
	// change; nil after one of the documents has changed.
	limits    notbefore.Times
	notBefore atomic.Pointer[notbefore.Times]

	server               *entryDocument[documents.Server]
	clientsByUID         map[string]*clientRecord
	keySets              map[string]*clientRecord // those of clientsByUID that may have a key set
	serviceAccounts      serviceAccountIndex
	users                map[string]*entryDocument[documents.User]           // by UID
	hashCosts            hashCosts                                           // of users
	resourceServers      map[string]*entryDocument[documents.ResourceServer] // by canonical identifier
	resourceServersByUID map[string]*entryDocument[documents.ResourceServer]
	namespaces           map[string]*entryDocument[documents.Namespace] // by name
	identityProviders    map[string]*entryDocument[*IdentityProvider]   // by UID
	identities           map[string]*entryDocument[documents.Identity]  // by subject
}

// entryDocument is a document, and the name of the entry that has it.
type entryDocument[T any] struct {
	entry    string
	document T
}

// New returns an empty registry. now is the clock by which the legacyUntil of rules comes.
func New(now func() time.Time) *Registry {
	return &Registry{
		now:                  now,
		entries:              map[string]*Decoded{},
		limits:               notbefore.Times{Clients: map[string]int64{}, Users: map[string]int64{}, Providers: map[string]int64{}},
		names:                map[string]map[string]*Decoded{},
		clientsByUID:         map[string]*clientRecord{},
		keySets:              map[string]*clientRecord{},
		serviceAccounts:      serviceAccountIndex{},
		users:                map[string]*entryDocument[documents.User]{},
		hashCosts:            hashCosts{},
		resourceServers:      map[string]*entryDocument[documents.ResourceServer]{},
		resourceServersByUID: map[string]*entryDocument[documents.ResourceServer]{},
		namespaces:           map[string]*entryDocument[documents.Namespace]{},
		identityProviders:    map[string]*entryDocument[*IdentityProvider]{},
		identities:           map[string]*entryDocument[documents.Identity]{},
	}
}

// SetSynced records that all entries that existed when the program started have been applied.
func (r *Registry) SetSynced() { r.synced.Store(true) }

// HasSynced reports whether SetSynced was called. It stays true when the cluster cannot be reached
// later.
func (r *Registry) HasSynced() bool { return r.synced.Load() }

// Revision differs from any earlier one after a change of the server, a namespace, a resource
// server or a scope, and after the legacyUntil of a rule has come.
type Revision struct {
	changes    uint64
	endedRules int
}

// RulesRevision returns the present revision. What was computed from the rules is valid while it is
// the same.
func (r *Registry) RulesRevision() Revision {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.revision(r.now())
}

// revision is RulesRevision at a time, for a caller that holds the lock.
func (r *Registry) revision(now time.Time) Revision {
	revision := Revision{changes: r.rulesRevision}
	if r.server != nil {
		revision.endedRules = policy.CountEnded(r.server.document, now)
	}
	return revision
}

// Server returns the document of the server; false while there is none.
func (r *Registry) Server() (documents.Server, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.server == nil {
		return documents.Server{}, false
	}
	return r.server.document, true
}

// Counts are numbers of objects, including those that are suspended or not accepted.
type Counts struct{ Clients, Users, ResourceServers int }

// Count returns how many objects there are.
func (r *Registry) Count() Counts {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return Counts{Clients: len(r.clientsByUID), Users: len(r.users), ResourceServers: len(r.resourceServers)}
}

// ownerOf returns the UID of a name's owner; empty if it has none. The caller holds the lock.
func (r *Registry) ownerOf(space, value string) string {
	if d := r.names[space][value]; d != nil {
		return d.ownerUID
	}
	return ""
}

// ownsName reports whether uid owns a name. The caller holds the lock.
func (r *Registry) ownsName(space, value, uid string) bool {
	return uid != "" && r.ownerOf(space, value) == uid
}

// namespaceLabels returns the labels of a namespace; nil if they are not known. The caller holds
// the lock.
func (r *Registry) namespaceLabels(namespace string) map[string]string {
	n := r.namespaces[namespace]
	if n == nil {
		return nil
	}
	return n.document.Labels
}
