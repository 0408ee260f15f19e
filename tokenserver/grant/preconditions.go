package grant

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/redirecturi"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// preconditions are what must still be true when a code, a grant or an access token is used.
type preconditions struct {
	// The user is served, with the same password, and the client is for the user.
	userUID, userEpoch string
	// The user is of this identity provider, and not of one that was created again; empty: the user
	// is an OAuthUser.
	providerUID string
	// The directory where the user signs in still says so, if there is one (users.Users.Confirm). Only
	// a request that yields tokens asks.
	confirmed bool
	// No tokensNotBefore voids the sign-in, nor what the user authorized after it.
	signedInAt, authorizedAt time.Time
	// The session has not ended; empty: the authorization does not depend on a session.
	sessionHash string
	// The client registers the redirect URI; empty: the authorization has none. Where only its hash
	// is known, redirectHash is set instead (mint.HashRedirectURI).
	redirectURI  string
	redirectHash []byte
	// The consent with the UID exists.
	consented  bool
	consentUID string
	// The client may still skip consent: the authorization endpoint did not ask the user for it.
	withoutConsent bool
}

// preconditionsOf returns those of a grant. An offline one does not depend on its session.
func preconditionsOf(g storage.Grant) preconditions {
	p := preconditions{
		userUID: g.UserUID, userEpoch: g.UserEpoch, providerUID: g.ProviderUID, signedInAt: g.SignInTime(), authorizedAt: g.CreatedAt,
		redirectURI: g.RedirectURI, consented: g.Consented, consentUID: g.ConsentUID,
		withoutConsent: !g.Consented && grantTypeOf(g) == oauth.GrantAuthorizationCode,
	}
	if !g.Offline {
		p.sessionHash = g.SessionHash
	}
	return p
}

// checkPreconditions returns the user as served now, or a *RefusedError if a precondition is not
// met. Users, sessions and consents are read from the reader, or from the store after the directory
// of a user was asked.
func (s *Service) checkPreconditions(ctx context.Context, from storage.Reader, client *registry.Client, p preconditions) (*registry.User, error) {
	user, ok, err := s.findUser(ctx, from, p)
	if p.confirmed && p.providerUID != "" { // the directory takes time to answer, in which the session may end
		from = s.Store
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("looking a user up: %w", err)
	case !ok || user.Epoch != p.userEpoch:
		return nil, invalidGrant("the user is not served, or the password changed since the authorization")
	case user.ProviderUID != p.providerUID:
		return nil, invalidGrant("the identity provider that the user signed in at is gone, or was created again")
	case !client.AllowsProviderOf(user):
		return nil, invalidGrant("the rule of the server that accepts the client does not list where the user signs in")
	case !client.AllowsGroupsOf(user):
		return nil, invalidGrant("the user has none of the groups that the rule of the server lists which accepts the client")
	}
	if s.Registry.NotBeforeOf(client.UID, p.userUID, p.providerUID).VoidsAuthorization(p.signedInAt, p.authorizedAt) {
		return nil, invalidGrant("the authorization is void: tokensNotBefore of the server, the client, the user or the identity provider is later")
	}
	if !p.isRedirectURIRegistered(client) {
		return nil, invalidGrant("the redirect URI of the authorization is no longer registered")
	}
	if p.withoutConsent && client.Consent != documents.ConsentSkip {
		return nil, invalidGrant("the user was not asked for consent, and the client may no longer skip that")
	}
	if p.consented {
		exists, err := from.HasConsent(ctx, p.userUID, client.UID, p.consentUID)
		if err != nil {
			return nil, err
		}
		if !exists {
			return nil, errConsentWithdrawn
		}
	}
	if p.sessionHash != "" {
		ended, err := from.IsMarked(ctx, storage.MarkSession, p.sessionHash)
		if err != nil {
			return nil, err
		}
		if ended {
			return nil, errSessionEnded
		}
	}
	return user, nil
}

var errSessionEnded = invalidGrant("the session of the authorization has ended")

func (s *Service) findUser(ctx context.Context, from storage.Reader, p preconditions) (*registry.User, bool, error) {
	if p.confirmed {
		return s.Users.Confirm(ctx, p.userUID, p.userEpoch)
	}
	return s.Users.ByUID(ctx, from, p.userUID, p.userEpoch)
}

func (p preconditions) isRedirectURIRegistered(client *registry.Client) bool {
	if len(p.redirectHash) > 0 {
		return slices.ContainsFunc(client.RedirectURIs, func(uri string) bool { return bytes.Equal(mint.HashRedirectURI(uri), p.redirectHash) })
	}
	if p.redirectURI == "" {
		return true
	}
	_, ok := redirecturi.Match(client.RedirectURIs, p.redirectURI)
	return ok
}

// grantTypeOf returns the grant type that a grant began with. Only a grant that began at the
// authorization endpoint has a redirect URI.
func grantTypeOf(g storage.Grant) string {
	if g.RedirectURI == "" {
		return oauth.GrantPassword
	}
	return oauth.GrantAuthorizationCode
}

// mayBeOffline reports whether a grant, if it is offline, may still be so. One that began at the
// authorization endpoint needs the scope offline_access for it.
func mayBeOffline(client *registry.Client, g storage.Grant) bool {
	return !g.Offline || grantTypeOf(g) == oauth.GrantPassword || client.MayHaveScope(oauth.ScopeOfflineAccess)
}
