package logout_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/storagetest"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// logoutURL returns the URL of a logout request. Pairs are names and values.
func logoutURL(w *interactiontest.Server, pairs ...string) string {
	if len(pairs) == 0 {
		return w.Issuer + "/logout"
	}
	return w.Issuer + "/logout?" + values(pairs...).Encode()
}

func values(pairs ...string) url.Values {
	all := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		all.Add(pairs[i], pairs[i+1])
	}
	return all
}

// idToken returns an ID token of alice for the client web, as the server signs them.
func idToken(t *testing.T, w *interactiontest.Server, change func(claims map[string]any)) string {
	t.Helper()
	claims := map[string]any{
		"iss": w.Issuer, "sub": "subject-alice", "aud": "web", "iat": w.Now().Unix(), "exp": w.Now().Add(5 * time.Minute).Unix(),
	}
	if change != nil {
		change(claims)
	}
	token, err := w.Keys.Sign("RS256", "JWT", claims)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// newSignedInBrowser returns a browser in which alice is signed in.
func newSignedInBrowser(t *testing.T, w *interactiontest.Server) *interactiontest.Browser {
	t.Helper()
	b := w.NewBrowser()
	if b.SignIn(w.WebRequest()).Values().Get("code") == "" {
		t.Fatal("alice cannot sign in")
	}
	return b
}

// isSignedIn reports whether the user of the browser needs no login.
func isSignedIn(t *testing.T, b *interactiontest.Browser) bool {
	t.Helper()
	answer := b.Get(b.WebRequest("prompt", "none")).Values()
	switch {
	case answer.Get("code") != "":
		return true
	case answer.Get("error") == "login_required":
		return false
	}
	t.Fatalf("the answer is %v", answer)
	return false
}

// sessionCookie returns the cookie of the browser's session.
func sessionCookie(t *testing.T, b *interactiontest.Browser) *http.Cookie {
	t.Helper()
	issuer, err := url.Parse(b.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	for _, cookie := range b.Jar.Cookies(issuer) {
		if cookie.Name == web.CookiesOf(b.Issuer).Name("session") {
			return cookie
		}
	}
	return nil
}

// newThief returns another browser with a copy of the cookie.
func newThief(t *testing.T, w *interactiontest.Server, cookie *http.Cookie) *interactiontest.Browser {
	t.Helper()
	b := w.NewBrowser()
	issuer, err := url.Parse(w.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	b.Jar.SetCookies(issuer, []*http.Cookie{cookie})
	return b
}

// wantSignedOut fails the test unless an answer is the page that says that the session has ended.
func wantSignedOut(t *testing.T, what string, a interactiontest.Page) {
	t.Helper()
	if a.StatusCode != http.StatusOK || !strings.Contains(a.Body, "You are signed out") || a.Header.Get("Location") != "" {
		t.Errorf("%s: %d %s %s", what, a.StatusCode, a.Header.Get("Location"), a.Body)
	}
}

// wantNotSignedIn fails the test unless an answer is the page that says that there was no session.
func wantNotSignedIn(t *testing.T, what string, a interactiontest.Page) {
	t.Helper()
	if a.StatusCode != http.StatusOK || !strings.Contains(a.Body, "You are not signed in") || strings.Contains(a.Body, "signed out") ||
		a.Header.Get("Location") != "" {
		t.Errorf("%s: %d %s %s", what, a.StatusCode, a.Header.Get("Location"), a.Body)
	}
}

func TestTheUserIsAskedAndThenSignedOut(t *testing.T) {
	w := interactiontest.New(t)
	b := newSignedInBrowser(t, w)
	page := b.Get(logoutURL(w))
	if !page.IsLogout() || !strings.Contains(page.Body, "Alice Liddell") || !strings.Contains(page.Body, "alice") {
		t.Fatalf("the page is %d %s", page.StatusCode, page.Body)
	}
	if !isSignedIn(t, b) {
		t.Fatal("asking ended the session")
	}
	wantSignedOut(t, "after the yes", b.ConfirmLogout(page))
	if sessionCookie(t, b) != nil {
		t.Error("the browser keeps the cookie")
	}
	if isSignedIn(t, b) {
		t.Error("the session goes on")
	}
	wantNotSignedIn(t, "the form again", b.ConfirmLogout(page))
}

func TestACopyOfTheCookieIsDeadAfterLogout(t *testing.T) {
	w := interactiontest.New(t)
	b := newSignedInBrowser(t, w)
	copied := newThief(t, w, sessionCookie(t, b))
	if !isSignedIn(t, copied) {
		t.Fatal("the copy is none")
	}
	b.ConfirmLogout(b.Get(logoutURL(w)))
	if isSignedIn(t, copied) {
		t.Error("the copy is good after logout")
	}
}

func TestOneBrowsersLogoutIsNoOthers(t *testing.T) {
	w := interactiontest.New(t)
	here, there := newSignedInBrowser(t, w), newSignedInBrowser(t, w)
	here.ConfirmLogout(here.Get(logoutURL(w)))
	if !isSignedIn(t, there) {
		t.Error("the user was signed out in another browser")
	}
}

// requestTokens signs in with the browser and these scopes, and returns the tokens.
func requestTokens(t *testing.T, b *interactiontest.Browser, scope string) (access string, out grant.Result) {
	t.Helper()
	request, err := url.Parse(b.WebRequest())
	if err != nil {
		t.Fatal(err)
	}
	query := request.Query()
	query.Set("scope", scope)
	request.RawQuery = query.Encode()
	out, err = b.Redeem("web", b.SignIn(request.String()).Values().Get("code"), interactiontest.WebRedirect, "")
	if err != nil {
		t.Fatal(err)
	}
	client, _ := b.Registry.Client("web")
	minter := &mint.Minter{Keys: b.Keys, Registry: b.Registry, Now: b.Now}
	access, _, err = minter.AccessToken(mint.AccessTokenInput{
		Client: client, Subject: out.Grant.Subject, Audience: out.Audience, Scopes: out.Scopes,
		TokenID: mint.TokenID{Grant: out.Grant.ID, Incarnation: out.Grant.Incarnation},
	})
	if err != nil {
		t.Fatal(err)
	}
	return access, out
}

func isActive(t *testing.T, w *interactiontest.Server, access string) bool {
	t.Helper()
	_, err := w.Grants.CheckAccessToken(t.Context(), access)
	return err == nil
}

func canRefresh(t *testing.T, w *interactiontest.Server, out grant.Result) bool {
	t.Helper()
	client, _ := w.Registry.Client("web")
	_, err := w.Grants.Refresh(t.Context(), grant.RefreshRequest{Client: client, RefreshToken: out.RefreshToken})
	return err == nil
}

func TestLogoutEndsTheTokensOfTheSessionAndNotTheOfflineOnes(t *testing.T) {
	w := interactiontest.New(t)
	b, elsewhere := w.NewBrowser(), w.NewBrowser()
	online, onlineGrant := requestTokens(t, b, "openid profile")
	offline, offlineGrant := requestTokens(t, b, "openid profile offline_access")
	other, otherGrant := requestTokens(t, elsewhere, "openid profile")
	code := b.Get(w.WebRequest()).Values().Get("code")
	b.ConfirmLogout(b.Get(logoutURL(w)))
	if isActive(t, w, online) || canRefresh(t, w, onlineGrant) {
		t.Error("a token of the session is good after logout")
	}
	if _, err := w.Redeem("web", code, interactiontest.WebRedirect, ""); err == nil {
		t.Error("a code of the session is good after logout")
	}
	if !isActive(t, w, offline) || !canRefresh(t, w, offlineGrant) {
		t.Error("an offline token ended")
	}
	if !isActive(t, w, other) || !canRefresh(t, w, otherGrant) {
		t.Error("a token of another session ended")
	}
}

// Application A asks for a new login (prompt=login, max_age), or the session was idle. It is the
// same user, so application B keeps its access until the user signs out.
func TestALogoutEndsWhatCameFromEveryLoginOfTheUserInTheBrowser(t *testing.T) {
	for name, again := range map[string]func(*interactiontest.Server) string{
		"prompt=login": func(w *interactiontest.Server) string { return w.WebRequest("prompt", "login") },
		"max_age": func(w *interactiontest.Server) string {
			w.Advance(time.Minute)
			return w.WebRequest("max_age", "1")
		},
		"idle time": func(w *interactiontest.Server) string {
			w.Advance(w.Document.SessionIdleLifetime.Duration())
			return w.WebRequest()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := interactiontest.New(t)
			w.Document.RefreshToken.IdleLifetime = 24 * 3600
			w.Apply(w.Document)
			b := w.NewBrowser()
			_, first := requestTokens(t, b, "openid profile")
			cookies := []*http.Cookie{sessionCookie(t, b)}
			page := b.Login(b.Get(again(w)), "alice", interactiontest.AlicePassword)
			code := page.Values().Get("code")
			second, err := w.Redeem("web", code, interactiontest.WebRedirect, "")
			if err != nil {
				t.Fatal(err)
			}
			cookies = append(cookies, sessionCookie(t, b))
			implicit := b.SignIn(w.LegacyRequest("token")).Values().Get("access_token")
			if cookies[0].Value == cookies[1].Value {
				t.Fatal("there was no login")
			}
			if !canRefresh(t, w, first) || !canRefresh(t, w, second) || !isActive(t, w, implicit) {
				t.Fatal("a token ended with a login of the same user")
			}
			wantSignedOut(t, "after the yes", b.ConfirmLogout(b.Get(logoutURL(w))))
			if canRefresh(t, w, first) || canRefresh(t, w, second) || isActive(t, w, implicit) {
				t.Error("a token is good after logout")
			}
			for i, cookie := range cookies {
				if isSignedIn(t, newThief(t, w, cookie)) {
					t.Errorf("a copy of cookie %d is good after logout", i)
				}
			}
		})
	}
}

func TestALoginAsAnotherUserEndsTheSessionAtOnce(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	access, online := requestTokens(t, b, "openid profile")
	offlineAccess, offline := requestTokens(t, b, "openid profile offline_access")
	cookie := sessionCookie(t, b)
	page := b.Login(b.Get(w.WebRequest("prompt", "login")), "bob", interactiontest.BobPassword)
	if !page.IsConsent() {
		t.Fatalf("the answer is %d %s", page.StatusCode, page.Body)
	}
	if isActive(t, w, access) || canRefresh(t, w, online) {
		t.Error("a token of the session that was replaced is good")
	}
	if isSignedIn(t, newThief(t, w, cookie)) {
		t.Error("a copy of the cookie that was replaced is good")
	}
	if !isActive(t, w, offlineAccess) || !canRefresh(t, w, offline) {
		t.Error("an offline token ended")
	}
	b.Consent(page, "allow")
	if !isSignedIn(t, b) {
		t.Error("bob is not signed in")
	}
}

func TestALoginAsAnotherUserIsRefusedIfTheSessionBeforeCannotBeEnded(t *testing.T) {
	store := &storagetest.Faulty{}
	w := interactiontest.New(t, interactiontest.Store(store))
	b := newSignedInBrowser(t, w)
	action, fields := b.Get(w.WebRequest("prompt", "login")).Form(t)
	fields.Set("username", "bob")
	fields.Set("password", interactiontest.BobPassword)
	store.FailAll(storagetest.LostRequest)
	answer := b.PostOnce(action, fields)
	if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" || len(answer.Cookies()) != 0 {
		t.Errorf("the answer is %d, Retry-After %q, cookies %v", answer.StatusCode, answer.Header.Get("Retry-After"), answer.Cookies())
	}
	store.FailAll(storagetest.None)
	if !isSignedIn(t, b) {
		t.Error("alice is not signed in")
	}
	if page := b.Post(action, fields); !page.IsConsent() {
		t.Errorf("when it works again: %d %s", page.StatusCode, page.Body)
	}
}

// At the absolute end the last access token may just have been issued.
func TestASessionAtItsAbsoluteEndIsSignedOutToo(t *testing.T) {
	w := interactiontest.New(t)
	w.Document.AccessTokenLifetime = 2 * 3600
	w.Apply(w.Document)
	b := w.NewBrowser()
	for range 5 {
		b.SignIn(w.WebRequest())
		w.Advance(4 * time.Hour)
	}
	w.Advance(3 * time.Hour)
	access, _ := requestTokens(t, b, "openid profile")
	w.Advance(90 * time.Minute)
	if isSignedIn(t, b) || !isActive(t, w, access) {
		t.Fatal("the session is not over, or its last token is")
	}
	wantSignedOut(t, "a session that is over", b.ConfirmLogout(b.Get(logoutURL(w))))
	if isActive(t, w, access) {
		t.Error("its last access token is active after logout")
	}
}

// The session stays ended after it would have expired: the last access token may be valid a day
// longer.
func TestNothingComesBackOnceTheSessionIsForgotten(t *testing.T) {
	w := interactiontest.New(t)
	w.Document.AccessTokenLifetime = 24 * 3600
	w.Apply(w.Document)
	b := w.NewBrowser()
	b.SignIn(w.WebRequest())
	for range 5 {
		w.Advance(w.Document.SessionIdleLifetime.Duration() / 2)
		b.Get(w.WebRequest())
	}
	cookie := sessionCookie(t, b)
	access, _ := requestTokens(t, b, "openid profile")
	if !isActive(t, w, access) {
		t.Fatal("the token is not active")
	}
	b.ConfirmLogout(b.Get(logoutURL(w)))
	w.Document.SessionAbsoluteLifetime, w.Document.SessionIdleLifetime = 1000*3600, 1000*3600
	w.Apply(w.Document)
	for range 30 {
		w.Advance(time.Hour)
		if _, err := w.Memory.Sweep(t.Context(), w.Now()); err != nil {
			t.Fatal(err)
		}
		if isActive(t, w, access) {
			t.Fatal("an access token of the session is active again")
		}
		if isSignedIn(t, newThief(t, w, cookie)) {
			t.Fatal("the cookie is good again")
		}
	}
	for range 30 {
		w.Advance(time.Hour)
		if isSignedIn(t, newThief(t, w, cookie)) {
			t.Fatal("the cookie is good again")
		}
	}
}

// An idle session is not valid, but its tokens are.
func TestASessionThatWasIdleTooLongIsSignedOutToo(t *testing.T) {
	w := interactiontest.New(t)
	w.Document.RefreshToken.IdleLifetime = 24 * 3600
	w.Apply(w.Document)
	b := w.NewBrowser()
	_, out := requestTokens(t, b, "openid profile")
	w.Advance(w.Document.SessionIdleLifetime.Duration())
	if isSignedIn(t, b) {
		t.Fatal("the session is not idle")
	}
	wantSignedOut(t, "an idle session", b.ConfirmLogout(b.Get(logoutURL(w))))
	if canRefresh(t, w, out) {
		t.Error("its refresh token is good after logout")
	}
}

func TestAUserWhoIsNotServedAtTheMomentIsSignedOutForGood(t *testing.T) {
	w := interactiontest.New(t)
	b := newSignedInBrowser(t, w)
	alice := w.User("alice")
	w.Registry.Remove("identity/" + alice.Subject)
	page := b.Get(logoutURL(w, "id_token_hint", idToken(t, w, nil)))
	if !page.IsLogout() || strings.Contains(page.Body, "Signed in as") {
		t.Fatalf("the user is not asked: %d %s", page.StatusCode, page.Body)
	}
	wantSignedOut(t, "after the yes", b.ConfirmLogout(page))
	w.Apply(alice)
	if isSignedIn(t, b) {
		t.Error("the session is good again")
	}
}

// Cookies are SameSite=Lax: a browser sends none with what another site embeds or fetches, and the
// backend of an application has none. A request without the cookie ends nothing, and the response
// must not look as if it did.
func TestALogoutWithoutCookiesDoesNotSayThatTheUserIsSignedOut(t *testing.T) {
	w := interactiontest.New(t)
	b := newSignedInBrowser(t, w)
	hint := idToken(t, w, nil)
	without := func(dest string, pairs ...string) interactiontest.Page {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, logoutURL(w, pairs...), nil)
		if err != nil {
			t.Fatal(err)
		}
		if dest != "" {
			r.Header.Set("Sec-Fetch-Dest", dest)
		}
		return w.NewBrowser().Do(r)
	}
	for _, pairs := range [][]string{
		nil, {"id_token_hint", hint}, {"client_id", "web"}, {"id_token_hint", hint, "post_logout_redirect_uri", interactiontest.WebSignedOut},
	} {
		for _, dest := range []string{"iframe", "frame", "image", "empty", "script", "object"} {
			answer := without(dest, pairs...)
			if answer.StatusCode != http.StatusBadRequest || answer.Header.Get("Location") != "" ||
				!strings.Contains(answer.Body, "you may still be signed in") {
				t.Errorf("%v in %s: %d %s", pairs, dest, answer.StatusCode, answer.Header.Get("Location"))
			}
		}
		for _, dest := range []string{"", "document"} {
			if answer := without(dest, pairs...); len(pairs) > 2 {
				if answer.Header.Get("Location") != interactiontest.WebSignedOut {
					t.Errorf("%v, for %q: %d %s", pairs, dest, answer.StatusCode, answer.Header.Get("Location"))
				}
			} else {
				wantNotSignedIn(t, "without a cookie", answer)
			}
		}
	}
	if !isSignedIn(t, b) {
		t.Fatal("the session has ended")
	}
	wantSignedOut(t, "with the cookie", b.Get(logoutURL(w, "id_token_hint", hint)))
}

