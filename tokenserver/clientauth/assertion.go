package clientauth

import (
	"context"
	"encoding/json"
	"math"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/jwks"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// leeway is by how much the clock of the signer may be off.
const leeway = time.Minute

// assertion is a JWT that authenticates a client (RFC 7523 section 2.2). Nothing in it is to be
// believed before its signature is verified.
type assertion struct {
	encoded string // as it was sent
	jws     jwks.JWS
	claims  claims
	// clientID is the client_id of the request; empty if it has none.
	clientID string
}

// claims of an assertion (RFC 7523 section 3). What is absent is empty or zero.
type claims struct {
	issuer, subject, id string
	// audience is the aud, and audienceIsList whether it is a list.
	audience                       []string
	audienceIsList                 bool
	issuedAt, notBefore, expiresAt time.Time
}

// authenticateAssertion authenticates a client by an assertion: one that the platform of a workload
// has signed names a workload issuer of the server as its issuer, and one that the client itself has
// signed names the client.
func (a *Authenticator) authenticateAssertion(ctx context.Context, s assertion) (*registry.Client, error) {
	if a.Workloads != nil {
		server, _ := a.Registry.Server()
		if issuer, ok := a.Workloads.FindIssuer(ctx, server, s.claims.issuer); ok {
			return a.authenticateWorkload(ctx, issuer, s)
		}
	}
	return a.authenticateSigned(ctx, s)
}

// parseAssertion parses a client_assertion, and reports whether it is a JWT.
func parseAssertion(value string) (assertion, bool) {
	jws, err := jwks.ParseJWS(value)
	if err != nil {
		return assertion{}, false
	}
	c, ok := parseClaims(jws.Payload)
	return assertion{encoded: value, jws: jws, claims: c}, ok
}

// parseClaims reads claims, and reports whether each has its type. It goes by the exact names,
// unlike encoding/json with a struct.
func parseClaims(payload []byte) (c claims, ok bool) {
	var members map[string]json.RawMessage
	if json.Unmarshal(payload, &members) != nil {
		return claims{}, false
	}
	for name, into := range map[string]any{"iss": &c.issuer, "sub": &c.subject, "jti": &c.id} {
		if value, has := members[name]; has && json.Unmarshal(value, into) != nil {
			return claims{}, false
		}
	}
	for name, into := range map[string]*time.Time{"iat": &c.issuedAt, "nbf": &c.notBefore, "exp": &c.expiresAt} {
		if value, has := members[name]; has && !parseNumericDate(value, into) {
			return claims{}, false
		}
	}
	var single string
	value, has := members["aud"]
	switch {
	case !has:
	case json.Unmarshal(value, &single) == nil:
		c.audience = []string{single}
	case json.Unmarshal(value, &c.audience) == nil:
		c.audienceIsList = true
	default:
		return claims{}, false
	}
	return c, true
}

// parseNumericDate reads a NumericDate (RFC 7519 section 2) of this era.
func parseNumericDate(value json.RawMessage, into *time.Time) bool {
	var seconds float64
	if json.Unmarshal(value, &seconds) != nil || seconds <= 0 || seconds > math.MaxInt32<<3 {
		return false
	}
	whole, fraction := math.Modf(seconds)
	*into = time.Unix(int64(whole), int64(fraction*float64(time.Second)))
	return true
}

// isValidType reports whether typ is that of an assertion: a JWT for another purpose, signed with the
// same key, is none (RFC 8725 section 3.11).
func (s assertion) isValidType() bool {
	switch s.jws.Type {
	case "", "JWT", oauth.TypeClientAssertion:
		return true
	}
	return false
}
