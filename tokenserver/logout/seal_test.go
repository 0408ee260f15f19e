package logout_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
)

// A user can get a form for the own session, and must not be able to end another session with it.
func TestAYesIsGoodForTheSessionThatWasShownAlone(t *testing.T) {
	w := interactiontest.New(t)
	attacker, victim := newSignedInBrowser(t, w), newSignedInBrowser(t, w)
	action, fields := attacker.Get(logoutURL(w, "client_id", "web", "post_logout_redirect_uri", interactiontest.WebSignedOut)).Form(t)
	page := victim.Post(action, fields)
	if !page.IsLogout() {
		t.Errorf("the answer is %d %s", page.StatusCode, page.Header.Get("Location"))
	}
	if !isSignedIn(t, victim) || !isSignedIn(t, attacker) {
		t.Fatal("a user was signed out")
	}
	if goes := victim.ConfirmLogout(page).Header.Get("Location"); goes != interactiontest.WebSignedOut || isSignedIn(t, victim) {
		t.Errorf("after a yes of their own the user goes to %q", goes)
	}
	if !isSignedIn(t, attacker) {
		t.Error("the other session has ended")
	}
}

func TestAYesThatAnotherSitePostsIsForbidden(t *testing.T) {
	w := interactiontest.New(t)
	b := newSignedInBrowser(t, w)
	action, fields := b.Get(logoutURL(w)).Form(t)
	post := func(site string) interactiontest.Page {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, action, strings.NewReader(fields.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", site)
		return b.Do(r)
	}
	for _, site := range []string{"cross-site", "same-site"} {
		if got := post(site); got.StatusCode != http.StatusForbidden || !isSignedIn(t, b) {
			t.Errorf("%s: %d", site, got.StatusCode)
		}
	}
	wantSignedOut(t, "a form of the page itself", post("same-origin"))
	if isSignedIn(t, b) {
		t.Error("the session goes on")
	}
}

func TestAYesThatWasNotAskedForIsNone(t *testing.T) {
	w, elsewhere := interactiontest.New(t), interactiontest.New(t)
	b := newSignedInBrowser(t, w)
	_, fields := b.Get(logoutURL(w)).Form(t)
	good := fields.Get("logout")
	plain, err := w.Keys.Open(keys.PurposeLogout, good)
	if err != nil {
		t.Fatal(err)
	}
	hostile := map[string]string{"a word": "yes", "the session's cookie": sessionCookie(t, b).Value}
	for _, purpose := range []keys.Purpose{keys.PurposeFlow, keys.PurposePost, keys.PurposeSession, keys.PurposeBrowser} {
		if hostile["sealed for "+string(purpose)], err = w.Keys.Seal(purpose, plain); err != nil {
			t.Fatal(err)
		}
	}
	// The two issuers share their sealing key. What tells them apart is the issuer in what is
	// sealed.
	if hostile["sealed elsewhere"], err = elsewhere.Keys.Seal(keys.PurposeLogout, plain); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(good); i += 31 {
		edited := []byte(good)
		edited[i] ^= 1
		hostile["edited at "+string(rune('a'+i/31))] = string(edited)
	}
	for name, value := range hostile {
		if answer := b.Post(logoutURL(w), url.Values{"logout": {value}}); answer.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %d", name, answer.StatusCode)
		}
	}
	if !isSignedIn(t, b) {
		t.Fatal("the session has ended")
	}
	w.Advance(31 * time.Minute)
	if answer := b.Post(logoutURL(w), fields); answer.StatusCode != http.StatusBadRequest || !isSignedIn(t, b) {
		t.Errorf("half an hour later the answer is %d", answer.StatusCode)
	}
}

func TestTheRequestThatFitsIntoNoFormIsRefused(t *testing.T) {
	w := interactiontest.New(t)
	b := newSignedInBrowser(t, w)
	for size, want := range map[int]int{2 << 10: http.StatusOK, 14 << 10: http.StatusBadRequest} {
		answer := b.Get(logoutURL(w, "client_id", "web", "post_logout_redirect_uri", interactiontest.WebSignedOut, "state", strings.Repeat("s", size)))
		if answer.StatusCode != want {
			t.Errorf("a state of %d bytes is answered with %d", size, answer.StatusCode)
		}
	}
}

func TestTheLogoutPageIsNeitherFramedNorStoredAndLetsTheBrowserGoOn(t *testing.T) {
	w := interactiontest.New(t)
	b := newSignedInBrowser(t, w)
	page := b.Get(logoutURL(w, "client_id", "web", "post_logout_redirect_uri", interactiontest.WebSignedOut))
	for _, a := range []interactiontest.Page{page, b.ConfirmLogout(b.Get(logoutURL(w)))} {
		for header, want := range map[string]string{
			"X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "Access-Control-Allow-Origin": "",
		} {
			if got := a.Header.Get(header); got != want {
				t.Errorf("%s: %s is %q", a.URL, header, got)
			}
		}
		if policy := a.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "frame-ancestors 'none'") || !strings.Contains(policy, "default-src 'none'") {
			t.Errorf("the policy is %q", policy)
		}
	}
	if policy := page.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "form-action 'self' https://shop.example.com") {
		t.Errorf("the policy stops the redirect after the form: %q", policy)
	}
	if !strings.Contains(page.Body, "shop.example.com") {
		t.Error("the page does not say where the user goes")
	}
}

func TestBeforeTheFirstSyncThereIsAPageThatSaysToWait(t *testing.T) {
	w := interactiontest.New(t)
	w.Registry.Remove("identity/" + w.Issuer)
	if answer := w.NewBrowser().Get(logoutURL(w)); answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
		t.Errorf("the answer is %d", answer.StatusCode)
	}
}
