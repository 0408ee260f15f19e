package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// GetIdentity implements storage.Store. It asks the API server.
func (s *Store) GetIdentity(ctx context.Context, subject string) (storage.Identity, error) {
	found, err := s.readIdentityObject(ctx, subject)
	if err != nil {
		return storage.Identity{}, err
	}
	return readIdentity(found)
}

// readIdentity returns the record that an object has. One that cannot be read is unavailable: no user
// is taken to be unknown because of it.
func readIdentity(o *v1alpha1.OAuthIdentity) (storage.Identity, error) {
	i, err := fromIdentityObject(o)
	if err != nil {
		return storage.Identity{}, fmt.Errorf("%w: OAuthIdentity %s: %w", storage.ErrUnavailable, o.Name, err)
	}
	return i, nil
}

// readIdentityObject reads the object of a subject from the API server, and returns ErrNotFound if
// it has no record.
func (s *Store) readIdentityObject(ctx context.Context, subject string) (*v1alpha1.OAuthIdentity, error) {
	found := &v1alpha1.OAuthIdentity{}
	if err := s.readObject(ctx, identityResource, v1alpha1.OAuthIdentityName(subject), found); err != nil {
		return nil, err
	}
	if !s.hasIdentity(found) || found.Spec.Subject != subject {
		return nil, storage.ErrNotFound
	}
	return found, nil
}

// maxFirstWrites is how often the first record is written into an object that other programs change: the
// manager writes its conditions.
const maxFirstWrites = 5

// CreateIdentity implements storage.Store. It creates the object of the subject, or takes one that
// the owner of the server wrote, and then writes the record into its status. The API server lets one
// creation and one first record win.
func (s *Store) CreateIdentity(ctx context.Context, i storage.Identity, maxOfProvider int) (storage.Identity, error) {
	if problem := s.Problem(); problem != "" {
		return storage.Identity{}, fmt.Errorf("%w: %s", storage.ErrUnavailable, problem)
	}
	ofProvider, ofServer := s.identities.count(types.UID(i.ProviderUID))
	if ofProvider >= maxOfProvider || ofServer >= s.identityBound() {
		_, err := s.readIdentityObject(ctx, i.Subject)
		switch {
		case err == nil:
			return storage.Identity{}, storage.ErrExists
		case errors.Is(err, storage.ErrNotFound):
			return storage.Identity{}, storage.ErrFull
		default:
			return storage.Identity{}, err
		}
	}
	o := &v1alpha1.OAuthIdentity{}
	err := s.createObject(ctx, identityResource, s.newIdentityObject(i.Subject), o)
	if errors.Is(err, storage.ErrExists) {
		o, err = s.readUnusedIdentity(ctx, i.Subject)
	}
	if err != nil {
		return storage.Identity{}, err
	}
	written, err := s.writeIdentity(ctx, o, i)
	for tries := 1; errors.Is(err, storage.ErrConflict) && tries < maxFirstWrites; tries++ {
		// Another request has written a record, or another program has changed the object.
		if o, err = s.readUnusedIdentity(ctx, i.Subject); err == nil {
			written, err = s.writeIdentity(ctx, o, i)
		}
	}
	switch {
	case errors.Is(err, storage.ErrConflict), errors.Is(err, storage.ErrNotFound):
		return storage.Identity{}, fmt.Errorf("%w: OAuthIdentity %s is changed or deleted by another program", storage.ErrUnavailable, v1alpha1.OAuthIdentityName(i.Subject))
	case err != nil:
		return storage.Identity{}, err
	}
	s.identities.replaceOwn(written) // what the cache may have of one that was deleted
	waiting, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	s.identities.progress.waitFor(waiting, parseVersion(written.ResourceVersion)) // so that the next creation counts it
	return readIdentity(written)
}

