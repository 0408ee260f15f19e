package grant

import (
	"cmp"
	"context"
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
	// Client that the token was issued to.
	Client *registry.Client
	// User is nil if the client acts for itself.
	User    *registry.User
	Subject string
	// Scopes that are still allowed.
	Scopes []string
	// Audience that is still allowed; empty for a refresh token.
	Audience mint.Audience
	// Grant is the token's record, and GrantID its id. GrantID is empty for a token without a
	// grant.
	GrantID string
	Grant   storage.Grant
	// GrantedClaims are the names of the claims that were granted individually and that the client
	// may still have.
	GrantedClaims []string
	// RequestedClaims are the names of the claims that the authentication request asked the
	// UserInfo endpoint for, of a token without a grant.
	RequestedClaims []string
	IssuedAt        time.Time
	Expires         time.Time
}

// CheckAccessToken returns what an access token stands for now, or ErrInactive. Any other error
// means that the answer is not known.
func (s *Service) CheckAccessToken(ctx context.Context, token string) (*TokenInfo, error) {
	v, ok := s.verifyAccessToken(token)
	if !ok {
		return nil, ErrInactive
	}
	info, err := s.accessTokenInfo(ctx, v)
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

// CheckRefreshToken returns what a refresh token of the client stands for now, or ErrInactive if
// the client could not use it. It does not count as a use. Any other error means that the answer is
// not known.
func (s *Service) CheckRefreshToken(ctx context.Context, sealed string, client *registry.Client) (*TokenInfo, error) {
	token, ok := s.openRefreshToken(sealed)
	server, serving := s.Registry.Server()
	if !ok || !serving || !client.HasGrantType(oauth.GrantRefreshToken) {
		return nil, ErrInactive
	}
	g, from, err := s.readGrantOf(ctx, s.Store, token, client)
	if err != nil {
		return nil, inactiveIfRefused(err)
	}
	user, err := s.checkRefresh(ctx, from, client, g, server, false)
	if err != nil {
		return nil, inactiveIfRefused(err)
	}
	switch s.chooseAction(g, token.Number, server.RefreshToken, client.IsPublic()) {
	case actionRotate, actionKeep, actionRepeat:
	default:
		return nil, ErrInactive
	}
	scopes, _, err := resolveAccess(client, coverageOf(g), nil, nil)
	if err != nil {
		return nil, inactiveIfRefused(err)
	}
	end := refreshEndsAt(g, server)
	if signInEnd, ok := user.SignInEndsAt(g.SignInTime()); ok {
		end = earlier(end, signInEnd)
	}
	idleEnd := g.LastUsedAt.Add(server.RefreshToken.IdleLifetime.Duration())
	return &TokenInfo{
		Client: client, User: user, Subject: g.Subject, Scopes: scopes, GrantID: g.ID, Grant: g,
		IssuedAt: g.RefreshTokenIssuedAt, Expires: earlier(end, idleEnd),
	}, nil
}

// inactiveIfRefused returns ErrInactive for a *RefusedError. An error of the store does not mean
// that a token is inactive.
func inactiveIfRefused(err error) error {
	if isRefused(err) {
		return ErrInactive
	}
	return err
}

// verifiedToken is an access token that this server signed and that has not expired. It may be
// inactive all the same.
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
	id, err := mint.OpenTokenID(s.Keys, v.claims.ID)
	if err != nil {
		return verifiedToken{}, false
	}
	// A token without a grant is active unless it is marked as revoked, and the marks of another
	// store are not known.
	if id.Grant == "" && id.StoreID != s.StoreID {
		return verifiedToken{}, false
	}
	v.id = id
	return v, true
}

// accessTokenInfo returns what a token stands for if its preconditions are met.
func (s *Service) accessTokenInfo(ctx context.Context, v verifiedToken) (*TokenInfo, error) {
	info := &TokenInfo{
		Claims: v.claims, Subject: v.claims.Subject, IssuedAt: time.Unix(v.claims.IssuedAt, 0), Expires: time.Unix(v.claims.Expires, 0),
		RequestedClaims: slices.Concat(v.id.RequestedClaims, v.id.Claims),
	}
	signed, err := oauth.ParseScope(v.claims.Scope)
	if err != nil {
		return nil, ErrInactive
	}
	clientUID, binding, claims := v.id.ClientUID, v.id.Binding.Unpack(signed), v.id.Claims
	required := preconditions{
		userUID: v.id.UserUID, userEpoch: v.id.UserEpoch, providerUID: v.id.ProviderUID,
		signedInAt: time.Unix(cmp.Or(v.id.SignedInAt, v.claims.AuthTime), 0), authorizedAt: info.IssuedAt,
		sessionHash: v.id.SessionHash, redirectHash: v.id.RedirectHash,
		consented: v.id.ConsentUID != "", consentUID: v.id.ConsentUID, withoutConsent: v.id.ConsentUID == "",
	}
	recent := storage.RecentReader(s.Store)
	if v.id.Grant != "" {
		g, from, err := storage.GetGrantWithBasis(ctx, recent, v.id.Grant)
		switch {
		case err != nil:
			return nil, refuseNotFound(err)
		case g.IsEnded() || g.Incarnation != v.id.Incarnation:
			return nil, ErrInactive
		}
		info.GrantID, info.Grant = g.ID, g
		clientUID, binding, claims = g.ClientUID, coverageOf(g).binding, g.Claims
		required, recent = preconditionsOf(g), from
	}
	client, ok := s.Registry.ClientByUID(clientUID)
	if !ok || client.ID != v.claims.ClientID {
		return nil, ErrInactive
	}
	info.Client = client
	if s.Registry.NotBeforeOf(client.UID, required.userUID, required.providerUID).VoidsToken(info.IssuedAt) {
		return nil, ErrInactive
	}
	if required.userUID != "" {
		if info.User, err = s.checkPreconditions(ctx, recent, client, required); err != nil {
			return nil, err
		}
	}
	info.Scopes, info.Audience = binding.KeepScopes(client, signed), binding.KeepResources(client, v.claims.Audience)
	info.GrantedClaims = mint.AllowedClaims(client, claims)
	if len(info.Audience) == 0 {
		return nil, ErrInactive
	}
	return info, nil
}

// tokenMarkID returns the id of the mark of a revoked access token.
func tokenMarkID(jti string) string { return hashID("token", jti) }
