package oauth

import (
	"os"
	"strings"
	"testing"
)

func TestTheClaimsThatAreReservedForUsersAreThoseThatClientsMayNotAskFor(t *testing.T) {
	content, err := os.ReadFile("../../config/crd/bases/oauth-operator.dev_oauthclients.yaml")
	if err != nil {
		t.Fatal(err)
	}
	schema := strings.Join(strings.Fields(strings.ReplaceAll(string(content), "''", "'")), " ")
	if rule := "!(self in ['" + strings.Join(reservedClaims, "', '") + "'])"; !strings.Contains(schema, rule) {
		t.Errorf("the schema of OAuthClient has no rule %s", rule)
	}
}
