package login_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/test/browser"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/password"
	"github.com/oauth-operator/oauth-operator/tokenserver/session"
)

const failure = "That username and password do not match. Check both and try again."

func TestAWrongPasswordAndAnUnknownUserGetTheSamePageForTheSameWork(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	page := b.Get(w.WebRequest())
	bodies := map[string]bool{}
	for _, c := range []struct{ username, password string }{
		{"alice", "wrong"}, {"unknown", "wrong"}, {"alice", interactiontest.BobPassword}, {"no user\x7f", "wrong"}, {strings.Repeat("u", 300), "wrong"},
	} {
		before := w.Passwords.CountHashed()
		answer := b.Login(page, c.username, c.password)
		if answer.StatusCode != http.StatusOK || !answer.IsLogin() || !strings.Contains(answer.Body, failure) {
			t.Errorf("%.20q: status %d: %s", c.username, answer.StatusCode, answer.Body)
		}
		if alert := answer.Find("p", "role", "alert"); alert == nil || answer.Find("input", "aria-describedby", "login-error") == nil {
			t.Error("the failure is not announced to a screen reader")
		}
		if len(answer.Cookies()) != 0 {
			t.Errorf("a failed login sets cookies: %v", answer.Cookies())
		}
		if work := w.Passwords.CountHashed() - before; work != 1 {
			t.Errorf("%.20q: %d passwords verified, want 1", c.username, work)
		}
		bodies[strings.ReplaceAll(strings.ReplaceAll(answer.Body, c.username, ""), escapeHTML(c.username), "")] = true
	}
	if len(bodies) != 1 {
		t.Errorf("there are %d different pages", len(bodies))
	}
}

func escapeHTML(s string) string { return strings.ReplaceAll(s, "\x7f", "&#127;") }

func TestALongPasswordIsRefusedBeforeItIsHashed(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	page := b.Get(w.WebRequest())
	for _, secret := range []string{strings.Repeat("p", password.MaxLength+1), ""} {
		before := w.Passwords.CountHashed()
		if answer := b.Login(page, "alice", secret); !strings.Contains(answer.Body, failure) {
			t.Errorf("status %d: %s", answer.StatusCode, answer.Body)
		}
		if work := w.Passwords.CountHashed() - before; work != 0 {
			t.Errorf("%d passwords verified, want none", work)
		}
	}
}

func TestAUsernameIsNormalized(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	if page := b.Login(b.Get(w.WebRequest()), "ALICE", interactiontest.AlicePassword); !page.IsConsent() {
		t.Errorf("ALICE is not alice: %d %s", page.StatusCode, page.Body)
	}
}

