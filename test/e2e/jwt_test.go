//go:build e2e

package e2e

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
)

// claimsOf an access token, which is a JWT. Its signature is not looked at.
func claimsOf(t testing.TB, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWT", token)
	}
	return decodePart(t, parts[1])
}

// keyOf is the id of the key that signed a token.
func keyOf(t testing.TB, token string) string {
	t.Helper()
	kid, _ := decodePart(t, strings.Split(token, ".")[0])["kid"].(string)
	return kid
}

func decodePart(t testing.TB, part string) map[string]any {
	t.Helper()
	content, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]any{}
	if err := json.Unmarshal(content, &fields); err != nil {
		t.Fatal(err)
	}
	return fields
}