// readUnusedIdentity reads an object that exists already, and returns ErrExists if it has a record.
func (s *Store) readUnusedIdentity(ctx context.Context, subject string) (*v1alpha1.OAuthIdentity, error) {
	o := &v1alpha1.OAuthIdentity{}
	err := s.readObject(ctx, identityResource, v1alpha1.OAuthIdentityName(subject), o)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, fmt.Errorf("%w: an OAuthIdentity was deleted meanwhile", storage.ErrUnavailable)
	case err != nil:
		return nil, err
	case o.Spec.Subject != subject || o.Spec.ServerRef.Name != s.config.ServerName:
		return nil, fmt.Errorf("%w: OAuthIdentity %s is about another subject or AuthorizationServer: delete it", storage.ErrUnavailable, o.Name)
	case !o.DeletionTimestamp.IsZero():
		return nil, fmt.Errorf("%w: OAuthIdentity %s is being deleted, and a finalizer still keeps it", storage.ErrUnavailable, o.Name)
	case s.hasIdentity(o):
		return nil, storage.ErrExists
	}
	return o, nil
}

// writeIdentity writes a record into the status of an object that was just read, if no other program has
// changed it since. The spec is the owner's, and no right to write it is needed.
func (s *Store) writeIdentity(ctx context.Context, o *v1alpha1.OAuthIdentity, i storage.Identity) (*v1alpha1.OAuthIdentity, error) {
	if err := s.setIdentity(o, i); err != nil {
		return nil, err
	}
	written := &v1alpha1.OAuthIdentity{}
	request := s.request(http.MethodPut, identityResource).Name(o.Name).SubResource("status")
	if err := writeObject(ctx, request, o, written); err != nil {
		return nil, err
	}
	if written.UID != o.UID || !s.hasIdentity(written) {
		return nil, errOtherWrite
	}
	return written, nil
}

// UpdateIdentity implements storage.Store. What it reads and writes replaces what the cache has.
func (s *Store) UpdateIdentity(ctx context.Context, i storage.Identity) (storage.Identity, error) {
	name := v1alpha1.OAuthIdentityName(i.Subject)
	found, err := s.readIdentityObject(ctx, i.Subject)
	if errors.Is(err, storage.ErrNotFound) {
		s.identities.forget(name, types.UID(i.Incarnation))
	}
	if err != nil {
		return storage.Identity{}, err
	}
	s.identities.replaceOwn(found)
	if found.ResourceVersion != i.Version || fromOptionalTime(found.Status.ClaimsAt).After(i.ClaimsAt) {
		return storage.Identity{}, storage.ErrConflict
	}
	written, err := s.writeIdentity(ctx, found, i)
	if err != nil {
		return storage.Identity{}, err
	}
	s.identities.replaceOwn(written)
	return readIdentity(written)
}

// CountIdentities implements storage.Store.
func (s *Store) CountIdentities(ctx context.Context, providerUID string) (int, error) {
	if ctx.Err() != nil {
		return 0, storage.ErrUnavailable
	}
	if problem := s.Problem(); problem != "" {
		return 0, fmt.Errorf("%w: %s", storage.ErrUnavailable, problem)
	}
	ofProvider, _ := s.identities.count(types.UID(providerUID))
	return ofProvider, nil
}

// idleIdentities returns the objects of identities that can be removed at now. Who has created them does
// not matter: one in which nothing is said is of no use to its author.
func (s *Store) idleIdentities(now time.Time) []expiredObject {
	var found []expiredObject
	users := s.grants.liveUsers(now)
	for _, o := range s.identities.idle(now) {
		if !users[o.Spec.Subject] && !o.Spec.SaysSomething() && !s.HasSpec(o.Spec.Subject) {
			found = append(found, expiredObject{identityResource, o.Name, o.UID, o.ResourceVersion})
		}
	}
	return found
}

// isIdle reports whether the record of an object is idle, or the object is as old and has none: its
// creation went wrong halfway.
func isIdle(o *v1alpha1.OAuthIdentity, now time.Time) bool {
	last := o.CreationTimestamp.Time
	if o.Status.LastSignIn != nil {
		last = o.Status.LastSignIn.Time
	}
	return storage.Identity{LastSignIn: last}.IsIdle(now)
}
