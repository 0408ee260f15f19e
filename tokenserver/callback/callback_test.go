package callback_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/test/browser"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks/jwkstest"
	"github.com/oauth-operator/oauth-operator/tokenserver/oidc/oidctest"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry/registrytest"
)

// fixture is a server at which users sign in to the client web at the provider acme alone.
type fixture struct {
	*interactiontest.Server
	upstream *oidctest.Provider
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{Server: interactiontest.New(t, interactiontest.TLS)}
	f.upstream = oidctest.New(t, f.Now)
	f.serve(f.upstream, "acme")
	f.allow("acme")
	return f
}

// serve serves an upstream as a provider that only rules name.
func (f *fixture) serve(upstream *oidctest.Provider, name string, change ...func(*documents.IdentityProvider)) {
	f.T.Helper()
	document := upstream.Document(name)
	document.AllClients, document.DisplayName = false, strings.ToUpper(name)
	document.Claims = map[string]string{"preferred_username": "upstream.sub", "email": "upstream.email"}
	for _, c := range change {
		c(&document)
	}
	f.Apply(document)
}

// remove stops serving a provider.
func (f *fixture) remove(name string) {
	p, _ := f.Registry.IdentityProvider(name)
	f.Registry.Remove(registrytest.Name(registry.SpaceIdentityProvider, name))
	f.Registry.Remove(registrytest.Name(registry.SpaceRealm, p.Realm))
}

// allow makes these the providers that the rule names; none: those that it has by default.
func (f *fixture) allow(names ...string) {
	f.ChangeDocument(func(s *documents.Server) {
		s.Fetch, s.AllowedClients[0].IdentityProviders = f.fetch(), names
	})
}

func (f *fixture) fetch() *documents.Fetch {
	return &documents.Fetch{AllowedNetworks: []string{"127.0.0.0/8"}}
}

// depart sends a request, and returns the page from which the browser left for the upstream.
func (f *fixture) depart(b *interactiontest.Browser, request string) browser.Page {
	f.T.Helper()
	return f.requireDeparture(b.Get(request))
}

