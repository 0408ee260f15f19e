package grant

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// TokenInfo is what an active token stands for now.
type TokenInfo struct {
	// Claims as signed; empty for a refresh token.
	Claims mint.AccessClaims
	// Client that the token was issued to, and User whose it is; no user where the client acts for itself.
	Client  *registry.Client
	User    *registry.User
	Subject string
	// Scopes that are still allowed, and the Audience that the client may still name; the latter is of access tokens only.
	Scopes   []string
	Audience mint.Audience
	// GrantID is empty where the token rests on no grant; Grant is that record.
	GrantID string
	Grant   storage.Grant
	// GrantedClaims are the names of claims that were granted one by one, and that the client may
	// still have.
	GrantedClaims []string
	// RequestedClaims are the names of those that the token's request wanted from the UserInfo endpoint, where no grant remembers the request.
	RequestedClaims []string
	IssuedAt        time.Time
	Expires         time.Time
}

// inactiveIfRefused keeps errors of the store: they do not mean that a token is inactive.
func inactiveIfRefused(err error) error {
	if isRefused(err) {
		return ErrInactive
	}
	return err
}

func isRefused(err error) bool {
	var refused *RefusedError
	return errors.As(err, &refused)
}

// verified is an access token with a good signature that has not expired. Whether it is still active is another question.
type verifiedToken struct {
	claims mint.AccessClaims
	id     mint.TokenID
}

func (s *Service) verifyAccessToken(token string) (verifiedToken, bool) {
	var v verifiedToken
	if err := s.Keys.Verify(token, oauth.TypeAccessToken, &v.claims); err != nil {
		return verifiedToken{}, false
	}
	server, ok := s.Registry.Server()
	if !ok || v.claims.Issuer != server.Issuer || s.Now().Unix() >= v.claims.Expires {
		return verifiedToken{}, false
	}
	rests, err := mint.OpenTokenID(s.Keys, v.claims.ID)
	if err != nil {
		return verifiedToken{}, false
	}
	// A token without a grant is active unless a mark says otherwise, and the store of another epoch has
	// the marks of none.
	if rests.Grant == "" && rests.StoreID != s.StoreID {
		return verifiedToken{}, false
	}
	v.id = rests
	return v, true
}

// CheckAccessToken says what an access token stands for now, or ErrInactive. Any other error means that the answer is not known.
func (s *Service) CheckAccessToken(ctx context.Context, token string) (*TokenInfo, error) {
	v, ok := s.verifyAccessToken(token)
	if !ok {
		return nil, ErrInactive
	}
	info, err := s.tokenInfo(ctx, v)
	if err != nil {
		return nil, inactiveIfRefused(err)
	}
	revoked, err := storage.RecentReader(s.Store).IsMarked(ctx, storage.MarkToken, tokenMarkID(v.claims.ID))
	if err != nil {
		return nil, err
	}
	if revoked {
		return nil, ErrInactive
	}
	return info, nil
}

