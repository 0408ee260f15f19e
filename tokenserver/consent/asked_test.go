package consent_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
)

// createAgain replaces the API with another object of the same identifier and scope.
func createAgain(t *testing.T, w *interactiontest.Server, document documents.ResourceServer) {
	t.Helper()
	document.UID = "uid-another"
	w.Apply(document)
}

func orders(w *interactiontest.Server) documents.ResourceServer {
	found, _ := w.Registry.ResourceServer(interactiontest.OrdersAPI)
	return found
}

// ask sends a request of the client with these parameters, and returns the page or the response.
func ask(w *interactiontest.Server, b *interactiontest.Browser, pairs ...string) interactiontest.Page {
	page := b.Get(w.Request(append([]string{
		"client_id", "web", "redirect_uri", interactiontest.WebRedirect, "response_type", "code", "state", "some state",
	}, pairs...)...))
	if page.IsLogin() {
		page = b.Login(page, "alice", interactiontest.AlicePassword)
	}
	return page
}

func TestAnAPIIsAskedForAlsoWithoutAnyOfItsScopes(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	page := ask(w, b, "scope", "openid")
	if page.StatusCode != 200 || strings.Contains(page.Body, interactiontest.OrdersAPI) {
		t.Fatalf("a request for no API: %s", page.Body)
	}
	b.Consent(page, "allow") // to something else
	page = ask(w, b, "scope", "openid", "resource", interactiontest.OrdersAPI)
	if !page.IsConsent() || !strings.Contains(page.Body, "<code>"+interactiontest.OrdersAPI+"</code>") || !strings.Contains(page.Body, "Call this API") {
		t.Fatalf("the page does not ask for the API: %v %s", page.Values(), page.Body)
	}
	if silent := ask(w, b, "scope", "openid", "resource", interactiontest.OrdersAPI, "prompt", "none").Values(); silent.Get("error") != "consent_required" {
		t.Errorf("silently: %v", silent)
	}
	if b.Consent(page, "allow").Values().Get("code") == "" {
		t.Fatal("there is no code")
	}
	if ask(w, b, "scope", "openid", "resource", interactiontest.OrdersAPI).IsConsent() {
		t.Error("what the user allowed is asked again")
	}
	if !ask(w, b, "scope", "openid "+interactiontest.ScopeReadOrders).IsConsent() {
		t.Error("a scope of the API is not asked, since the user allowed the API without it")
	}
}

func TestAClientWithoutScopesSaysWhichAPIItAsksFor(t *testing.T) {
	w := interactiontest.New(t)
	client := w.Client("web")
	client.Scopes = nil
	w.Apply(client)
	b := w.NewBrowser()
	page := ask(w, b, "scope", "", "resource", interactiontest.OrdersAPI)
	if !page.IsConsent() || strings.Contains(page.Body, "and nothing else") || !strings.Contains(page.Body, interactiontest.OrdersAPI) {
		t.Errorf("the page says %s", page.Body)
	}
	consent, err := w.Memory.GetConsent(t.Context(), "uid-alice", "uid-web")
	if err == nil {
		t.Errorf("there is a consent before the user said yes: %+v", consent)
	}
}

func TestAResourceServerThatIsCreatedAgainIsAskedForAgain(t *testing.T) {
	for name, request := range map[string][]string{
		"by scope":    {"scope", "openid " + interactiontest.ScopeReadOrders},
		"by resource": {"scope", "openid", "resource", interactiontest.OrdersAPI},
	} {
		t.Run(name, func(t *testing.T) {
			w := interactiontest.New(t)
			b := w.NewBrowser()
			b.Consent(ask(w, b, request...), "allow")
			if ask(w, b, request...).IsConsent() {
				t.Fatal("the consent is not remembered")
			}
			createAgain(t, w, orders(w))
			page := ask(w, b, request...)
			if !page.IsConsent() {
				t.Fatalf("the new resource server inherits the consent: %v", page.Values())
			}
			b.Consent(page, "allow")
			consent, err := w.Memory.GetConsent(t.Context(), "uid-alice", "uid-web")
			if err != nil || len(consent.APIs) != 1 || consent.APIs[0].UID != "uid-another" || consent.APIs[0].Identifier != interactiontest.OrdersAPI {
				t.Errorf("the consent is %+v, %v", consent, err)
			}
		})
	}
}

func TestAYesToAResourceServerIsNoneToOneThatIsCreatedAgainMeanwhile(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	page := ask(w, b, "scope", "openid", "resource", interactiontest.OrdersAPI)
	createAgain(t, w, orders(w))
	again := b.Consent(page, "allow")
	if !again.IsConsent() {
		t.Fatalf("the yes was taken for another object: %v", again.Values())
	}
	if consent, err := w.Memory.GetConsent(t.Context(), "uid-alice", "uid-web"); err == nil {
		t.Errorf("the consent is %+v", consent)
	}
	if b.Consent(again, "allow").Values().Get("code") == "" {
		t.Error("a yes to the new one is not taken")
	}
}