func TestALogoutIsOneWriteAndWithoutASessionNone(t *testing.T) {
	counted := &storagetest.Faulty{}
	w := interactiontest.New(t, interactiontest.Store(counted))
	b := newSignedInBrowser(t, w)
	copied := newThief(t, w, sessionCookie(t, b))
	before := counted.Writes()
	page := b.Get(logoutURL(w, "client_id", "web"))
	if n := counted.Writes() - before; n != 0 {
		t.Errorf("%d writes for a question", n)
	}
	b.ConfirmLogout(page)
	if n := counted.Writes() - before; n != 1 {
		t.Errorf("%d writes for a logout", n)
	}
	hint := idToken(t, w, nil)
	calls := counted.Calls("IsMarked")
	for _, stranger := range []*interactiontest.Browser{b, w.NewBrowser()} {
		for range 3 {
			wantNotSignedIn(t, "no session", stranger.Get(logoutURL(w)))
			wantNotSignedIn(t, "no session, with a hint", stranger.Get(logoutURL(w, "id_token_hint", hint)))
			wantNotSignedIn(t, "no session, posted", stranger.Post(logoutURL(w), values("id_token_hint", hint)))
			wantNotSignedIn(t, "no session, with the form", stranger.Post(page.Form(t)))
			if to := stranger.Get(logoutURL(w, "client_id", "web", "post_logout_redirect_uri", interactiontest.WebSignedOut, "state", "s")).Header.Get("Location"); to != interactiontest.WebSignedOut+"&state=s" {
				t.Errorf("a browser without a session is sent to %q", to)
			}
		}
	}
	if n := counted.Calls("IsMarked") - calls; n != 0 {
		t.Errorf("%d reads for who has no session", n)
	}
	wantNotSignedIn(t, "a copy", copied.Get(logoutURL(w, "id_token_hint", hint)))
	if n := counted.Writes() - before; n != 1 {
		t.Errorf("%d writes, want the one", n)
	}
}

