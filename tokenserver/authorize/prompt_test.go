package authorize_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry/registrytest"
	"github.com/oauth-operator/oauth-operator/tokenserver/session"
)

func TestPromptNoneWithoutASessionIsLoginRequired(t *testing.T) {
	w := interactiontest.New(t)
	wantClientError(t, w.NewBrowser().Get(w.WebRequest("prompt", "none")), "login_required")
}

func TestPromptNoneWithASessionAndAConsentAnswersAtOnce(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	b.SignIn(w.WebRequest())
	answer := b.Get(w.WebRequest("prompt", "none"))
	if answer.Values().Get("code") == "" || len(answer.Redirects) != 1 {
		t.Errorf("no code at once: %v after %d hops", answer.Values(), len(answer.Redirects))
	}
}

func TestPromptNoneWithoutAConsentIsConsentRequired(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	b.SignIn(w.WebRequest())
	wantClientError(t, b.Get(setParameters(w.WebRequest("prompt", "none"), "scope", "openid profile email")), "consent_required")
}

func TestAClientOrUserThatIsCreatedAgainInheritsNoConsent(t *testing.T) {
	for what, again := range map[string]func(w *interactiontest.Server){
		"client": func(w *interactiontest.Server) {
			c := w.Client("web")
			w.Registry.Remove(registrytest.Name(registry.SpaceIdentity, c.ID))
			c.UID = "uid-web-again"
			w.Apply(c)
		},
		"user": func(w *interactiontest.Server) {
			u := w.User("alice")
			w.Registry.Remove(registrytest.Name(registry.SpaceIdentity, u.Subject))
			w.Registry.Remove(registrytest.Name(registry.SpaceUsername, u.Username))
			u.UID = "uid-alice-again"
			w.Apply(u)
		},
	} {
		w := interactiontest.New(t)
		b := w.NewBrowser()
		b.SignIn(w.WebRequest())
		page := b.Login(b.Get(w.WebRequest("prompt", "login")), "alice", interactiontest.AlicePassword)
		if page.Values().Get("code") == "" {
			t.Fatalf("the consent is not remembered: %s", page.Body)
		}
		again(w)
		page = b.Get(w.WebRequest("prompt", "login"))
		if page = b.Login(page, "alice", interactiontest.AlicePassword); !page.IsConsent() {
			t.Errorf("the %s is answered by the consent of the one before: %v", what, page.Values())
		}
	}
}

func TestAnAppOnTheUsersDeviceIsNeverAnsweredSilently(t *testing.T) {
	w := interactiontest.New(t)
	client := w.Client("cli")
	client.Consent = "Skip"
	// Browsers take each of these hosts for the machine that they run on.
	spellings := []string{
		"http://localhost:4000/callback", "https://localhost./callback", "https://app.localhost/callback", "https://0.0.0.0/callback",
		"https://[::]/callback", "https://[::ffff:127.0.0.1]/callback", "https://127.255.0.1/callback",
	}
	client.RedirectURIs = append(slices.Clone(client.RedirectURIs), spellings...)
	w.Apply(client)
	b := w.NewBrowser()
	for _, uri := range append(spellings, "http://127.0.0.1:4000/callback", "http://[::1]:4000/callback", "com.example.app:/callback") {
		wantClientError(t, b.Get(w.CLIRequest(uri, "prompt", "none")), "interaction_required")
		b.SignIn(w.CLIRequest(uri))
		page := b.Get(w.CLIRequest(uri))
		if !page.IsConsent() {
			t.Fatalf("%s: no page although the client could be anyone: %v", uri, page.Values())
		}
		wantClientError(t, b.Get(w.CLIRequest(uri, "prompt", "none")), "interaction_required")
		if values := b.Consent(page, "allow").Values(); values.Get("code") == "" {
			t.Errorf("%s: no code after the page: %v", uri, values)
		}
	}
}

func TestAConfidentialClientOnALoopbackHostIsAnsweredSilently(t *testing.T) {
	w := interactiontest.New(t)
	client := w.Client("web")
	client.RedirectURIs = []string{"http://127.0.0.1:4000/callback"}
	w.Apply(client)
	b := w.NewBrowser()
	request := setParameters(w.WebRequest(), "redirect_uri", client.RedirectURIs[0])
	b.SignIn(request)
	if values := b.Get(setParameters(request, "prompt", "none")).Values(); values.Get("code") == "" {
		t.Errorf("asked although the client proves who it is: %v", values)
	}
}

