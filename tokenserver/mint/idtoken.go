package mint

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// IDTokenInput is what IDToken makes an ID token from.
type IDTokenInput struct {
	Client *registry.Client
	User   *registry.User
	// Subject of the user when the authorization began.
	Subject string
	Scopes  []string
	// AuthTime and AMR of the user's login. The claim acr follows from AMR.
	AuthTime time.Time
	AMR      []string
	// Nonce of the authentication request; empty in a refreshed ID token (OpenID Connect Core
	// section 12.2).
	Nonce string
	// ClaimsRequest is the claims parameter of the authentication request, as sent.
	ClaimsRequest string
	// Claims that were granted individually.
	Claims []string
	// AccessToken and Code that are issued with the ID token, which contains their hashes (sections
	// 3.1.3.6 and 3.3.2.11). If both are empty, the client cannot get claims from the UserInfo
	// endpoint, and the ID token contains those of the scopes (section 5.4).
	AccessToken string
	Code        string
}

// IDToken returns an ID token, signed with the algorithm that the client registered. It has the
// lifetime of the client's access tokens.
func (m *Minter) IDToken(in IDTokenInput) (string, error) {
	server, ok := m.Registry.Server()
	if !ok {
		return "", registry.ErrNotServing
	}
	now := m.Now()
	claims := in.userClaims()
	AddIdentityProvider(claims, in.User)
	maps.Copy(claims, map[string]any{
		"iss": server.Issuer,
		"sub": in.Subject,
		"aud": in.Client.ID,
		"exp": now.Add(in.Client.AccessTokenLifetime).Unix(),
		"iat": now.Unix(),
	})
	if !in.AuthTime.IsZero() {
		claims["auth_time"] = in.AuthTime.Unix()
	}
	if len(in.AMR) > 0 {
		claims["amr"] = in.AMR
	}
	for name, value := range map[string]string{
		"nonce": in.Nonce, "acr": ACROf(in.AMR), "at_hash": leftHalfHash(in.AccessToken), "c_hash": leftHalfHash(in.Code),
	} {
		if value != "" {
			claims[name] = value
		}
	}
	token, err := m.Keys.Sign(in.Client.IDTokenAlg, oauth.TypeIDToken, claims)
	if err != nil {
		return "", fmt.Errorf("signing an ID token: %w", err)
	}
	return token, nil
}

// userClaims returns the claims about the user that belong into the ID token.
func (in IDTokenInput) userClaims() map[string]any {
	claims := ClaimsByName(in.User, in.Scopes, RequestedClaims(in.ClaimsRequest, "id_token"))
	maps.Copy(claims, GrantedClaims(in.User, in.Claims, RequestedClaims(in.ClaimsRequest, "id_token")))
	maps.Copy(claims, RegisteredClaims(in.User, in.Client))
	if in.AccessToken == "" && in.Code == "" {
		maps.Copy(claims, ClaimsByScope(in.User, in.Scopes))
	}
	return claims
}

// leftHalfHash returns the left half of the value's SHA-256, which both RS256 and ES256 use (OpenID
// Connect Core section 3.1.3.6); empty for an empty value.
func leftHalfHash(value string) string {
	if value == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(value))
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}
