package grant

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// endTimeout bounds how long ending a grant may take once its request has gone.
const endTimeout = 10 * time.Second

// End ends a grant and all its tokens, for one of the reasons in package storage. It is no error if the grant has ended, or is gone. Who asked
// may hang up: it is done all the same.
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
			if g.Attempt == attempt[:32] {
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
			continue // look again
		default:
			return err
		}
	}
	return storage.ErrAmbiguous
}

// Ended writes the audit event of a grant that has just ended, and counts it. The Store is to call it for those that it ends by itself.
func (s *Service) ReportEnd(ctx context.Context, g storage.Grant) {
	s.Metrics.countEnded(g.EndReason)
	s.Log.Log(ctx, logLevel(g.EndReason), "grant ended",
		"audit", "GrantEnded", "reason", g.EndReason, "grant", g.ID, "client", g.ClientID, "user", g.UserUID)
}

// severity of the end of a grant. A code or refresh token that was used twice is a warning, since
// a copy of it may have been stolen (RFC 9700 section 4.14); every other reason is ordinary: the
// user, the client or a bound ended the grant.
func logLevel(reason string) slog.Level {
	switch reason {
	case storage.EndCodeReuse, storage.EndRefreshTokenReuse:
		return slog.LevelWarn
	default:
		return slog.LevelInfo
	}
}

// MaxAccessTokenLifetime is the longest that a server may let access tokens live.
const MaxAccessTokenLifetime = 24 * time.Hour

// EndSession ends all sessions of a root, whose hash is given, and with them every code, refresh token
// and access token that carries the hash and is not offline. Ends is when nothing new can come from them
// any more, mark or none; the last access token may live on from there, so the mark is kept for as long.
// The reason is one of the constants of package storage. If the request is cancelled, it is done all the
// same.
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
