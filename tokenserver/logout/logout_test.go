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

// endpoint is the URL of a logout request. Pairs are names and values.
func endpoint(w *interactiontest.Server, pairs ...string) string {
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

// idToken of alice for the client web, as the server signs them.
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

// signedIn is a browser in which alice is signed in.
func signedIn(t *testing.T, w *interactiontest.Server) *interactiontest.Browser {
	t.Helper()
	b := w.NewBrowser()
	if b.SignIn(w.WebRequest()).Values().Get("code") == "" {
		t.Fatal("alice cannot sign in")
	}
	return b
}

// isSignedIn says whether the browser's user needs no login.
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

// sessionCookie of the browser.
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

// thief is another browser with a copy of the cookie.
func thief(t *testing.T, w *interactiontest.Server, cookie *http.Cookie) *interactiontest.Browser {
	t.Helper()
	b := w.NewBrowser()
	issuer, err := url.Parse(w.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	b.Jar.SetCookies(issuer, []*http.Cookie{cookie})
	return b
}

// isSignedOut reports an answer that is not the page that says so.
func isSignedOut(t *testing.T, what string, a interactiontest.Page) {
	t.Helper()
	if a.StatusCode != http.StatusOK || !strings.Contains(a.Body, "You are signed out") || a.Header.Get("Location") != "" {
		t.Errorf("%s: %d %s %s", what, a.StatusCode, a.Header.Get("Location"), a.Body)
	}
}

// isNotSignedIn reports an answer that is not the page that says that there was no session to end.
func isNotSignedIn(t *testing.T, what string, a interactiontest.Page) {
	t.Helper()
	if a.StatusCode != http.StatusOK || !strings.Contains(a.Body, "You are not signed in") || strings.Contains(a.Body, "signed out") ||
		a.Header.Get("Location") != "" {
		t.Errorf("%s: %d %s %s", what, a.StatusCode, a.Header.Get("Location"), a.Body)
	}
}

func TestTheUserIsAskedAndThenSignedOut(t *testing.T) {
	w := interactiontest.New(t)
	b := signedIn(t, w)
	page := b.Get(endpoint(w))
	if !page.IsLogout() || !strings.Contains(page.Body, "Alice Liddell") || !strings.Contains(page.Body, "alice") {
		t.Fatalf("the page is %d %s", page.StatusCode, page.Body)
	}
	if !isSignedIn(t, b) {
		t.Fatal("asking ended the session")
	}
	isSignedOut(t, "after the yes", b.ConfirmLogout(page))
	if sessionCookie(t, b) != nil {
		t.Error("the browser keeps the cookie")
	}
	if isSignedIn(t, b) {
		t.Error("the session goes on")
	}
	isNotSignedIn(t, "the form again", b.ConfirmLogout(page))
}

func TestACopyOfTheCookieIsDeadAfterLogout(t *testing.T) {
	w := interactiontest.New(t)
	b := signedIn(t, w)
	copied := thief(t, w, sessionCookie(t, b))
	if !isSignedIn(t, copied) {
		t.Fatal("the copy is none")
	}
	b.ConfirmLogout(b.Get(endpoint(w)))
	if isSignedIn(t, copied) {
		t.Error("the copy is good after logout")
	}
}

func TestOneBrowsersLogoutIsNoOthers(t *testing.T) {
	w := interactiontest.New(t)
	here, there := signedIn(t, w), signedIn(t, w)
	here.ConfirmLogout(here.Get(endpoint(w)))
	if !isSignedIn(t, there) {
		t.Error("the user was signed out in another browser")
	}
}

// tokens of a sign-in in the browser with these scopes.
func tokens(t *testing.T, b *interactiontest.Browser, scope string) (access string, out grant.Result) {
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

func active(t *testing.T, w *interactiontest.Server, access string) bool {
	t.Helper()
	_, err := w.Grants.CheckAccessToken(t.Context(), access)
	return err == nil
}

func refreshes(t *testing.T, w *interactiontest.Server, out grant.Result) bool {
	t.Helper()
	client, _ := w.Registry.Client("web")
	_, err := w.Grants.Refresh(t.Context(), grant.RefreshRequest{Client: client, RefreshToken: out.RefreshToken})
	return err == nil
}

func TestLogoutEndsTheTokensOfTheSessionAndNotTheOfflineOnes(t *testing.T) {
	w := interactiontest.New(t)
	b, elsewhere := w.NewBrowser(), w.NewBrowser()
	online, onlineGrant := tokens(t, b, "openid profile")
	offline, offlineGrant := tokens(t, b, "openid profile offline_access")
	other, otherGrant := tokens(t, elsewhere, "openid profile")
	code := b.Get(w.WebRequest()).Values().Get("code")
	b.ConfirmLogout(b.Get(endpoint(w)))
	if active(t, w, online) || refreshes(t, w, onlineGrant) {
		t.Error("a token of the session is good after logout")
	}
	if _, err := w.Redeem("web", code, interactiontest.WebRedirect, ""); err == nil {
		t.Error("a code of the session is good after logout")
	}
	if !active(t, w, offline) || !refreshes(t, w, offlineGrant) {
		t.Error("an offline token ended")
	}
	if !active(t, w, other) || !refreshes(t, w, otherGrant) {
		t.Error("a token of another session ended")
	}
}

// Application A wants to see a login (prompt=login, max_age) or the session was idle: it is the
// same user, and application B keeps its access until they sign out.
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
			_, first := tokens(t, b, "openid profile")
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
			if !refreshes(t, w, first) || !refreshes(t, w, second) || !active(t, w, implicit) {
				t.Fatal("a token ended with a login of the same user")
			}
			isSignedOut(t, "after the yes", b.ConfirmLogout(b.Get(endpoint(w))))
			if refreshes(t, w, first) || refreshes(t, w, second) || active(t, w, implicit) {
				t.Error("a token is good after logout")
			}
			for i, cookie := range cookies {
				if isSignedIn(t, thief(t, w, cookie)) {
					t.Errorf("a copy of cookie %d is good after logout", i)
				}
			}
		})
	}
}

