package grant

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"slices"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// RedeemRequest is a token request with a code. The client has authenticated.
type RedeemRequest struct {
	Client *registry.Client
	Code   string
	// RedirectURI and CodeVerifier as sent; empty if the request has none.
	RedirectURI  string
	CodeVerifier string
	// Resources that the access token is for; empty: all of the authorization.
	Resources []string
}

// errAborted is the result of a request until it has another one.
var errAborted = errors.New("request was aborted")

// Redeem exchanges an authorization code for tokens. It creates the record of the grant only for a
// request that passes every check, and only such a request can be a replay: one that fails a check
// changes nothing.
func (s *Service) Redeem(ctx context.Context, r RedeemRequest) (Result, error) {
	server, ok := s.Registry.Server()
	if !ok {
		return Result{}, registry.ErrNotServing
	}
	c, err := s.openCode(r.Code)
	if err != nil {
		return Result{}, err
	}
	if err := s.checkRedeemRequest(c, r); err != nil {
		return Result{}, err
	}
	if c.RedirectURI, err = findRedirectURI(c, r); err != nil {
		return Result{}, err
	}
	user, err := s.checkCodePreconditions(ctx, c, r.Client)
	if err != nil {
		return Result{}, err
	}
	scopes, audience, err := resolveAccess(r.Client, coverageOfCode(c), nil, r.Resources)
	if err != nil {
		return Result{}, err
	}
	g := newGrant(c, r.Client, user)
	if err := s.initGrant(&g, r.Client, server, refreshEnd(c), c.expiresAt()); err != nil {
		return Result{}, err
	}
	// The refresh token is sealed before the record exists, so that an error uses up no code.
	refreshToken, err := s.sealRefreshToken(g)
	if err != nil {
		return Result{}, err
	}
	result, maybeWritten := Result{Grant: g, User: user, Scopes: scopes, Audience: audience, RefreshToken: refreshToken}, false
	s.codeWrites.begin(g.ID, g.Attempt)
	err = errAborted
	defer func() { s.codeWrites.finish(g.ID, result.Grant.Attempt, err, maybeWritten, s.Now()) }()
	if result, maybeWritten, err = s.createOrAdopt(ctx, c, r.Client, result); err != nil {
		return Result{}, err
	}
	return result, nil
}

// createOrAdopt creates the record of the result. If an earlier request for the code created the
// record but never got the answer, it uses that record. For maybeWritten see createGrant; it is
// about the Attempt of the returned Grant, which is set with an error too.
func (s *Service) createOrAdopt(ctx context.Context, c code, client *registry.Client, result Result) (_ Result, maybeWritten bool, err error) {
	created, maybeWritten, err := s.createGrant(ctx, result.Grant)
	switch {
	case err == nil:
		result.Grant = created
	case !errors.Is(err, errCreatedByAnother):
		return result, maybeWritten, err
	case !created.IsEnded() && s.codeWrites.adopt(created.ID, created.Attempt, s.Now()):
		result.Grant, maybeWritten = created, true
		repeated, err := s.repeatResult(result)
		if err != nil {
			return result, maybeWritten, err
		}
		result = repeated
	default:
		return result, false, s.endReplayed(ctx, result.Grant.ID)
	}
	return result, maybeWritten, s.endIfWithdrawn(ctx, c, client, result.Grant)
}

// checkRedeemRequest compares the request with the code (RFC 6749 section 4.1.3, RFC 7636 section
// 4.6).
func (s *Service) checkRedeemRequest(c code, r RedeemRequest) error {
	if c.ClientUID != r.Client.UID || c.ClientID != r.Client.ID {
		return invalidGrant("the code was issued to another client")
	}
	if err := s.checkCodeLifetime(c, s.Now()); err != nil {
		return err
	}
	if c.CodeChallenge == "" && r.Client.IsPublic() {
		// The client was confidential when it got the code. Without a secret, only PKCE binds a
		// code to the client instance that asked for it (RFC 9700 section 2.1.1).
		return invalidGrant("the client is public, and the authorization request had no code_challenge")
	}
	return checkVerifier(c.CodeChallenge, r.CodeVerifier)
}

