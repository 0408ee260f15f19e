package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"time"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// deletedGrantMark is a kind of mark of the store's own: the grant of this name was deleted with
// kubectl while its code could still be redeemed.
const deletedGrantMark storage.MarkKind = "grant"

// SetMark implements storage.Store.
func (s *Store) SetMark(ctx context.Context, m storage.Mark) error {
	name := s.markName(m.Kind, m.ID)
	if s.marks.has(name, m.ExpiresAt.Add(-time.Nanosecond)) {
		return nil // it exists, and expires no earlier
	}
	taken, err := s.marks.places.Reserve(name, m, s.config.Now())
	if err != nil {
		return err
	}
	err = s.writeMark(ctx, name, m)
	if err != nil && taken && !errors.Is(err, storage.ErrAmbiguous) {
		s.marks.places.Release(name)
	}
	return err
}

// writeMark writes a mark, also if other requests write the same one.
func (s *Store) writeMark(ctx context.Context, name string, m storage.Mark) error {
	for range maxTries {
		err := s.tryWriteMark(ctx, name, m)
		if !errors.Is(err, storage.ErrConflict) {
			return err
		}
	}
	return storage.ErrUnavailable // no try has written anything
}

// tryWriteMark creates a mark, or extends the one that exists. ErrConflict if another request has
// changed it meanwhile.
func (s *Store) tryWriteMark(ctx context.Context, name string, m storage.Mark) error {
	o, stored := s.toMarkObject(name, m), &internalv1alpha1.Mark{}
	err := s.createObject(ctx, markResource, o, stored)
	if errors.Is(err, storage.ErrExists) {
		found := &internalv1alpha1.Mark{}
		err = s.readObject(ctx, markResource, name, found)
		switch {
		case errors.Is(err, storage.ErrNotFound): // it had expired and was swept
			return storage.ErrConflict
		case err != nil:
			return err
		case !found.Spec.ExpiresAt.Time.Before(m.ExpiresAt.Truncate(time.Microsecond)):
			return nil
		}
		o.ResourceVersion = found.ResourceVersion
		err = s.updateObject(ctx, markResource, o, stored)
		if errors.Is(err, storage.ErrNotFound) {
			return storage.ErrConflict
		}
	}
	if err == nil {
		s.marks.put(stored)
	}
	return err
}

// CreateMark implements storage.Store. The API server decides which of several creations succeeds.
func (s *Store) CreateMark(ctx context.Context, m storage.Mark) error {
	name := s.markName(m.Kind, m.ID)
	if s.marks.has(name, time.Time{}) {
		return storage.ErrExists
	}
	taken, err := s.marks.places.Reserve(name, m, s.config.Now())
	if err != nil {
		return err
	}
	if !taken {
		return storage.ErrExists // another request is about to create it, or may have done so
	}
	stored := &internalv1alpha1.Mark{}
	err = s.createObject(ctx, markResource, s.toMarkObject(name, m), stored)
	switch {
	case err == nil:
		s.marks.put(stored)
	case !errors.Is(err, storage.ErrAmbiguous):
		s.marks.places.Release(name)
	}
	return err
}

// IsMarked implements storage.Store.
func (s *Store) IsMarked(ctx context.Context, kind storage.MarkKind, id string) (bool, error) {
	name, now := s.markName(kind, id), s.config.Now()
	if s.marks.has(name, now) {
		return true, nil
	}
	found := &internalv1alpha1.Mark{}
	err := s.readObject(ctx, markResource, name, found)
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