func TestALoginAsAnotherUserEndsTheSessionAtOnce(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	access, online := tokens(t, b, "openid profile")
	offlineAccess, offline := tokens(t, b, "openid profile offline_access")
	cookie := sessionCookie(t, b)
	page := b.Login(b.Get(w.WebRequest("prompt", "login")), "bob", interactiontest.BobPassword)
	if !page.IsConsent() {
		t.Fatalf("the answer is %d %s", page.StatusCode, page.Body)
	}
	if active(t, w, access) || refreshes(t, w, online) {
		t.Error("a token of the session that was replaced is good")
	}
	if isSignedIn(t, thief(t, w, cookie)) {
		t.Error("a copy of the cookie that was replaced is good")
	}
	if !active(t, w, offlineAccess) || !refreshes(t, w, offline) {
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
	b := signedIn(t, w)
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
	access, _ := tokens(t, b, "openid profile")
	w.Advance(90 * time.Minute)
	if isSignedIn(t, b) || !active(t, w, access) {
		t.Fatal("the session is not over, or its last token is")
	}
	isSignedOut(t, "a session that is over", b.ConfirmLogout(b.Get(endpoint(w))))
	if active(t, w, access) {
		t.Error("its last access token is active after logout")
	}
}

// What ended stays dead when the session would have ended by itself: the last access token may live
// a day longer.
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
	access, _ := tokens(t, b, "openid profile")
	if !active(t, w, access) {
		t.Fatal("the token is not active")
	}
	b.ConfirmLogout(b.Get(endpoint(w)))
	w.Document.SessionAbsoluteLifetime, w.Document.SessionIdleLifetime = 1000*3600, 1000*3600
	w.Apply(w.Document)
	for range 30 {
		w.Advance(time.Hour)
		if _, err := w.Memory.Sweep(t.Context(), w.Now()); err != nil {
			t.Fatal(err)
		}
		if active(t, w, access) {
			t.Fatal("an access token of the session is active again")
		}
		if isSignedIn(t, thief(t, w, cookie)) {
			t.Fatal("the cookie is good again")
		}
	}
	for range 30 {
		w.Advance(time.Hour)
		if isSignedIn(t, thief(t, w, cookie)) {
			t.Fatal("the cookie is good again")
		}
	}
}