// accessStands checks what the token rests on.
func (s *Service) tokenInfo(ctx context.Context, v verifiedToken) (*TokenInfo, error) {
	info := &TokenInfo{
		Claims: v.claims, Subject: v.claims.Subject,
		IssuedAt: time.Unix(v.claims.IssuedAt, 0), Expires: time.Unix(v.claims.Expires, 0), RequestedClaims: slices.Concat(v.id.RequestedClaims, v.id.Claims),
	}
	clientUID := v.id.ClientUID
	on := preconditions{
		userUID: v.id.UserUID, userEpoch: v.id.UserEpoch, sessionHash: v.id.SessionHash, redirectHash: v.id.RedirectHash,
		consented: v.id.ConsentUID != "", consentUID: v.id.ConsentUID, withoutConsent: v.id.ConsentUID == "",
	}
	signed, err := oauth.ParseScope(v.claims.Scope)
	if err != nil {
		return nil, ErrInactive
	}
	of, claims := v.id.Objects.Unpack(signed), v.id.Claims
	recent := storage.RecentReader(s.Store)
	if v.id.Grant != "" {
		g, err := recent.GetGrant(ctx, v.id.Grant)
		switch {
		case err != nil:
			return nil, refuseNotFound(err)
		case g.IsEnded() || g.Incarnation != v.id.Incarnation:
			return nil, ErrInactive
		}
		info.GrantID, info.Grant = g.ID, g
		clientUID, on = g.ClientUID, preconditionsOf(g)
		of, claims = coverageOf(g).objects, g.Claims
	}
	client, ok := s.Registry.ClientByUID(clientUID)
	if !ok || client.ID != v.claims.ClientID {
		return nil, ErrInactive
	}
	info.Client = client
	if on.userUID != "" {
		user, err := s.checkPreconditions(ctx, recent, client, on)
		if err != nil {
			return nil, err
		}
		info.User = user
	}
	info.Scopes, info.Audience = of.KeepScopes(client, signed), of.KeepResources(client, v.claims.Audience)
	info.GrantedClaims = mint.AllowedClaims(client, claims)
	if len(info.Audience) == 0 {
		return nil, ErrInactive
	}
	return info, nil
}

// markOf the id of a token.
func tokenMarkID(tokenID string) string { return hashID("token", tokenID) }

// Revocation is what became of a token that its client gave back (RFC 7009).
type RevocationResult int

const (
	// Unknown: no token of ours, or one that has expired.
	UnknownToken RevocationResult = iota
	// Revoked: it authorises nothing from now on.
	Revoked
	// NotTheirs: it was issued to another client, and nothing happened to it.
	IssuedToAnother
	// NotRevocable: an ID token, which cannot be taken back.
	NotRevocable
	// NoPlace: as many access tokens are revoked and remembered as there may be of the user, the client,
	// the namespace or the server. The token is as good as it was.
	TooManyRevoked
)

// Revoke takes back a token of the client: with a refresh token, of whichever generation, the whole grant; an access token alone. Nothing is
// written for a token that would be refused anyway.
func (s *Service) Revoke(ctx context.Context, client *registry.Client, token string) (RevocationResult, error) {
	if r, ok := s.openRefreshToken(token); ok {
		return s.revokeRefreshToken(ctx, client, r)
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

func (s *Service) revokeRefreshToken(ctx context.Context, client *registry.Client, r refreshTokenContent) (RevocationResult, error) {
	g, err := s.Store.GetGrant(ctx, r.Grant)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return UnknownToken, nil
	case err != nil:
		return UnknownToken, err
	case g.Incarnation != r.Incarnation:
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
	now, until := s.Now(), time.Unix(v.claims.Expires, 0)
	if least := now.Add(minMarkLifetime); until.Before(least) {
		until = least
	}
	err := s.setMark(ctx, storage.Mark{
		Kind: storage.MarkToken, ID: id, UserUID: userUID, ClientUID: client.UID, Namespace: client.Namespace, ExpiresAt: until,
	})
	if errors.Is(err, storage.ErrFull) {
		s.Metrics.countRevocationsFull()
		s.Log.WarnContext(ctx, "a bound on revoked access tokens is reached", "client", client.ID)
		return TooManyRevoked, nil
	}
	return Revoked, err
}

// leastMark is how long the mark of a revoked access token stays in its place, however soon the token
// expires: it bounds how many marks a client can write in a time, not only how many there are.
const minMarkLifetime = 10 * time.Minute

// mark sets a mark. Setting it again does no harm, so an answer that was lost is asked for again.
func (s *Service) setMark(ctx context.Context, m storage.Mark) error {
	for range maxTries {
		err := s.Store.SetMark(ctx, m)
		if !errors.Is(err, storage.ErrAmbiguous) {
			return err
		}
	}
	return storage.ErrAmbiguous
}