func TestAYesInAFlowIsNoneOfWhoeverSignsInLater(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	asBob := b.Login(b.Get(w.WebRequest()), "bob", interactiontest.BobPassword)
	b.Consent(asBob, "allow")
	page := b.Login(b.Get(w.WebRequest("prompt", "select_account consent")), "alice", interactiontest.AlicePassword)
	answer := b.Consent(page, "allow")
	resume := answer.Redirects[len(answer.Redirects)-1].From
	b.Login(b.Get(w.WebRequest("prompt", "login")), "bob", interactiontest.BobPassword)
	if page := b.Get(resume); page.Values() != nil {
		t.Errorf("alice's yes was taken for bob's: %v", page.Values())
	}
	again := b.Login(b.Get(w.WebRequest("prompt", "login")), "alice", interactiontest.AlicePassword)
	if again.Values().Get("code") == "" {
		t.Fatalf("alice is asked again: %s", again.Body)
	}
	page = b.Get(w.WebRequest("prompt", "consent"))
	resume = b.Consent(page, "allow").Redirects[0].To
	b.Login(b.Get(w.WebRequest("prompt", "login")), "bob", interactiontest.BobPassword)
	if page := b.Get(resume); !page.IsConsent() {
		t.Errorf("prompt=consent was satisfied by alice's yes: %v", page.Values())
	}
}

func TestARegisteredSkipAsksNothing(t *testing.T) {
	w := interactiontest.New(t)
	request := setParameters(w.WebRequest(), "client_id", "trusted", "redirect_uri", "https://intranet.example.com/callback")
	b := w.NewBrowser()
	if values := b.Login(b.Get(request), "alice", interactiontest.AlicePassword).Values(); values.Get("code") == "" {
		t.Errorf("no code after the login: %v", values)
	}
	if page := b.Get(setParameters(request, "scope", "openid offline_access")); !page.IsConsent() {
		t.Errorf("offline_access was granted without a consent: %v", page.Values())
	}
	if page := b.Get(setParameters(request, "prompt", "consent")); !page.IsConsent() {
		t.Errorf("prompt=consent showed no page: %v", page.Values())
	}
}

func TestARememberedConsentThatIncludesOfflineAccessIsEnough(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	request := setParameters(w.WebRequest(), "scope", "openid offline_access")
	b.SignIn(request)
	if values := b.Get(setParameters(request, "prompt", "none")).Values(); values.Get("code") == "" {
		t.Errorf("asked again: %v", values)
	}
}

func TestPromptConsentAsksAgainAndTheAnswerEndsIt(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	b.SignIn(w.WebRequest())
	page := b.Get(w.WebRequest("prompt", "consent"))
	if !page.IsConsent() {
		t.Fatalf("no consent page: %v", page.Values())
	}
	if values := b.Consent(page, "allow").Values(); values.Get("code") == "" {
		t.Errorf("no code: %v", values)
	}
}

func TestOnlyALoginInTheFlowSatisfiesPromptLoginAndSelectAccount(t *testing.T) {
	for _, prompt := range []string{"login", "select_account", "login consent"} {
		w := interactiontest.New(t)
		b := w.NewBrowser()
		b.SignIn(w.WebRequest())
		first := b.Get(w.WebRequest("prompt", prompt))
		if !first.IsLogin() {
			t.Fatalf("prompt=%s was satisfied by an old session: %v", prompt, first.Values())
		}
		// A login in another flow does not count in this one.
		b.Login(b.Get(w.WebRequest("prompt", "login")), "alice", interactiontest.AlicePassword)
		saved := strings.Replace(first.URL, "/login?", "/authorize?", 1)
		if answer := b.Get(saved); answer.StatusCode != http.StatusBadRequest {
			t.Errorf("a flow for the login page was taken up elsewhere: %d %v", answer.StatusCode, answer.Values())
		}
		w.Advance(time.Minute)
		answer := b.Login(first, "alice", interactiontest.AlicePassword)
		if strings.Contains(prompt, "consent") {
			answer = b.Consent(answer, "allow")
		}
		outcome, err := w.Redeem("web", answer.Values().Get("code"), interactiontest.WebRedirect, "")
		if err != nil {
			t.Fatalf("prompt=%s: no code after the login: %v", prompt, err)
		}
		if !outcome.Grant.AuthTime.Equal(w.Now()) {
			t.Errorf("auth_time is %s, want that of the login just now", outcome.Grant.AuthTime)
		}
	}
}

