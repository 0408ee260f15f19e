package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"time"

	servedv1alpha1 "github.com/oauth-operator/oauth-operator/api/served/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// markGrant is a mark of the store's own: the grant of this name was deleted while its code could still be redeemed.
const markGrant storage.MarkKind = "grant"

// SetMark implements storage.Store.
func (s *Store) SetMark(ctx context.Context, m storage.Mark) error {
	name := s.markName(m.Kind, m.ID)
	if s.marks.has(name, m.ExpiresAt.Add(-time.Nanosecond)) {
		return nil // marked until then, or longer
	}
	taken, err := s.marks.places.Reserve(name, m, s.config.Now())
	if err != nil {
		return err
	}
	err = s.setMark(ctx, name, m)
	if err != nil && taken && !errors.Is(err, storage.ErrAmbiguous) {
		s.marks.places.Release(name)
	}
	return err
}

// setMark writes a mark, however many others write it.
func (s *Store) setMark(ctx context.Context, name string, m storage.Mark) error {
	for range maxTries {
		err := s.mark(ctx, name, m)
		if !errors.Is(err, storage.ErrConflict) {
			return err
		}
	}
	return storage.ErrUnavailable // others write the same mark, and none of these writes happened
}

// mark tries once. ErrConflict: another request was faster.
func (s *Store) mark(ctx context.Context, name string, m storage.Mark) error {
	o, stored := s.markObject(name, m), &servedv1alpha1.Mark{}
	err := put(ctx, s.in(s.clients.internal.Post(), markResource), o, stored)
	if errors.Is(err, storage.ErrExists) {
		found := &servedv1alpha1.Mark{}
		err = get(ctx, s.in(s.clients.internal.Get(), markResource), name, found)
		switch {
		case errors.Is(err, storage.ErrNotFound): // it expired and was swept just now
			return storage.ErrConflict
		case err != nil:
			return err
		case !found.Spec.ExpiresAt.Time.Before(m.ExpiresAt.Truncate(time.Microsecond)):
			return nil
		}
		o.ResourceVersion = found.ResourceVersion
		err = put(ctx, s.in(s.clients.internal.Put(), markResource).Name(name), o, stored)
		if errors.Is(err, storage.ErrNotFound) {
			return storage.ErrConflict
		}
	} else if errors.Is(err, storage.ErrNotFound) { // the namespace, or the kind
		return storage.ErrUnavailable
	}
	if err == nil {
		s.marks.written(stored)
	}
	return err
}

// IsMarked implements storage.Store.
func (s *Store) IsMarked(ctx context.Context, kind storage.MarkKind, id string) (bool, error) {
	name, now := s.markName(kind, id), s.config.Now()
	if s.marks.has(name, now) {
		return true, nil
	}
	found := &servedv1alpha1.Mark{}
	err := get(ctx, s.in(s.clients.internal.Get(), markResource), name, found)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	}
	return now.Before(found.Spec.ExpiresAt.Time), nil
}

// CountMarks implements storage.Store.
func (s *Store) CountMarks(ctx context.Context, kind storage.MarkKind, userUID string, limit int) (int, error) {
	if ctx.Err() != nil {
		return 0, storage.ErrUnavailable
	}
	if problem := s.Problem(); problem != "" {
		return 0, fmt.Errorf("%w: %s", storage.ErrUnavailable, problem)
	}
	return min(limit, s.marks.places.CountOfUser(kind, userUID, s.config.Now())), nil
}
