package registry

import (
	"crypto/sha256"
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/policy"
)

// Object is a ResourceServer as one object: created again under its identifier, it has another UID.
type Object struct{ UID, Identifier string }

// Key is a short hash of the UID of an object. It is long enough to tell objects apart, since no
// client and no owner of a ResourceServer chooses a UID.
type Key [8]byte

// KeyOf the object with the UID.
func KeyOf(uid string) (k Key) {
	sum := sha256.Sum256([]byte(uid))
	copy(k[:], sum[:])
	return k
}

// Owner is the resource server that a scope is of; false for a built-in scope, and for one that the
// client may not have now.
func (c *Client) Owner(scope string) (Object, bool) {
	owner, ok := c.owners[scope]
	return owner, ok
}

// Resource is the resource server of that identifier, if the client may name it now; false also for
// the issuer, which is none.
func (c *Client) Resource(identifier string) (Object, bool) {
	if c.isIssuer(identifier) {
		return Object{}, false
	}
	r := c.registry
	r.mu.RLock()
	defer r.mu.RUnlock()
	rs := r.accepted(identifier)
	if rs == nil || !policy.AllowsResource(*rs, c.Namespace, r.labels(c.Namespace)) {
		return Object{}, false
	}
	return Object{rs.UID, rs.Identifier}, true
}

// Objects say which ResourceServers scopes and resources are of, in little space: codes and the ids
// of tokens hold them.
type Objects struct {
	// Keys of the objects, one behind the other.
	Keys []byte `json:"k,omitempty"`
	// Owners has a byte for each scope: the number of its object from 1, or 0 where there is none.
	Owners []byte `json:"o,omitempty"`
}

// Objects that the scopes and the resources are of now.
func (c *Client) Objects(scopes, resources []string) (o Objects) {
	for _, resource := range resources {
		if object, ok := c.Resource(resource); ok {
			o.number(KeyOf(object.UID))
		}
	}
	owners := make([]byte, len(scopes))
	for i, scope := range scopes {
		if owner, ok := c.Owner(scope); ok {
			owners[i] = o.number(KeyOf(owner.UID))
		}
	}
	if len(o.Keys) > 0 {
		o.Owners = owners
	}
	return o
}

// number of a key, which is added unless it is there; 0 for one that has no place.
func (o *Objects) number(key Key) byte {
	number := 0
	for known := range slices.Chunk(o.Keys, len(key)) {
		number++
		if Key(known) == key {
			return byte(number)
		}
	}
	if number == 255 {
		return 0
	}
	o.Keys = append(o.Keys, key[:]...)
	return byte(number + 1)
}

// Bound is what scopes and resources were authorized for: these objects and no others of the same
// names.
type Bound struct {
	// Owners of the scopes, and all objects.
	Owners  map[string]Key
	Objects []Key
}

// Of the scopes that the Objects were made for, in the same order.
func (o Objects) Of(scopes []string) Bound {
	b := Bound{Owners: map[string]Key{}}
	for key := range slices.Chunk(o.Keys, len(Key{})) {
		if len(key) == len(Key{}) {
			b.Objects = append(b.Objects, Key(key))
		}
	}
	for i, number := range o.Owners {
		if i < len(scopes) && 0 < number && int(number) <= len(b.Objects) {
			b.Owners[scopes[i]] = b.Objects[number-1]
		}
	}
	return b
}

// Scopes cuts a list to the scopes that the client may have now and that are still of the object
// that they were authorized for.
func (b Bound) Scopes(c *Client, scopes []string) (left []string) {
	for _, scope := range scopes {
		owner, owned := c.Owner(scope)
		if !c.MayHave(scope) {
			continue
		}
		if key, bound := b.Owners[scope]; !owned || bound && key == KeyOf(owner.UID) {
			left = append(left, scope)
		}
	}
	return left
}

// Resources cuts a list to those that the client may name now and that are still of an object that
// was authorized. The issuer always is.
func (b Bound) Resources(c *Client, resources []string) (left []string) {
	for _, resource := range resources {
		object, ok := c.Resource(resource)
		if c.isIssuer(resource) || ok && slices.Contains(b.Objects, KeyOf(object.UID)) {
			left = append(left, resource)
		}
	}
	return left
}
