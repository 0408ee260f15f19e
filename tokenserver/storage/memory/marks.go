package memory

import (
	"context"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// markKey identifies a mark.
type markKey struct {
	kind storage.MarkKind
	id   string
}

func (m markKey) String() string { return string(m.kind) + "/" + m.id }

// SetMark implements storage.Store.
func (s *Store) SetMark(ctx context.Context, m storage.Mark) error {
	if ctx.Err() != nil {
		return storage.ErrUnavailable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := markKey{m.Kind, m.ID}
	if !m.ExpiresAt.After(s.marks[key]) {
		return nil
	}
	if _, err := s.markCounter.Reserve(key.String(), m, s.now()); err != nil {
		return err
	}
	s.markCounter.Add(key.String(), m)
	s.marks[key] = m.ExpiresAt
	return nil
}

// CreateMark implements storage.Store.
func (s *Store) CreateMark(ctx context.Context, m storage.Mark) error {
	if ctx.Err() != nil {
		return storage.ErrUnavailable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := markKey{m.Kind, m.ID}
	if _, exists := s.marks[key]; exists {
		return storage.ErrExists
	}
	if _, err := s.markCounter.Reserve(key.String(), m, s.now()); err != nil {
		return err
	}
	s.markCounter.Add(key.String(), m)
	s.marks[key] = m.ExpiresAt
	return nil
}

// IsMarked implements storage.Store.
func (s *Store) IsMarked(ctx context.Context, kind storage.MarkKind, id string) (bool, error) {
	if ctx.Err() != nil {
		return false, storage.ErrUnavailable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isMarked(kind, id, s.now()), nil
}

// isMarked is IsMarked for callers that hold s.mu.
func (s *Store) isMarked(kind storage.MarkKind, id string, now time.Time) bool {
	return now.Before(s.marks[markKey{kind, id}]) // the zero time if there is no mark
}

// CountMarks implements storage.Store.
func (s *Store) CountMarks(ctx context.Context, kind storage.MarkKind, userUID string, limit int) (int, error) {
	if ctx.Err() != nil {
		return 0, storage.ErrUnavailable
	}
	return min(limit, s.markCounter.CountOfUser(kind, userUID, s.now())), nil
}

// sweepMarks removes the marks that have expired at now, and returns how many.
func (s *Store) sweepMarks(now time.Time) int {
	removed := 0
	for key, expiresAt := range s.marks {
		if !now.Before(expiresAt) {
			delete(s.marks, key)
			s.markCounter.Remove(key.String())
			removed++
		}
	}
	return removed
}