func (f *fixture) requireDeparture(page browser.Page) browser.Page {
	f.T.Helper()
	if !isAtUpstream(page) {
		f.T.Fatalf("the browser is at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
	return page
}

func isAtUpstream(page browser.Page) bool {
	return page.Header.Get("Location") != "" && page.At.Path == "/authorize" && page.At.Query().Has("nonce") && page.At.Query().Get("client_id") == oidctest.ClientID
}

// answer lets the upstream answer the departure, and returns the URL that it sends the browser to.
func (f *fixture) answer(upstream *oidctest.Provider, page browser.Page) string {
	f.T.Helper()
	parameters := upstream.Visit(page.At.String())
	return page.At.Query().Get("redirect_uri") + "?" + parameters.Encode()
}

// signIn departs and comes back.
func (f *fixture) signIn(b *interactiontest.Browser, request string) browser.Page {
	f.T.Helper()
	return b.Get(f.answer(f.upstream, f.depart(b, request)))
}

// click follows a link of a page.
func (f *fixture) click(b *interactiontest.Browser, page browser.Page, id string) browser.Page {
	f.T.Helper()
	link := page.Find("a", "id", id)
	if link == nil {
		f.T.Fatalf("no link %s: %d %s", id, page.StatusCode, page.Body)
	}
	for _, a := range link.Attr {
		if a.Key == "href" {
			return b.Get(a.Val)
		}
	}
	f.T.Fatalf("the link %s leads nowhere", id)
	return browser.Page{}
}

// hasSession reports whether the browser has a session.
func (f *fixture) hasSession(b *interactiontest.Browser) bool {
	f.T.Helper()
	return b.Get(f.WebRequest("prompt", "none")).Values().Get("error") != "login_required"
}

// checkRefused checks that an answer led to a page that offers nothing, and to no session.
func (f *fixture) checkRefused(what string, b *interactiontest.Browser, page browser.Page) {
	f.T.Helper()
	if page.Header.Get("Location") != "" || page.StatusCode < 400 || page.IsChooser() {
		f.T.Errorf("%s: the browser is at %s: %d %s", what, page.At, page.StatusCode, page.Body)
	}
	if f.hasSession(b) {
		f.T.Errorf("%s: the browser has a session", what)
	}
}

// checkFailed checks that a sign-in led to the login page, which says so.
func (f *fixture) checkFailed(what string, b *interactiontest.Browser, page browser.Page, sentence string) {
	f.T.Helper()
	if !page.IsChooser() || page.Find("p", "id", "login-error") == nil || !strings.Contains(page.Body, sentence) {
		f.T.Errorf("%s: the browser is at %s: %d %s", what, page.At, page.StatusCode, page.Body)
	}
	if strings.Contains(page.URL, "code=") || strings.Contains(page.Body, "upstream-text") {
		f.T.Errorf("%s: what the provider answered is in %s, or on the page", what, page.URL)
	}
	if f.hasSession(b) {
		f.T.Errorf("%s: the browser has a session", what)
	}
}

func TestAUserWhoSignsInAtTheOnlyProviderGoesOnToConsentAndCode(t *testing.T) {
	f := newFixture(t)
	b := f.NewBrowser()
	f.upstream.Behave(oidctest.Behaviour{IDToken: func(c map[string]any) { c["amr"] = []string{"mfa", "hwk"} }})
	departure := f.depart(b, f.HybridRequest("code id_token", "login_hint", "alice@acme.example"))
	query := departure.At.Query()
	for name, want := range map[string]string{
		"redirect_uri": f.Issuer + "/callback/acme", "response_type": "code", "code_challenge_method": "S256", "response_mode": "query",
		"login_hint": "alice@acme.example", "prompt": "", "max_age": "",
	} {
		if got := query.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	back := b.GetOnce(f.answer(f.upstream, departure))
	for _, page := range []browser.Page{departure, back} {
		if got := page.Header.Get("Referrer-Policy"); got != "no-referrer" {
			t.Errorf("%s: Referrer-Policy %q", page.URL, got)
		}
	}
	page := b.Get(back.At.String())
	if !page.IsConsent() || !strings.Contains(page.Body, "alice") {
		t.Fatalf("at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
	values := b.Consent(page, "allow").Values()
	claims := f.Claims(values.Get("id_token"))
	if !strings.HasPrefix(claims["sub"].(string), "~") || claims["identity_provider"] != "acme" || !reflect.DeepEqual(claims["amr"], []any{"mfa", "hwk"}) || claims["auth_time"] != nil {
		t.Errorf("the ID token says %v", claims)
	}
	tokens, err := f.Redeem("hybrid", values.Get("code"), interactiontest.HybridRedirect, interactiontest.Verifier)
	if err != nil || tokens.User.UID != claims["sub"] || tokens.User.ProviderName != "acme" {
		t.Errorf("the code is for %+v, %v", tokens.User, err)
	}
	// Single sign-on, and no second departure.
	if page := b.Get(f.WebRequest()); !page.IsConsent() {
		t.Errorf("at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
}

// RFC 9700 section 4.4, RFC 9207.
func TestAnAnswerThatIsNotForThisDepartureLeadsToAPageAndRedeemsNothing(t *testing.T) {
	for name, change := range map[string]func(f *fixture, b *interactiontest.Browser, answer string) (*interactiontest.Browser, string){
		"at another provider's callback": func(_ *fixture, b *interactiontest.Browser, answer string) (*interactiontest.Browser, string) {
			return b, strings.Replace(answer, "/callback/acme?", "/callback/globex?", 1)
		},
		"in another browser": func(f *fixture, _ *interactiontest.Browser, answer string) (*interactiontest.Browser, string) {
			return f.NewBrowser(), answer
		},
		"in another browser that is at the provider too": func(f *fixture, _ *interactiontest.Browser, answer string) (*interactiontest.Browser, string) {
			other := f.NewBrowser()
			f.depart(other, f.WebRequest())
			return other, answer
		},
		"with another state": func(_ *fixture, b *interactiontest.Browser, answer string) (*interactiontest.Browser, string) {
			return b, strings.Replace(answer, "state=", "state=x", 1)
		},
		"without a state": func(_ *fixture, b *interactiontest.Browser, answer string) (*interactiontest.Browser, string) {
			return b, strings.Replace(answer, "state=", "other=", 1)
		},
		"with two states": func(_ *fixture, b *interactiontest.Browser, answer string) (*interactiontest.Browser, string) {
			return b, answer + "&state=x"
		},
		"after the provider was created again": func(f *fixture, b *interactiontest.Browser, answer string) (*interactiontest.Browser, string) {
			f.remove("acme")
			f.serve(f.upstream, "acme", func(d *documents.IdentityProvider) { d.UID = "another" })
			return b, answer
		},
		"after the provider was deleted": func(f *fixture, b *interactiontest.Browser, answer string) (*interactiontest.Browser, string) {
			f.remove("acme")
			return b, answer
		},
		"after the provider was suspended": func(f *fixture, b *interactiontest.Browser, answer string) (*interactiontest.Browser, string) {
			f.serve(f.upstream, "acme", func(d *documents.IdentityProvider) { d.Suspended = true })
			return b, answer
		},
		"after ten minutes": func(f *fixture, b *interactiontest.Browser, answer string) (*interactiontest.Browser, string) {
			f.Advance(10*time.Minute + time.Second)
			return b, answer
		},
	} {
		f := newFixture(t)
		f.serve(oidctest.New(t, f.Now), "globex", func(d *documents.IdentityProvider) { d.UID = "uid-of-globex" })
		b := f.NewBrowser()
		answer := f.answer(f.upstream, f.depart(b, f.WebRequest()))
		f.upstream.Requests()
		b, answer = change(f, b, answer)
		f.checkRefused(name, b, b.Get(answer))
		if requests := f.upstream.Requests(); len(requests) > 0 {
			t.Errorf("%s: the provider was asked for %q", name, requests)
		}
	}
	f := newFixture(t)
	f.upstream.Behave(oidctest.Behaviour{Response: func(q url.Values) { q.Set("iss", "https://other.example") }})
	b := f.NewBrowser()
	answer := f.answer(f.upstream, f.depart(b, f.WebRequest()))
	f.upstream.Requests()
	f.checkFailed("with another iss", b, b.Get(answer), "could not be accepted")
	if requests := f.upstream.Requests(); len(requests) > 0 {
		t.Errorf("with another iss: the provider was asked for %q", requests)
	}
}

func TestADepartureThatWasPlantedInAnotherBrowserBeginsNoSession(t *testing.T) {
	f := newFixture(t)
	attacker, victim := f.NewBrowser(), f.NewBrowser()
	answer := f.answer(f.upstream, f.depart(attacker, f.WebRequest()))
	victim.Get(f.WebRequest("prompt", "login")) // has a browser cookie, and a departure of its own
	origin, err := url.Parse(f.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	for _, cookie := range attacker.Jar.Cookies(origin) {
		if strings.Contains(cookie.Name, "departure") {
			victim.Jar.SetCookies(origin, []*http.Cookie{{Name: cookie.Name, Value: cookie.Value, Path: "/", Secure: true}})
		}
	}
	f.upstream.Requests()
	f.checkRefused("planted", victim, victim.Get(answer))
	if requests := f.upstream.Requests(); len(requests) > 0 {
		t.Errorf("the provider was asked for %q", requests)
	}
	if page := attacker.Get(answer); !page.IsConsent() {
		t.Errorf("the attacker's own browser is at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
}

func TestAnAnswerCountsOnce(t *testing.T) {
	f := newFixture(t)
	b := f.NewBrowser()
	answer := f.answer(f.upstream, f.depart(b, f.WebRequest()))
	if page := b.Get(answer); !page.IsConsent() {
		t.Fatalf("at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
	f.upstream.Requests()
	for what, again := range map[string]string{"the same": answer, "the state with another code": strings.Replace(answer, "code=", "code=x", 1)} {
		if page := b.Get(again); page.StatusCode != http.StatusBadRequest || len(page.Cookies()) > 0 {
			t.Errorf("%s: at %s: %d, cookies %v", what, page.At, page.StatusCode, page.Cookies())
		}
	}
	// The code of that answer, with the state of another departure.
	first, err := url.Parse(answer)
	if err != nil {
		t.Fatal(err)
	}
	stolen := f.NewBrowser()
	departure := f.depart(stolen, f.WebRequest())
	injected := departure.At.Query().Get("redirect_uri") + "?" + url.Values{
		"code": {first.Query().Get("code")}, "state": {departure.At.Query().Get("state")}, "iss": {f.upstream.Issuer},
	}.Encode()
	f.checkFailed("another departure's code", stolen, stolen.Get(injected), "could not be accepted")
	// Two requests at once: the provider refuses the second code.
	racing := f.NewBrowser()
	answer = f.answer(f.upstream, f.depart(racing, f.WebRequest()))
	var group sync.WaitGroup
	var begun atomic.Int32
	for range 2 {
		group.Go(func() {
			if page, err := racing.DoOnce(newRequest(t, answer)); err == nil && slices.ContainsFunc(page.Cookies(), isSession) {
				begun.Add(1)
			}
		})
	}
	group.Wait()
	if begun.Load() != 1 {
		t.Errorf("%d sessions began by one answer", begun.Load())
	}
}

func newRequest(t *testing.T, address string) *http.Request {
	t.Helper()
	r, err := browser.NewRequest(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func isSession(c *http.Cookie) bool { return strings.HasSuffix(c.Name, "-session") && c.Value != "" }

func TestTheCallbackIsOpenedByGETAlone(t *testing.T) {
	f := newFixture(t)
	b := f.NewBrowser()
	answer := f.answer(f.upstream, f.depart(b, f.WebRequest()))
	address, query, _ := strings.Cut(answer, "?")
	form, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{address, answer} {
		if page := b.Post(target, form); page.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: %d", target, page.StatusCode)
		}
	}
	if page := b.Get(answer); !page.IsConsent() {
		t.Errorf("GET: %d %s", page.StatusCode, page.Body)
	}
}

// OpenID Connect Core sections 3.1.3.7 and 5.3.2. Package oidc has the whole list.
func TestAnAnswerThatProvesNothingLeadsToTheLoginPage(t *testing.T) {
	f := newFixture(t)
	f.serve(f.upstream, "acme", func(d *documents.IdentityProvider) { d.OIDC.UserInfo = true })
	claim := func(name string, value any) oidctest.Behaviour {
		return oidctest.Behaviour{IDToken: func(c map[string]any) { c[name] = value }}
	}
	for name, test := range map[string]struct {
		behaviour oidctest.Behaviour
		sentence  string
	}{
		"aud":   {claim("aud", "another"), "could not be accepted"},
		"azp":   {claim("azp", "another"), "could not be accepted"},
		"nonce": {claim("nonce", "another"), "could not be accepted"},
		"unsigned": {oidctest.Behaviour{Sign: func(c map[string]any) string {
			return jwkstest.Encode(t, map[string]any{"alg": "none"}) + "." + jwkstest.Encode(t, c) + "."
		}}, "could not be accepted"},
		"signed with the client secret": {oidctest.Behaviour{Sign: func(c map[string]any) string {
			signed := jwkstest.Encode(t, map[string]any{"alg": "HS256"}) + "." + jwkstest.Encode(t, c)
			mac := hmac.New(sha256.New, []byte(oidctest.Secret))
			mac.Write([]byte(signed))
			return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
		}}, "could not be accepted"},
		"userinfo of another user": {oidctest.Behaviour{UserInfo: func(c map[string]any) { c["sub"] = "bob" }}, "could not be accepted"},
		"denied": {oidctest.Behaviour{Response: func(q url.Values) {
			q.Del("code")
			q.Set("error", "access_denied")
			q.Set("error_description", "upstream-text")
		}}, "You were not signed in with ACME"},
		"away": {oidctest.Behaviour{Handle: map[string]http.HandlerFunc{"/token": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "upstream-text", http.StatusInternalServerError)
		}}}, "does not work at the moment"},
		"client refused": {oidctest.Behaviour{Handle: map[string]http.HandlerFunc{"/token": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error":"invalid_client","error_description":"upstream-text"}`))
		}}}, "does not work at the moment"},
	} {
		f.upstream.Behave(test.behaviour)
		b := f.NewBrowser()
		f.checkFailed(name, b, f.signIn(b, f.WebRequest()), test.sentence)
	}
	if strings.Contains(f.Log.String(), "upstream-text") {
		t.Error("the log quotes the provider")
	}
}

func TestWhoeverHasOneWayOnlyLeavesForItOnceInAFlow(t *testing.T) {
	f := newFixture(t)
	for name, test := range map[string]struct {
		behaviour oidctest.Behaviour
		request   []string
		sentence  string
		prompt    string // of the departure after the failure
	}{
		"the provider refuses": {
			behaviour: oidctest.Behaviour{Response: func(q url.Values) { q.Set("error", "access_denied") }}, sentence: "You were not signed in with ACME",
		},
		"the provider has an error": {
			behaviour: oidctest.Behaviour{Response: func(q url.Values) { q.Set("error", "server_error") }}, sentence: "You were not signed in with ACME",
		},
		"allow is false": {
			behaviour: oidctest.Behaviour{IDToken: func(c map[string]any) { c["email"] = "eve@elsewhere.example" }},
			sentence:  "but may not sign in here", prompt: "select_account",
		},
		"another user than id_token_hint": {
			request: []string{"id_token_hint", f.idTokenHint()}, sentence: "as another user than the application asks for", prompt: "select_account",
		},
	} {
		f.serve(f.upstream, "acme", func(d *documents.IdentityProvider) { d.Allow = `upstream.email.endsWith("@acme.example")` })
		f.upstream.Behave(test.behaviour)
		b := f.NewBrowser()
		page := f.signIn(b, f.WebRequest(test.request...))
		f.checkFailed(name, b, page, test.sentence)
		again := f.requireDeparture(f.click(b, page, "way-acme"))
		if got := again.At.Query().Get("prompt"); got != test.prompt {
			t.Errorf("%s: the next departure has the prompt %q, want %q", name, got, test.prompt)
		}
		// The link of the page is not the flow that left: opened again it shows the page.
		if page := b.Get(page.URL); !page.IsChooser() {
			t.Errorf("%s: at %s", name, page.At)
		}
	}
	f.upstream.Behave(oidctest.Behaviour{})
	if page := f.NewBrowser().Get(f.WebRequest("prompt", "none")); page.Values().Get("error") != "login_required" {
		t.Errorf("with prompt none the browser is at %s", page.At)
	}
}

// idTokenHint returns an ID token of bob, who has an account here.
func (f *fixture) idTokenHint() string {
	f.T.Helper()
	f.allow()
	defer f.allow("acme")
	b := f.NewBrowser()
	page := b.Login(b.Get(f.LegacyRequest("id_token")), "bob", interactiontest.BobPassword)
	return b.Consent(page, "allow").Values().Get("id_token")
}

func TestAfterALogoutTheFirstFlowShowsThePage(t *testing.T) {
	f := newFixture(t)
	b := f.NewBrowser()
	f.signIn(b, f.WebRequest())
	page := b.ConfirmLogout(b.Get(f.Issuer + "/logout"))
	if !strings.Contains(page.Body, "You may still be signed in at <bdi>ACME</bdi>") || page.Find("a", "href", f.upstream.Issuer+"/logout") == nil {
		t.Errorf("signed out: %s", page.Body)
	}
	for range 2 { // the user has not chosen
		if page = b.Get(f.WebRequest()); !page.IsChooser() || page.Find("p", "id", "login-error") != nil {
			t.Fatalf("at %s: %d %s", page.At, page.StatusCode, page.Body)
		}
	}
	if page = b.Get(f.answer(f.upstream, f.requireDeparture(f.click(b, page, "way-acme")))); !page.IsConsent() {
		t.Errorf("at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
	f.depart(b, f.WebRequest("prompt", "login"))

	b = f.NewBrowser()
	f.allow("acme", documents.LocalProvider)
	page = f.click(b, b.Get(f.WebRequest()), "way-local")
	b.Login(page, "alice", interactiontest.AlicePassword)
	if page = b.ConfirmLogout(b.Get(f.Issuer + "/logout")); strings.Contains(page.Body, "You may still be signed in") {
		t.Errorf("an OAuthUser: %s", page.Body)
	}
}

func TestSwitchingUsersAsksTheProviderForTheAccount(t *testing.T) {
	f := newFixture(t)
	b := f.NewBrowser()
	page := f.signIn(b, f.WebRequest())
	page = b.Consent(page, "switch")
	if !page.IsChooser() {
		t.Fatalf("at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
	again := f.requireDeparture(f.click(b, page, "way-acme"))
	if got := again.At.Query().Get("prompt"); got != "select_account" {
		t.Errorf("prompt %q", got)
	}
	f.upstream.SignInAs("bob")
	if page = b.Get(f.answer(f.upstream, again)); !page.IsConsent() || !strings.Contains(page.Body, "bob") {
		t.Errorf("at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
	fresh := f.depart(f.NewBrowser(), f.WebRequest("prompt", "select_account"))
	if got := fresh.At.Query().Get("prompt"); got != "select_account" {
		t.Errorf("prompt %q", got)
	}
	// A user who is signed in already, and switches, is sent on at once.
	if again = f.requireDeparture(b.Consent(b.Get(f.WebRequest()), "switch")); again.At.Query().Get("prompt") != "select_account" {
		t.Errorf("prompt %q", again.At.Query().Get("prompt"))
	}
}

func TestTheChooserHasTheWaysOfTheClientAndOneFormAPage(t *testing.T) {
	f := newFixture(t)
	f.serve(oidctest.New(t, f.Now), "globex", func(d *documents.IdentityProvider) { d.DisplayName = "Globex <b>" })
	f.allow("acme", "globex", documents.LocalProvider)
	b := f.NewBrowser()
	page := b.Get(f.WebRequest("login_hint", "alice"))
	if !page.IsChooser() || page.Find("input", "id", "password") != nil || !strings.Contains(page.Body, "Globex &lt;b&gt;") {
		t.Fatalf("at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
	form := f.click(b, page, "way-local")
	if !form.IsLogin() || form.Find("input", "value", "alice") == nil {
		t.Fatalf("at %s: %d %s", form.At, form.StatusCode, form.Body)
	}
	if back := f.click(b, form, "other-ways"); !back.IsChooser() {
		t.Errorf("at %s: %d %s", back.At, back.StatusCode, back.Body)
	}
	wrong := b.Login(form, "alice", "wrong")
	if !wrong.IsLogin() || wrong.Find("a", "id", "other-ways") == nil {
		t.Errorf("after a wrong password: %s", wrong.Body)
	}
	if page := b.Login(wrong, "alice", interactiontest.AlicePassword); !page.IsConsent() {
		t.Errorf("at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
	// The form is refused once the rule has no passwords.
	b = f.NewBrowser()
	form = f.click(b, b.Get(f.WebRequest()), "way-local")
	f.allow("acme", "globex")
	before := f.Passwords.CountHashed()
	if page := b.Login(form, "alice", interactiontest.AlicePassword); !page.IsChooser() || f.Passwords.CountHashed() != before {
		t.Errorf("at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
	// A way that the client does not have leads nowhere.
	f.allow("acme", documents.LocalProvider)
	page = b.Get(f.WebRequest())
	if page = b.Get(page.URL + "&way=globex"); !page.IsChooser() || page.Find("a", "id", "way-globex") != nil {
		t.Errorf("at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
}

func TestAProviderThatIsAwayIsNoObstacleToTheOthers(t *testing.T) {
	f := newFixture(t)
	f.upstream.Behave(oidctest.Behaviour{Handle: map[string]http.HandlerFunc{"/.well-known/openid-configuration": http.NotFound}})
	b := f.NewBrowser()
	page := b.Get(f.WebRequest())
	f.checkFailed("the only way", b, page, "Signing in with ACME does not work at the moment")
	f.allow("acme", documents.LocalProvider)
	page = f.click(b, b.Get(f.WebRequest()), "way-acme")
	f.checkFailed("one of two", b, page, "Signing in with ACME does not work at the moment")
	if page = b.Login(f.click(b, page, "way-local"), "alice", interactiontest.AlicePassword); !page.IsConsent() {
		t.Errorf("at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
	f.allow("acme")
	f.serve(f.upstream, "acme", func(d *documents.IdentityProvider) { d.NotAccepted = true })
	if page = f.NewBrowser().Get(f.WebRequest()); page.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one that is not accepted: at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
}

// OpenID Connect Core section 3.1.2.1.
func TestAUserWhoHasToSignInAnewDoesSoAtTheProviderOrTheApplicationLearnsIt(t *testing.T) {
	f := newFixture(t)
	ago := func(age time.Duration) oidctest.Behaviour {
		return oidctest.Behaviour{IDToken: func(c map[string]any) { c["auth_time"] = f.Now().Add(-age).Unix() }}
	}
	missing := oidctest.Behaviour{IDToken: func(c map[string]any) { delete(c, "auth_time") }}
	for name, test := range map[string]struct {
		behaviour      oidctest.Behaviour
		request        []string
		prompt, maxAge string
		fresh          bool
	}{
		"prompt login":             {ago(0), []string{"prompt", "login"}, "login", "0", true},
		"prompt login, stale":      {ago(2 * time.Minute), []string{"prompt", "login"}, "login", "0", false},
		"prompt login, not said":   {missing, []string{"prompt", "login"}, "login", "0", false},
		"max_age":                  {ago(5 * time.Minute), []string{"max_age", "600"}, "", "600", true},
		"max_age, too old":         {ago(12 * time.Minute), []string{"max_age", "600"}, "", "600", false},
		"max_age 0, not said":      {missing, []string{"max_age", "0"}, "login", "0", false},
		"prompt login and max_age": {ago(5 * time.Minute), []string{"prompt", "login", "max_age", "600"}, "login", "0", false},
	} {
		f.upstream.Behave(test.behaviour)
		b := f.NewBrowser()
		departure := f.depart(b, f.WebRequest(test.request...))
		if q := departure.At.Query(); q.Get("prompt") != test.prompt || q.Get("max_age") != test.maxAge {
			t.Errorf("%s: prompt %q, max_age %q", name, q.Get("prompt"), q.Get("max_age"))
		}
		page := b.Get(f.answer(f.upstream, departure))
		if test.fresh && !page.IsConsent() || !test.fresh && page.Values().Get("error") != "login_required" {
			t.Errorf("%s: at %s: %d %s", name, page.At, page.StatusCode, page.Body)
		}
		if !test.fresh && f.hasSession(b) {
			t.Errorf("%s: the browser has a session", name)
		}
	}
}

func TestTokensNotBeforeIsComparedWithTheSignInHere(t *testing.T) {
	f := newFixture(t)
	f.upstream.Behave(oidctest.Behaviour{IDToken: func(c map[string]any) { c["auth_time"] = f.Now().Add(-24 * time.Hour).Unix() }})
	b := f.NewBrowser()
	f.signIn(b, f.WebRequest())
	f.Advance(2 * time.Second)
	f.serve(f.upstream, "acme", func(d *documents.IdentityProvider) { d.TokensNotBefore = f.Now().Unix() })
	if f.hasSession(b) {
		t.Error("a session from before tokensNotBefore is valid")
	}
	f.Advance(2 * time.Second)
	if page := f.signIn(b, f.WebRequest()); !page.IsConsent() {
		t.Errorf("a fresh sign-in, with the auth_time of yesterday: at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
}
