package kubernetes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// pageSize is how many objects are listed at a time.
const pageSize = 500

var errAnotherWrite = fmt.Errorf("%w: the answer is not to this write", storage.ErrAmbiguous)

// CreateGrant implements storage.Store. The name of the object follows from the grant's id, so the API server lets one creation win.
func (s *Store) CreateGrant(ctx context.Context, g storage.Grant) (storage.Grant, error) {
	if problem := s.Problem(); problem != "" {
		return storage.Grant{}, fmt.Errorf("%w: %s", storage.ErrUnavailable, problem)
	}
	name := s.grantName(g.ID)
	if s.dead(name) {
		return storage.Grant{}, storage.ErrExists
	}
	if s.full() {
		if _, taken := s.grants.get(name); taken {
			return storage.Grant{}, storage.ErrExists
		}
		return storage.Grant{}, storage.ErrFull
	}
	g.Version = ""
	created := &v1alpha1.OAuthGrant{}
	err := put(ctx, s.in(s.clients.public.Post(), grantResource), s.grantObject(g, s.username(g.UserUID)), created)
	if err == nil && created.Spec.Attempt != g.Attempt {
		err = errAnotherWrite
	}
	switch {
	case errors.Is(err, storage.ErrAmbiguous):
		s.doubt(name)
		return storage.Grant{}, err
	case errors.Is(err, storage.ErrNotFound): // the namespace, or the kind
		return storage.Grant{}, storage.ErrUnavailable
	case err != nil:
		return storage.Grant{}, err
	}
	if err := s.settle(ctx, created); err != nil {
		return storage.Grant{}, err
	}
	return grantOf(created), nil
}

// GetGrant implements storage.Store.
func (s *Store) GetGrant(ctx context.Context, id string) (storage.Grant, error) {
	name := s.grantName(id)
	found := &v1alpha1.OAuthGrant{}
	if err := get(ctx, s.in(s.clients.public.Get(), grantResource), name, found); err != nil {
		return storage.Grant{}, err
	}
	if s.doubted(name) {
		switch err := s.settle(ctx, found); {
		case errors.Is(err, storage.ErrExists):
			return storage.Grant{}, storage.ErrNotFound
		case err != nil:
			return storage.Grant{}, fmt.Errorf("%w: the watch has not brought the grant", storage.ErrUnavailable)
		}
	}
	if s.dead(name) {
		return storage.Grant{}, storage.ErrNotFound
	}
	return grantOf(found), nil
}

// UpdateGrant implements storage.Store.
func (s *Store) UpdateGrant(ctx context.Context, g storage.Grant) (storage.Grant, error) {
	if g.Version == "" {
		return storage.Grant{}, storage.ErrConflict
	}
	name := s.grantName(g.ID)
	username, ok := s.grants.username(name)
	if !ok {
		username = s.username(g.UserUID)
	}
	o := s.grantObject(g, username)
	// Nobody else writes grants, so the record of who wrote which field says nothing. It would be as large as the grant; an empty entry has the
	// API server leave it out.
	o.ManagedFields = []metav1.ManagedFieldsEntry{{}}
	updated := &v1alpha1.OAuthGrant{}
	if err := put(ctx, s.in(s.clients.public.Put(), grantResource).Name(name), o, updated); err != nil {
		return storage.Grant{}, err
	}
	if updated.ResourceVersion == g.Version || updated.Spec.Attempt != g.Attempt {
		return storage.Grant{}, errAnotherWrite
	}
	s.grants.written(updated)
	return grantOf(updated), nil
}

// ListGrants implements storage.Store.
func (s *Store) ListGrants(ctx context.Context, userUID, clientUID string) ([]storage.Grant, error) {
	labels := v1alpha1.ServerUIDLabel + "=" + s.config.ServerUID + "," + v1alpha1.UserLabel + "=" + s.userHash(userUID)
	if clientUID != "" {
		labels += "," + v1alpha1.ClientLabel + "=" + s.clientHash(clientUID)
	}
	now := s.config.Now()
	var found []storage.Grant
	for next := ""; ; {
		page := &v1alpha1.OAuthGrantList{}
		if err := read(ctx, list(s.in(s.clients.public.Get(), grantResource), labels, next), page); err != nil {
			return nil, listError(err)
		}
		for i := range page.Items {
			if g := grantOf(&page.Items[i]); now.Before(g.ExpiresAt) && g.UserUID == userUID && !s.dead(page.Items[i].Name) {
				found = append(found, g)
			}
		}
		if next = page.Continue; next == "" {
			break
		}
	}
	slices.SortFunc(found, byAge)
	return found, nil
}

// list asks for a page of the objects with the labels.
func list(r *rest.Request, labels, next string) *rest.Request {
	return r.VersionedParams(&metav1.ListOptions{LabelSelector: labels, Limit: pageSize, Continue: next}, metav1.ParameterCodec)
}

// listError: a list that is not found is a kind that is not served.
func listError(err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return storage.ErrUnavailable
	}
	return err
}

// end a grant for a reason of the store's own. It is no error if it has ended or is gone.
func (s *Store) end(ctx context.Context, id, reason string) error {
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
			continue // look again
		default:
			return err
		}
	}
	return err
}

// maxTries is how often a change is tried again after a conflict.
const maxTries = 8

func byAge(a, b storage.Grant) int {
	return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), strings.Compare(a.ID, b.ID))
}
