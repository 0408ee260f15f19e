package oidc

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/oauth-operator/oauth-operator/tokenserver/jwks"
)

const (
	// maxIssueAge is how far the iat of an ID token may be from now.
	maxIssueAge = 10 * time.Minute
	// skew is how far the clocks of a provider may be from ours.
	skew = time.Minute
	// maxSubject is how long a subject may be, in bytes (OpenID Connect Core section 2).
	maxSubject = 255
	// maxAMR and maxMethod are how many methods a sign-in may have, and how long each may be.
	maxAMR, maxMethod = 16, 64
)

// checkIDToken returns the claims of an ID token whose signature is right, if it is by the provider,
// for us, for this departure and of now (OpenID Connect Core section 3.1.3.7).
func (p *Provider) checkIDToken(signed jwks.JWS, accessToken string, pending Pending) (map[string]any, error) {
	var claims map[string]any
	if json.Unmarshal(signed.Payload, &claims) != nil || claims == nil {
		return nil, invalid("the ID token is not a JSON object")
	}
	now, clientID := p.providers.Now(), p.document.OIDC.ClientID
	expiry, hasExpiry := timeOf(claims["exp"])
	issuedAt, hasIssuedAt := timeOf(claims["iat"])
	nonce, _ := claims["nonce"].(string)
	switch {
	case claims["iss"] != p.document.OIDC.Issuer:
		return nil, invalid("the ID token is by another issuer")
	case !isFor(claims, clientID):
		return nil, invalid("the ID token is for another client")
	case pending.Nonce == "" || subtle.ConstantTimeCompare([]byte(nonce), []byte(pending.Nonce)) != 1:
		return nil, invalid("the ID token is for another departure: its nonce is not ours")
	case !hasExpiry:
		return nil, invalid("the ID token does not say when it expires")
	case !now.Before(expiry.Add(skew)):
		return nil, invalid("the ID token has expired: compare the clocks of the provider and of this server")
	case !hasIssuedAt || now.Sub(issuedAt).Abs() > maxIssueAge:
		return nil, invalid("the ID token was not issued within the last 10 minutes: compare the clocks of the provider and of this server")
	}
	if notBefore, ok := timeOf(claims["nbf"]); claims["nbf"] != nil && (!ok || notBefore.After(now.Add(skew))) {
		return nil, invalid("the ID token is not valid yet")
	}
	if hash, ok := claims["at_hash"]; ok && hash != accessTokenHash(signed.Algorithm, accessToken) {
		return nil, invalid("the access token is not the one that the ID token was issued with")
	}
	if subject, _ := claims["sub"].(string); subject == "" {
		return nil, invalid("the ID token has no subject")
	}
	return claims, nil
}

// isFor reports whether an ID token is for the client: it is an audience, and if there are others, or
// an authorized party is named, it is that party too.
func isFor(claims map[string]any, clientID string) bool {
	azp, named := claims["azp"]
	if named && azp != clientID {
		return false
	}
	if claims["aud"] == clientID {
		return true
	}
	audiences, _ := claims["aud"].([]any)
	isAudience := false
	for _, audience := range audiences {
		if _, ok := audience.(string); !ok {
			return false
		}
		isAudience = isAudience || audience == clientID
	}
	return isAudience && (named || len(audiences) == 1)
}

// accessTokenHash returns the at_hash of an access token (OpenID Connect Core section 3.1.3.6): the
// left half of its hash by the function of the signature's algorithm, which for Ed25519 is SHA-512.
func accessTokenHash(algorithm, accessToken string) string {
	var sum []byte
	switch {
	case strings.HasSuffix(algorithm, "256"):
		s := sha256.Sum256([]byte(accessToken))
		sum = s[:]
	case strings.HasSuffix(algorithm, "384"):
		s := sha512.Sum384([]byte(accessToken))
		sum = s[:]
	default:
		s := sha512.Sum512([]byte(accessToken))
		sum = s[:]
	}
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}

// subjectOf returns the value of the subject claim of an ID token.
func subjectOf(claims map[string]any, claim string) ([]byte, error) {
	if claim == "" {
		claim = "sub"
	}
	value, ok := claims[claim].(string)
	// What is no text in JSON is decoded as U+FFFD, by which two users would be one.
	if !ok || value == "" || len(value) > maxSubject || strings.ContainsRune(value, utf8.RuneError) {
		return nil, invalid("the subject claim of the ID token is not a string of 1 to 255 bytes")
	}
	return []byte(value), nil
}

// authTimeOf returns when the user signed in at the provider; zero if the provider does not say and it
// does not matter. Where it does, the user has to have signed in by MaxAge before the departure.
func (p *Provider) authTimeOf(claims map[string]any, pending Pending) (time.Time, error) {
	authTime, ok := timeOf(claims["auth_time"])
	switch {
	case claims["auth_time"] != nil && !ok:
		return time.Time{}, invalid("the auth_time of the ID token is not a time")
	case ok && authTime.After(p.providers.Now().Add(skew)):
		return time.Time{}, invalid("the auth_time of the ID token is in the future")
	case pending.MaxAge == AnyAge:
		return authTime, nil
	case !ok:
		return time.Time{}, &Error{NotFresh, errors.New("the ID token has no auth_time, although max_age was sent")}
	case authTime.Before(time.Unix(pending.DepartedAt-pending.MaxAge, 0).Add(-skew)):
		return time.Time{}, &Error{NotFresh, errors.New("the user signed in at the provider too long ago")}
	}
	return authTime, nil
}

// timeOf returns a NumericDate (RFC 7519 section 2); false if it is none.
func timeOf(claim any) (time.Time, bool) {
	n, ok := claim.(float64)
	if !ok || n <= 0 || n >= 1<<40 {
		return time.Time{}, false
	}
	return time.Unix(int64(n), 0), true
}

// amrOf returns the amr of an ID token; nil if it has none, or one that is not to be passed on.
func amrOf(claims map[string]any) []string {
	values, _ := claims["amr"].([]any)
	if len(values) > maxAMR {
		return nil
	}
	var methods []string
	for _, value := range values {
		method, ok := value.(string)
		if !ok || method == "" || len(method) > maxMethod || strings.ContainsFunc(method, isNotPlain) {
			return nil
		}
		methods = append(methods, method)
	}
	return methods
}

func isNotPlain(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }
