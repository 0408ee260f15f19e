package servertest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// Authorization returns alice's authorization of the client, as the authorization endpoint makes it
// for a request with a redirect URI and a PKCE challenge, a minute after the login.
func (s *Server) Authorization(client documents.Client, scopes ...string) grant.Authorization {
	login := s.Now().Add(-time.Minute)
	return grant.Authorization{
		ClientID: client.ID, ClientUID: client.UID, UserUID: "alice-uid", UserEpoch: "epoch-1",
		SessionHash: "session-1", SessionEnds: login.Add(s.Document.SessionAbsoluteLifetime.Duration()), AuthTime: login, AMR: []string{oauth.AMRPassword},
		Scopes: scopes, RedirectURI: Callback, RedirectURISent: true, Nonce: "n-0S6_WzA2Mj", CodeChallenge: Challenge,
		Offline: slices.Contains(scopes, oauth.ScopeOfflineAccess),
	}
}

// Consent stores alice's consent to what the authorization is for, and returns the authorization
// with a reference to it. The client must be served.
func (s *Server) Consent(a grant.Authorization) grant.Authorization {
	s.T.Helper()
	client, ok := s.Registry.ClientByUID(a.ClientUID)
	if !ok {
		s.T.Fatalf("%s is not served", a.ClientID)
	}
	now := s.Now()
	consent, err := s.Memory.GetConsent(context.Background(), a.UserUID, a.ClientUID)
	if errors.Is(err, storage.ErrNotFound) {
		consent, err = storage.Consent{UserUID: a.UserUID, ClientUID: a.ClientUID, GrantedAt: now}, nil
	}
	must(s.T, err)
	grant.NewConsentRequest(client, a.Scopes, a.Resources, a.Claims).AddTo(&consent)
	consent.UpdatedAt = now
	consent, err = s.Memory.PutConsent(context.Background(), consent)
	must(s.T, err)
	a.Consented, a.ConsentUID = true, consent.UID
	return a
}

// WithdrawConsent deletes alice's consent to the client.
func (s *Server) WithdrawConsent(clientUID string) {
	s.T.Helper()
	must(s.T, s.Memory.DeleteConsent(context.Background(), "alice-uid", clientUID))
}

// Code returns an authorization code.
func (s *Server) Code(a grant.Authorization) string {
	s.T.Helper()
	code, err := s.Grants.NewCode(a)
	must(s.T, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets = append(s.secrets, code)
	return code
}

// Redeem exchanges a code at the token endpoint; pairs are added to the request.
func (s *Server) Redeem(client documents.Client, code string, pairs ...string) Answer {
	s.T.Helper()
	return s.Post("/token", client, slices.Concat([]string{
		"grant_type", oauth.GrantAuthorizationCode, "code", code, "redirect_uri", Callback, "code_verifier", Verifier}, pairs)...)
}

// IssueTokens returns the token response for an authorization with the scopes.
func (s *Server) IssueTokens(client documents.Client, scopes ...string) Answer {
	s.T.Helper()
	return s.RequireOK(s.Redeem(client, s.Code(s.Authorization(client, scopes...))))
}

// Refresh uses a refresh token at the token endpoint; pairs are added to the request.
func (s *Server) Refresh(client documents.Client, refreshToken string, pairs ...string) Answer {
	s.T.Helper()
	return s.Post("/token", client, slices.Concat([]string{"grant_type", oauth.GrantRefreshToken, "refresh_token", refreshToken}, pairs)...)
}

// IsActive reports whether an access token is active now.
func (s *Server) IsActive(accessToken string) bool {
	s.T.Helper()
	_, err := s.Grants.CheckAccessToken(context.Background(), accessToken)
	if err != nil && !errors.Is(err, grant.ErrInactive) {
		s.T.Fatalf("checking an access token: %v", err)
	}
	return err == nil
}

// StoredGrants returns all grants, the oldest first.
func (s *Server) StoredGrants() []storage.Grant { return s.Memory.Grants() }

// Claims returns the claims of a token. It does not check the signature.
func (s *Server) Claims(token string) map[string]any { return s.part(token, 1) }

// Header returns the JOSE header of a token.
func (s *Server) Header(token string) map[string]any { return s.part(token, 0) }

func (s *Server) part(token string, i int) map[string]any {
	s.T.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		s.T.Fatalf("%q is no token", token)
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[i])
	must(s.T, err)
	var values map[string]any
	must(s.T, json.Unmarshal(raw, &values))
	return values
}
