package granttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// Impostors that are special to some: one that this server signed as an ID token, and one that differs from the access token in its client_id.
const (
	OfTypeIDToken = "claims of an access token in a token of type JWT"
	OfAnotherName = "another client's name"
)

// Impostors are values that look like the access token and are none, by what is wrong with them. Nobody may take one for a token of this
// server, although some are signed with its keys.
func (w *World) Impostors(accessToken string) map[string]string {
	w.t.Helper()
	var claims mint.AccessClaims
	must(w.t, w.Keys.Verify(accessToken, oauth.TypeAccessToken, &claims))
	head, rest, _ := strings.Cut(accessToken, ".")
	body, signature, _ := strings.Cut(rest, ".")
	another := claims
	another.Subject = "mallory"
	impostors := map[string]string{
		"a word":                      "unknown",
		"two dots":                    "..",
		"the id of the token":         claims.ID,
		"no signature":                head + "." + body + ".",
		"a changed subject":           head + "." + encoded(w, another) + "." + signature,
		"a part too many":             accessToken + ".x",
		"a line break":                head + "." + body + "." + signature[:5] + "\n" + signature[5:],
		"something very long":         accessToken + strings.Repeat("A", 20<<10),
		"an authorization code":       w.Code(w.Authorization(Client("shop.web"), "openid")),
		OfTypeIDToken:                 w.signed(oauth.TypeIDToken, claims),
		"no type":                     w.signed("", claims),
		"a type of another world":     w.signed("token-introspection+jwt", claims),
		"another issuer, ours signed": w.signed(oauth.TypeAccessToken, with(claims, func(c *mint.AccessClaims) { c.Issuer = "https://other.example.com" })),
		"an expired one":              w.signed(oauth.TypeAccessToken, with(claims, func(c *mint.AccessClaims) { c.Expires = w.Clock.Now().Unix() })),
		"no expiry":                   w.signed(oauth.TypeAccessToken, with(claims, func(c *mint.AccessClaims) { c.Expires = 0 })),
		"no id":                       w.signed(oauth.TypeAccessToken, with(claims, func(c *mint.AccessClaims) { c.ID = "" })),
		OfAnotherName:                 w.signed(oauth.TypeAccessToken, with(claims, func(c *mint.AccessClaims) { c.ClientID = "shop.other" })),
		"an id that rests on nothing": w.signed(oauth.TypeAccessToken, with(claims, func(c *mint.AccessClaims) { c.ID = w.sealed(keys.PurposeTokenID, mint.TokenID{}) })),
		"an id sealed as a code": w.signed(oauth.TypeAccessToken, with(claims, func(c *mint.AccessClaims) {
			c.ID = w.sealed(keys.PurposeCode, mint.TokenID{ClientUID: "shop.web-uid"})
		})),
	}
	w.forge(impostors, claims)
	return impostors
}

// forge adds what somebody makes who has only what is public.
func (w *World) forge(impostors map[string]string, claims mint.AccessClaims) {
	var set struct {
		Keys []struct {
			KID, Alg, N, E string
		} `json:"keys"`
	}
	must(w.t, json.Unmarshal(w.Keys.JWKS(), &set))
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(w.t, err)
	for _, key := range set.Keys {
		header := map[string]any{"typ": oauth.TypeAccessToken, "kid": key.KID}
		impostors["alg none under the name of "+key.Alg] = w.forged("none", header, claims, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType)
		impostors["HS256 with the JWK Set, under the name of "+key.Alg] = w.forged("HS256", header, claims, jwt.SigningMethodHS256, w.Keys.JWKS())
		if key.Alg == "ES256" {
			impostors["a key of one's own under the name of ours"] = w.forged("ES256", header, claims, jwt.SigningMethodES256, own)
			continue
		}
		impostors["HS256 with the public key"] = w.forged("HS256", header, claims, jwt.SigningMethodHS256, publicPEM(w, key.N, key.E))
	}
}

func (w *World) forged(alg string, header map[string]any, claims mint.AccessClaims, method jwt.SigningMethod, key any) string {
	head := map[string]any{"alg": alg}
	for name, value := range header {
		head[name] = value
	}
	signed := encoded(w, head) + "." + encoded(w, claims)
	signature, err := method.Sign(signed, key)
	must(w.t, err)
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func (w *World) signed(typ string, claims mint.AccessClaims) string {
	token, err := w.Keys.Sign("ES256", typ, claims)
	must(w.t, err)
	return token
}

func (w *World) sealed(purpose keys.Purpose, id mint.TokenID) string {
	plain, err := json.Marshal(id)
	must(w.t, err)
	value, err := w.Keys.Seal(purpose, plain)
	must(w.t, err)
	return value
}

func with(claims mint.AccessClaims, change func(*mint.AccessClaims)) mint.AccessClaims {
	change(&claims)
	return claims
}

func encoded(w *World, v any) string {
	raw, err := json.Marshal(v)
	must(w.t, err)
	return base64.RawURLEncoding.EncodeToString(raw)
}

func publicPEM(w *World, n, e string) []byte {
	modulus, err := base64.RawURLEncoding.DecodeString(n)
	must(w.t, err)
	exponent, err := base64.RawURLEncoding.DecodeString(e)
	must(w.t, err)
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(new(big.Int).SetBytes(exponent).Int64())}
	der, err := x509.MarshalPKIXPublicKey(public)
	must(w.t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}
