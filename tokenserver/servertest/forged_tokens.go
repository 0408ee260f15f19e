package servertest

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

// Keys of ForgedTokens that some tests treat apart: a token that this server signed as an ID token,
// and one that differs from the access token in its client_id alone.
const (
	ForgedIDToken  = "claims of an access token in a token of type JWT"
	ForgedClientID = "another client's name"
)

// ForgedTokens returns values that resemble the access token and are none, by what is wrong with
// them. Some are signed with the server's keys.
func (s *Server) ForgedTokens(accessToken string) map[string]string {
	s.T.Helper()
	var claims mint.AccessClaims
	must(s.T, s.Keys.Verify(accessToken, oauth.TypeAccessToken, &claims))
	head, rest, _ := strings.Cut(accessToken, ".")
	body, signature, _ := strings.Cut(rest, ".")
	another := claims
	another.Subject = "mallory"
	tokens := map[string]string{
		"a word":                      "unknown",
		"two dots":                    "..",
		"the id of the token":         claims.ID,
		"no signature":                head + "." + body + ".",
		"a changed subject":           head + "." + encode(s, another) + "." + signature,
		"a part too many":             accessToken + ".x",
		"a line break":                head + "." + body + "." + signature[:5] + "\n" + signature[5:],
		"something very long":         accessToken + strings.Repeat("A", 20<<10),
		"an authorization code":       s.Code(s.Authorization(Client("shop.web"), "openid")),
		ForgedIDToken:                 s.sign(oauth.TypeIDToken, claims),
		"no type":                     s.sign("", claims),
		"a type of another world":     s.sign("token-introspection+jwt", claims),
		"another issuer, ours signed": s.sign(oauth.TypeAccessToken, changeClaims(claims, func(c *mint.AccessClaims) { c.Issuer = "https://other.example.com" })),
		"an expired one":              s.sign(oauth.TypeAccessToken, changeClaims(claims, func(c *mint.AccessClaims) { c.Expires = s.Now().Unix() })),
		"no expiry":                   s.sign(oauth.TypeAccessToken, changeClaims(claims, func(c *mint.AccessClaims) { c.Expires = 0 })),
		"no id":                       s.sign(oauth.TypeAccessToken, changeClaims(claims, func(c *mint.AccessClaims) { c.ID = "" })),
		ForgedClientID:                s.sign(oauth.TypeAccessToken, changeClaims(claims, func(c *mint.AccessClaims) { c.ClientID = "shop.other" })),
		"an id that rests on nothing": s.sign(oauth.TypeAccessToken, changeClaims(claims, func(c *mint.AccessClaims) { c.ID = s.seal(keys.PurposeTokenID, mint.TokenID{}) })),
		"an id sealed as a code": s.sign(oauth.TypeAccessToken, changeClaims(claims, func(c *mint.AccessClaims) {
			c.ID = s.seal(keys.PurposeCode, mint.TokenID{ClientUID: "shop.web-uid"})
		})),
	}
	s.addForgedWithPublicKeys(tokens, claims)
	return tokens
}

// addForgedWithPublicKeys adds what an attacker can make who knows only the JWK Set.
func (s *Server) addForgedWithPublicKeys(tokens map[string]string, claims mint.AccessClaims) {
	var set struct {
		Keys []struct {
			KID, Alg, N, E string
		} `json:"keys"`
	}
	must(s.T, json.Unmarshal(s.Keys.JWKS(), &set))
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(s.T, err)
	for _, key := range set.Keys {
		header := map[string]any{"typ": oauth.TypeAccessToken, "kid": key.KID}
		tokens["alg none under the name of "+key.Alg] = s.forge("none", header, claims, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType)
		tokens["HS256 with the JWK Set, under the name of "+key.Alg] = s.forge("HS256", header, claims, jwt.SigningMethodHS256, s.Keys.JWKS())
		if key.Alg == "ES256" {
			tokens["a key of one's own under the name of ours"] = s.forge("ES256", header, claims, jwt.SigningMethodES256, own)
			continue
		}
		tokens["HS256 with the public key"] = s.forge("HS256", header, claims, jwt.SigningMethodHS256, publicPEM(s, key.N, key.E))
	}
}

func (s *Server) forge(alg string, header map[string]any, claims mint.AccessClaims, method jwt.SigningMethod, key any) string {
	head := map[string]any{"alg": alg}
	for name, value := range header {
		head[name] = value
	}
	signed := encode(s, head) + "." + encode(s, claims)
	signature, err := method.Sign(signed, key)
	must(s.T, err)
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func (s *Server) sign(typ string, claims mint.AccessClaims) string {
	token, err := s.Keys.Sign("ES256", typ, claims)
	must(s.T, err)
	return token
}

func (s *Server) seal(purpose keys.Purpose, id mint.TokenID) string {
	plain, err := json.Marshal(id)
	must(s.T, err)
	value, err := s.Keys.Seal(purpose, plain)
	must(s.T, err)
	return value
}

func changeClaims(claims mint.AccessClaims, change func(*mint.AccessClaims)) mint.AccessClaims {
	change(&claims)
	return claims
}

func encode(s *Server, v any) string {
	raw, err := json.Marshal(v)
	must(s.T, err)
	return base64.RawURLEncoding.EncodeToString(raw)
}

func publicPEM(s *Server, n, e string) []byte {
	modulus, err := base64.RawURLEncoding.DecodeString(n)
	must(s.T, err)
	exponent, err := base64.RawURLEncoding.DecodeString(e)
	must(s.T, err)
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(new(big.Int).SetBytes(exponent).Int64())}
	der, err := x509.MarshalPKIXPublicKey(public)
	must(s.T, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}
