// Package grant is the life of an authorization: it begins with a code or a password, is carried on by refresh tokens, and ends. Storage keeps
// one record for each; codes, refresh tokens and the ids of access tokens are sealed values that name it.
//
//	grant.go     the Service; what a grant rests on, checked at every use
//	code.go      the authorization code: sealed, nothing is stored for it
//	redeem.go    redeeming a code creates the record; doing it twice ends it
//	password.go  a password is handed over: the record begins there
//	refresh.go   refreshing advances the record by compare-and-swap
//	scope.go     which scopes and audience one token of a grant gets
//	consent.go   what a user is asked to allow, and whether a consent holds it
//	end.go       a grant ends, or a session with all that rests on it
//	check.go     whether an access or refresh token is good now
//	unsettled.go writes of which nobody knows whether they happened
//	outage.go    when the store was away
//	metrics.go   what is counted
//
// Every answer about a token holds for the registry and the store as they are at that moment. What is refused wraps *Refused; errors of the
// store pass through as they are.
package grant

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/redirecturi"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// Service decides about grants. All fields but Metrics and Epoch are needed.
type Service struct {
	Store    storage.Store
	Keys     *keys.Set
	Registry *registry.Registry
	Now      func() time.Time
	Random   io.Reader
	// Epoch of the store. One that knows nothing of what was redeemed, revoked and ended before has
	// another: it does not outlive its process, is of another kind, or of a server that was created again.
	// Codes, sessions and access tokens without a grant are good in their own epoch alone.
	StoreID string
	Log     *slog.Logger
	Metrics *Metrics

	// Of a refresh it must not be forgiven that a code comes again, nor the other way round.
	codeWrites, refreshWrites unconfirmedWrites
	outages                   outages
	orphans                   orphans // of passwords, which come again for another grant
}

// What is refused.
type RefusalKind int

const (
	// Grant: the code, password or refresh token is not honoured.
	InvalidGrant RefusalKind = iota
	// Scope: more is asked for than was granted.
	InvalidScope
	// Target: a resource is asked for that the grant does not cover.
	InvalidTarget
)

// Refused is why something is not honoured, in words for the developer of the client. It quotes no value.
type RefusedError struct {
	Kind   RefusalKind
	Reason string
}

func (r *RefusedError) Error() string { return "grant: " + r.Reason }

func invalidGrant(sentence string) error { return &RefusedError{Kind: InvalidGrant, Reason: sentence} }

// ErrInactive: the token authorises nothing, for whatever reason.
var ErrInactive = errors.New("grant: the token is not active")

var errNotServing = fmt.Errorf("grant: %w", registry.ErrNotServing)

// Outcome of a redemption, password or refresh: what the tokens that answer it are to say.
type Result struct {
	Grant storage.Grant
	User  *registry.User
	// Scopes and Audience of the access token.
	Scopes   []string
	Audience []string
	// RefreshToken to hand out; empty if there is none, or the client keeps the one it has.
	RefreshToken string
}

// rests is what a code or a grant rests on.
type preconditions struct {
	userUID, userEpoch string
	sessionHash        string // empty: on no session
	redirectURI        string // empty: on none
	redirectHash       []byte // instead of redirectURI, mint.RedirectHash of the registered one
	consented          bool
	consentUID         string
	// unasked: it began at the authorization endpoint without a consent.
	withoutConsent bool
}

// restsOf a grant. An offline one outlives its session.
func preconditionsOf(g storage.Grant) preconditions {
	r := preconditions{
		userUID: g.UserUID, userEpoch: g.UserEpoch, redirectURI: g.RedirectURI, consented: g.Consented, consentUID: g.ConsentUID,
		withoutConsent: !g.Consented && grantTypeOf(g) == oauth.GrantAuthorizationCode,
	}
	if !g.Offline {
		r.sessionHash = g.SessionHash
	}
	return r
}

// stands says whether what a grant rests on is still there, and gives the user as they are now.
// Marks and consents are read from the store, or from its recent reads where those will do.
func (s *Service) checkPreconditions(ctx context.Context, marks storage.Reader, client *registry.Client, r preconditions) (*registry.User, error) {
	user, ok := s.Registry.UserByUID(r.userUID)
	if !ok || user.Epoch != r.userEpoch {
		return nil, invalidGrant("the user or the password changed since the authorization")
	}
	if !r.isRedirectURIRegistered(client) {
		return nil, invalidGrant("the redirect URI of the authorization is no longer registered")
	}
	if r.withoutConsent && client.Consent != documents.ConsentSkip {
		return nil, invalidGrant("the user was not asked to agree, and the client may not skip that any more")
	}
	if r.consented {
		there, err := marks.HasConsent(ctx, r.userUID, client.UID, r.consentUID)
		if err != nil {
			return nil, err
		}
		if !there {
			return nil, errConsentWithdrawn
		}
	}
	if r.sessionHash != "" {
		ended, err := marks.IsMarked(ctx, storage.MarkSession, r.sessionHash)
		if err != nil {
			return nil, err
		}
		if ended {
			return nil, invalidGrant("the session of the authorization has ended")
		}
	}
	return user, nil
}

