package compile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/password"
	"github.com/oauth-operator/oauth-operator/tokenserver/registration"
)

// Bounds of a user's claims: they travel in ID tokens and in memory.
const (
	maxClaimsBytes = 64 << 10
	maxClaimsDepth = 8
)

// reservedClaims are set by the protocol: a user who could set them could say who issued a token, for whom, and until when (RFC 7519 section
// 4.1, OpenID Connect Core section 2 and the specifications that add to it). Names that differ in letter case only are reserved too: many
// readers of JSON, Go's among them, take one for the other.
var reservedClaims = []string{
	"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "azp", "nonce", "auth_time", "acr", "amr", "sid", "client_id", "scope", "act", "cnf",
	"events", "at_hash", "c_hash", "s_hash",
}

// Subject that an OAuthUser asks for.
func Subject(u *v1alpha1.OAuthUser) string {
	if u.Spec.Subject != "" {
		return u.Spec.Subject
	}
	return string(u.UID)
}

// User is the document of an OAuthUser, without what follows from its password.
func User(u *v1alpha1.OAuthUser) (registration.User, Findings) {
	doc := registration.User{UID: string(u.UID), Subject: Subject(u)}
	var findings Findings
	username, err := password.NormalizeUsername(u.Spec.Username)
	if err != nil {
		findings = append(findings, Finding{"spec.username", err.Error()})
	}
	doc.Username = username
	if u.Spec.Claims != nil && len(u.Spec.Claims.Raw) > 0 {
		var found Findings
		doc.Claims, found = claims(u.Spec.Claims.Raw)
		findings = append(findings, found...)
	}
	return doc, findings
}

// claims are free JSON, which no rule in the CustomResourceDefinition can look into. Numbers keep their digits.
func claims(raw []byte) (map[string]any, Findings) {
	const path = "spec.claims"
	if len(raw) > maxClaimsBytes {
		return nil, Findings{{path, fmt.Sprintf("must have at most %d bytes of JSON, and has %d", maxClaimsBytes, len(raw))}}
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var set map[string]any
	if err := decoder.Decode(&set); err != nil || !json.Valid(raw) {
		return nil, Findings{{path, "must be a JSON object"}}
	}
	var findings Findings
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if slices.ContainsFunc(reservedClaims, func(reserved string) bool { return strings.EqualFold(reserved, name) }) {
			findings = append(findings, Finding{path + "." + name, "is set by the protocol, remove it"})
		}
	}
	if depth(set) > maxClaimsDepth {
		findings = append(findings, Finding{path, fmt.Sprintf("must not be nested deeper than %d levels", maxClaimsDepth)})
	}
	return set, findings
}

// depth counts an object or a list as one level.
func depth(value any) int {
	deepest := 0
	switch value := value.(type) {
	case map[string]any:
		for _, member := range value {
			deepest = max(deepest, depth(member))
		}
	case []any:
		for _, item := range value {
			deepest = max(deepest, depth(item))
		}
	default:
		return 0
	}
	return deepest + 1
}