func TestAPasswordIsOneHoweverAKeyboardWritesItOnTheLoginPage(t *testing.T) {
	w := newServer(t)
	alice := w.User("alice")
	hash, err := password.Hash("cafe\u0301 au lait", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	alice.PasswordHash = hash
	w.Apply(alice)
	for _, typed := range []string{"caf\u00e9 au lait", "cafe\u0301\u00a0au\u3000lait"} {
		if page := guess(w, "alice", typed); !page.IsConsent() {
			t.Errorf("%+q is not her password: %d", typed, page.StatusCode)
		}
	}
}

func TestWhiteSpaceAroundAUsernameIsNoPartOfIt(t *testing.T) {
	w := interactiontest.New(t)
	for _, typed := range []string{"alice ", "\u00a0Alice\t"} {
		b := w.NewBrowser()
		if page := b.Login(b.Get(w.WebRequest()), typed, interactiontest.AlicePassword); !page.IsConsent() {
			t.Errorf("%q is not alice: %d %s", typed, page.StatusCode, page.Body)
		}
	}
}

func TestALoginWithoutTheBrowsersCookieIsForbidden(t *testing.T) {
	w := interactiontest.New(t)
	owner, victim := w.NewBrowser(), w.NewBrowser()
	victim.Get(w.WebRequest()) // has a cookie of its own
	page := owner.Get(w.WebRequest())
	action, fields := page.Form(t)
	fields.Set("username", "alice")
	fields.Set("password", interactiontest.AlicePassword)
	for name, b := range map[string]*interactiontest.Browser{"no cookie": w.NewBrowser(), "another browser": victim} {
		answer := b.Post(action, fields)
		if answer.StatusCode != http.StatusForbidden || len(answer.Cookies()) != 0 || !strings.Contains(answer.Body, pages.MessageFlowUnknown) {
			t.Errorf("%s: status %d, cookies %v", name, answer.StatusCode, answer.Cookies())
		}
		if answer = b.Get(page.URL); answer.StatusCode != http.StatusForbidden {
			t.Errorf("%s: the link shows the page: %d", name, answer.StatusCode)
		}
	}
	if work := w.Passwords.CountHashed(); work != 0 {
		t.Errorf("%d passwords verified for forbidden requests", work)
	}
	for _, flow := range []string{"", "x", "kid.AAAA"} {
		fields.Set("flow", flow)
		if answer := owner.Post(action, fields); answer.StatusCode != http.StatusBadRequest {
			t.Errorf("flow %q: status %d", flow, answer.StatusCode)
		}
	}
}

func TestAFormThatAnotherSitePostsIsForbidden(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	_, fields := b.Get(w.WebRequest()).Form(t)
	fields.Set("username", "alice")
	fields.Set("password", interactiontest.AlicePassword)
	for site, want := range map[string]int{"cross-site": http.StatusForbidden, "same-site": http.StatusForbidden, "same-origin": http.StatusOK} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.Issuer+"/login", strings.NewReader(fields.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", site)
		if answer := b.Do(r); answer.StatusCode != want {
			t.Errorf("%s: status %d, want %d", site, answer.StatusCode, want)
		}
	}
}

func TestTheRedirectsAfterALoginAndAConsentAreSeeOthers(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	login := b.Login(b.Get(w.WebRequest()), "alice", interactiontest.AlicePassword)
	consent := b.Consent(login, "allow")
	for form, hops := range map[string][]browser.Redirect{"login": login.Redirects, "consent": consent.Redirects} {
		if len(hops) == 0 || hops[0].Method != http.MethodPost || !strings.HasPrefix(hops[0].From, w.Issuer+"/"+form) {
			t.Fatalf("the %s form is not answered with a redirect: %v", form, hops)
		}
		for _, hop := range hops {
			if hop.Status != http.StatusSeeOther {
				t.Errorf("%s: %s to %s: status %d", form, hop.Method, hop.From, hop.Status)
			}
		}
	}
}

func TestTheSessionChangesAtEachLoginAndTheBrowsersCookieDoesNot(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	jar := func() map[string]string {
		u, _ := url.Parse(w.Issuer)
		values := map[string]string{}
		for _, c := range b.Jar.Cookies(u) {
			values[c.Name[strings.LastIndex(c.Name, "-")+1:]] = c.Value
		}
		return values
	}
	b.SignIn(w.WebRequest())
	before := jar()
	b.Login(b.Get(w.WebRequest("prompt", "login")), "alice", interactiontest.AlicePassword)
	after := jar()
	// The same session, sealed again, would be another value too.
	id := func(cookie string) string {
		plain, err := w.Keys.Open(keys.PurposeSession, cookie)
		if err != nil {
			t.Fatal(err)
		}
		var opened session.Session
		if err := json.Unmarshal(plain, &opened); err != nil || opened.ID == "" {
			t.Fatalf("the cookie holds %s (%v)", plain, err)
		}
		return opened.ID
	}
	if id(before["session"]) == id(after["session"]) {
		t.Error("the session is the same after another login")
	}
	if before["browser"] == "" || before["browser"] != after["browser"] {
		t.Error("the browser's cookie changed, so other tabs are lost")
	}
}

func TestAnotherPasswordOrUserEndsTheSession(t *testing.T) {
	w := interactiontest.New(t)
	for name, change := range map[string]func(){
		"epoch": func() {
			user := w.User("alice")
			user.Epoch = "another"
			w.Apply(user)
		},
		"uid": func() {
			user := w.User("alice")
			w.Registry.Remove("identity/" + user.Subject)
			w.Registry.Remove("username/alice")
			user.UID = "uid-another"
			w.Apply(user)
		},
	} {
		b := w.NewBrowser()
		b.SignIn(w.WebRequest())
		if page := b.Get(w.WebRequest()); page.IsLogin() {
			t.Fatal("no session")
		}
		change()
		if page := b.Get(w.WebRequest()); !page.IsLogin() {
			t.Errorf("%s: the session goes on: %v", name, page.Values())
		}
	}
}

func TestNoSecretReachesTheLog(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	b.Login(b.Get(w.WebRequest("login_hint", "hinted-name")), "typed-name", "typed-password")
	answer := b.SignIn(w.WebRequest("nonce", "secret-nonce"))
	implicit := b.SignIn(w.LegacyRequest("id_token token"))
	b.Get(w.Request("client_id", "unregistered-client"))
	b.Get(w.Issuer + "/login?flow=unknown-flow")
	secrets := []string{
		"typed-name", "typed-password", "hinted-name", "secret-nonce", "some state", "some+state", interactiontest.AlicePassword, "unregistered-client",
		"unknown-flow", "shop.example.com", answer.Values().Get("code"), implicit.Values().Get("access_token"), implicit.Values().Get("id_token"),
	}
	u, _ := url.Parse(w.Issuer)
	for _, c := range b.Jar.Cookies(u) {
		secrets = append(secrets, c.Value)
	}
	for _, hop := range answer.Redirects {
		if u, err := url.Parse(hop.To); err == nil && u.Query().Get("flow") != "" {
			secrets = append(secrets, u.Query().Get("flow"))
		}
	}
	log := w.Log.String()
	for _, secret := range secrets {
		if secret == "" || strings.Contains(log, secret) {
			t.Errorf("the log has %.40q", secret)
		}
	}
	if !strings.Contains(log, `"client":"web"`) || !strings.Contains(log, `"grant_type":"implicit"`) || !strings.Contains(log, `"error":"invalid_client"`) {
		t.Errorf("the log lacks what it should have: %s", log)
	}
}

func TestACookieOfOneKindCannotBeUsedAsAnother(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	b.SignIn(w.WebRequest())
	u, _ := url.Parse(w.Issuer)
	cookies := b.Jar.Cookies(u)
	if len(cookies) != 3 {
		t.Fatalf("%d cookies", len(cookies))
	}
	for shift := 1; shift < len(cookies); shift++ {
		swapped := w.NewBrowser()
		for i, c := range cookies {
			swapped.Jar.SetCookies(u, []*http.Cookie{{Name: c.Name, Value: cookies[(i+shift)%len(cookies)].Value, Path: "/"}})
		}
		if page := swapped.Get(w.WebRequest()); !page.IsLogin() || page.StatusCode != http.StatusOK {
			t.Errorf("a cookie of another purpose was taken: %d", page.StatusCode)
		}
	}
}

func TestCookiesOfAnHTTPSIssuerAreHostCookies(t *testing.T) {
	for name, c := range map[string]struct {
		options []interactiontest.Option
		secure  bool
	}{"http": {nil, false}, "https": {[]interactiontest.Option{interactiontest.TLS}, true}} {
		w := interactiontest.New(t, c.options...)
		b := w.NewBrowser()
		page := b.Get(w.WebRequest())
		action, fields := page.Form(t)
		fields.Set("username", "alice")
		fields.Set("password", interactiontest.AlicePassword)
		cookies := b.PostOnce(action, fields).Cookies()
		cookies = append(cookies, w.NewBrowser().GetOnce(w.WebRequest()).Cookies()...)
		if len(cookies) != 3 {
			t.Fatalf("%s: %d cookies, want those of the session, the device and the browser", name, len(cookies))
		}
		for _, cookie := range cookies {
			if cookie.Secure != c.secure || strings.HasPrefix(cookie.Name, "__Host-") != c.secure {
				t.Errorf("%s: %s, Secure %v", name, cookie.Name, cookie.Secure)
			}
			if !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode || cookie.Path != "/" || cookie.Domain != "" {
				t.Errorf("%s: %s", name, cookie)
			}
			if strings.Contains(cookie.Value, "alice") {
				t.Errorf("%s: the value is readable", name)
			}
		}
		if values := b.SignIn(w.WebRequest()).Values(); values.Get("code") == "" {
			t.Errorf("%s: no code: %v", name, values)
		}
	}
}

func TestAnIssuerWithAPathKeepsItsPagesBelowIt(t *testing.T) {
	w := interactiontest.New(t, interactiontest.Path("/tenant/one"))
	answer := w.NewBrowser().SignIn(w.WebRequest())
	if answer.Values().Get("code") == "" || answer.Values().Get("iss") != w.Issuer {
		t.Errorf("answered %v", answer.Values())
	}
	for _, hop := range answer.Redirects[:len(answer.Redirects)-1] {
		if !strings.HasPrefix(hop.To, w.Issuer+"/") {
			t.Errorf("led to %s", hop.To)
		}
	}
}

func TestATooBusyServerAsksToWait(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	page := b.Get(w.WebRequest())
	ctx, stop := context.WithCancel(t.Context())
	var crowd sync.WaitGroup
	for range 300 {
		crowd.Go(func() {
			for ctx.Err() == nil {
				if _, err := w.Passwords.Verify(ctx, password.Request{}); errors.Is(err, password.ErrBusy) {
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	defer crowd.Wait()
	defer stop()
	for range 50 {
		answer := b.Login(page, "alice", "wrong")
		if answer.StatusCode == http.StatusOK {
			continue
		}
		if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" || !strings.Contains(answer.Body, pages.MessageBusy) {
			t.Errorf("status %d, Retry-After %q: %s", answer.StatusCode, answer.Header.Get("Retry-After"), answer.Body)
		}
		return
	}
	t.Error("the queue has no end")
}
