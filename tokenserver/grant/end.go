package grant

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

const (
	// endTimeout bounds how long ending a grant or a session may take after its request was
	// cancelled.
	endTimeout = 10 * time.Second
	// MaxAccessTokenLifetime is the longest lifetime that a server may give access tokens.
	MaxAccessTokenLifetime = 24 * time.Hour
)

// End ends a grant and all its tokens. The reason is one of the constants of package storage. A
// grant that has ended already or does not exist is no error. If ctx is cancelled, End goes on for
// up to ten seconds.
func (s *Service) End(ctx context.Context, id, reason string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	attempt, err := s.newRandomID()
	if err != nil {
		return err
	}
	for range maxTries {
		g, err := s.Store.GetGrant(ctx, id)
		switch {
		case errors.Is(err, storage.ErrNotFound):
			return nil
		case err != nil:
			return err
		case g.IsEnded():
			if g.Attempt == attempt[:32] { // an earlier try, whose answer was lost
				s.ReportEnd(ctx, g)
			}
			return nil
		}
		g.End(s.Now(), reason)
		g.Attempt = attempt[:32]
		updated, err := s.Store.UpdateGrant(ctx, g)
		switch {
		case err == nil:
			s.ReportEnd(ctx, updated)
			return nil
		case errors.Is(err, storage.ErrConflict), errors.Is(err, storage.ErrAmbiguous), errors.Is(err, storage.ErrNotFound):
			continue // read it again
		default:
			return err
		}
	}
	return storage.ErrAmbiguous
}

// ReportEnd logs and counts a grant that has just ended. It is also the function for Store.OnEnd.
func (s *Service) ReportEnd(ctx context.Context, g storage.Grant) {
	s.Metrics.countEnded(g.EndReason)
	s.Log.Log(ctx, logLevel(g.EndReason), "grant ended",
		"audit", "GrantEnded", "reason", g.EndReason, "grant", g.ID, "client", g.ClientID, "user", g.UserUID)
}

// logLevel returns the level of the message that a grant ended. The reuse of a code or refresh
// token is a warning, since a copy of it may have been stolen (RFC 9700 section 4.14). For every
// other reason a user, a client or a bound ended the grant, as they may.
func logLevel(reason string) slog.Level {
	switch reason {
	case storage.EndCodeReuse, storage.EndRefreshTokenReuse:
		return slog.LevelWarn
	default:
		return slog.LevelInfo
	}
}

// EndSession ends all sessions with the root that has this hash, and every code, refresh token and
// access token that contains the hash and is not offline. Ends is when the last of the sessions
// would end by itself. Access tokens may outlive that, so the mark is kept for
// MaxAccessTokenLifetime longer. The reason is one of the constants of package storage. If ctx is
// cancelled, EndSession goes on for up to ten seconds.
func (s *Service) EndSession(ctx context.Context, hash, userUID string, ends time.Time, reason string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	if err := s.setMark(ctx, storage.Mark{
		Kind: storage.MarkSession, ID: hash, UserUID: userUID, ExpiresAt: ends.Add(MaxAccessTokenLifetime),
	}); err != nil {
		return err
	}
	s.Log.InfoContext(ctx, "session ended", "audit", "SessionEnded", "reason", reason, "user", userUID)
	return nil
}

// IsSessionEnded reports whether the sessions with the root that has this hash were ended.
func (s *Service) IsSessionEnded(ctx context.Context, rootHash string) (bool, error) {
	return s.Store.IsMarked(ctx, storage.MarkSession, rootHash)
}

// CountEndedSessions returns how many ended sessions of a user are stored, and at most limit.
func (s *Service) CountEndedSessions(ctx context.Context, userUID string, limit int) (int, error) {
	return s.Store.CountMarks(ctx, storage.MarkSession, userUID, limit)
}

// setMark sets a mark, and repeats that after a lost answer, which does no harm.
func (s *Service) setMark(ctx context.Context, m storage.Mark) error {
	for range maxTries {
		err := s.Store.SetMark(ctx, m)
		if !errors.Is(err, storage.ErrAmbiguous) {
			return err
		}
	}
	return storage.ErrAmbiguous
}
