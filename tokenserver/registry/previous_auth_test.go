package registry_test

import (
	"slices"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry/registrytest"
)

func TestWithItsOldMethodAClientMayDoWhatTheRuleAllowsThatAcceptsItWithThatMethod(t *testing.T) {
	s := server()
	s.AllowedClients[0].GrantTypes = append(s.AllowedClients[0].GrantTypes, "password")
	old := s.AllowedClients[0]
	old.Name, old.TokenEndpointAuthMethods, old.MaxAccessTokenLifetime = "old", []string{"client_secret_basic"}, 60
	old.LegacyUntil = time.Now().Add(-time.Hour).Unix()
	s.AllowedClients[0].Name, s.AllowedClients[0].TokenEndpointAuthMethods = "new", []string{"private_key_jwt"}
	s.AllowedClients = append(s.AllowedClients, old)
	changed := client()
	changed.GrantTypes = append(slices.Clone(changed.GrantTypes), "password")
	changed.AuthMethod, changed.JWKSURI = "private_key_jwt", "https://shop.example.com/jwks"
	changed.PreviousAuth = &documents.PreviousAuth{Method: "client_secret_basic", Until: time.Now().Add(time.Hour).Unix()}
	r := registry.New(time.Now)
	registrytest.Fill(t, r, s, namespace("shop", "team", "shop"), changed)

	present, ok := mustClient(t, r).WithAuthMethod("private_key_jwt")
	if !ok || present.Rule != "new" || !present.HasGrantType("password") || present.AccessTokenLifetime != 5*time.Minute {
		t.Errorf("with its present method the client is %+v, %v", present, ok)
	}
	before, ok := mustClient(t, r).WithAuthMethod("client_secret_basic")
	if !ok || before.Rule != "old" || before.HasGrantType("password") || !before.HasEnded("password") || before.AccessTokenLifetime != time.Minute {
		t.Errorf("with its old method the client is %+v, %v", before, ok)
	}
	if _, ok := mustClient(t, r).WithAuthMethod("client_secret_post"); ok {
		t.Error("the client has a method that it never had")
	}
}
