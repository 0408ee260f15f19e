package tokenserver

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/metadata"
	"github.com/oauth-operator/oauth-operator/tokenserver/registration"
)

// Every endpoint is in the discovery document, but for the pages that people are led to and the document itself; and what it names is there.
func TestTheRoutesAreThoseOfTheDiscoveryDocument(t *testing.T) {
	for _, issuer := range []string{"https://auth.example.com", "https://auth.example.com/t1"} {
		encoded, err := json.Marshal(metadata.Describe(registration.Server{
			Issuer: issuer, AllowedClients: []registration.ClientRule{{GrantTypes: []string{"authorization_code"}}},
		}, nil))
		if err != nil {
			t.Fatal(err)
		}
		var document map[string]any
		if err := json.Unmarshal(encoded, &document); err != nil {
			t.Fatal(err)
		}
		var named []string
		for member, value := range document {
			if strings.HasSuffix(member, "_endpoint") || member == "jwks_uri" {
				named = append(named, value.(string))
			}
		}
		at := metadata.IssuerPath(issuer)
		known := append(metadata.Locations(at), at+interaction.PathLogin, at+interaction.PathConsent)
		var routed []string
		for _, row := range (&rooms{}).routes(issuer) {
			if !slices.Contains(known, row.path) {
				routed = append(routed, "https://auth.example.com"+row.path)
			}
		}
		slices.Sort(named)
		slices.Sort(routed)
		if !slices.Equal(named, routed) {
			t.Errorf("%s: the document names %q, the routes are %q", issuer, named, routed)
		}
	}
}

// The pages and the document speak of the same paths.
func TestThePathsOfTheRoomsAreThoseOfTheDocument(t *testing.T) {
	if interaction.PathAuthorize != metadata.PathAuthorize || interaction.PathLogout != metadata.PathLogout {
		t.Error("the rooms redirect to other paths than are published")
	}
}
