package callback_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/oauth-operator/oauth-operator/test/browser"
	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// redeem returns the tokens of a sign-in whose user consents where the browser is asked to.
func (f *fixture) redeem(b *interactiontest.Browser, page browser.Page) grant.Result {
	f.T.Helper()
	if page.IsConsent() {
		page = b.Consent(page, "allow")
	}
	tokens, err := f.Redeem("web", page.Values().Get("code"), interactiontest.WebRedirect, "")
	if err != nil {
		f.T.Fatalf("at %s: %d: %v", page.At, page.StatusCode, err)
	}
	return tokens
}

func (f *fixture) canRefresh(tokens grant.Result) bool {
	f.T.Helper()
	client, _ := f.Registry.Client("web")
	_, err := f.Grants.Refresh(f.T.Context(), grant.RefreshRequest{Client: client, RefreshToken: tokens.RefreshToken})
	return err == nil
}

// copyOf returns another browser with a copy of the cookie of the session.
func (f *fixture) copyOf(b *interactiontest.Browser) *interactiontest.Browser {
	f.T.Helper()
	issuer, err := url.Parse(f.Issuer)
	if err != nil {
		f.T.Fatal(err)
	}
	thief := f.NewBrowser()
	for _, cookie := range b.Jar.Cookies(issuer) {
		if cookie.Name == web.CookiesOf(f.Issuer).Name("session") {
			thief.Jar.SetCookies(issuer, []*http.Cookie{{Name: cookie.Name, Value: cookie.Value, Path: "/", Secure: true}})
		}
	}
	if !f.hasSession(thief) {
		f.T.Fatal("the browser has no session")
	}
	return thief
}

func TestASignInAtAProviderGoesOnWithTheSessionOfItsUserAndEndsThatOfAnother(t *testing.T) {
	f := newFixture(t)
	b := f.NewBrowser()
	first := f.redeem(b, f.signIn(b, f.WebRequest()))
	thief := f.copyOf(b)
	again := f.redeem(b, f.signIn(b, f.WebRequest("prompt", "select_account")))
	if !f.canRefresh(first) || !f.canRefresh(again) || !f.hasSession(thief) {
		t.Fatal("something ended when the same user signed in again")
	}

	f.upstream.SignInAs("bob")
	bob := f.redeem(b, f.signIn(b, f.WebRequest("prompt", "select_account")))
	if f.canRefresh(first) || f.canRefresh(again) || f.hasSession(thief) {
		t.Error("what came from the session that another user of the provider replaced is good")
	}

	thief = f.copyOf(b)
	f.allow("local")
	local := f.redeem(b, b.Login(b.Get(f.WebRequest()), "alice", interactiontest.AlicePassword))
	f.allow("acme", "local")
	if f.canRefresh(bob) || f.hasSession(thief) {
		t.Error("what came from the session that an OAuthUser replaced is good")
	}

	thief = f.copyOf(b)
	f.allow("acme")
	last := f.redeem(b, f.signIn(b, f.WebRequest()))
	f.allow("acme", "local")
	if f.canRefresh(local) || f.hasSession(thief) {
		t.Error("what came from the session of an OAuthUser that a user of the provider replaced is good")
	}

	thief = f.copyOf(b)
	b.ConfirmLogout(b.Get(f.Issuer + "/logout"))
	if f.canRefresh(last) || f.hasSession(thief) || f.hasSession(b) {
		t.Error("what came from the last session is good after logout")
	}
}
