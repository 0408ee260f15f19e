package clientauth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// maxSignedLifetime is how long an assertion may be valid that a client signs itself.
const maxSignedLifetime = 5 * time.Minute

// authenticateSigned authenticates a client by an assertion that it has signed (private_key_jwt,
// OpenID Connect Core section 9). Until the signature is verified every error is the same. The jti
// is marked last, so that no other party can use it up.
func (a *Authenticator) authenticateSigned(ctx context.Context, s assertion) (*registry.Client, error) {
	client, known := a.Registry.Client(s.claims.issuer)
	isMethod := false
	if known {
		client, isMethod = client.WithAuthMethod(oauth.AuthMethodPrivateKey)
	}
	if !isMethod {
		_ = jwks.VerifyDummy(s.jws) // so that it takes as long
		if !known {
			return nil, a.authenticationFailed(unknownClient)
		}
		return nil, a.authenticationFailed(wrongMethod)
	}
	if err := a.verifySigned(ctx, client, s.jws); err != nil {
		return nil, a.authenticationFailed(wrongSignature)
	}
	if advice := a.checkSigned(s); advice != "" {
		return nil, a.assertionRefused(advice)
	}
	if err := a.markUsed(ctx, client, s.claims); err != nil {
		return nil, err
	}
	return client, nil
}

// verifySigned returns an error unless a key of the client signed an assertion.
func (a *Authenticator) verifySigned(ctx context.Context, client *registry.Client, s jwks.JWS) error {
	if client.JWKSURI != "" {
		_, err := a.Sources.URL(fetch.ForClient, client.JWKSURI).Verify(ctx, s)
		return err
	}
	set, err := client.Keys()
	if err != nil {
		_ = jwks.VerifyDummy(s)
		return err
	}
	_, err = set.Verify(s)
	return err
}

// checkSigned returns what is wrong with an assertion whose signature is good, for its sender; empty
// if nothing is.
func (a *Authenticator) checkSigned(s assertion) string {
	now, c := a.Now(), s.claims
	server, _ := a.Registry.Server()
	lifetime := c.expiresAt.Sub(c.issuedAt)
	switch {
	case !s.isValidType():
		return "typ in the header must be JWT or client-authentication+jwt, or absent"
	case c.subject != c.issuer:
		return "iss and sub must both be the client id"
	case s.clientID != "" && s.clientID != c.issuer:
		return "client_id is another client than the one that iss and sub name"
	case len(c.audience) != 1 || c.audienceIsList || c.audience[0] != server.Issuer:
		return "aud must be the issuer of this server, as a string and not as a list: " + server.Issuer
	case c.expiresAt.IsZero() || c.issuedAt.IsZero() || c.id == "":
		return "exp, iat and jti are required"
	case lifetime <= 0 || lifetime > maxSignedLifetime:
		return "exp must be after iat, and at most 5 minutes after it"
	case c.issuedAt.After(now.Add(leeway)) || c.notBefore.After(now.Add(leeway)):
		return "iat or nbf is in the future: compare the clocks"
	case !now.Before(c.expiresAt.Add(leeway)):
		return "it has expired: sign a new one for each request, and compare the clocks"
	default:
		return ""
	}
}

// markUsed marks the jti of an assertion as used by the client. A jti is kept until no replica
// accepts the assertion any more, whose clocks may differ by the leeway.
func (a *Authenticator) markUsed(ctx context.Context, client *registry.Client, c claims) error {
	sum := sha256.Sum256([]byte(client.UID + "\x00" + c.id))
	err := a.Marks.CreateMark(ctx, storage.Mark{
		Kind: storage.MarkAssertion, ID: base64.RawURLEncoding.EncodeToString(sum[:]),
		ClientUID: client.UID, Namespace: client.Namespace, ExpiresAt: c.expiresAt.Add(2 * leeway),
	})
	switch {
	case errors.Is(err, storage.ErrExists):
		return a.assertionRefused("its jti was used before: sign a new one for each request")
	case errors.Is(err, storage.ErrFull):
		return oauth.Errorf(oauth.TemporarilyUnavailable, "the client, or all of its namespace together, have used as many assertions in the last minutes as they may: "+
			"let tokens live longer, or exp of assertions be sooner").WithHeader("Retry-After", "60").WithCause(err)
	}
	return err
}

// assertionRefused returns the error for who has a key of the client and has signed an assertion that
// is not valid.
func (a *Authenticator) assertionRefused(advice string) *oauth.Error {
	a.Metrics.countFailure(invalidAssertion)
	return a.withChallenge(oauth.Errorf(oauth.InvalidClient, "the signature of client_assertion is good, but %s", advice))
}