// findRedirectURI returns the redirect URI of the authorization, of which the code has the hash. If
// the authorization request named it, the token request must too. Otherwise it is a registered one,
// which the token request may name.
func findRedirectURI(c code, r RedeemRequest) (string, error) {
	hasHash := func(uri string) bool {
		sum := sha256.Sum256([]byte(uri))
		return bytes.Equal(sum[:], c.RedirectHash)
	}
	if r.RedirectURI != "" {
		if !hasHash(r.RedirectURI) {
			return "", invalidGrant("redirect_uri is not the one of the authorization request")
		}
		return r.RedirectURI, nil
	}
	if c.RedirectURISent {
		return "", invalidGrant("redirect_uri is missing, and the authorization request had one")
	}
	i := slices.IndexFunc(r.Client.RedirectURIs, hasHash)
	if i < 0 {
		return "", invalidGrant("the redirect URI of the authorization is no longer registered")
	}
	return r.Client.RedirectURIs[i], nil
}

// checkVerifier checks that the token request comes from the client instance that sent the
// authorization request. A verifier without a challenge means that an attacker removed the
// challenge (RFC 9700 section 4.8.2).
func checkVerifier(challenge, verifier string) error {
	switch {
	case challenge == "" && verifier == "":
		return nil
	case challenge == "":
		return invalidGrant("code_verifier was sent, but the authorization request had no code_challenge")
	case verifier == "":
		return invalidGrant("code_verifier is missing, and the authorization request had a code_challenge")
	case !isVerifier(verifier):
		return invalidGrant("code_verifier is not 43 to 128 characters of A-Z a-z 0-9 - . _ ~")
	}
	sum := sha256.Sum256([]byte(verifier))
	if subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(challenge)) != 1 {
		return invalidGrant("code_verifier does not match the code_challenge")
	}
	return nil
}

// isVerifier reports whether the value has the syntax of RFC 7636 section 4.1.
func isVerifier(value string) bool {
	if len(value) < 43 || len(value) > 128 {
		return false
	}
	for i := range len(value) {
		switch c := value[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
		default:
			return false
		}
	}
	return true
}

// checkCodePreconditions is like checkPreconditions, and checks too that the consent covers all
// that the code is for. It leaves the session to Store.CreateGrant, which no grant gets past whose
// session has ended.
func (s *Service) checkCodePreconditions(ctx context.Context, c code, client *registry.Client) (*registry.User, error) {
	user, err := s.checkPreconditions(ctx, s.Store, client, preconditions{
		userUID: c.UserUID, userEpoch: c.UserEpoch, providerUID: c.ProviderUID, signedInAt: c.signInTime(), authorizedAt: c.issuedAt(),
		redirectURI: c.RedirectURI, withoutConsent: !c.Consented,
	})
	if err != nil {
		return nil, err
	}
	return user, s.checkConsent(ctx, c, client)
}

// newGrant returns the grant of a code, without the fields that initGrant sets. Its APIs are those
// that the user authorized and that still exist.
func newGrant(c code, client *registry.Client, user *registry.User) storage.Grant {
	a := coverageOfCode(c)
	g := storage.Grant{
		ID:      hashID("code", c.ID),
		UserUID: c.UserUID, Subject: user.Subject, UserEpoch: c.UserEpoch,
		SessionHash: c.SessionHash, AuthTime: c.AuthTime, AMR: c.AMR, CreatedAt: c.issuedAt(),
		Scopes: c.Scopes, Resources: c.Resources, Claims: c.Claims, RedirectURI: c.RedirectURI,
		APIs:  apisOf(client, a.binding.KeepScopes(client, a.scopes), a.binding.KeepResources(client, a.resources)),
		Nonce: c.Nonce, ClaimsRequest: c.ClaimsRequest, Consented: c.Consented, ConsentUID: c.ConsentUID, Offline: c.Offline,
		ProviderUID: c.ProviderUID,
	}
	if c.SignedInAt != 0 {
		g.SignedInAt = c.signInTime()
	}
	return g
}

// refreshEnd returns the end of the session if the grant ends with it, otherwise the zero time.
func refreshEnd(c code) time.Time {
	if c.Offline {
		return time.Time{}
	}
	return c.SessionEnds
}

// endReplayed ends the grant of a code that was redeemed before, with all its tokens (RFC 6749
// section 4.1.2). It returns a *RefusedError if that succeeds.
func (s *Service) endReplayed(ctx context.Context, id string) error {
	if err := s.End(ctx, id, storage.EndCodeReuse); err != nil {
		return err
	}
	return invalidGrant("the code was redeemed already; all its tokens are revoked")
}
