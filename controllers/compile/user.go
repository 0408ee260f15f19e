package compile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/password"
)

// Limits of a user's claims: they are sent in ID tokens, and kept in memory.
const (
	maxClaimsBytes = 64 << 10
	maxClaimsDepth = 8
)

// Subject returns the subject for which an OAuthUser asks.
func Subject(u *v1alpha1.OAuthUser) string {
	if u.Spec.Subject != "" {
		return u.Spec.Subject
	}
	return string(u.UID)
}

// username returns the username for which an OAuthUser asks, in the form in which usernames are
// compared.
func username(u *v1alpha1.OAuthUser) (string, error) {
	return password.NormalizeUsername(u.Spec.Username)
}

// User returns the document of an OAuthUser, without the fields that depend on the password.
func User(u *v1alpha1.OAuthUser) (documents.User, Findings) {
	doc := documents.User{
		UID: string(u.UID), Subject: Subject(u), TokensNotBefore: unixSeconds(u.Spec.TokensNotBefore), Suspended: u.Spec.Suspended,
	}
	var findings Findings
	if strings.HasPrefix(doc.Subject, oauth.IdentityPrefix) {
		// The API server refuses such a subject, but not in an object from before it did.
		findings = append(findings, Finding{"spec.subject",
			"begins with " + oauth.IdentityPrefix +
				", as only the subjects of users from identity providers do; delete the user and create it with another subject, which is immutable"})
	}
	var err error
	if doc.Username, err = username(u); err != nil {
		findings = append(findings, Finding{"spec.username", err.Error()})
	}
	if u.Spec.Claims != nil && len(u.Spec.Claims.Raw) > 0 {
		var found Findings
		doc.Claims, found = claims(u.Spec.Claims.Raw)
		findings = append(findings, found...)
	}
	return doc, findings
}

// claims decodes spec.claims, which is any JSON, so that no rule in the CustomResourceDefinition
// can check it. Numbers keep their digits.
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
	for _, problem := range oauth.CheckClaims(set) {
		findings = append(findings, Finding{path + "." + problem.Path, problem.Message})
	}
	if depth(set) > maxClaimsDepth {
		findings = append(findings, Finding{path, fmt.Sprintf("must not be nested deeper than %d levels", maxClaimsDepth)})
	}
	return set, findings
}

// depth returns how deep a value is nested. An object or a list is one level.
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
