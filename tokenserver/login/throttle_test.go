package login_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// newServer returns a server that verifies passwords fast, since the tests try many.
func newServer(t *testing.T) *interactiontest.Server {
	t.Helper()
	w := interactiontest.New(t)
	for name, secret := range map[string]string{"alice": interactiontest.AlicePassword, "bob": interactiontest.BobPassword} {
		hash, err := bcrypt.GenerateFromPassword([]byte(secret), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		user := w.User(name)
		user.PasswordHash = string(hash)
		w.Apply(user)
	}
	return w
}

// guess tries a password with a new browser.
func guess(w *interactiontest.Server, username, secret string) interactiontest.Page {
	b := w.NewBrowser()
	return b.Login(b.Get(w.WebRequest()), username, secret)
}

// wantWait fails the test unless an answer is the login page with a message that says when to try
// again, and nothing was hashed for it.
func wantWait(t *testing.T, what string, answer interactiontest.Page, work int64, seconds, words string) {
	t.Helper()
	if answer.StatusCode != http.StatusTooManyRequests || answer.Header.Get("Retry-After") != seconds ||
		!strings.Contains(answer.Body, "Wait "+words+", then try again.") || strings.Contains(answer.Body, failure) {
		t.Errorf("%s: status %d, Retry-After %q: %s", what, answer.StatusCode, answer.Header.Get("Retry-After"), answer.Body)
	}
	if answer.Find("p", "role", "alert") == nil || answer.Find("input", "id", "password") == nil || len(answer.Cookies()) != 0 {
		t.Errorf("%s: not the form with an alert: %s", what, answer.Body)
	}
	if work != 0 {
		t.Errorf("%s: %d passwords were hashed, want none", what, work)
	}
}

func TestWhileOthersGuessAStrangerWaitsAndTheOwnersBrowserGetsIn(t *testing.T) {
	w := newServer(t)
	owner := w.NewBrowser()
	if page := owner.Login(owner.Get(w.WebRequest()), "alice", interactiontest.AlicePassword); !page.IsConsent() {
		t.Fatalf("status %d", page.StatusCode)
	}
	for range 10 {
		if answer := guess(w, "alice", "wrong"); !strings.Contains(answer.Body, failure) {
			t.Fatalf("status %d: %s", answer.StatusCode, answer.Body)
		}
	}
	for what, secret := range map[string]string{"a wrong password": "wrong", "the right password": interactiontest.AlicePassword} {
		before := w.Passwords.CountHashed()
		wantWait(t, what, guess(w, "ALICE", secret), w.Passwords.CountHashed()-before, "1", "1 second")
	}
	again := w.WebRequest("prompt", "login")
	if page := owner.Login(owner.Get(again), "alice", interactiontest.AlicePassword); page.IsLogin() || page.StatusCode != http.StatusOK {
		t.Errorf("the owner's browser is kept out: %d %s", page.StatusCode, page.Body)
	}
	// For bob, the browser is unknown.
	for range 10 {
		guess(w, "bob", "wrong")
	}
	before := w.Passwords.CountHashed()
	wantWait(t, "bob with alice's browser", owner.Login(owner.Get(again), "bob", interactiontest.BobPassword), w.Passwords.CountHashed()-before, "1", "1 second")
	w.Advance(time.Second)
	if page := guess(w, "bob", interactiontest.BobPassword); !page.IsConsent() {
		t.Errorf("after the wait: %d %s", page.StatusCode, page.Body)
	}
}

// A thief who knew the password has signed in with it, and the owner has changed it since. The
// thief's browser must not be known any more.
func TestAChangedPasswordEndsWhatADeviceCookieIsGoodFor(t *testing.T) {
	w := newServer(t)
	thief := w.NewBrowser()
	if page := thief.Login(thief.Get(w.WebRequest()), "alice", interactiontest.AlicePassword); !page.IsConsent() {
		t.Fatalf("status %d", page.StatusCode)
	}
	alice := w.User("alice")
	alice.Epoch = "after the change"
	w.Apply(alice)
	for range 10 {
		guess(w, "alice", "wrong")
	}
	before := w.Passwords.CountHashed()
	answer := thief.Login(thief.Get(w.WebRequest()), "alice", "another guess")
	wantWait(t, "the thief's browser", answer, w.Passwords.CountHashed()-before, "1", "1 second")
}

func TestAUserWhoSignsInTooOftenIsToldToWait(t *testing.T) {
	w := newServer(t)
	for range 30 {
		if page := guess(w, "alice", interactiontest.AlicePassword); !page.IsConsent() {
			t.Fatalf("status %d", page.StatusCode)
		}
	}
	answer := guess(w, "alice", interactiontest.AlicePassword)
	if answer.StatusCode != http.StatusTooManyRequests || answer.Header.Get("Retry-After") != "600" || len(answer.Cookies()) != 0 ||
		answer.Find("p", "role", "alert") == nil || !strings.Contains(answer.Body, "You have signed in too often. Wait 10 minutes, then try again.") {
		t.Errorf("status %d, Retry-After %q, cookies %v: %s", answer.StatusCode, answer.Header.Get("Retry-After"), answer.Cookies(), answer.Body)
	}
	if answer := guess(w, "alice", "wrong"); answer.StatusCode != http.StatusOK || !strings.Contains(answer.Body, failure) {
		t.Errorf("a wrong password is answered %d: %s", answer.StatusCode, answer.Body)
	}
	if page := guess(w, "bob", interactiontest.BobPassword); !page.IsConsent() {
		t.Errorf("bob: status %d", page.StatusCode)
	}
	w.Advance(10 * time.Minute)
	if page := guess(w, "alice", interactiontest.AlicePassword); !page.IsConsent() {
		t.Errorf("ten minutes later: status %d", page.StatusCode)
	}
	for i := range 100 {
		err := w.Memory.SetMark(t.Context(), storage.Mark{
			Kind: storage.MarkSession, ID: fmt.Sprint(i), UserUID: "uid-alice", ExpiresAt: w.Now().Add(time.Hour),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	answer = guess(w, "alice", interactiontest.AlicePassword)
	if answer.StatusCode != http.StatusTooManyRequests || answer.Header.Get("Retry-After") != "3600" || len(answer.Cookies()) != 0 ||
		!strings.Contains(answer.Body, "You have signed in too often. Try again later") {
		t.Errorf("with a hundred ended sessions: status %d, Retry-After %q: %s", answer.StatusCode, answer.Header.Get("Retry-After"), answer.Body)
	}
}

func TestANameThatIsNobodysWaitsLikeAUsers(t *testing.T) {
	w := newServer(t)
	bodies := map[string]bool{}
	for _, name := range []string{"alice", "unknown", "no user\x7f"} {
		for range 10 {
			guess(w, name, "wrong")
		}
		before := w.Passwords.CountHashed()
		answer := guess(w, name, "wrong")
		wantWait(t, name, answer, w.Passwords.CountHashed()-before, "1", "1 second")
		body := strings.ReplaceAll(strings.ReplaceAll(answer.Body, name, ""), escapeHTML(name), "")
		_, fields := answer.Form(t)
		bodies[strings.ReplaceAll(body, fields.Get("flow"), "")] = true
	}
	if len(bodies) != 1 {
		t.Errorf("there are %d different pages", len(bodies))
	}
}

func TestTheWaitGrowsAndIsSaidInMinutes(t *testing.T) {
	w := newServer(t)
	for range 10 {
		guess(w, "alice", "wrong")
	}
	for wait := 1; wait < 128; wait *= 2 {
		w.Advance(time.Duration(wait) * time.Second)
		guess(w, "alice", "wrong")
	}
	wantWait(t, "the eighth wait", guess(w, "alice", "wrong"), 0, "128", "3 minutes")
}

func TestOnlyATrustedProxySaysWhereALoginComesFrom(t *testing.T) {
	w := newServer(t)
	from := func(address string) interactiontest.Page {
		b := w.NewBrowser()
		action, fields := b.Get(w.WebRequest()).Form(t)
		fields.Set("username", rand.Text())
		fields.Set("password", "wrong")
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, action, strings.NewReader(fields.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("X-Forwarded-For", address)
		return b.Do(r)
	}
	w.Document.TrustedProxies = []string{"127.0.0.0/8", "::1/128"}
	w.Apply(w.Document)
	for i := range 100 {
		if answer := from(fmt.Sprintf("2001:db8:7:8::%x", i)); answer.StatusCode != http.StatusOK {
			t.Fatalf("guess %d: status %d", i+1, answer.StatusCode)
		}
	}
	if answer := from("2001:db8:7:8::ffff"); answer.StatusCode != http.StatusTooManyRequests {
		t.Errorf("the hundred-and-first guess from one network: status %d", answer.StatusCode)
	}
	if answer := from("2001:db8:7:9::1"); answer.StatusCode != http.StatusOK {
		t.Errorf("another network: status %d", answer.StatusCode)
	}
	if log := w.Log.String(); !strings.Contains(log, `"source":"2001:db8:7:8::/64"`) {
		t.Error("the log does not say where the guesses came from")
	}
	w.Document.TrustedProxies = nil
	w.Apply(w.Document)
	for i := range 100 {
		if answer := from(fmt.Sprintf("198.51.100.%d", i)); answer.StatusCode != http.StatusOK {
			t.Fatalf("guess %d: status %d", i+1, answer.StatusCode)
		}
	}
	if answer := from("203.0.113.1"); answer.StatusCode != http.StatusTooManyRequests {
		t.Errorf("an address that only the client says: status %d", answer.StatusCode)
	}
}
