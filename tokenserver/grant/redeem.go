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

// Redemption is a token request with a code. The client has authenticated.
type RedeemRequest struct {
	Client *registry.Client
	Code   string
	// RedirectURI and CodeVerifier as sent; empty if not.
	RedirectURI  string
	CodeVerifier string
	// Resources that the access token is for; empty: all of the authorization.
	Resources []string
}

// Redeem exchanges a code. Only a request that passes every check creates the record, and only such a request can be a replay: a failed check
// consumes nothing, whoever sends it.
func (s *Service) Redeem(ctx context.Context, r RedeemRequest) (Result, error) {
	server, ok := s.Registry.Server()
	if !ok {
		return Result{}, errNotServing
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
	// The token is made before the record: what fails here has consumed nothing.
	refreshToken, err := s.sealRefreshToken(g)
	if err != nil {
		return Result{}, err
	}
	out, unknown := Result{Grant: g, User: user, Scopes: scopes, Audience: audience, RefreshToken: refreshToken}, false
	s.codeWrites.begin(g.ID, g.Attempt)
	err = errAborted
	defer func() { s.codeWrites.finish(g.ID, out.Grant.Attempt, err, unknown, s.Now()) }()
	if out, unknown, err = s.createOrAdopt(ctx, c, r.Client, out); err != nil {
		return Result{}, err
	}
	return out, nil
}

// errUnfinished is how a request has ended that was broken off in the middle.
var errAborted = errors.New("grant: the request was broken off")

// establish creates the record of out, or finds it: one that an earlier request created and was never told of is as good. Unknown says that the
// record may be there although this fails; the outcome then still says by whose attempt.
func (s *Service) createOrAdopt(ctx context.Context, c code, client *registry.Client, out Result) (_ Result, unknown bool, err error) {
	created, unknown, err := s.createGrant(ctx, out.Grant)
	switch {
	case err == nil:
		out.Grant = created
	case !errors.Is(err, errCreatedByAnother):
		return out, unknown, err
	case !created.IsEnded() && s.codeWrites.adopt(created.ID, created.Attempt, s.Now()):
		out.Grant, unknown = created, true
		repeated, err := s.repeatResult(out)
		if err != nil {
			return out, unknown, err
		}
		out = repeated
	default:
		return out, false, s.endReplayed(ctx, out.Grant.ID)
	}
	return out, unknown, s.endIfWithdrawn(ctx, c, client, out.Grant)
}

// checkRedemption holds the request against the code alone (RFC 6749 section 4.1.3, RFC 7636 section 4.6).
func (s *Service) checkRedeemRequest(c code, r RedeemRequest) error {
	if c.ClientUID != r.Client.UID || c.ClientID != r.Client.ID {
		return invalidGrant("the code was issued to another client")
	}
	if err := s.checkCodeLifetime(c, s.Now()); err != nil {
		return err
	}
	if c.CodeChallenge == "" && r.Client.IsPublic() {
		// The client was confidential when it got the code. Without a secret, PKCE is all that binds a code to who asked for it (RFC 9700
		// section 2.1.1).
		return invalidGrant("the client is public, and the authorization request had no code_challenge")
	}
	return checkVerifier(c.CodeChallenge, r.CodeVerifier)
}

// redirectURI of the authorization, which its code holds the hash of. What the authorization
// request named must be named again. If it named none, it meant the one that was registered;
// leaving it out is right then, and naming it does no harm.
func findRedirectURI(c code, r RedeemRequest) (string, error) {
	refersTo := func(uri string) bool {
		sum := sha256.Sum256([]byte(uri))
		return bytes.Equal(sum[:], c.RedirectHash)
	}
	if r.RedirectURI != "" {
		if !refersTo(r.RedirectURI) {
			return "", invalidGrant("redirect_uri is not the one of the authorization request")
		}
		return r.RedirectURI, nil
	}
	if c.RedirectURISent {
		return "", invalidGrant("redirect_uri is missing, and the authorization request had one")
	}
	i := slices.IndexFunc(r.Client.RedirectURIs, refersTo)
	if i < 0 {
		return "", invalidGrant("the redirect URI of the authorization is no longer registered")
	}
	return r.Client.RedirectURIs[i], nil
}

// checkVerifier proves that whoever began the flow is who ends it. A verifier where no challenge was sent means that someone took the challenge
// out (RFC 9700 section 4.8.2).
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

// validVerifier checks the syntax of RFC 7636 section 4.1.
func isVerifier(verifier string) bool {
	if len(verifier) < 43 || len(verifier) > 128 {
		return false
	}
	for i := range len(verifier) {
		switch c := verifier[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
		default:
			return false
		}
	}
	return true
}

// codeStands says whether what a code rests on is still there.
func (s *Service) checkCodePreconditions(ctx context.Context, c code, client *registry.Client) (*registry.User, error) {
	user, err := s.checkPreconditions(ctx, s.Store, client, preconditions{
		userUID: c.UserUID, userEpoch: c.UserEpoch, sessionHash: c.SessionHash, redirectURI: c.RedirectURI, withoutConsent: !c.Consented,
	})
	if err != nil {
		return nil, err
	}
	return user, s.checkConsent(ctx, c, client)
}

// authorizedByCode is what the user authorized.
func coverageOfCode(c code) coverage {
	return coverage{c.Scopes, c.Resources, c.Objects.Unpack(c.Scopes)}
}

// grantOf a code of the user, without what begin fills in. Its APIs are those that the user
// authorized and that are still there.
func newGrant(c code, client *registry.Client, user *registry.User) storage.Grant {
	a := coverageOfCode(c)
	return storage.Grant{
		ID:      hashID("code", c.ID),
		UserUID: c.UserUID, Subject: user.Subject, UserEpoch: c.UserEpoch,
		SessionHash: c.SessionHash, AuthTime: c.AuthTime, AMR: c.AMR,
		Scopes: c.Scopes, Resources: c.Resources, Claims: c.Claims, RedirectURI: c.RedirectURI,
		APIs:  apisOf(client, a.objects.KeepScopes(client, a.scopes), a.objects.KeepResources(client, a.resources)),
		Nonce: c.Nonce, ClaimsRequest: c.ClaimsRequest, Consented: c.Consented, ConsentUID: c.ConsentUID, Offline: c.Offline,
	}
}

// endOfRefreshing is the end of the session, where the grant depends on it; zero: none.
func refreshEnd(c code) time.Time {
	if c.Offline {
		return time.Time{}
	}
	return c.SessionEnds
}

// replayed ends the grant of a code that was redeemed before, with all its tokens (RFC 6749 section 4.1.2), and says no.
func (s *Service) endReplayed(ctx context.Context, id string) error {
	if err := s.End(ctx, id, storage.EndCodeReuse); err != nil {
		return err
	}
	return invalidGrant("the code was redeemed already; all its tokens are revoked")
}

// errTaken: the record exists, and another request created it.
var errCreatedByAnother = errors.New("grant: created by another request")

// maxTries is how often a request writes again after a conflict or a lost answer.
const maxTries = 16

// create creates the record. An answer that was lost is looked for: a record of this attempt is this request's own; with errTaken comes the
// record that is there instead. Unknown says that a write of the attempt may happen, or may have. That a record exists already may mean that
// the request was delivered twice, so this too is unknown until the record is read.
func (s *Service) createGrant(ctx context.Context, g storage.Grant) (created storage.Grant, unknown bool, err error) {
	for range maxTries {
		created, err = s.Store.CreateGrant(ctx, g)
		if err == nil {
			return created, true, nil
		}
		if errors.Is(err, storage.ErrFull) {
			s.Metrics.countGrantsFull()
			s.Log.WarnContext(ctx, "the bound on live grants is reached", "client", g.ClientID)
		}
		ambiguous := errors.Is(err, storage.ErrAmbiguous)
		if !ambiguous && !errors.Is(err, storage.ErrExists) {
			return storage.Grant{}, unknown, err
		}
		unknown = true
		found, err := s.Store.GetGrant(ctx, g.ID)
		switch {
		case err == nil && found.Attempt == g.Attempt && !found.IsEnded():
			return found, true, nil
		case err == nil:
			return found, false, errCreatedByAnother
		case errors.Is(err, storage.ErrNotFound) && ambiguous:
			continue // it did not arrive; the same attempt may try again
		case errors.Is(err, storage.ErrNotFound):
			return storage.Grant{}, false, errCreatedByAnother // it was there a moment ago
		default:
			return storage.Grant{}, true, err
		}
	}
	return storage.Grant{}, unknown, storage.ErrAmbiguous
}