// registered reports whether the client still registers the redirect URI.
func (r preconditions) isRedirectURIRegistered(client *registry.Client) bool {
	if len(r.redirectHash) > 0 {
		return slices.ContainsFunc(client.RedirectURIs, func(uri string) bool { return bytes.Equal(mint.HashRedirectURI(uri), r.redirectHash) })
	}
	if r.redirectURI == "" {
		return true
	}
	_, ok := redirecturi.Match(client.RedirectURIs, r.redirectURI)
	return ok
}

// begunBy is the grant type that a grant began with. The authorization endpoint always answers to a redirect URI.
func grantTypeOf(g storage.Grant) string {
	if g.RedirectURI == "" {
		return oauth.GrantPassword
	}
	return oauth.GrantAuthorizationCode
}

// offlineStands says whether an offline grant may still be one: what began at the authorization endpoint is offline by a scope, and a scope
// that is no longer allowed no longer counts.
func mayBeOffline(client *registry.Client, g storage.Grant) bool {
	return !g.Offline || grantTypeOf(g) == oauth.GrantPassword || slices.Contains(client.Scopes(), oauth.ScopeOfflineAccess)
}

// SessionEnded reports whether the sessions of the root with this hash were ended.
func (s *Service) IsSessionEnded(ctx context.Context, rootHash string) (bool, error) {
	return s.Store.IsMarked(ctx, storage.MarkSession, rootHash)
}

// EndedSessions counts the ended sessions of a user that are remembered, up to a limit.
func (s *Service) CountEndedSessions(ctx context.Context, userUID string, limit int) (int, error) {
	return s.Store.CountMarks(ctx, storage.MarkSession, userUID, limit)
}

// draw makes a random id of 64 hexadecimal digits.
func (s *Service) newRandomID() (string, error) {
	var id [32]byte
	if _, err := io.ReadFull(s.Random, id[:]); err != nil {
		return "", fmt.Errorf("draw an id: %w", err)
	}
	return hex.EncodeToString(id[:]), nil
}

// hashID makes the name of a record from something that must not be seen in it: 40 hexadecimal digits.
func hashID(kind, value string) string {
	sum := sha256.Sum256([]byte(kind + "\x00" + value))
	return hex.EncodeToString(sum[:20])
}

// begin fills in what every new grant has. Until is the end of refreshing, where the grant ends with something, and code when the code that it
// began with has expired; either may be zero.
func (s *Service) initGrant(g *storage.Grant, client *registry.Client, server documents.Server, until, code time.Time) error {
	attempt, err := s.newRandomID()
	if err != nil {
		return err
	}
	incarnation, err := s.newRandomID()
	if err != nil {
		return err
	}
	now := s.Now()
	g.Attempt, g.Incarnation = attempt[:32], incarnation[:32]
	g.ClientUID, g.ClientID = client.UID, client.ID
	g.CreatedAt, g.LastUsedAt = now, now
	if client.HasGrantType(oauth.GrantRefreshToken) {
		g.RefreshTokenNumber, g.RefreshTokenIssuedAt, g.SealingKID = 1, now, s.Keys.SealingKID()
		g.RefreshUntil = now.Add(server.RefreshToken.AbsoluteLifetime.Duration())
		if !until.IsZero() && until.Before(g.RefreshUntil) {
			g.RefreshUntil = until
		}
	}
	if !code.IsZero() {
		g.ExpiresAt = code.Add(clockSkew)
	}
	g.ExpiresAt = expiry(*g, client, server, now)
	return nil
}

// clockSkew is how much the clocks of two replicas may differ: for so long after its code has expired a grant is kept, or the replica whose
// clock is behind could redeem the code again.
const clockSkew = time.Minute

// expiry is when a grant that is used now can authorise nothing any more: no refresh token and no access token of it is good then. It is not
// earlier than it was while the code could still be redeemed.
func expiry(g storage.Grant, client *registry.Client, server documents.Server, now time.Time) time.Time {
	end := now
	if g.RefreshTokenNumber > 0 {
		end = earlier(g.RefreshUntil, now.Add(server.RefreshToken.IdleLifetime.Duration()))
	}
	// The last refresh, or the last repeated one, may come just before, and its access token lives on.
	end = end.Add(client.AccessTokenLifetime).Add(server.RefreshToken.ReuseGracePeriod.Duration())
	if code := earlier(g.ExpiresAt, g.CreatedAt.Add(maxCodeLifetime+clockSkew)); code.After(end) {
		end = code
	}
	return end
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
