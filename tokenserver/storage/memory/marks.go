package memory

import (
	"context"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// mark is what names a mark.
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

// IsMarked implements storage.Store.
func (s *Store) IsMarked(ctx context.Context, kind storage.MarkKind, id string) (bool, error) {
	if ctx.Err() != nil {
		return false, storage.ErrUnavailable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isUnexpired(s.marks[markKey{kind, id}]), nil
}

// CountMarks implements storage.Store.
func (s *Store) CountMarks(ctx context.Context, kind storage.MarkKind, userUID string, limit int) (int, error) {
	if ctx.Err() != nil {
		return 0, storage.ErrUnavailable
	}
	return min(limit, s.markCounter.CountOfUser(kind, userUID, s.now())), nil
}

// holds reports whether a mark that expires at the time given still means something. The zero time is of no mark.
func (s *Store) isUnexpired(until time.Time) bool { return s.now().Before(until) }
