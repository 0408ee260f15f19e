package consent_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/storagetest"
)

func TestTheConsentPageSaysWhoAsksForWhatAndWhereItGoes(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	request := strings.Replace(w.WebRequest(), "scope=openid+profile", "scope=openid+orders%3Aread", 1)
	page := b.Login(b.Get(request), "alice", interactiontest.AlicePassword)
	for _, text := range []string{"Shop", ">web<", "See your orders", interactiontest.ScopeReadOrders, "Alice Liddell", "alice", "shop.example.com"} {
		if !strings.Contains(page.Body, text) {
			t.Errorf("the page does not say %q", text)
		}
	}
}

func TestDenyingIsAccessDenied(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	for _, decision := range []string{"deny", "", "ALLOW", "yes"} {
		page := b.Get(w.WebRequest())
		if page.IsLogin() {
			page = b.Login(page, "alice", interactiontest.AlicePassword)
		}
		action, fields := page.Form(t)
		fields.Set("decision", decision)
		values := b.Post(action, fields).Values()
		if values.Get("error") != "access_denied" || values.Get("state") != "some state" || values.Get("iss") != w.Issuer || values.Has("code") {
			t.Errorf("%q: answered %v", decision, values)
		}
	}
	if _, err := w.Memory.GetConsent(t.Context(), "uid-alice", "uid-web"); err == nil {
		t.Error("a no was remembered as a yes")
	}
}

func TestAConsentIsRememberedAndGrows(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	asked := func(scope string) bool {
		page := b.Get(strings.Replace(w.WebRequest(), "scope=openid+profile", "scope="+scope, 1))
		if page.IsLogin() {
			page = b.Login(page, "alice", interactiontest.AlicePassword)
		}
		if !page.IsConsent() {
			return false
		}
		b.Consent(page, "allow")
		return true
	}
	for _, c := range []struct {
		scope string
		asked bool
	}{{"openid", true}, {"openid", false}, {"openid+email", true}, {"openid", false}, {"openid+profile", true}, {"openid+email+profile", false}} {
		if got := asked(c.scope); got != c.asked {
			t.Errorf("%s: asked %v, want %v", c.scope, got, c.asked)
		}
	}
	consent, err := w.Memory.GetConsent(t.Context(), "uid-alice", "uid-web")
	if err != nil || !slices.Equal(consent.Scopes, []string{"openid", "email", "profile"}) {
		t.Errorf("remembered %v: %v", consent.Scopes, err)
	}
}

func TestAConsentShownToOneUserIsNoneOfAnother(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	shownToAlice := b.Login(b.Get(w.WebRequest()), "alice", interactiontest.AlicePassword)
	// Bob signs in from another tab of the same browser.
	b.Login(b.Get(w.WebRequest("prompt", "login")), "bob", interactiontest.BobPassword)
	again := b.Consent(shownToAlice, "allow")
	if !again.IsConsent() || !strings.Contains(again.Body, "<strong><bdi>bob</bdi></strong>") {
		t.Fatalf("alice's page was taken for bob's yes: %v %s", again.Values(), again.Body)
	}
	for _, user := range []string{"uid-alice", "uid-bob"} {
		if _, err := w.Memory.GetConsent(t.Context(), user, "uid-web"); err == nil {
			t.Errorf("%s has consented", user)
		}
	}
	outcome, err := w.Redeem("web", b.Consent(again, "allow").Values().Get("code"), interactiontest.WebRedirect, "")
	if err != nil || outcome.Grant.UserUID != "uid-bob" {
		t.Errorf("the code is %q's: %v", outcome.Grant.UserUID, err)
	}
}

func TestAConsentWithoutTheBrowsersCookieIsForbidden(t *testing.T) {
	w := interactiontest.New(t)
	owner, other := w.NewBrowser(), w.NewBrowser()
	other.Login(other.Get(w.WebRequest()), "bob", interactiontest.BobPassword)
	page := owner.Login(owner.Get(w.WebRequest()), "alice", interactiontest.AlicePassword)
	action, fields := page.Form(t)
	fields.Set("decision", "allow")
	for name, b := range map[string]*interactiontest.Browser{"no cookie": w.NewBrowser(), "another browser": other} {
		if answer := b.Post(action, fields); answer.StatusCode != http.StatusForbidden || answer.Values() != nil {
			t.Errorf("%s: status %d", name, answer.StatusCode)
		}
		if answer := b.Get(page.URL); answer.StatusCode != http.StatusForbidden {
			t.Errorf("%s: the link shows the page: %d", name, answer.StatusCode)
		}
	}
}