func TestASingleClaimOfARegisteredScopeIsAskedShownAndRemembered(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	b.Consent(ask(w, b, "scope", "openid"), "allow")
	const name = `{"userinfo":{"name":{"essential":true},"phone_number":null,"department":null,"sub":null}}`
	page := ask(w, b, "scope", "openid", "claims", name)
	if !page.IsConsent() || !strings.Contains(page.Body, "See your name") || !strings.Contains(page.Body, "<code>name</code>") {
		t.Fatalf("the page does not ask for the name: %v %s", page.Values(), page.Body)
	}
	for _, not := range []string{"phone_number", "department", "<code>profile</code>"} {
		if strings.Contains(page.Body, not) {
			t.Errorf("the page asks for %s, which the client has no scope for, or which no scope stands for", not)
		}
	}
	outcome, err := w.Redeem("web", b.Consent(page, "allow").Values().Get("code"), interactiontest.WebRedirect, "")
	if err != nil || !slices.Equal(outcome.Grant.Claims, []string{"name"}) || !slices.Equal(outcome.Scopes, []string{"openid"}) {
		t.Errorf("granted are the claims %v with the scopes %v: %v", outcome.Grant.Claims, outcome.Scopes, err)
	}
	consent, err := w.Memory.GetConsent(t.Context(), "uid-alice", "uid-web")
	if err != nil || !slices.Equal(consent.Claims, []string{"name"}) || !slices.Equal(consent.Scopes, []string{"openid"}) {
		t.Errorf("remembered are the claims %v with the scopes %v: %v", consent.Claims, consent.Scopes, err)
	}
	if page := ask(w, b, "scope", "openid", "claims", name, "prompt", "none"); page.Values().Get("code") == "" {
		t.Errorf("what the user allowed is asked again: %v", page.Values())
	}
	if !ask(w, b, "scope", "openid", "claims", `{"id_token":{"email":null}}`).IsConsent() {
		t.Error("another claim is not asked")
	}
	if !ask(w, b, "scope", "openid profile").IsConsent() {
		t.Error("the whole scope is not asked, since the user allowed one claim of it")
	}
	b.Consent(ask(w, b, "scope", "openid profile"), "allow")
	if ask(w, b, "scope", "openid", "claims", `{"userinfo":{"nickname":null}}`).IsConsent() {
		t.Error("a claim of a scope that the user allowed is asked again")
	}
}

func TestWithoutOpenIDNoSingleClaimIsAsked(t *testing.T) {
	w := interactiontest.New(t)
	page := ask(w, w.NewBrowser(), "scope", "email", "claims", `{"userinfo":{"name":null}}`)
	if !page.IsConsent() || strings.Contains(page.Body, "<code>name</code>") {
		t.Errorf("the page is %s", page.Body)
	}
}

func TestTheClaimsThatAClientIsToldWhateverTheScopeAreAskedShownAndRemembered(t *testing.T) {
	w := interactiontest.New(t)
	register := func(claims ...string) {
		client := w.Client("web")
		client.IDTokenClaims = claims
		w.Apply(client)
	}
	remembered := func() []string {
		consent, err := w.Memory.GetConsent(t.Context(), "uid-alice", "uid-web")
		if err != nil {
			t.Fatal(err)
		}
		return consent.Claims
	}
	b := w.NewBrowser()
	register("email")
	if page := ask(w, b, "scope", "openid email"); strings.Count(page.Body, "See your email address") != 1 {
		t.Errorf("a claim of a scope that is asked is not shown once: %s", page.Body)
	}
	register()
	b.Consent(ask(w, b, "scope", "openid"), "allow")
	register("groups", "department")
	page := ask(w, b, "scope", "openid")
	if !page.IsConsent() {
		t.Fatalf("what the client registered meanwhile is released without consent: %v", page.Values())
	}
	for _, shown := range []string{"See which groups you are in", "<code>groups</code>", "See this detail about you", "<code>department</code>"} {
		if !strings.Contains(page.Body, shown) {
			t.Errorf("the page does not say %q: %s", shown, page.Body)
		}
	}
	b.Consent(page, "allow")
	if got := remembered(); !slices.Equal(got, []string{"department", "groups"}) {
		t.Errorf("remembered are the claims %v", got)
	}
	if page := ask(w, b, "scope", "openid"); page.Values().Get("code") == "" {
		t.Errorf("what the user allowed is asked again: %s", page.Body)
	}
	if page := ask(w, b, "scope", "email"); strings.Contains(page.Body, "<code>groups</code>") {
		t.Errorf("without openid, which tells nothing of it, it is asked: %s", page.Body)
	}
	register("policy")
	b.Consent(ask(w, b, "scope", "openid"), "allow")
	if got := remembered(); !slices.Equal(got, []string{"groups", "policy"}) {
		t.Errorf("after another registration, remembered are the claims %v", got)
	}
	b.Consent(ask(w, b, "scope", "openid profile"), "allow")
	register("city")
	if page := ask(w, b, "scope", "openid"); page.Values().Get("code") == "" {
		t.Errorf("a claim of a scope that the user allowed is asked: %s", page.Body)
	}
}
