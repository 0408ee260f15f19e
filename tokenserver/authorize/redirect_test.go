package authorize_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
)

// wantPageError fails the test unless the answer is an error page without a redirect.
func wantPageError(t *testing.T, answer interactiontest.Page, message string) {
	t.Helper()
	if answer.StatusCode != http.StatusBadRequest || answer.Header.Get("Location") != "" {
		t.Errorf("status %d, Location %q; want a page with 400", answer.StatusCode, answer.Header.Get("Location"))
	}
	if heading := answer.Find("h1", "", ""); heading == nil || !strings.Contains(unescapeHTML(answer.Body), message) {
		t.Errorf("the page does not say %q: %s", message, answer.Body)
	}
}

// unescapeHTML replaces the escapes that the messages contain.
func unescapeHTML(body string) string { return strings.NewReplacer("&#39;", "'").Replace(body) }

// wantClientError fails the test unless the answer is a redirect to the client with an error, state
// and issuer.
func wantClientError(t *testing.T, answer interactiontest.Page, code string) {
	t.Helper()
	values := answer.Values()
	if answer.StatusCode != http.StatusSeeOther || values.Get("error") != code {
		t.Fatalf("status %d, error %q (%s); want %s. %s", answer.StatusCode, values.Get("error"), values.Get("error_description"), code, answer.Body)
	}
	if values.Get("state") != "some state" {
		t.Errorf("state %q, want it unchanged", values.Get("state"))
	}
	if values.Get("iss") == "" || !strings.HasPrefix(answer.URL, values.Get("iss")) {
		t.Errorf("iss %q, want the issuer", values.Get("iss"))
	}
	if values.Has("code") || values.Has("access_token") || values.Has("id_token") {
		t.Error("the error comes with a code or a token")
	}
}

func TestAnUnknownClientGetsAPageAndNoRedirect(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	for _, id := range []string{"unknown", "WEB", "web ", "", "uid-web"} {
		wantPageError(t, b.Get(w.Request("client_id", id, "redirect_uri", interactiontest.WebRedirect, "response_type", "code")),
			pages.MessageUnknownClient)
	}
}

func TestASuspendedClientIsAnUnknownClient(t *testing.T) {
	w := interactiontest.New(t)
	suspended := w.Client("web")
	suspended.Suspended = true
	w.Apply(suspended)
	wantPageError(t, w.NewBrowser().Get(w.WebRequest()), pages.MessageUnknownClient)
}

func TestRedirectURIsAreComparedAsExactStrings(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	for _, uri := range []string{
		"https://shop.example.com/callback/", "https://shop.example.com/Callback", "https://SHOP.example.com/callback",
		"HTTPS://shop.example.com/callback", "https://shop.example.com:443/callback", "https://shop.example.com/callback?x=1",
		"https://shop.example.com/callback?", "https://shop.example.com/callback#", "https://shop.example.com/callback#x",
		"https://shop.example.com/%63allback", "https://shop.example.com/callback%2e", "https://shop.example.com/callback/..;/",
		"https://shop.example.com//callback", "https://shop.example.com/./callback", "https://evil.example.com/callback",
		"https://shop.example.com@evil.example.com/callback", "https://shop.example.com\\@evil.example.com/callback",
		"https://evil.example.com\\.shop.example.com/callback", "https://shop.example.com/callback\t", "\thttps://shop.example.com/callback",
		"https://shop.example.com/callback ", "https://shop.example.com/call\nback", "http://shop.example.com/callback",
		"//shop.example.com/callback", "/callback", "https://xn--shop-xyz.example.com/callback", "https://shop.example.com./callback",
		"javascript:alert(1)", "data:text/html,x", "https://shop.example.com/callback?code=1", "https://shop.example.com/callback?state=1",
		"https://shop.example.com/callback?iss=1", "https://shop.example.com/callback?error=1", "https://shop.example.com/callback?id_token=1",
		"https://shop.example.com/callback?response=1", "https://shop.example.com/callback?access_token=1",
	} {
		wantPageError(t, b.Get(w.Request("client_id", "web", "redirect_uri", uri, "response_type", "code", "scope", "openid", "state", "s")),
			pages.MessageUnknownRedirect)
	}
}

func TestARedirectURIIsDecodedOnce(t *testing.T) {
	w := interactiontest.New(t)
	twice := url.QueryEscape(url.QueryEscape(interactiontest.WebRedirect))
	wantPageError(t, w.NewBrowser().Get(w.Issuer+"/authorize?client_id=web&response_type=code&scope=openid&redirect_uri="+twice),
		pages.MessageUnknownRedirect)
}