func TestALogoutThatCannotBeWrittenIsNotPretended(t *testing.T) {
	store := &storagetest.Faulty{}
	w := interactiontest.New(t, interactiontest.Store(store))
	b := newSignedInBrowser(t, w)
	page := b.Get(logoutURL(w))
	for name, fail := range map[string]func(){
		"away":                       func() { store.FailAll(storagetest.Unavailable) },
		"away for the write":         func() { store.Fail("SetMark", storagetest.Unavailable) },
		"answers lost, again and on": func() { store.Fail("IsMarked", storagetest.None); store.FailAll(storagetest.LostRequest) },
	} {
		fail()
		answer := b.Post(page.Form(t))
		store.FailAll(storagetest.None)
		if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" || answer.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %d, Retry-After %q, Set-Cookie %q", name, answer.StatusCode, answer.Header.Get("Retry-After"), answer.Header.Get("Set-Cookie"))
		}
		if !isSignedIn(t, b) {
			t.Fatalf("%s: the session has ended", name)
		}
	}
	store.Fail("SetMark", storagetest.LostAnswer)
	wantSignedOut(t, "an answer that was lost once", b.ConfirmLogout(page))
	if isSignedIn(t, b) {
		t.Error("the session goes on")
	}
}

func TestNothingOfALogoutReachesTheLog(t *testing.T) {
	w := interactiontest.New(t)
	b := newSignedInBrowser(t, w)
	hint, cookie := idToken(t, w, nil), sessionCookie(t, b).Value
	page := b.Get(logoutURL(w, "id_token_hint", "needle-hint", "client_id", "needle-client", "state", "needle-state"))
	_, fields := page.Form(t)
	b.Get(logoutURL(w, "id_token_hint", hint, "post_logout_redirect_uri", "https://needle.example/", "logout_hint", "needle-hint"))
	if isSignedIn(t, b) {
		t.Fatal("the session goes on")
	}
	for _, secret := range []string{"needle", hint, cookie, fields.Get("logout")} {
		if strings.Contains(w.Log.String(), secret) {
			t.Errorf("%.20s is in the log", secret)
		}
	}
	if !strings.Contains(w.Log.String(), `"audit":"SessionEnded"`) || !strings.Contains(w.Log.String(), `"user":"uid-alice"`) {
		t.Error("the log does not say that the session ended")
	}
}
