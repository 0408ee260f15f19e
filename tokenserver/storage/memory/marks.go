package memory

import (
	"context"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// mark is what names a mark.
type mark struct {
	kind storage.MarkKind
	id   string
}

func (m mark) name() string { return string(m.kind) + "/" + m.id }

// Mark implements storage.Store.
func (s *Store) Mark(ctx context.Context, m storage.Mark) error {
	if ctx.Err() != nil {
		return storage.ErrUnavailable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := mark{m.Kind, m.ID}
	if !m.ExpiresAt.After(s.marks[key]) {
		return nil
	}
	if _, err := s.places.Take(key.name(), m, s.now()); err != nil {
		return err
	}
	s.places.Put(key.name(), m)
	s.marks[key] = m.ExpiresAt
	return nil
}

// Marked implements storage.Store.
func (s *Store) Marked(ctx context.Context, kind storage.MarkKind, id string) (bool, error) {
	if ctx.Err() != nil {
		return false, storage.ErrUnavailable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.holds(s.marks[mark{kind, id}]), nil
}

// MarksOf implements storage.Store.
func (s *Store) MarksOf(ctx context.Context, kind storage.MarkKind, userUID string, limit int) (int, error) {
	if ctx.Err() != nil {
		return 0, storage.ErrUnavailable
	}
	return min(limit, s.places.OfUser(kind, userUID, s.now())), nil
}

// holds reports whether a mark that expires at the time given still means something. The zero time is of no mark.
func (s *Store) holds(until time.Time) bool { return s.now().Before(until) }
