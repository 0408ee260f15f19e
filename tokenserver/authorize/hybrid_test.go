package authorize_test

import (
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"net/http"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
)

// leftHalfHash returns the left half of a hash (OpenID Connect Core section 3.3.2.11).
func leftHalfHash(value string) string {
	sum := sha256.Sum256([]byte(value))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

func TestAHybridAnswerHoldsACodeAndTokensThatAreTiedTogether(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	for _, responseType := range []string{"code token", "code id_token", "code id_token token", "token code"} {
		answer := b.SignIn(w.HybridRequest(responseType))
		values := answer.Values()
		if location := answer.Header.Get("Location"); !strings.HasPrefix(location, interactiontest.HybridRedirect+"#") {
			t.Errorf("%s: answered at %s", responseType, strings.SplitN(location, "=", 2)[0])
		}
		for name, want := range map[string]bool{
			"code": true, "id_token": strings.Contains(responseType, "id_token"), "refresh_token": false,
			"access_token": strings.HasSuffix(responseType, " token") || strings.HasPrefix(responseType, "token"),
		} {
			if values.Has(name) != want {
				t.Errorf("%s: %s: %v", responseType, name, values.Has(name))
			}
		}
		if values.Has("id_token") {
			var claims struct {
				Nonce  string `json:"nonce"`
				CHash  string `json:"c_hash"`
				ATHash string `json:"at_hash"`
				Name   string `json:"name"`
			}
			if err := w.Keys.Verify(values.Get("id_token"), oauth.TypeIDToken, &claims); err != nil {
				t.Fatal(err)
			}
			if claims.Nonce != "some nonce" || claims.CHash != leftHalfHash(values.Get("code")) || claims.Name != "" {
				t.Errorf("%s: the ID token says %+v", responseType, claims)
			}
			if values.Has("access_token") && claims.ATHash != leftHalfHash(values.Get("access_token")) {
				t.Errorf("%s: at_hash %q", responseType, claims.ATHash)
			}
		}
		if values.Has("access_token") {
			if _, err := w.Grants.CheckAccessToken(t.Context(), values.Get("access_token")); err != nil {
				t.Errorf("%s: the access token: %v", responseType, err)
			}
		}
		if _, err := w.Redeem("hybrid", values.Get("code"), interactiontest.HybridRedirect, interactiontest.Verifier); err != nil {
			t.Errorf("%s: the code: %v", responseType, err)
		}
	}
}

func TestAHybridFlowStopsWhenTheClientLosesOneOfTheGrants(t *testing.T) {
	for _, left := range []string{oauth.GrantAuthorizationCode, oauth.GrantImplicit} {
		w := interactiontest.New(t)
		b := w.NewBrowser()
		page := b.Get(w.HybridRequest("code id_token"))
		client := w.Client("hybrid")
		client.GrantTypes = []string{left}
		w.Apply(client)
		wantPageError(t, b.Login(page, "alice", interactiontest.AlicePassword), pages.MessageFlowChanged)
	}
}

func TestAnAnswerMayBePostedToTheRegisteredURIAndNowhereElse(t *testing.T) {
	w := interactiontest.New(t)
	hostile := `"><script>alert(1)</script><input name="code" value="x">`
	client := w.Client("hybrid")
	client.RedirectURIs = []string{interactiontest.HybridRedirect + "?tenant=a%20b&x="}
	client.DisplayName = hostile
	w.Apply(client)
	for _, c := range []struct{ responseType, code string }{
		{"code", ""}, {"id_token", ""}, {"code id_token token", ""}, {"code", "invalid_request"}, {"code", "login_required"}, {"code", "access_denied"},
	} {
		request := setParameters(w.HybridRequest(c.responseType), "redirect_uri", client.RedirectURIs[0], "response_mode", "form_post", "state", hostile)
		b := w.NewBrowser()
		var answer interactiontest.Page
		switch c.code {
		case "invalid_request":
			answer = b.Get(setParameters(request, "max_age", "x"))
		case "login_required":
			answer = b.Get(setParameters(request, "prompt", "none"))
		case "access_denied":
			answer = b.Consent(b.Login(b.Get(setParameters(request, "prompt", "consent")), "alice", interactiontest.AlicePassword), "deny")
		default:
			answer = b.SignIn(request)
		}
		if answer.StatusCode != http.StatusOK || answer.Header.Get("Location") != "" {
			t.Fatalf("%v: status %d, Location %q: %s", c, answer.StatusCode, answer.Header.Get("Location"), answer.Body)
		}
		action, fields := answer.Form(t)
		if action != client.RedirectURIs[0] {
			t.Errorf("%v: posted to %s", c, action)
		}
		if fields.Get("iss") != w.Issuer || fields.Get("state") != hostile || fields.Get("error") != c.code || fields.Has("code") != (c.code == "" && strings.Contains(c.responseType, "code")) {
			t.Errorf("%v: the form holds %v", c, fields)
		}
		if strings.Contains(answer.Body, hostile) || !strings.Contains(answer.Body, template.HTMLEscapeString(hostile)) || strings.Count(answer.Body, "<script") != 1 {
			t.Errorf("%v: the text became markup: %s", c, answer.Body)
		}
		policy := answer.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "form-action 'self' https://hybrid.example.com ") || answer.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%v: policy %q, Cache-Control %q", c, policy, answer.Header.Get("Cache-Control"))
		}
	}
}

func TestEveryPageIsNeitherFramedNorStoredNorReadByOtherOrigins(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	loginPage := b.Get(w.WebRequest())
	answers := map[string]interactiontest.Page{
		"login": loginPage, "failed": b.Login(loginPage, "alice", "wrong"), "consent": b.Login(loginPage, "alice", interactiontest.AlicePassword),
		"unknown client": b.Get(w.Request("client_id", "unknown")), "stolen link": w.NewBrowser().Get(loginPage.URL),
		"redirect": b.Get(w.WebRequest("max_age", "x")), "post": b.Get(w.WebRequest("response_mode", "form_post", "max_age", "x")),
	}
	for name, answer := range answers {
		for header, want := range map[string]string{
			"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "Access-Control-Allow-Origin": "",
		} {
			if got := answer.Header.Get(header); got != want {
				t.Errorf("%s: %s is %q, want %q", name, header, got, want)
			}
		}
		if name == "redirect" {
			continue
		}
		if policy := answer.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "frame-ancestors 'none'") || answer.Header.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s: may be framed: %q", name, policy)
		}
		if brand := answer.Find("header", "class", "brand"); brand == nil || !strings.Contains(answer.Body, "<bdi>"+strings.TrimPrefix(w.Issuer, "http://")) {
			t.Errorf("%s: does not say whose page it is", name)
		}
	}
}
