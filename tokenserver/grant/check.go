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
	var refused *Refused
	return errors.As(err, &refused)
}

// verified is an access token with a good signature that has not expired. Whether it is still active is another question.
type verified struct {
	claims mint.AccessClaims
	rests  mint.TokenID
}

func (s *Service) verify(token string) (verified, bool) {
	var v verified
	if err := s.Keys.Verify(token, oauth.TypeAccessToken, &v.claims); err != nil {
		return verified{}, false
	}
	server, ok := s.Registry.Server()
	if !ok || v.claims.Issuer != server.Issuer || s.Now().Unix() >= v.claims.Expires {
		return verified{}, false
	}
	rests, err := mint.OpenTokenID(s.Keys, v.claims.ID)
	if err != nil {
		return verified{}, false
	}
	// A token without a grant is active unless a mark says otherwise, and the store of another epoch has
	// the marks of none.
	if rests.Grant == "" && rests.Epoch != s.Epoch {
		return verified{}, false
	}
	v.rests = rests
	return v, true
}

// CheckAccessToken says what an access token stands for now, or ErrInactive. Any other error means that the answer is not known.
func (s *Service) CheckAccessToken(ctx context.Context, token string) (*TokenInfo, error) {
	v, ok := s.verify(token)
	if !ok {
		return nil, ErrInactive
	}
	info, err := s.accessStands(ctx, v)
	if err != nil {
		return nil, inactiveIfRefused(err)
	}
	revoked, err := storage.RecentReader(s.Store).IsMarked(ctx, storage.MarkToken, markOf(v.claims.ID))
	if err != nil {
		return nil, err
	}
	if revoked {
		return nil, ErrInactive
	}
	return info, nil
}

// accessStands checks what the token rests on.
func (s *Service) accessStands(ctx context.Context, v verified) (*TokenInfo, error) {
	info := &TokenInfo{
		Claims: v.claims, Subject: v.claims.Subject,
		IssuedAt: time.Unix(v.claims.IssuedAt, 0), Expires: time.Unix(v.claims.Expires, 0), RequestedClaims: slices.Concat(v.rests.RequestedClaims, v.rests.Claims),
	}
	clientUID := v.rests.ClientUID
	on := rests{
		userUID: v.rests.UserUID, userEpoch: v.rests.UserEpoch, sessionHash: v.rests.SessionHash, redirect: v.rests.Redirect,
		consented: v.rests.ConsentUID != "", consentUID: v.rests.ConsentUID, unasked: v.rests.ConsentUID == "",
	}
	signed, err := oauth.ParseScope(v.claims.Scope)
	if err != nil {
		return nil, ErrInactive
	}
	of, claims := v.rests.Objects.Unpack(signed), v.rests.Claims
	recent := storage.RecentReader(s.Store)
	if v.rests.Grant != "" {
		g, err := recent.GetGrant(ctx, v.rests.Grant)
		switch {
		case err != nil:
			return nil, notFoundIsRefused(err)
		case g.IsEnded() || g.Incarnation != v.rests.Incarnation:
			return nil, ErrInactive
		}
		info.GrantID, info.Grant = g.ID, g
		clientUID, on = g.ClientUID, restsOf(g)
		of, claims = authorizedBy(g).of, g.Claims
	}
	client, ok := s.Registry.ClientByUID(clientUID)
	if !ok || client.ID != v.claims.ClientID {
		return nil, ErrInactive
	}
	info.Client = client
	if on.userUID != "" {
		user, err := s.stands(ctx, recent, client, on)
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
func markOf(tokenID string) string { return hashID("token", tokenID) }

// Revocation is what became of a token that its client gave back (RFC 7009).
type Revocation int

const (
	// Unknown: no token of ours, or one that has expired.
	Unknown Revocation = iota
	// Revoked: it authorises nothing from now on.
	Revoked
	// NotTheirs: it was issued to another client, and nothing happened to it.
	NotTheirs
	// NotRevocable: an ID token, which cannot be taken back.
	NotRevocable
	// NoPlace: as many access tokens are revoked and remembered as there may be of the user, the client,
	// the namespace or the server. The token is as good as it was.
	NoPlace
)

// Revoke takes back a token of the client: with a refresh token, of whichever generation, the whole grant; an access token alone. Nothing is
// written for a token that would be refused anyway.
func (s *Service) Revoke(ctx context.Context, client *registry.Client, token string) (Revocation, error) {
	if r, ok := s.openRefreshToken(token); ok {
		return s.revokeRefreshToken(ctx, client, r)
	}
	if v, ok := s.verify(token); ok {
		return s.revokeAccessToken(ctx, client, v)
	}
	var claims struct{}
	if s.Keys.Verify(token, oauth.TypeIDToken, &claims) == nil {
		return NotRevocable, nil
	}
	return Unknown, nil
}

func (s *Service) revokeRefreshToken(ctx context.Context, client *registry.Client, r refresh) (Revocation, error) {
	g, err := s.Store.GetGrant(ctx, r.Grant)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return Unknown, nil
	case err != nil:
		return Unknown, err
	case g.Incarnation != r.Incarnation:
		return Unknown, nil
	case g.ClientUID != client.UID:
		return NotTheirs, nil
	}
	return Revoked, s.End(ctx, g.ID, storage.EndRevoked)
}

func (s *Service) revokeAccessToken(ctx context.Context, client *registry.Client, v verified) (Revocation, error) {
	clientUID, userUID, ended := v.rests.ClientUID, v.rests.UserUID, false
	if v.rests.Grant != "" {
		g, err := s.Store.GetGrant(ctx, v.rests.Grant)
		switch {
		case errors.Is(err, storage.ErrNotFound):
			return Unknown, nil
		case err != nil:
			return Unknown, err
		case g.Incarnation != v.rests.Incarnation:
			return Unknown, nil
		}
		clientUID, userUID, ended = g.ClientUID, g.UserUID, g.IsEnded()
	}
	if clientUID != client.UID {
		return NotTheirs, nil
	}
	if ended {
		return Revoked, nil
	}
	id := markOf(v.claims.ID)
	if marked, err := s.Store.IsMarked(ctx, storage.MarkToken, id); marked || err != nil {
		return Revoked, err
	}
	now, until := s.Now(), time.Unix(v.claims.Expires, 0)
	if least := now.Add(leastMark); until.Before(least) {
		until = least
	}
	err := s.mark(ctx, storage.Mark{
		Kind: storage.MarkToken, ID: id, UserUID: userUID, ClientUID: client.UID, Namespace: client.Namespace, ExpiresAt: until,
	})
	if errors.Is(err, storage.ErrFull) {
		s.Metrics.noPlace()
		s.Log.WarnContext(ctx, "a bound on revoked access tokens is reached", "client", client.ID)
		return NoPlace, nil
	}
	return Revoked, err
}

// leastMark is how long the mark of a revoked access token stays in its place, however soon the token
// expires: it bounds how many marks a client can write in a time, not only how many there are.
const leastMark = 10 * time.Minute

// mark sets a mark. Setting it again does no harm, so an answer that was lost is asked for again.
func (s *Service) mark(ctx context.Context, m storage.Mark) error {
	for range maxTries {
		err := s.Store.SetMark(ctx, m)
		if !errors.Is(err, storage.ErrAmbiguous) {
			return err
		}
	}
	return storage.ErrAmbiguous
}
