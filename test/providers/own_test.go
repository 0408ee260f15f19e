package providers

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/test/browser"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
)

// newPair returns a server whose users sign in at another one, where alice and bob have passwords.
func newPair(t *testing.T) (s, upstream *server) {
	t.Helper()
	s, upstream = newServer(t), newServer(t)
	upstream.AddClient(documents.Client{
		UID: "uid-rp", Namespace: "apps", Name: clientID, ID: clientID, DisplayName: "The other server",
		GrantTypes: []string{oauth.GrantAuthorizationCode}, AuthMethod: oauth.AuthMethodSecretBasic,
		Credentials:  []documents.Credential{servertest.Credential("c1", secret)},
		RedirectURIs: []string{s.callback("own")}, Scopes: []string{"openid", "profile", "email"}, PKCE: documents.PKCERequired,
		Consent: documents.ConsentSkip, IDTokenAlg: "ES256",
	})
	s.signInAt(documents.IdentityProvider{
		Name: "own", CABundle: upstream.certificate(), Allow: `upstream.preferred_username == "alice" || upstream.preferred_username == "carol"`,
		Claims: map[string]string{"preferred_username": "upstream.preferred_username", "name": "upstream.name"},
		OIDC:   &documents.OIDCProvider{Issuer: upstream.Issuer, Scopes: []string{"profile"}, UserInfo: true},
	})
	return s, upstream
}

func (s *server) request(pairs ...string) string { return s.HybridRequest("code id_token", pairs...) }

func TestAUserSignsInAtAnotherServerOfOurOwn(t *testing.T) {
	s, upstream := newPair(t)
	v := newVisitor(t, s.HTTP.Client().Transport)
	page := v.get(s.request())
	if !page.IsLogin() || !strings.HasPrefix(page.URL, upstream.Issuer) {
		t.Fatalf("at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
	claims := v.allow(s, v.fillIn(page, "username", "alice", "password", interactiontest.AlicePassword))
	if claims["identity_provider"] != "own" || !strings.HasPrefix(claims["sub"].(string), "~") || !reflect.DeepEqual(claims["amr"], []any{"pwd"}) {
		t.Errorf("the ID token says %v", claims)
	}

	// Step-up: she signs in anew, there.
	s.Advance(time.Minute)
	upstream.Advance(time.Minute)
	page = v.get(s.request("prompt", "login"))
	if !page.IsLogin() || !strings.HasPrefix(page.URL, upstream.Issuer) {
		t.Fatalf("step-up: at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
	page = v.fillIn(page, "username", "alice", "password", interactiontest.AlicePassword)
	again := s.Claims(page.Values().Get("id_token"))
	if again["sub"] != claims["sub"] || again["auth_time"] != float64(s.Now().Unix()) {
		t.Errorf("after the step-up at %s the ID token says %v", page.At, again)
	}

	// She signs out here, and is still signed in there.
	page, err := v.Submit(t.Context(), v.get(s.Issuer+"/logout"), "logout-confirm", nil)
	if err != nil || page.Find("a", "href", upstream.Issuer+"/logout") == nil {
		t.Fatalf("signed out: %s, %v", page.Body, err)
	}
	page = v.get(s.request())
	if !page.IsChooser() {
		t.Errorf("after the logout: at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
}

func TestAUserWhomAllowLeavesOutIsToldSoAndCanChooseAnotherAccount(t *testing.T) {
	s, upstream := newPair(t)
	v := newVisitor(t, s.HTTP.Client().Transport)
	page := v.fillIn(v.get(s.request()), "username", "bob", "password", interactiontest.BobPassword)
	if !page.IsChooser() || !strings.Contains(page.Body, "may not sign in here with that account") {
		t.Fatalf("at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
	// bob is signed in there, and would be taken again but for select_account.
	page = v.get(hrefOf(t, page, "way-own"))
	if !page.IsLogin() || !strings.HasPrefix(page.URL, upstream.Issuer) {
		t.Fatalf("at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
	if claims := v.allow(s, v.fillIn(page, "username", "alice", "password", interactiontest.AlicePassword)); claims["identity_provider"] != "own" {
		t.Errorf("the ID token says %v", claims)
	}
}

func TestTwoTabsSignInOneAfterTheOther(t *testing.T) {
	s, _ := newPair(t)
	v := newVisitor(t, s.HTTP.Client().Transport)
	first, second := v.get(s.request()), v.get(s.request())
	if page := v.fillIn(second, "username", "alice", "password", interactiontest.AlicePassword); !page.IsConsent() {
		t.Errorf("the second tab: at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
	if page := v.fillIn(first, "username", "alice", "password", interactiontest.AlicePassword); !page.IsConsent() {
		t.Errorf("the first tab: at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
}

func TestAClockThatIsTenMinutesOffIsNamedInTheLog(t *testing.T) {
	s, _ := newPair(t)
	s.Advance(11 * time.Minute)
	v := newVisitor(t, s.HTTP.Client().Transport)
	page := v.fillIn(v.get(s.request()), "username", "alice", "password", interactiontest.AlicePassword)
	if !page.IsChooser() || !strings.Contains(s.Log.String(), "compare the clocks") {
		t.Errorf("at %s: %d; the log says %s", page.At, page.StatusCode, s.Log)
	}
}

// hrefOf returns where a link of a page leads.
func hrefOf(t *testing.T, page browser.Page, id string) string {
	t.Helper()
	link := page.Find("a", "id", id)
	if link == nil {
		t.Fatalf("no link %s at %s: %s", id, page.At, page.Body)
	}
	for _, a := range link.Attr {
		if a.Key == "href" {
			return a.Val
		}
	}
	return ""
}
