// Package mint makes the tokens that clients and APIs read: access tokens (RFC 9068) and ID tokens
// (OpenID Connect Core section 2). Its callers decide what a token may contain.
//
//	mint.go     the Minter, and access tokens
//	tokenid.go  the id of an access token, which is sealed and says what the token depends on
//	idtoken.go  ID tokens
//	claims.go   which claims about a user go where (OpenID Connect Core section 5.4)
package mint

import (
	"fmt"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/jsontext"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// Minter makes tokens with the current keys, for the current issuer. All fields are required.
type Minter struct {
	Keys     *keys.Set
	Registry *registry.Registry
	Now      func() time.Time
}

// AccessClaims are the claims of an access token (RFC 9068 section 2.2).
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

// AppendJSON implements jsontext.Appender, without the escapes for HTML.
func (c AccessClaims) AppendJSON(b []byte) []byte {
	o := jsontext.Begin(b, false)
	o.String("iss", c.Issuer)
	o.String("sub", c.Subject)
	o.Value("aud", c.Audience)
	o.Int("exp", c.Expires)
	o.Int("iat", c.IssuedAt)
	o.String("jti", c.ID)
	o.String("client_id", c.ClientID)
	o.StringNonEmpty("scope", c.Scope)
	o.IntNonEmpty("auth_time", c.AuthTime)
	o.StringNonEmpty("acr", c.ACR)
	o.StringsNonEmpty("amr", c.AMR)
	return o.End()
}

// AccessTokenInput is what AccessToken makes an access token from.
type AccessTokenInput struct {
	Client *registry.Client
	// Subject is the user's, or the client identifier if the client acts for itself.
	Subject  string
	Audience []string
	Scopes   []string
	// AuthTime and AMR of the user's login (RFC 9068 section 2.2.1); empty without a user.
	AuthTime time.Time
	AMR      []string
	TokenID  TokenID
}

// AccessToken returns an access token, signed with the server's first algorithm, and its lifetime
// from now on.
func (m *Minter) AccessToken(in AccessTokenInput) (token string, lifetime time.Duration, err error) {
	server, ok := m.Registry.Server()
	if !ok || len(server.Algorithms) == 0 {
		return "", 0, registry.ErrNotServing
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
		AuthTime: unixOrZero(in.AuthTime), ACR: ACROf(in.AMR), AMR: in.AMR,
	}
	token, err = m.Keys.Sign(server.Algorithms[0], oauth.TypeAccessToken, claims)
	if err != nil {
		return "", 0, fmt.Errorf("signing an access token: %w", err)
	}
	return token, lifetime, nil
}

// CheckReady checks that tokens for the client can be made: an access token, and an ID token if the
// client may ask for one. It fails too in the second of a tokensNotBefore of the server or the
// client, since tokens of that second are void. Callers check it before they use up a code, for
// example. The error wraps registry.ErrNotServing.
func (m *Minter) CheckReady(client *registry.Client) error {
	server, ok := m.Registry.Server()
	if !ok || len(server.Algorithms) == 0 {
		return registry.ErrNotServing
	}
	if err := m.Registry.CheckNotBefore(client.UID, "", ""); err != nil {
		return err
	}
	needed := []string{server.Algorithms[0]}
	if client.MayHaveScope(oauth.ScopeOpenID) {
		needed = append(needed, client.IDTokenAlg)
	}
	if !m.Keys.Ring().CanSign(needed...) {
		return fmt.Errorf("%w: a signing key is missing", registry.ErrNotServing)
	}
	return nil
}

// unixOrZero returns a time as Unix seconds, and the zero time as 0.
func unixOrZero(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}
