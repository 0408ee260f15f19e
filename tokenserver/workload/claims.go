package workload

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// maxSkew is how far the clock of an issuer may be off (RFC 7523 section 3).
const maxSkew = time.Minute

// types are the values of typ. Explicit typing (RFC 8725 section 3.11) tells tokens for one purpose
// from those for another; platforms use none, or JWT.
var types = []string{"", "jwt", "client-authentication+jwt"}

// Claims are the claims of a token (RFC 7523 section 3) that are the same for every issuer. What is
// absent is empty or zero.
type Claims struct {
	Subject                        string
	Audience                       []string
	IssuedAt, NotBefore, ExpiresAt time.Time
}

// check returns what is wrong with a token of a type; nil if it is good.
func (c Claims) check(typ, audience string, maxLifetime time.Duration, now time.Time) *InvalidError {
	lifetime := c.ExpiresAt.Sub(c.IssuedAt)
	switch {
	case !slices.Contains(types, strings.ToLower(typ)):
		return invalidf("typ in its header must be JWT or client-authentication+jwt, or absent")
	case len(c.Audience) != 1 || c.Audience[0] != audience:
		return invalidf("it is for %s: request one for the audience %s alone", describeAudience(c.Audience), audience)
	case c.Subject == "":
		return invalidf("it has no sub")
	case c.ExpiresAt.IsZero() || c.IssuedAt.IsZero():
		return invalidf("it has no exp or no iat, so it never ends: use one that does, such as that of a projected volume")
	case lifetime > maxLifetime:
		return invalidf("it is valid for %s, and at most %s are allowed: request one for a shorter time", lifetime, maxLifetime)
	case lifetime <= 0 || !now.Before(c.ExpiresAt.Add(maxSkew)):
		return invalidf("it has expired: read it anew for each request")
	case c.IssuedAt.After(now.Add(maxSkew)), c.NotBefore.After(now.Add(maxSkew)):
		return invalidf("iat or nbf is in the future: compare the clocks")
	}
	return nil
}

func describeAudience(audience []string) string {
	switch len(audience) {
	case 0:
		return "no audience"
	case 1:
		return "another audience"
	default:
		return "several audiences"
	}
}

// serviceAccountUID returns the UID of the ServiceAccount in the claim kubernetes.io of a token.
func serviceAccountUID(payload []byte) string {
	var claims, kubernetes, account map[string]json.RawMessage
	var uid string
	if json.Unmarshal(payload, &claims) != nil || json.Unmarshal(claims["kubernetes.io"], &kubernetes) != nil ||
		json.Unmarshal(kubernetes["serviceaccount"], &account) != nil || json.Unmarshal(account["uid"], &uid) != nil {
		return ""
	}
	return uid
}
