package providers

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/test/browser"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
)

const (
	shopID       = "paper-shop"
	shopSecret   = "the secret of the paper shop at this server"
	shopRedirect = "https://paper.example.com/callback"
)

// addShop adds a client that users sign in to, and that may introspect its tokens.
func (s *server) addShop() {
	s.AddClient(documents.Client{
		UID: "uid-" + shopID, Namespace: "apps", Name: shopID, ID: shopID, DisplayName: "Paper", AuthMethod: oauth.AuthMethodSecretBasic,
		GrantTypes: []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken}, RedirectURIs: []string{shopRedirect},
		Scopes: []string{"openid", "profile"}, Credentials: []documents.Credential{servertest.Credential("c1", shopSecret)},
		PKCE: documents.PKCERequired, Consent: documents.ConsentSkip, IDTokenAlg: "ES256",
	})
}

// shopRequest is an authorization request of that client.
func (s *server) shopRequest(pairs ...string) string {
	return s.Request(append([]string{
		"client_id", shopID, "redirect_uri", shopRedirect, "response_type", "code", "scope", "openid profile", "state", "some state",
		"code_challenge", interactiontest.Challenge(), "code_challenge_method", "S256",
	}, pairs...)...)
}

// answerTo sends a form to an endpoint as the client, or a bearer token without one.
func (s *server) answerTo(path, bearer string, form url.Values) (status int, body map[string]any) {
	s.T.Helper()
	method, reader := http.MethodPost, io.Reader(strings.NewReader(form.Encode()))
	if form == nil {
		method, reader = http.MethodGet, nil
	}
	request, err := http.NewRequestWithContext(s.T.Context(), method, s.Issuer+path, reader)
	if err != nil {
		s.T.Fatal(err)
	}
	if form == nil {
		request.Header.Set("Authorization", "Bearer "+bearer)
	} else {
		request.Header.Set("Content-Type", oauth.FormType)
		request.SetBasicAuth(url.QueryEscape(shopID), url.QueryEscape(shopSecret))
	}
	response, err := s.HTTP.Client().Do(request)
	if err != nil {
		s.T.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		s.T.Fatal(err)
	}
	body = map[string]any{}
	if len(content) > 0 {
		if err := json.Unmarshal(content, &body); err != nil {
			s.T.Fatalf("%s answers %d %q", path, response.StatusCode, content)
		}
	}
	return response.StatusCode, body
}

func (s *server) redeem(page browser.Page) (status int, body map[string]any) {
	s.T.Helper()
	return s.answerTo("/token", "", url.Values{
		"grant_type": {oauth.GrantAuthorizationCode}, "code": {page.Values().Get("code")}, "redirect_uri": {shopRedirect}, "code_verifier": {interactiontest.Verifier},
	})
}

func (s *server) refresh(tokens map[string]any) (status int, body map[string]any) {
	s.T.Helper()
	token, _ := tokens["refresh_token"].(string)
	return s.answerTo("/token", "", url.Values{"grant_type": {oauth.GrantRefreshToken}, "refresh_token": {token}})
}

// useOf says what userinfo and introspection answer to an access token.
func (s *server) useOf(tokens map[string]any) (userInfo int, claims map[string]any, introspection map[string]any) {
	s.T.Helper()
	token, _ := tokens["access_token"].(string)
	userInfo, claims = s.answerTo("/userinfo", token, nil)
	status, introspection := s.answerTo("/introspect", "", url.Values{"token": {token}})
	if status != http.StatusOK {
		s.T.Errorf("introspection answers %d %v", status, introspection)
	}
	return userInfo, claims, introspection
}

// rule makes these the providers that the rule of the clients names; none: those that it has by
// default.
func (s *server) rule(names ...string) {
	s.ChangeDocument(func(d *documents.Server) { d.AllowedClients[0].IdentityProviders = names })
}

