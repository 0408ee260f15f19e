package mint_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry/registrytest"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
)

// serveClient adds a client, and returns it as the registry has it.
func serveClient(t *testing.T, w *servertest.Server, c documents.Client) *registry.Client {
	t.Helper()
	w.AddClient(c)
	client, ok := w.Registry.Client(c.ID)
	if !ok {
		t.Fatalf("%s is not served", c.ID)
	}
	return client
}

func alice(t *testing.T, w *servertest.Server) *registry.User {
	t.Helper()
	user, ok := w.Registry.UserByUID("alice-uid")
	if !ok {
		t.Fatal("alice is not served")
	}
	return user
}

func checkClaims(t *testing.T, what string, got, want map[string]any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func TestAnAccessTokenIsWhatRFC9068Says(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	now := float64(w.Now().Unix())
	token, lifetime, err := w.Minter.AccessToken(mint.AccessTokenInput{
		Client: client, Subject: servertest.Subject, Audience: []string{servertest.Orders, servertest.Issuer}, Scopes: []string{"openid", "orders:read"},
		AuthTime: w.Now().Add(-time.Hour), AMR: []string{"pwd"}, TokenID: mint.TokenID{Grant: "g", Incarnation: "i"},
	})
	if err != nil || lifetime != 5*time.Minute {
		t.Fatalf("lifetime %v, %v", lifetime, err)
	}
	claims := w.Claims(token)
	checkClaims(t, "the token", claims, map[string]any{
		"iss": servertest.Issuer, "sub": servertest.Subject, "aud": []any{servertest.Orders, servertest.Issuer}, "client_id": "shop.web",
		"scope": "openid orders:read", "iat": now, "exp": now + 300, "auth_time": now - 3600, "acr": oauth.ACRPassword, "amr": []any{"pwd"}, "jti": claims["jti"],
	})
	header := w.Header(token)
	checkClaims(t, "the header", header, map[string]any{"typ": "at+jwt", "alg": "ES256", "kid": header["kid"]})
}

func TestAMachinesTokenSaysNothingOfAUser(t *testing.T) {
	w := servertest.New(t)
	c := servertest.Client("shop.service")
	c.AccessTokenLifetime = 60
	client := serveClient(t, w, c)
	now := float64(w.Now().Unix())
	token, lifetime, err := w.Minter.AccessToken(mint.AccessTokenInput{
		Client: client, Subject: client.ID, Audience: []string{servertest.Orders}, TokenID: mint.TokenID{ClientUID: client.UID},
	})
	if err != nil || lifetime != time.Minute {
		t.Fatalf("lifetime %v, %v", lifetime, err)
	}
	claims := w.Claims(token)
	checkClaims(t, "the token", claims, map[string]any{
		"iss": servertest.Issuer, "sub": "shop.service", "aud": servertest.Orders, "client_id": "shop.service", "iat": now, "exp": now + 60, "jti": claims["jti"],
	})
}

func TestTheServersFirstAlgorithmSignsAccessTokens(t *testing.T) {
	w := servertest.New(t)
	w.ChangeDocument(func(s *documents.Server) { s.Algorithms = []string{"RS256", "ES256"} })
	client := serveClient(t, w, servertest.Client("shop.web"))
	token, _, err := w.Minter.AccessToken(mint.AccessTokenInput{Client: client, Subject: "x", Audience: []string{"y"}, TokenID: mint.TokenID{ClientUID: client.UID}})
	if err != nil {
		t.Fatal(err)
	}
	if got := w.Header(token)["alg"]; got != "RS256" {
		t.Errorf("alg is %v", got)
	}
}

func TestTheClientChoosesTheAlgorithmOfItsIDTokens(t *testing.T) {
	w := servertest.New(t)
	for _, alg := range []string{"RS256", "ES256"} {
		c := servertest.Client("shop.web")
		c.IDTokenAlg = alg
		client := serveClient(t, w, c)
		token, err := w.Minter.IDToken(mint.IDTokenInput{Client: client, User: alice(t, w), Subject: servertest.Subject, Scopes: []string{"openid"}})
		if err != nil {
			t.Fatal(err)
		}
		header := w.Header(token)
		checkClaims(t, "the header", header, map[string]any{"typ": "JWT", "alg": alg, "kid": header["kid"]})
		if err := w.Keys.Verify(token, "at+jwt", &mint.AccessClaims{}); err == nil {
			t.Error("an ID token verifies as an access token")
		}
	}
}

func TestAnIDTokenIsWhatOpenIDConnectSays(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	now := float64(w.Now().Unix())
	in := mint.IDTokenInput{
		Client: client, User: alice(t, w), Subject: servertest.Subject, Scopes: []string{"openid", "email"},
		AuthTime: w.Now().Add(-time.Hour), AMR: []string{"pwd"}, Nonce: "n-0S6_WzA2Mj", AccessToken: vectorToken, Code: vectorCode,
	}
	token, err := w.Minter.IDToken(in)
	if err != nil {
		t.Fatal(err)
	}
	checkClaims(t, "the ID token", w.Claims(token), map[string]any{
		"iss": servertest.Issuer, "sub": servertest.Subject, "identity_provider": "local", "aud": "shop.web", "iat": now, "exp": now + 300, "auth_time": now - 3600,
		"acr": oauth.ACRPassword, "amr": []any{"pwd"}, "nonce": "n-0S6_WzA2Mj", "at_hash": vectorAtHash, "c_hash": vectorCHash,
	})
	token, err = w.Minter.IDToken(mint.IDTokenInput{Client: client, User: alice(t, w), Subject: servertest.Subject, Scopes: []string{"openid"}})
	if err != nil {
		t.Fatal(err)
	}
	checkClaims(t, "the shortest ID token", w.Claims(token), map[string]any{
		"iss": servertest.Issuer, "sub": servertest.Subject, "identity_provider": "local", "aud": "shop.web", "iat": now, "exp": now + 300,
	})
}

// The values of OpenID Connect Core appendices A.3, A.4 and A.6.
const (
	vectorToken  = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"
	vectorAtHash = "77QmUPtjPfzWtF2AnpK9RQ"
	vectorCode   = "Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk"
	vectorCHash  = "LDktKdoQak3Pk0cnXxCltA"
)

func TestTheHashesAreThoseOfTheSpecification(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	for _, test := range []struct {
		token, code   string
		atHash, cHash any
	}{
		{vectorToken, "", vectorAtHash, nil},
		{"", vectorCode, nil, vectorCHash},
		{vectorToken, vectorCode, vectorAtHash, vectorCHash},
	} {
		id, err := w.Minter.IDToken(mint.IDTokenInput{
			Client: client, User: alice(t, w), Subject: servertest.Subject, Scopes: []string{"openid"}, AccessToken: test.token, Code: test.code,
		})
		if err != nil {
			t.Fatal(err)
		}
		if claims := w.Claims(id); claims["at_hash"] != test.atHash || claims["c_hash"] != test.cHash {
			t.Errorf("at_hash is %v and c_hash %v, want %v and %v", claims["at_hash"], claims["c_hash"], test.atHash, test.cHash)
		}
	}
}

// userClaimNames returns the names of the claims in an ID token that the protocol does not set.
func userClaimNames(claims map[string]any) []string {
	var names []string
	for name := range claims {
		if !slices.Contains([]string{"iss", "sub", "aud", "exp", "iat", "auth_time", "acr", "amr", "nonce", "at_hash", "c_hash", "identity_provider"}, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func TestClaimsGoIntoTheIDTokenOnlyWhereNothingElseCanCarryThem(t *testing.T) {
	w := servertest.New(t)
	c := servertest.Client("shop.web")
	client := serveClient(t, w, c)
	c.IDTokenClaims = []string{"groups", "email", "department"}
	listing := serveClient(t, w, c)
	scopes := []string{"openid", "profile", "email"}
	for _, test := range []struct {
		name   string
		client *registry.Client
		scopes []string
		token  string
		code   string
		claims string
		want   []string
	}{
		{name: "neither code nor token", client: client, scopes: scopes, want: []string{"email", "email_verified", "name", "preferred_username"}},
		{name: "neither, and no scope", client: client, scopes: []string{"openid"}},
		{name: "with a token", client: client, scopes: scopes, token: "x"},
		{name: "with a code", client: client, scopes: scopes, code: "x"},
		{name: "with both", client: client, scopes: scopes, token: "x", code: "x"},
		{name: "asked by the claims parameter", client: client, scopes: scopes, token: "x",
			claims: `{"id_token":{"email":null,"department":{"essential":true},"unknown":null},"userinfo":{"name":null}}`, want: []string{"department", "email"}},
		{name: "asked without the scope", client: client, scopes: []string{"openid"}, token: "x", claims: `{"id_token":{"email":null,"department":null}}`},
		{name: "listed by the client", client: listing, scopes: scopes, token: "x", want: []string{"department", "email", "groups"}},
		{name: "listed, without their scopes", client: listing, scopes: []string{"openid"}, code: "x", want: []string{"department", "email", "groups"}},
		{name: "listed, and no token", client: listing, scopes: scopes,
			want: []string{"department", "email", "email_verified", "groups", "name", "preferred_username"}},
		{name: "asked, and no token", client: client, scopes: scopes, claims: `{"id_token":{"department":null}}`,
			want: []string{"department", "email", "email_verified", "name", "preferred_username"}},
		{name: "a claims parameter that is none", client: client, scopes: scopes, token: "x", claims: `{"id_token":["email"]}`},
	} {
		token, err := w.Minter.IDToken(mint.IDTokenInput{
			Client: test.client, User: alice(t, w), Subject: servertest.Subject, Scopes: test.scopes, AccessToken: test.token, Code: test.code,
			ClaimsRequest: test.claims,
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := userClaimNames(w.Claims(token)); !slices.Equal(got, test.want) {
			t.Errorf("%s: the claims are %v, want %v", test.name, got, test.want)
		}
	}
}

// The claims of an OAuthUser must not replace those that the server sets.
func TestNoUserSetsAClaimOfTheProtocol(t *testing.T) {
	w := servertest.New(t)
	reserved := []string{
		"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "azp", "nonce", "identity_provider", "auth_time", "acr", "amr", "sid", "client_id", "scope", "act", "may_act",
		"cnf", "events", "at_hash", "c_hash", "s_hash",
	}
	u := servertest.User()
	u.Claims = map[string]any{}
	for _, name := range reserved {
		u.Claims[name] = "forged"
	}
	w.AddUser(u)
	c := servertest.Client("shop.web")
	c.IDTokenClaims = reserved
	client := serveClient(t, w, c)
	asked := map[string]map[string]any{"id_token": {}}
	for _, name := range reserved {
		asked["id_token"][name] = nil
	}
	parameter, _ := json.Marshal(asked)
	for _, accessToken := range []string{"", "x"} {
		token, err := w.Minter.IDToken(mint.IDTokenInput{
			Client: client, User: alice(t, w), Subject: servertest.Subject, Scopes: []string{"openid", "profile", "email"},
			ClaimsRequest: string(parameter), AccessToken: accessToken,
		})
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range w.Claims(token) {
			if value == "forged" {
				t.Errorf("%s is what the user says", name)
			}
		}
	}
	for name, value := range mint.ClaimsByName(alice(t, w), []string{"openid", "profile"}, reserved) {
		t.Errorf("%s is %v", name, value)
	}
}

func TestATokenIDIsSealedAndEveryOneIsDifferent(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	rests := mint.TokenID{ClientUID: client.UID, UserUID: "alice-uid", UserEpoch: "epoch-1", SessionHash: "session-1"}
	seen := map[string]bool{}
	for range 10 {
		token, _, err := w.Minter.AccessToken(mint.AccessTokenInput{Client: client, Subject: "x", Audience: []string{"y"}, TokenID: rests})
		if err != nil {
			t.Fatal(err)
		}
		id := w.Claims(token)["jti"].(string)
		if seen[id] {
			t.Error("two tokens have one id")
		}
		seen[id] = true
		got, err := mint.OpenTokenID(w.Keys, id)
		if err != nil || !reflect.DeepEqual(got, rests) {
			t.Errorf("the id says %+v (%v)", got, err)
		}
		for _, part := range []string{"alice", "epoch", "session", "shop"} {
			if strings.Contains(id, part) {
				t.Errorf("the id shows %q", part)
			}
		}
	}
}

func TestWhatIsSealedForAnythingElseIsNoTokenID(t *testing.T) {
	w := servertest.New(t)
	plain := []byte(`{"g":"grant","i":"incarnation"}`)
	for _, purpose := range []keys.Purpose{
		keys.PurposeFlow, keys.PurposePost, keys.PurposeBrowser, keys.PurposeSession, keys.PurposeLogout, keys.PurposeDevice, keys.PurposeDeparture,
		keys.PurposeCode, keys.PurposeRefresh, keys.PurposeUpstreamSubject,
	} {
		sealed, err := w.Keys.Seal(purpose, plain)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := mint.OpenTokenID(w.Keys, sealed); !errors.Is(err, mint.ErrInvalidTokenID) {
			t.Errorf("a %s is a token id: %v", purpose, err)
		}
	}
	for _, content := range []string{"", "{}", "[]", "null", `{"u":"alice-uid"}`, `{"i":"incarnation"}`} {
		sealed, err := w.Keys.Seal(keys.PurposeTokenID, []byte(content))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := mint.OpenTokenID(w.Keys, sealed); !errors.Is(err, mint.ErrInvalidTokenID) {
			t.Errorf("%s is a token id: %v", content, err)
		}
	}
	if _, err := mint.OpenTokenID(w.Keys, ""); !errors.Is(err, mint.ErrInvalidTokenID) {
		t.Errorf("nothing is a token id: %v", err)
	}
}

func TestAnAudienceOfOneIsAString(t *testing.T) {
	for want, audience := range map[string]mint.Audience{`"a"`: {"a"}, `["a","b"]`: {"a", "b"}} {
		got, err := json.Marshal(audience)
		if err != nil || string(got) != want {
			t.Errorf("%v is %s (%v), want %s", audience, got, err, want)
		}
		var back mint.Audience
		if err := json.Unmarshal(got, &back); err != nil || !slices.Equal(back, audience) {
			t.Errorf("%s is read as %v (%v)", got, back, err)
		}
	}
	var none mint.Audience
	if err := json.Unmarshal([]byte(`{"a":1}`), &none); err == nil {
		t.Errorf("an object is read as %v", none)
	}
	if (mint.Audience{"a"}).Contains("A") || !(mint.Audience{"b", "a"}).Contains("a") {
		t.Error("Contains compares otherwise than exactly")
	}
}

func TestWithoutAServerThereAreNoTokens(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	w.Registry.Remove(registrytest.Name(registry.SpaceIdentity, servertest.Issuer))
	if _, _, err := w.Minter.AccessToken(mint.AccessTokenInput{Client: client, Subject: "x"}); !errors.Is(err, registry.ErrNotServing) {
		t.Errorf("an access token: %v", err)
	}
	if _, err := w.Minter.IDToken(mint.IDTokenInput{Client: client, Subject: "x"}); !errors.Is(err, registry.ErrNotServing) {
		t.Errorf("an ID token: %v", err)
	}
}

func TestWithoutAKeyThereAreNoTokens(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	w.ChangeDocument(func(s *documents.Server) {
		for _, key := range s.Keys {
			s.RevokedKeys = append(s.RevokedKeys, key.KID)
		}
	})
	if token, _, err := w.Minter.AccessToken(mint.AccessTokenInput{Client: client, Subject: "x", TokenID: mint.TokenID{ClientUID: "x"}}); err == nil {
		t.Errorf("there is an access token %s", token)
	}
	if token, err := w.Minter.IDToken(mint.IDTokenInput{Client: client, Subject: "x"}); err == nil {
		t.Errorf("there is an ID token %s", token)
	}
}

func TestTheClaimsThatAreSupportedAreThoseOfTheScopes(t *testing.T) {
	supported := mint.SupportedClaims()
	for _, name := range []string{"name", "email", "email_verified", "address", "phone_number", "groups", "preferred_username"} {
		if !slices.Contains(supported, name) {
			t.Errorf("%s is not supported", name)
		}
	}
	if !slices.IsSorted(supported) || slices.Contains(supported, "sub") {
		t.Errorf("the claims are %v", supported)
	}
}

func TestTheEmailOfAUserFromElsewhereNeverGoesOutWithoutEmailVerified(t *testing.T) {
	w := servertest.New(t)
	client := w.AddClient(servertest.Client("shop.web"))
	served, _ := w.Registry.Client(client.ID)
	for _, c := range []struct {
		claims map[string]any
		want   any
	}{
		{map[string]any{"email": "alice@acme.example"}, false},
		{map[string]any{"email": "alice@acme.example", "email_verified": "true"}, false},
		{map[string]any{"email": "alice@acme.example", "email_verified": false}, false},
		{map[string]any{"email": "alice@acme.example", "email_verified": true}, true},
		{map[string]any{"name": "Alice"}, nil},
	} {
		user := &registry.User{User: documents.User{UID: "~a", Subject: "~a", Claims: c.claims}, ProviderName: "acme", ProviderUID: "acme-uid"}
		for what, claims := range map[string]map[string]any{
			"by scope": mint.ClaimsByScope(user, []string{"openid", "email"}),
			"by name":  mint.ClaimsByName(user, []string{"openid", "email"}, []string{"email"}),
			"granted":  mint.GrantedClaims(user, []string{"email"}, []string{"email"}),
		} {
			if got := claims["email_verified"]; got != c.want {
				t.Errorf("%v, %s: email_verified is %v, want %v", c.claims, what, got, c.want)
			}
		}
		token, err := w.Minter.IDToken(mint.IDTokenInput{Client: served, User: user, Subject: "~a", Scopes: []string{"openid"}, AccessToken: "x"})
		if err != nil {
			t.Fatal(err)
		}
		if got := w.Claims(token); got["identity_provider"] != "acme" || got["auth_time"] != nil {
			t.Errorf("the ID token says %v", got)
		}
	}
}
