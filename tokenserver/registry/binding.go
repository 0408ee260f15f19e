package registry

import (
	"crypto/sha256"
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/jsontext"
	"github.com/oauth-operator/oauth-operator/tokenserver/policy"
)

// ResourceServerID identifies a ResourceServer object: one that is created again under the same
// identifier has another UID.
type ResourceServerID struct{ UID, Identifier string }

// UIDHash is a short hash of the UID of an object. It is long enough to tell objects apart, since
// neither a client nor the owner of a ResourceServer chooses a UID.
type UIDHash [8]byte

// HashUID returns the hash of a UID.
func HashUID(uid string) (hash UIDHash) {
	sum := sha256.Sum256([]byte(uid))
	copy(hash[:], sum[:])
	return hash
}

// ScopeOwner returns the resource server that owns a scope; false for a built-in scope, and for one
// that the client may not have now.
func (c *Client) ScopeOwner(scope string) (ResourceServerID, bool) {
	found, _ := c.findScope(scope)
	return found.ownerID()
}

// ResourceServer returns the resource server with an identifier; false if the client may not name
// it now. The issuer is no resource server.
func (c *Client) ResourceServer(identifier string) (ResourceServerID, bool) {
	if c.isIssuer(identifier) {
		return ResourceServerID{}, false
	}
	r := c.registry
	r.mu.RLock()
	defer r.mu.RUnlock()
	rs := r.acceptedResourceServer(identifier)
	if rs == nil || !policy.AllowsResource(*rs, c.Namespace, r.namespaceLabels(c.Namespace)) {
		return ResourceServerID{}, false
	}
	return ResourceServerID{rs.UID, rs.Identifier}, true
}

// PackedBinding is a Binding in few bytes, for codes and the ids of tokens.
type PackedBinding struct {
	// UIDHashes are those of the resource servers, one after another.
	UIDHashes []byte `json:"k,omitempty"`
	// ScopeOwners has a byte for each scope: the number of its resource server, counted from 1, or
	// 0 if it has none.
	ScopeOwners []byte `json:"o,omitempty"`
}

// AppendJSON implements jsontext.Appender.
func (p PackedBinding) AppendJSON(b []byte) []byte {
	o := jsontext.Begin(b, true)
	o.BytesNonEmpty("k", p.UIDHashes)
	o.BytesNonEmpty("o", p.ScopeOwners)
	return o.End()
}

// PackBinding returns the resource servers that the scopes and the resources belong to now.
func (c *Client) PackBinding(scopes, resources []string) (p PackedBinding) {
	for _, resource := range resources {
		if rs, ok := c.ResourceServer(resource); ok {
			p.addHash(HashUID(rs.UID))
		}
	}
	owners := make([]byte, len(scopes))
	for i, scope := range scopes {
		if owner, ok := c.ScopeOwner(scope); ok {
			owners[i] = p.addHash(HashUID(owner.UID))
		}
	}
	if len(p.UIDHashes) > 0 {
		p.ScopeOwners = owners
	}
	return p
}

// addHash returns the number of a hash, which it adds if it is not there; 0 if there are too many.
func (p *PackedBinding) addHash(hash UIDHash) byte {
	number := 0
	for known := range slices.Chunk(p.UIDHashes, len(hash)) {
		number++
		if UIDHash(known) == hash {
			return byte(number)
		}
	}
	if number == 255 {
		return 0
	}
	p.UIDHashes = append(p.UIDHashes, hash[:]...)
	return byte(number + 1)
}

// Binding binds scopes and resources to the resource servers that they belonged to when they were
// authorized. It lets no other of the same name take their place.
type Binding struct {
	ScopeOwners     map[string]UIDHash // by scope
	ResourceServers []UIDHash          // of the scopes and the resources
}

// Unpack returns the Binding of the scopes that p was made for, in the same order.
func (p PackedBinding) Unpack(scopes []string) Binding {
	b := Binding{ScopeOwners: map[string]UIDHash{}}
	for hash := range slices.Chunk(p.UIDHashes, len(UIDHash{})) {
		if len(hash) == len(UIDHash{}) {
			b.ResourceServers = append(b.ResourceServers, UIDHash(hash))
		}
	}
	for i, number := range p.ScopeOwners {
		if i < len(scopes) && 0 < number && int(number) <= len(b.ResourceServers) {
			b.ScopeOwners[scopes[i]] = b.ResourceServers[number-1]
		}
	}
	return b
}

// KeepScopes returns those of the scopes that the client may have now, and that still belong to the
// resource server that they were authorized for.
func (b Binding) KeepScopes(c *Client, scopes []string) (kept []string) {
	for _, scope := range scopes {
		owner, owned := c.ScopeOwner(scope)
		if !c.MayHaveScope(scope) {
			continue
		}
		if hash, bound := b.ScopeOwners[scope]; !owned || bound && hash == HashUID(owner.UID) {
			kept = append(kept, scope)
		}
	}
	return kept
}

// KeepResources returns those of the resources that the client may name now, and that still belong
// to a resource server that was authorized. The issuer is always kept.
func (b Binding) KeepResources(c *Client, resources []string) (kept []string) {
	for _, resource := range resources {
		rs, ok := c.ResourceServer(resource)
		if c.isIssuer(resource) || ok && slices.Contains(b.ResourceServers, HashUID(rs.UID)) {
			kept = append(kept, resource)
		}
	}
	return kept
}
