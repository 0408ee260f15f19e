// Package mint makes the tokens that clients and APIs read: access tokens (RFC 9068) and ID tokens (OpenID Connect Core section 2). What a
// token may say is decided before; here is how it says it.
//
//	mint.go     the Minter and access tokens
//	tokenid.go  the id of an access token: sealed, it says what the token rests on
//	idtoken.go  ID tokens
//	claims.go   which claims about a user go where (OpenID Connect Core section 5.4)
package mint

import (
	"fmt"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// errNotServing: there is no server document, so there is nothing to issue tokens for.
var errNotServing = fmt.Errorf("mint: %w", registry.ErrNotServing)

// Minter makes tokens with the keys and for the issuer that are in force when it is asked. All fields are needed.
type Minter struct {
	Keys     *keys.Set
	Registry *registry.Registry
	Now      func() time.Time
}

// AccessClaims of an access token (RFC 9068 section 2.2).
type AccessClaims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience Audience `json:"aud"`
	Expires  int64    `json:"exp"`
	IssuedAt int64    `json:"iat"`
	ID       string   `json:"jti"`
	ClientID string   `json:"client_id"`
	Scope    string   `json:"scope,omitempty"`
	AuthTime int64    `json:"auth_time,omitempty"`
	ACR      string   `json:"acr,omitempty"`
	AMR      []string `json:"amr,omitempty"`
}

// AccessTokenInput is what an access token is to say.
type AccessTokenInput struct {
	Client *registry.Client
	// Subject is the user's, or the client identifier where the client acts for itself.
	Subject  string
	Audience []string
	Scopes   []string
	// AuthTime and AMR of the user's login (RFC 9068 section 2.2.1); zero without a user.
	AuthTime time.Time
	AMR      []string
	// Rests is what the token rests on.
	TokenID TokenID
}

// AccessToken makes one, signed with the server's first algorithm. It is good for the lifetime from now on.
func (m *Minter) AccessToken(in AccessTokenInput) (token string, lifetime time.Duration, err error) {
	server, ok := m.Registry.Server()
	if !ok || len(server.Algorithms) == 0 {
		return "", 0, errNotServing
	}
	id, err := m.sealTokenID(in.TokenID)
	if err != nil {
		return "", 0, err
	}
	now := m.Now()
	lifetime = in.Client.AccessTokenLifetime
	claims := AccessClaims{
		Issuer: server.Issuer, Subject: in.Subject, Audience: in.Audience,
		Expires: now.Add(lifetime).Unix(), IssuedAt: now.Unix(),
		ID: id, ClientID: in.Client.ID, Scope: oauth.FormatScope(in.Scopes),
		AuthTime: unixOrZero(in.AuthTime), ACR: acrOf(in.AMR), AMR: in.AMR,
	}
	token, err = m.Keys.Sign(server.Algorithms[0], oauth.TypeAccessToken, claims)
	if err != nil {
		return "", 0, fmt.Errorf("sign an access token: %w", err)
	}
	return token, lifetime, nil
}

// Ready says whether tokens for the client can be made: an access token, and an ID token if the client may ask for one. It is asked before
// anything is used up for them. The error wraps registry.ErrNotServing.
func (m *Minter) CheckReady(client *registry.Client) error {
	server, ok := m.Registry.Server()
	if !ok || len(server.Algorithms) == 0 {
		return errNotServing
	}
	needed := []string{server.Algorithms[0]}
	if client.MayHaveScope(oauth.ScopeOpenID) {
		needed = append(needed, client.IDTokenAlg)
	}
	if ring := m.Keys.Ring(); !ring.CanSign(needed...) {
		return fmt.Errorf("%w: a key is lacking", errNotServing)
	}
	return nil
}

func unixOrZero(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}