func TestWhoSignedInAtAProviderThatARuleDoesNotNameHasNothingAtItsClients(t *testing.T) {
	s, upstream := newPair(t)
	s.addShop()
	v := newVisitor(t, s.HTTP.Client().Transport)
	page := v.fillIn(v.get(s.shopRequest()), "username", "alice", "password", interactiontest.AlicePassword)
	status, tokens := s.redeem(page)
	if status != http.StatusOK || !strings.HasPrefix(page.Redirects[0].To, upstream.Issuer) && page.Values().Get("code") == "" {
		t.Fatalf("at %s: the code is answered %d %v", page.At, status, tokens)
	}
	code := v.get(s.shopRequest())
	if userInfo, _, introspection := s.useOf(tokens); userInfo != http.StatusOK || introspection["active"] != true || code.Values().Get("code") == "" {
		t.Fatalf("while the rule names the provider: %d %v, at %s", userInfo, introspection, code.At)
	}

	s.rule()
	if page := v.get(s.shopRequest()); !page.IsLogin() || !strings.HasPrefix(page.URL, s.Issuer) {
		t.Errorf("a living session: at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
	if page := v.get(s.shopRequest("prompt", "none")); page.Values().Get("error") != "login_required" {
		t.Errorf("a living session, with prompt=none: at %s", page.At)
	}
	if status, answer := s.redeem(code); status != http.StatusBadRequest || answer["error"] != "invalid_grant" {
		t.Errorf("the code is answered %d %v", status, answer)
	}
	if status, answer := s.refresh(tokens); status != http.StatusBadRequest || answer["error"] != "invalid_grant" {
		t.Errorf("the refresh token is answered %d %v", status, answer)
	}
	if userInfo, claims, introspection := s.useOf(tokens); userInfo != http.StatusUnauthorized || len(introspection) != 1 || introspection["active"] != false {
		t.Errorf("the access token is answered %d %v, and introspection says %v", userInfo, claims, introspection)
	}

	s.rule("own")
	if status, answer := s.refresh(tokens); status != http.StatusOK {
		t.Errorf("when the rule names it again, the refresh token is answered %d %v", status, answer)
	}
}

var sealedValue = regexp.MustCompile(`value="[^"]+"`)

// answersToLocalUser are what a user of the server itself sees and gets at the client, without what
// is different each time.
func (s *server) answersToLocalUser(v *visitor, tokens map[string]any) (all []any) {
	s.T.Helper()
	login := newVisitor(s.T, s.HTTP.Client().Transport).get(s.shopRequest())
	all = append(all, login.StatusCode, sealedValue.ReplaceAllString(login.Body, ""))
	silent := v.get(s.shopRequest("prompt", "none"))
	status, redeemed := s.redeem(silent)
	all = append(all, silent.Values().Get("error"), status, s.Claims(fmt.Sprint(redeemed["id_token"]))["identity_provider"])
	userInfo, claims, introspection := s.useOf(tokens)
	all = append(all, userInfo, claims, introspection)
	status, refreshed := s.refresh(redeemed)
	return append(all, status, refreshed["scope"])
}

func TestAProviderThatARuleDoesNotNameChangesNoAnswerToOtherUsersOfItsClients(t *testing.T) {
	s, upstream := newServer(t), newServer(t)
	s.addShop()
	v := newVisitor(t, s.HTTP.Client().Transport)
	status, tokens := s.redeem(v.fillIn(v.get(s.shopRequest()), "username", "alice", "password", interactiontest.AlicePassword))
	if status != http.StatusOK {
		t.Fatalf("the code is answered %d %v", status, tokens)
	}
	before := s.answersToLocalUser(v, tokens)
	s.signInAt(documents.IdentityProvider{
		Name: "own", CABundle: upstream.certificate(), Allow: "true", OIDC: &documents.OIDCProvider{Issuer: upstream.Issuer},
	})
	s.rule()
	if after := s.answersToLocalUser(v, tokens); !reflect.DeepEqual(before, after) {
		t.Errorf("the answers are\n%v\nand were\n%v", after, before)
	}
	if want := []any{http.StatusOK, "local"}; !reflect.DeepEqual(before[3:5], want) {
		t.Errorf("the user gets %v, want %v", before[3:5], want)
	}
}
