package registry

import (
	"crypto/sha256"
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/policy"
)

// Object is a ResourceServer as one object: created again under its identifier, it has another UID.
type ResourceServerID struct{ UID, Identifier string }

// Key is a short hash of the UID of an object. It is long enough to tell objects apart, since no
// client and no owner of a ResourceServer chooses a UID.
type UIDHash [8]byte

// KeyOf the object with the UID.
func HashUID(uid string) (k UIDHash) {
	sum := sha256.Sum256([]byte(uid))
	copy(k[:], sum[:])
	return k
}

// Owner is the resource server that a scope is of; false for a built-in scope, and for one that the
// client may not have now.
func (c *Client) ScopeOwner(scope string) (ResourceServerID, bool) {
	owner, ok := c.owners[scope]
	return owner, ok
}

// Resource is the resource server of that identifier, if the client may name it now; false also for
// the issuer, which is none.
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

// Objects say which ResourceServers scopes and resources are of, in little space: codes and the ids
// of tokens hold them.
type PackedBinding struct {
	// Keys of the objects, one behind the other.
	UIDHashes []byte `json:"k,omitempty"`
	// Owners has a byte for each scope: the number of its object from 1, or 0 where there is none.
	ScopeOwners []byte `json:"o,omitempty"`
}

// Objects that the scopes and the resources are of now.
func (c *Client) PackBinding(scopes, resources []string) (o PackedBinding) {
	for _, resource := range resources {
		if object, ok := c.ResourceServer(resource); ok {
			o.addHash(HashUID(object.UID))
		}
	}
	owners := make([]byte, len(scopes))
	for i, scope := range scopes {
		if owner, ok := c.ScopeOwner(scope); ok {
			owners[i] = o.addHash(HashUID(owner.UID))
		}
	}
	if len(o.UIDHashes) > 0 {
		o.ScopeOwners = owners
	}
	return o
}

// number of a key, which is added unless it is there; 0 for one that has no place.
func (o *PackedBinding) addHash(key UIDHash) byte {
	number := 0
	for known := range slices.Chunk(o.UIDHashes, len(key)) {
		number++
		if UIDHash(known) == key {
			return byte(number)
		}
	}
	if number == 255 {
		return 0
	}
	o.UIDHashes = append(o.UIDHashes, key[:]...)
	return byte(number + 1)
}

// Bound is what scopes and resources were authorized for: these objects and no others of the same
// names.
type Binding struct {
	// Owners of the scopes, and all objects.
	ScopeOwners     map[string]UIDHash
	ResourceServers []UIDHash
}

// Of the scopes that the Objects were made for, in the same order.
func (o PackedBinding) Unpack(scopes []string) Binding {
	b := Binding{ScopeOwners: map[string]UIDHash{}}
	for key := range slices.Chunk(o.UIDHashes, len(UIDHash{})) {
		if len(key) == len(UIDHash{}) {
			b.ResourceServers = append(b.ResourceServers, UIDHash(key))
		}
	}
	for i, number := range o.ScopeOwners {
		if i < len(scopes) && 0 < number && int(number) <= len(b.ResourceServers) {
			b.ScopeOwners[scopes[i]] = b.ResourceServers[number-1]
		}
	}
	return b
}

// Scopes cuts a list to the scopes that the client may have now and that are still of the object
// that they were authorized for.
func (b Binding) KeepScopes(c *Client, scopes []string) (left []string) {
	for _, scope := range scopes {
		owner, owned := c.ScopeOwner(scope)
		if !c.MayHaveScope(scope) {
			continue
		}
		if key, bound := b.ScopeOwners[scope]; !owned || bound && key == HashUID(owner.UID) {
			left = append(left, scope)
		}
	}
	return left
}

// Resources cuts a list to those that the client may name now and that are still of an object that
// was authorized. The issuer always is.
func (b Binding) KeepResources(c *Client, resources []string) (left []string) {
	for _, resource := range resources {
		object, ok := c.ResourceServer(resource)
		if c.isIssuer(resource) || ok && slices.Contains(b.ResourceServers, HashUID(object.UID)) {
			left = append(left, resource)
		}
	}
	return left
}
