package kubernetes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

const (
	// pageSize is how many objects are listed at a time.
	pageSize = 500
	// maxTries is how often a change is tried in all if others change the object at the same time.
	maxTries = 8
)

var errOtherWrite = fmt.Errorf("%w: the answer is about another write", storage.ErrAmbiguous)

// CreateGrant implements storage.Store. The name of the object is a hash of the grant's id, so the
// API server lets one creation win.
func (s *Store) CreateGrant(ctx context.Context, g storage.Grant) (storage.Grant, error) {
	if problem := s.Problem(); problem != "" {
		return storage.Grant{}, fmt.Errorf("%w: %s", storage.ErrUnavailable, problem)
	}
	if err := storage.CheckSession(ctx, s, g); err != nil {
		return storage.Grant{}, err
	}
	name := s.grantName(g.ID)
	if s.wasDeleted(name) {
		return storage.Grant{}, storage.ErrExists
	}
	if s.isFull() {
		if _, exists := s.grants.get(name); exists {
			return storage.Grant{}, storage.ErrExists
		}
		return storage.Grant{}, storage.ErrFull
	}
	g.Version = ""
	created, answer := s.toGrantObject(g.Clone(), s.usernameOf(g.UserUID)), &writtenGrant{}
	err := s.createObject(ctx, grantResource, created, answer)
	if err == nil {
		err = answer.complete(created)
	}
	if errors.Is(err, storage.ErrAmbiguous) {
		s.markUncertain(name)
	}
	if err != nil {
		return storage.Grant{}, err
	}
	if err := s.confirmCreated(ctx, created); err != nil {
		return storage.Grant{}, err
	}
	return fromGrantObject(created).Clone(), nil
}

// GetGrant implements storage.Store.
func (s *Store) GetGrant(ctx context.Context, id string) (storage.Grant, error) {
	name := s.grantName(id)
	found := &v1alpha1.OAuthGrant{}
	if err := s.readRecord(ctx, grantResource, name, found); err != nil {
		return storage.Grant{}, err
	}
	if s.isUncertain(name) {
		switch err := s.confirmCreated(ctx, found); {
		case errors.Is(err, storage.ErrExists):
			return storage.Grant{}, storage.ErrNotFound
		case err != nil:
			return storage.Grant{}, fmt.Errorf("%w: the watch has not sent the grant", storage.ErrUnavailable)
		}
	}
	if s.wasDeleted(name) {
		return storage.Grant{}, storage.ErrNotFound
	}
	return fromGrantObject(found), nil
}

// UpdateGrant implements storage.Store.
func (s *Store) UpdateGrant(ctx context.Context, g storage.Grant) (storage.Grant, error) {
	if g.Version == "" {
		return storage.Grant{}, storage.ErrConflict
	}
	username, ok := s.grants.username(s.grantName(g.ID))
	if !ok {
		username = s.usernameOf(g.UserUID)
	}
	o, answer := s.toGrantObject(g.Clone(), username), &writtenGrant{}
	// An empty entry has the API server leave managed fields out. They would be as large as the
	// grant and say nothing, since only token servers write grants.
	o.ManagedFields = []metav1.ManagedFieldsEntry{{}}
	if err := s.updateObject(ctx, grantResource, o, answer); err != nil {
		return storage.Grant{}, err
	}
	if err := answer.complete(o); err != nil {
		return storage.Grant{}, err
	}
	s.grants.replaceOwn(o)
	return fromGrantObject(o).Clone(), nil
}

// writtenGrant is what the answer to the write of a grant says that is not known before. The answer
// repeats the rest, which takes as long to read as the answer to a read.
type writtenGrant struct {
	metav1.TypeMeta `json:",inline"`

	Metadata struct {
		Name            string    `json:"name"`
		UID             types.UID `json:"uid"`
		ResourceVersion string    `json:"resourceVersion"`
	} `json:"metadata"`
	Spec struct {
		TokenServerState v1alpha1.TokenServerState `json:"tokenServerState"`
	} `json:"spec"`
}

// GetName implements answer.
func (w *writtenGrant) GetName() string { return w.Metadata.Name }

// DeepCopyObject implements runtime.Object.
func (w *writtenGrant) DeepCopyObject() runtime.Object {
	c := *w
	return &c
}

// complete makes o, which was sent, the object that was written. It returns errOtherWrite if the
// answer is about another write.
func (w *writtenGrant) complete(o *v1alpha1.OAuthGrant) error {
	if w.Metadata.ResourceVersion == o.ResourceVersion || w.Spec.TokenServerState.Attempt != o.Spec.TokenServerState.Attempt {
		return errOtherWrite
	}
	o.UID, o.ResourceVersion = w.Metadata.UID, w.Metadata.ResourceVersion
	return nil
}

// listRequest returns a request for a page of the objects; next is the token of the page, "" for the
// first.
func (s *Store) listRequest(resource, next string) *rest.Request {
	options := &metav1.ListOptions{Limit: pageSize, Continue: next}
	return s.request(http.MethodGet, resource).VersionedParams(options, metav1.ParameterCodec)
}

// listError returns what the error of a list means: ErrNotFound is about the kind, not an object.
func listError(err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return storage.ErrUnavailable
	}
	return err
}

// endGrant ends a grant for a reason of the store's own. A grant that has ended or does not exist
// is no error.
func (s *Store) endGrant(ctx context.Context, id, reason string) error {
	var err error
	for range maxTries {
		var g storage.Grant
		g, err = s.GetGrant(ctx, id)
		switch {
		case errors.Is(err, storage.ErrNotFound):
			return nil
		case err != nil:
			return err
		case g.IsEnded():
			return nil
		}
		g.End(s.config.Now(), reason)
		_, err = s.UpdateGrant(ctx, g)
		switch {
		case err == nil:
			s.NotifyEnd(ctx, g)
			return nil
		case errors.Is(err, storage.ErrConflict), errors.Is(err, storage.ErrAmbiguous), errors.Is(err, storage.ErrNotFound):
			continue // read it again
		default:
			return err
		}
	}
	return err
}

// compareAge orders grants from the oldest to the newest.
func compareAge(a, b storage.Grant) int {
	return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), strings.Compare(a.ID, b.ID))
}
