package grant

import (
	"context"
	"errors"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// RevocationResult is the result of a revocation request (RFC 7009).
type RevocationResult int

const (
	// UnknownToken: the value is no token of this server, or one that has expired.
	UnknownToken RevocationResult = iota
	// Revoked: the token authorizes nothing from now on.
	Revoked
	// IssuedToAnother: the token was issued to another client, and is not revoked.
	IssuedToAnother
	// NotRevocable: the token is an ID token.
	NotRevocable
	// TooManyRevoked: a bound on stored revocations of access tokens is reached, for the user and
	// the client, the client, its namespace or the server. The token is not revoked.
	TooManyRevoked
)

// minMarkLifetime is how long the mark of a revoked access token counts, however soon the token
// expires. It limits how many marks a client can write over time, not only how many exist.
const minMarkLifetime = 10 * time.Minute

// Revoke revokes a token of the client. A refresh token, also one that was replaced, takes its
// whole grant with it, and an access token only itself. Nothing is written for a token that would
// be refused anyway.
func (s *Service) Revoke(ctx context.Context, client *registry.Client, token string) (RevocationResult, error) {
	if content, ok := s.openRefreshToken(token); ok {
		return s.revokeRefreshToken(ctx, client, content)
	}
	if v, ok := s.verifyAccessToken(token); ok {
		return s.revokeAccessToken(ctx, client, v)
	}
	var claims struct{}
	if s.Keys.Verify(token, oauth.TypeIDToken, &claims) == nil {
		return NotRevocable, nil
	}
	return UnknownToken, nil
}

func (s *Service) revokeRefreshToken(ctx context.Context, client *registry.Client, token refreshTokenContent) (RevocationResult, error) {
	g, err := s.Store.GetGrant(ctx, token.Grant)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return UnknownToken, nil
	case err != nil:
		return UnknownToken, err
	case g.Incarnation != token.Incarnation:
		return UnknownToken, nil
	case g.ClientUID != client.UID:
		return IssuedToAnother, nil
	}
	return Revoked, s.End(ctx, g.ID, storage.EndRevoked)
}

func (s *Service) revokeAccessToken(ctx context.Context, client *registry.Client, v verifiedToken) (RevocationResult, error) {
	clientUID, userUID, ended := v.id.ClientUID, v.id.UserUID, false
	if v.id.Grant != "" {
		g, err := s.Store.GetGrant(ctx, v.id.Grant)
		switch {
		case errors.Is(err, storage.ErrNotFound):
			return UnknownToken, nil
		case err != nil:
			return UnknownToken, err
		case g.Incarnation != v.id.Incarnation:
			return UnknownToken, nil
		}
		clientUID, userUID, ended = g.ClientUID, g.UserUID, g.IsEnded()
	}
	if clientUID != client.UID {
		return IssuedToAnother, nil
	}
	if ended {
		return Revoked, nil
	}
	id := tokenMarkID(v.claims.ID)
	if marked, err := s.Store.IsMarked(ctx, storage.MarkToken, id); marked || err != nil {
		return Revoked, err
	}
	expiresAt := time.Unix(v.claims.Expires, 0)
	if earliest := s.Now().Add(minMarkLifetime); expiresAt.Before(earliest) {
		expiresAt = earliest
	}
	err := s.setMark(ctx, storage.Mark{
		Kind: storage.MarkToken, ID: id, UserUID: userUID, ClientUID: client.UID, Namespace: client.Namespace, ExpiresAt: expiresAt,
	})
	if errors.Is(err, storage.ErrFull) {
		s.Metrics.countRevocationsFull()
		s.Log.WarnContext(ctx, "a bound on revoked access tokens is reached", "client", client.ID)
		return TooManyRevoked, nil
	}
	return Revoked, err
}