func TestAnHTTPRedirectToAnotherHostThanLoopbackRefusesTheClient(t *testing.T) {
	w := interactiontest.New(t)
	client := w.Client("web")
	client.RedirectURIs = []string{"http://shop.example.com/callback"}
	w.Apply(client)
	wantPageError(t, w.NewBrowser().Get(w.Request("client_id", "web", "redirect_uri", "http://shop.example.com/callback",
		"response_type", "code", "scope", "openid")), pages.MessageUnknownClient)
}

func TestThePortOfALoopbackRedirectIsFreeAndNothingElseIs(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	for _, uri := range []string{
		"http://127.0.0.1/callback", "http://127.0.0.1:51004/callback", "http://[::1]:8000/callback", "http://[::1]:51004/callback",
		"http://[::1]/callback", "com.example.app:/callback",
	} {
		answer := b.SignIn(w.CLIRequest(uri))
		location, _, _ := strings.Cut(answer.Header.Get("Location"), "?")
		if location != uri {
			t.Fatalf("answered at %q, want %q: %s", location, uri, answer.Body)
		}
		if _, err := w.Redeem("cli", answer.Values().Get("code"), uri, interactiontest.Verifier); err != nil {
			t.Errorf("the code for %s: %v", uri, err)
		}
	}
	for _, uri := range []string{
		"http://localhost:51004/callback", "http://127.0.0.2:51004/callback", "http://127.0.0.1:51004/other", "http://127.0.0.1:51004/callback?a=b",
		"https://127.0.0.1:51004/callback", "http://127.1:51004/callback", "http://2130706433/callback", "http://127.0.0.1:51004@evil.example/callback",
		"http://127.0.0.1:/callback", "http://127.0.0.1:99999/callback", "http://127.0.0.1:080/callback", "http://[::ffff:127.0.0.1]/callback",
	} {
		wantPageError(t, b.Get(w.CLIRequest(uri)), pages.MessageUnknownRedirect)
	}
}

func TestTheRedirectURIMayBeLeftOutWithOneRegisteredAndWithoutOpenID(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	answer := b.SignIn(w.Request("client_id", "web", "response_type", "code", "scope", "profile"))
	if !strings.HasPrefix(answer.Header.Get("Location"), interactiontest.WebRedirect+"?") {
		t.Fatalf("answered at %q", answer.Header.Get("Location"))
	}
	if _, err := w.Redeem("web", answer.Values().Get("code"), "", ""); err != nil {
		t.Errorf("a token request that leaves it out as well: %v", err)
	}
	wantPageError(t, b.Get(w.Request("client_id", "web", "response_type", "code", "scope", "openid")), pages.MessageUnknownRedirect)
	wantPageError(t, b.Get(w.Request("client_id", "cli", "response_type", "code", "scope", "profile")), pages.MessageUnknownRedirect)
}

func TestAChangeOfRegistrationStopsAFlow(t *testing.T) {
	for name, change := range map[string]func(w *interactiontest.Server){
		"redirect removed": func(w *interactiontest.Server) {
			client := w.Client("web")
			client.RedirectURIs = []string{"https://shop.example.com/other"}
			w.Apply(client)
		},
		"client removed": func(w *interactiontest.Server) { w.Registry.Remove("identity/web") },
		"client suspended": func(w *interactiontest.Server) {
			client := w.Client("web")
			client.Suspended = true
			w.Apply(client)
		},
		"client created again": func(w *interactiontest.Server) {
			client := w.Client("web")
			client.UID = "uid-another"
			w.Apply(client)
		},
		"grant type removed": func(w *interactiontest.Server) {
			client := w.Client("web")
			client.GrantTypes = []string{"client_credentials"}
			w.Apply(client)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := interactiontest.New(t)
			atLogin, atConsent := w.NewBrowser(), w.NewBrowser()
			loginPage := atLogin.Get(w.WebRequest())
			consentPage := atConsent.Login(atConsent.Get(w.WebRequest()), "alice", interactiontest.AlicePassword)
			change(w)
			wantPageError(t, atLogin.Login(loginPage, "alice", interactiontest.AlicePassword), pages.MessageFlowChanged)
			wantPageError(t, atConsent.Consent(consentPage, "allow"), pages.MessageFlowChanged)
		})
	}
}