func TestALoginInAFlowCountsOnlyForItsOwnSession(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	page := b.Get(w.WebRequest("prompt", "login"))
	consentPage := b.Login(page, "alice", interactiontest.AlicePassword)
	// Another tab signs in again: the session of the flow is no longer the browser's.
	b.Login(b.Get(w.WebRequest("prompt", "login")), "alice", interactiontest.AlicePassword)
	if answer := b.Consent(consentPage, "allow"); !answer.IsLogin() {
		t.Errorf("another session's login was taken for this flow's: %v", answer.Values())
	}
}

func TestMaxAgeForcesALoginOnlyWhenTheSessionIsOlder(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	b.SignIn(w.WebRequest())
	began := w.Now()
	w.Advance(2 * time.Minute)
	answer := b.Get(w.WebRequest("max_age", "120"))
	outcome, err := w.Redeem("web", answer.Values().Get("code"), interactiontest.WebRedirect, "")
	if err != nil {
		t.Fatalf("asked although the login is young enough: %v", err)
	}
	if !outcome.Grant.AuthTime.Equal(began) {
		t.Errorf("auth_time %s, want %s", outcome.Grant.AuthTime, began)
	}
	w.Advance(time.Second)
	wantClientError(t, b.Get(w.WebRequest("max_age", "120", "prompt", "none")), "login_required")
	page := b.Get(w.WebRequest("max_age", "120"))
	if !page.IsLogin() {
		t.Fatalf("not asked although the login is too old: %v", page.Values())
	}
	answer = b.Login(page, "alice", interactiontest.AlicePassword)
	if outcome, err = w.Redeem("web", answer.Values().Get("code"), interactiontest.WebRedirect, ""); err != nil {
		t.Fatal(err)
	}
	if !outcome.Grant.AuthTime.Equal(w.Now()) {
		t.Errorf("auth_time %s, want %s", outcome.Grant.AuthTime, w.Now())
	}
}

func TestMaxAgeZeroAsksOnceAndDoesNotLoop(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	b.SignIn(w.WebRequest())
	// The clock does not advance: even a login in this second was not in this flow.
	page := b.Get(w.WebRequest("max_age", "0"))
	w.Advance(time.Second)
	if !page.IsLogin() {
		t.Fatalf("not asked: %v", page.Values())
	}
	page = b.Login(page, "alice", interactiontest.AlicePassword)
	if page.Values().Get("code") == "" {
		t.Errorf("no code after the login: %v %s", page.Values(), page.Body)
	}
}

func TestAFlowEndsAfterHalfAnHour(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	page := b.Get(w.WebRequest())
	w.Advance(30*time.Minute + time.Second)
	wantPageError(t, b.Login(page, "alice", interactiontest.AlicePassword), pages.MessageFlowExpired)
}

func TestAnIDTokenHintAsksForThatUser(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	ofAlice := b.SignIn(w.LegacyRequest("id_token")).Values().Get("id_token")
	accessToken := b.SignIn(w.LegacyRequest("token")).Values().Get("access_token")
	if values := b.SignIn(w.WebRequest("id_token_hint", ofAlice)).Values(); values.Get("code") == "" {
		t.Errorf("alice is signed in, and yet: %v", values)
	}
	wantClientError(t, b.Get(w.WebRequest("id_token_hint", accessToken)), "invalid_request")
	wantClientError(t, b.Get(w.WebRequest("id_token_hint", ofAlice, "claims", `{"id_token":{"sub":{"value":"subject-bob"}}}`)), "invalid_request")
	// Another issuer with the same keys: the signature is valid.
	elsewhere := interactiontest.New(t)
	foreign := elsewhere.NewBrowser().SignIn(elsewhere.LegacyRequest("id_token")).Values().Get("id_token")
	wantClientError(t, b.Get(w.WebRequest("id_token_hint", foreign)), "invalid_request")
	signed, signature := ofAlice[:strings.LastIndex(ofAlice, ".")+1], ofAlice[strings.LastIndex(ofAlice, ".")+1:]
	another := b.SignIn(setParameters(w.LegacyRequest("id_token"), "nonce", "another")).Values().Get("id_token")
	for _, forged := range []string{signed, signed + another[strings.LastIndex(another, ".")+1:], "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0." + strings.Split(ofAlice, ".")[1] + "." + signature} {
		wantClientError(t, b.Get(w.WebRequest("id_token_hint", forged)), "invalid_request")
	}
	w.Advance(time.Hour)
	if values := b.SignIn(w.WebRequest("id_token_hint", ofAlice)).Values(); values.Get("code") == "" {
		t.Errorf("an expired hint is as good: %v", values)
	}
	other := w.NewBrowser()
	other.Login(other.Get(w.WebRequest()), "bob", interactiontest.BobPassword)
	wantClientError(t, other.Get(w.WebRequest("id_token_hint", ofAlice, "prompt", "none")), "login_required")
	page := other.Get(w.WebRequest("id_token_hint", ofAlice))
	wantClientError(t, other.Login(page, "bob", interactiontest.BobPassword), "login_required")
}