func TestAYesThatAnotherSitePostsIsForbidden(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	action, fields := b.Login(b.Get(w.WebRequest()), "alice", interactiontest.AlicePassword).Form(t)
	fields.Set("decision", "allow")
	for _, site := range []string{"cross-site", "same-site"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, action, strings.NewReader(fields.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", site)
		if answer := b.Do(r); answer.StatusCode != http.StatusForbidden || answer.Values() != nil {
			t.Errorf("%s: status %d", site, answer.StatusCode)
		}
	}
	if _, err := w.Memory.GetConsent(t.Context(), "uid-alice", "uid-web"); err == nil {
		t.Error("alice has consented")
	}
}

func TestTheLinkOfTheConsentPageIsNoYes(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	page := b.Login(b.Get(w.WebRequest()), "alice", interactiontest.AlicePassword)
	action, fields := page.Form(t)
	link := strings.TrimPrefix(page.URL, w.Issuer+"/consent?flow=")
	fields.Set("flow", link)
	fields.Set("decision", "allow")
	if answer := b.Post(action, fields); answer.StatusCode != http.StatusBadRequest {
		t.Errorf("a yes to a page that was not shown: %d %v", answer.StatusCode, answer.Values())
	}
}

func TestASessionThatEndedMeanwhileCannotConsent(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	page := b.Login(b.Get(w.WebRequest()), "alice", interactiontest.AlicePassword)
	user := w.User("alice")
	user.Epoch = "another"
	w.Apply(user)
	if answer := b.Consent(page, "allow"); !answer.IsLogin() {
		t.Errorf("status %d, %v", answer.StatusCode, answer.Values())
	}
}

func TestAScopeThatIsTakenAwayMeanwhileIsNotGranted(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	page := b.Login(b.Get(w.WebRequest()), "alice", interactiontest.AlicePassword)
	client := w.Client("web")
	client.Scopes = []string{"openid"}
	w.Apply(client)
	outcome, err := w.Redeem("web", b.Consent(page, "allow").Values().Get("code"), interactiontest.WebRedirect, "")
	if err != nil || !slices.Equal(outcome.Scopes, []string{"openid"}) {
		t.Errorf("granted %v: %v", outcome.Scopes, err)
	}
}

func TestAnotherAccountCanBeChosenInstead(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	page := b.Consent(b.Login(b.Get(w.WebRequest()), "alice", interactiontest.AlicePassword), "switch")
	answer := b.Consent(b.Login(page, "bob", interactiontest.BobPassword), "allow")
	outcome, err := w.Redeem("web", answer.Values().Get("code"), interactiontest.WebRedirect, "")
	if err != nil || outcome.Grant.UserUID != "uid-bob" {
		t.Errorf("the code is %q's: %v", outcome.Grant.UserUID, err)
	}
}

func TestAWithdrawnConsentIsAskedForAgainInTheSameFlow(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	answer := b.Consent(b.Login(b.Get(w.WebRequest()), "alice", interactiontest.AlicePassword), "allow")
	resume := answer.Redirects[len(answer.Redirects)-1].From
	if err := w.Memory.DeleteConsent(context.Background(), "uid-alice", "uid-web"); err != nil {
		t.Fatal(err)
	}
	if page := b.Get(resume); !page.IsConsent() {
		t.Errorf("the withdrawn consent still counts: %v", page.Values())
	}
}

func TestAConsentWhoseOutcomeIsUnknownIsReadAgain(t *testing.T) {
	for name, fault := range map[string]storagetest.Fault{"done": storagetest.LostAnswer, "not done": storagetest.LostRequest} {
		t.Run(name, func(t *testing.T) {
			store := &storagetest.Faulty{}
			w := interactiontest.New(t, interactiontest.Store(store))
			b := w.NewBrowser()
			page := b.Login(b.Get(w.WebRequest()), "alice", interactiontest.AlicePassword)
			store.Fail("PutConsent", fault)
			if answer := b.Consent(page, "allow"); answer.Values().Get("code") == "" {
				t.Fatalf("answered %d %v", answer.StatusCode, answer.Values())
			}
			if _, err := w.Memory.GetConsent(t.Context(), "uid-alice", "uid-web"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAConsentThatCannotBeStoredIsNotPretended(t *testing.T) {
	store := &storagetest.Faulty{}
	w := interactiontest.New(t, interactiontest.Store(store))
	b := w.NewBrowser()
	page := b.Login(b.Get(w.WebRequest()), "alice", interactiontest.AlicePassword)
	store.FailAll(storagetest.Unavailable)
	answer := b.Consent(page, "allow")
	if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, Retry-After %q", answer.StatusCode, answer.Header.Get("Retry-After"))
	}
	store.FailAll(storagetest.None)
	if answer = b.Consent(page, "allow"); answer.Values().Get("code") == "" {
		t.Errorf("the same form does not work later: %d %v", answer.StatusCode, answer.Values())
	}
}

func TestAnEndedSessionIsNone(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	outcome, err := w.Redeem("web", b.SignIn(w.WebRequest()).Values().Get("code"), interactiontest.WebRedirect, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Memory.SetMark(t.Context(), storage.Mark{Kind: storage.MarkSession, ID: outcome.Grant.SessionHash, ExpiresAt: w.Now().Add(1 << 40)}); err != nil {
		t.Fatal(err)
	}
	if page := b.Get(w.WebRequest()); !page.IsLogin() {
		t.Errorf("the session goes on: %v", page.Values())
	}
}