// An idle session signs nobody in, but its tokens live on.
func TestASessionThatWasIdleTooLongIsSignedOutToo(t *testing.T) {
	w := interactiontest.New(t)
	w.Document.RefreshToken.IdleLifetime = 24 * 3600
	w.Apply(w.Document)
	b := w.NewBrowser()
	_, out := tokens(t, b, "openid profile")
	w.Advance(w.Document.SessionIdleLifetime.Duration())
	if isSignedIn(t, b) {
		t.Fatal("the session is not idle")
	}
	isSignedOut(t, "an idle session", b.ConfirmLogout(b.Get(endpoint(w))))
	if refreshes(t, w, out) {
		t.Error("its refresh token is good after logout")
	}
}

func TestAUserWhoIsNotServedAtTheMomentIsSignedOutForGood(t *testing.T) {
	w := interactiontest.New(t)
	b := signedIn(t, w)
	alice := w.User("alice")
	w.Registry.Remove("identity/" + alice.Subject)
	page := b.Get(endpoint(w, "id_token_hint", idToken(t, w, nil)))
	if !page.IsLogout() || strings.Contains(page.Body, "Signed in as") {
		t.Fatalf("the user is not asked: %d %s", page.StatusCode, page.Body)
	}
	isSignedOut(t, "after the yes", b.ConfirmLogout(page))
	w.Apply(alice)
	if isSignedIn(t, b) {
		t.Error("the session is good again")
	}
}

// Cookies are SameSite=Lax: a browser sends none with what another site embeds or fetches, and no
// program of an application has any. What comes without the session's cookie has ended nothing, and
// must not look as if it had.
func TestALogoutWithoutCookiesDoesNotSayThatTheUserIsSignedOut(t *testing.T) {
	w := interactiontest.New(t)
	b := signedIn(t, w)
	hint := idToken(t, w, nil)
	without := func(dest string, pairs ...string) interactiontest.Page {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, endpoint(w, pairs...), nil)
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
				isNotSignedIn(t, "without a cookie", answer)
			}
		}
	}
	if !isSignedIn(t, b) {
		t.Fatal("the session has ended")
	}
	isSignedOut(t, "with the cookie", b.Get(endpoint(w, "id_token_hint", hint)))
}

func TestALogoutIsOneWriteAndWithoutASessionNone(t *testing.T) {
	counted := &storagetest.Faulty{}
	w := interactiontest.New(t, interactiontest.Store(counted))
	b := signedIn(t, w)
	copied := thief(t, w, sessionCookie(t, b))
	before := counted.Writes()
	page := b.Get(endpoint(w, "client_id", "web"))
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
			isNotSignedIn(t, "nobody", stranger.Get(endpoint(w)))
			isNotSignedIn(t, "nobody, with a hint", stranger.Get(endpoint(w, "id_token_hint", hint)))
			isNotSignedIn(t, "nobody, posted", stranger.Post(endpoint(w), values("id_token_hint", hint)))
			isNotSignedIn(t, "nobody, with the form", stranger.Post(page.Form(t)))
			if to := stranger.Get(endpoint(w, "client_id", "web", "post_logout_redirect_uri", interactiontest.WebSignedOut, "state", "s")).Header.Get("Location"); to != interactiontest.WebSignedOut+"&state=s" {
				t.Errorf("nobody is sent to %q", to)
			}
		}
	}
	if n := counted.Calls("IsMarked") - calls; n != 0 {
		t.Errorf("%d reads for who has no session", n)
	}
	isNotSignedIn(t, "a copy", copied.Get(endpoint(w, "id_token_hint", hint)))
	if n := counted.Writes() - before; n != 1 {
		t.Errorf("%d writes, want the one", n)
	}
}

func TestALogoutThatCannotBeWrittenIsNotPretended(t *testing.T) {
	store := &storagetest.Faulty{}
	w := interactiontest.New(t, interactiontest.Store(store))
	b := signedIn(t, w)
	page := b.Get(endpoint(w))
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
	isSignedOut(t, "an answer that was lost once", b.ConfirmLogout(page))
	if isSignedIn(t, b) {
		t.Error("the session goes on")
	}
}

func TestNothingOfALogoutReachesTheLog(t *testing.T) {
	w := interactiontest.New(t)
	b := signedIn(t, w)
	hint, cookie := idToken(t, w, nil), sessionCookie(t, b).Value
	page := b.Get(endpoint(w, "id_token_hint", "needle-hint", "client_id", "needle-client", "state", "needle-state"))
	_, fields := page.Form(t)
	b.Get(endpoint(w, "id_token_hint", hint, "post_logout_redirect_uri", "https://needle.example/", "logout_hint", "needle-hint"))
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