func TestTheTokensSayWhichAuthenticationTookPlaceAndAnotherThatIsEssentialIsRefused(t *testing.T) {
	w := interactiontest.New(t)
	acr := func(b *interactiontest.Browser, pairs ...string) (string, interactiontest.Page) {
		answer := b.SignIn(w.LegacyRequest("id_token", pairs...))
		var claims struct {
			ACR string `json:"acr"`
		}
		if token := answer.Values().Get("id_token"); token != "" {
			if err := w.Keys.Verify(token, oauth.TypeIDToken, &claims); err != nil {
				t.Fatal(err)
			}
		}
		return claims.ACR, answer
	}
	b := w.NewBrowser()
	for _, pairs := range [][]string{
		nil, {"acr_values", "urn:example:gold " + oauth.ACRPassword}, {"acr_values", "urn:example:gold"},
		{"claims", `{"id_token":{"acr":null}}`}, {"claims", `{"id_token":{"acr":{"essential":true}}}`},
		{"claims", `{"id_token":{"acr":{"value":"urn:example:gold"}}}`},
		{"claims", `{"id_token":{"acr":{"essential":true,"values":["urn:example:gold","` + oauth.ACRPassword + `"]}}}`},
		{"claims", `{"id_token":{"acr":{"essential":true,"value":"` + oauth.ACRPassword + `"}}}`},
	} {
		for _, in := range []*interactiontest.Browser{b, w.NewBrowser()} { // with a session, and without
			if got, answer := acr(in, pairs...); got != oauth.ACRPassword {
				t.Errorf("%q: acr is %q: %v", pairs, got, answer.Values())
			}
		}
	}
	for _, wanted := range []string{`"value":"urn:example:gold"`, `"values":["urn:example:gold","0"]`} {
		_, answer := acr(b, "claims", `{"id_token":{"acr":{"essential":true,`+wanted+`}}}`)
		wantClientError(t, answer, "unmet_authentication_requirements")
	}
}

func TestAClaimsParameterThatNamesSubjectsIsOnlyAboutThem(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	ofBob := b.Consent(b.Login(b.Get(w.LegacyRequest("id_token")), "bob", interactiontest.BobPassword), "allow").Values().Get("id_token")
	page := b.Login(b.Get(w.WebRequest("prompt", "login")), "bob", interactiontest.BobPassword)
	b.Consent(page, "allow")
	for claims, want := range map[string]string{
		`{"id_token":{"sub":{"value":"subject-alice"}}}`:                                                 "login_required",
		`{"userinfo":{"sub":{"value":"subject-alice"}}}`:                                                 "login_required",
		`{"id_token":{"sub":{"values":["subject-alice","subject-carol"]}}}`:                              "login_required",
		`{"userinfo":{"sub":{"essential":true,"values":["subject-alice"]}}}`:                             "login_required",
		`{"id_token":{"sub":{"values":["subject-alice","subject-bob"]}}}`:                                "",
		`{"id_token":{"sub":{"value":"subject-bob"}},"userinfo":{"sub":{"values":["x","subject-bob"]}}}`: "",
		`{"id_token":{"sub":null},"userinfo":{"sub":{"essential":true}}}`:                                "",
		`{"id_token":{"sub":{"values":["a","b"]}},"userinfo":{"sub":{"values":["c"]}}}`:                  "invalid_request",
		`{"id_token":{"sub":{"values":[]}}}`:                                                             "invalid_request",
		`{"id_token":{"sub":{"values":[1]}}}`:                                                            "invalid_request",
		`{"id_token":{"sub":{"values":[null]}}}`:                                                         "invalid_request",
		`{"id_token":{"sub":{"values":"subject-bob"}}}`:                                                  "invalid_request",
		`{"id_token":{"sub":{"value":"subject-bob","values":["subject-bob"]}}}`:                          "invalid_request",
		`{"id_token":{"sub":"subject-bob"}}`:                                                             "invalid_request",
	} {
		answer := b.Get(w.WebRequest("claims", claims, "prompt", "none"))
		if want != "" {
			wantClientError(t, answer, want)
		} else if answer.Values().Get("code") == "" {
			t.Errorf("%s: %v", claims, answer.Values())
		}
	}
	hinted := w.WebRequest("id_token_hint", ofBob, "prompt", "none", "claims", `{"id_token":{"sub":{"values":["subject-alice","subject-bob"]}}}`)
	if values := b.Get(hinted).Values(); values.Get("code") == "" {
		t.Errorf("a hint at one of the subjects: %v", values)
	}
	wantClientError(t, b.Get(w.WebRequest("id_token_hint", ofBob, "claims", `{"id_token":{"sub":{"values":["subject-alice"]}}}`)), "invalid_request")
}

