package callback_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/test/browser"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
	"github.com/oauth-operator/oauth-operator/tokenserver/oidc/oidctest"
)

var sealed = regexp.MustCompile(`value="[^"]+"`)

// shown returns what a page shows, without what is different each time.
func shown(page browser.Page) string {
	return fmt.Sprint(page.StatusCode, " ", sealed.ReplaceAllString(page.Body, ""))
}

func TestAProviderThatARuleDoesNotNameChangesNothingForItsClients(t *testing.T) {
	f := newFixture(t)
	f.remove("acme")
	f.allow()
	b := f.NewBrowser()
	before := b.Get(f.WebRequest())
	if !before.IsLogin() {
		t.Fatalf("at %s: %d %s", before.At, before.StatusCode, before.Body)
	}
	f.serve(f.upstream, "acme")
	after := b.Get(f.WebRequest())
	if shown(before) != shown(after) {
		t.Errorf("the login page is\n%s\nand was\n%s", shown(after), shown(before))
	}
	if forced := b.Get(after.URL + "&way=acme"); !forced.IsLogin() {
		t.Errorf("the way is forced: at %s: %d %s", forced.At, forced.StatusCode, forced.Body)
	}

	// A user of the provider has a session, by another rule.
	f.allow("acme")
	visitor := f.NewBrowser()
	page := visitor.Consent(f.signIn(visitor, f.WebRequest()), "allow")
	code := page.Values().Get("code")
	if code == "" {
		t.Fatalf("at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
	f.allow()
	if page := visitor.Get(f.WebRequest()); !page.IsLogin() {
		t.Errorf("a living session: at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
	if page := visitor.Get(f.WebRequest("prompt", "none")); page.Values().Get("error") != "login_required" {
		t.Errorf("a living session, with prompt none: at %s", page.At)
	}
	if _, err := f.Redeem("web", code, interactiontest.WebRedirect, ""); err == nil {
		t.Error("a code is redeemed")
	}
}

func TestAProviderForAllClientsIsAWayForEachClientWhoseRuleNamesNone(t *testing.T) {
	f := newFixture(t)
	f.serve(f.upstream, "acme", func(d *documents.IdentityProvider) { d.AllClients = true })
	f.allow()
	if page := f.NewBrowser().Get(f.WebRequest()); page.Find("a", "id", "way-acme") == nil || page.Find("a", "id", "way-local") == nil {
		t.Errorf("at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
	f.allow(documents.LocalProvider)
	if page := f.NewBrowser().Get(f.WebRequest()); !page.IsLogin() || page.Find("a", "id", "other-ways") != nil {
		t.Errorf("at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
}

func TestNothingOfAProvidersAnswerIsKeptOrSaidButMappedClaims(t *testing.T) {
	f := newFixture(t)
	f.serve(f.upstream, "acme", func(d *documents.IdentityProvider) {
		d.Claims = map[string]string{"preferred_username": `"mapped"`}
	})
	f.upstream.SignInAs("upstream-subject")
	var idToken, accessToken string
	f.upstream.Behave(oidctest.Behaviour{
		IDToken: func(c map[string]any) { c["secret"] = "upstream-claim" },
		Token: func(r map[string]any) {
			idToken, accessToken = r["id_token"].(string), r["access_token"].(string)
			r["refresh_token"] = "upstream-refresh-token"
		},
	})
	b := f.NewBrowser()
	departure := f.depart(b, f.WebRequest())
	answer := f.answer(f.upstream, departure)
	code := strings.Split(strings.Split(answer, "code=")[1], "&")[0]
	page := b.Get(answer)
	seen := []string{page.Body, page.URL}
	for _, hop := range page.Redirects[1:] {
		seen = append(seen, hop.From, hop.To)
	}
	allowed := b.Consent(page, "allow")
	if _, err := f.Redeem("web", allowed.Values().Get("code"), interactiontest.WebRedirect, ""); err != nil {
		t.Fatal(err)
	}
	seen = append(seen, page.Redirects[0].To, allowed.At.String(), f.Log.String(), f.cookieHeader(b))
	grants := f.StoredGrants()
	if len(grants) != 1 {
		t.Fatalf("the grants are %+v", grants)
	}
	for _, g := range grants {
		identity, err := f.Memory.GetIdentity(t.Context(), g.UserUID)
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, fmt.Sprintf("%+v", identity), fmt.Sprintf("%+v", g))
	}
	metrics, err := f.Metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen = append(seen, fmt.Sprint(metrics))
	for _, secret := range []string{code, idToken, accessToken, "upstream-refresh-token", "upstream-subject", "upstream-claim", "alice@acme.example", oidctest.Secret} {
		for _, text := range seen {
			if secret == "" || strings.Contains(text, secret) {
				t.Errorf("%q is in %.300s", secret, text)
			}
		}
	}
}