func TestALivingSessionOfAUserOfAProviderThatTheRuleLeavesOutIsTreatedAsAnotherUsers(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	b.SignIn(w.WebRequest())
	w.ChangeDocument(func(s *documents.Server) { s.AllowedClients[0].IdentityProviders = []string{"acme"} })
	page := b.Get(w.WebRequest())
	if !strings.Contains(page.Body, pages.MessageNoWay) {
		t.Fatalf("the rule names one provider, which is not there: %d %s", page.StatusCode, page.Body)
	}
	wantClientError(t, b.Get(w.WebRequest("prompt", "none")), "login_required")
	// Neither does the form, if it is sent all the same.
	if page = b.Post(w.Issuer+"/login", url.Values{"flow": page.At.Query()["flow"], "username": {"alice"}, "password": {interactiontest.AlicePassword}}); !strings.Contains(page.Body, pages.MessageNoWay) {
		t.Errorf("a password that the rule leaves out: %d %s", page.StatusCode, page.Body)
	}

	w.ChangeDocument(func(s *documents.Server) {
		s.AllowedClients[0].IdentityProviders = []string{"acme", documents.LocalProvider}
	})
	if values := b.Get(w.WebRequest("prompt", "none")).Values(); values.Get("code") == "" {
		t.Errorf("no code although the rule names OAuthUsers: %v", values)
	}
}

func TestAUserOutsideTheGroupsOfTheRuleIsDeniedAccess(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	b.SignIn(w.WebRequest())
	setGroups := func(groups ...any) {
		alice := w.User("alice")
		alice.Claims = map[string]any{"groups": groups}
		w.Apply(alice)
	}
	w.ChangeDocument(func(s *documents.Server) { s.AllowedClients[0].Groups = []string{"ops", "dev"} })
	for _, groups := range [][]any{nil, {"sales"}, {1, nil, []any{"ops"}}} {
		setGroups(groups...)
		wantClientError(t, b.Get(w.WebRequest()), "access_denied")
		wantClientError(t, b.Get(w.WebRequest("prompt", "none")), "access_denied")
		wantClientError(t, b.Login(b.Get(w.WebRequest("prompt", "login")), "alice", interactiontest.AlicePassword), "access_denied")
	}
	if log := w.Log.String(); !strings.Contains(log, `"rule":"`+w.Document.AllowedClients[0].Name+`"`) || !strings.Contains(log, `"sub":"`+w.User("alice").Subject+`"`) {
		t.Errorf("the log does not say whom which rule refuses: %s", log)
	}
	setGroups("sales", "dev")
	if values := b.Get(w.WebRequest()).Values(); values.Get("code") == "" {
		t.Errorf("no code for a user of one of the groups: %v", values)
	}
}

func TestARequestWhoseCodeOnlyTheAMROfTheSessionMakesTooLargeIsToldSo(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	b.SignIn(w.WebRequest())
	user, _ := w.Registry.UserByUID(w.User("alice").UID)
	answer := httptest.NewRecorder()
	amr := slices.Repeat([]string{strings.Repeat("m", 64)}, 16)
	if _, err := w.Sessions.Begin(t.Context(), answer, httptest.NewRequest(http.MethodGet, "/", nil), w.Document, session.Login{User: user, AMR: amr}); err != nil {
		t.Fatal(err)
	}
	origin, err := url.Parse(w.Document.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	b.Jar.SetCookies(origin, answer.Result().Cookies())
	if values := b.Get(w.WebRequest()).Values(); values.Get("code") == "" {
		t.Fatalf("no code for a short request: %v", values)
	}
	wantClientError(t, b.Get(w.WebRequest("nonce", strings.Repeat("n", 700))), "invalid_request")
}
