package session_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/session"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/memory"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/storagetest"
)

// beginSession begins a session of alice in a browser without cookies, and returns its cookie.
func beginSession(t *testing.T, w *interactiontest.Server) (*session.Session, *http.Cookie) {
	t.Helper()
	return login(t, w, "alice")
}

// login logs a user in in a browser that has these cookies.
func login(t *testing.T, w *interactiontest.Server, username string, has ...*http.Cookie) (*session.Session, *http.Cookie) {
	t.Helper()
	user, _ := w.Registry.UserByUID("uid-" + username)
	answer := httptest.NewRecorder()
	begun, err := w.Sessions.Begin(t.Context(), answer, newRequest(has...), w.Document, session.Login{User: user, AMR: []string{"pwd"}})
	if err != nil {
		t.Fatal(err)
	}
	return begun, onlyCookie(t, answer)
}

// newRequest returns a request of a browser that has these cookies.
func newRequest(has ...*http.Cookie) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/login", nil)
	for _, cookie := range has {
		r.AddCookie(cookie)
	}
	return r
}

// onlyCookie returns the one cookie that a response sets.
func onlyCookie(t *testing.T, answer *httptest.ResponseRecorder) *http.Cookie {
	t.Helper()
	cookies := answer.Result().Cookies()
	if len(cookies) != 1 {
		t.Fatalf("%d cookies, want 1", len(cookies))
	}
	return cookies[0]
}

// findSession returns the session of a browser with these cookies; nil if it has none.
func findSession(t *testing.T, w *interactiontest.Server, cookies ...*http.Cookie) *session.Session {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/authorize", nil)
	for _, cookie := range cookies {
		r.AddCookie(cookie)
	}
	current, user, err := w.Sessions.Current(t.Context(), r, w.Document)
	if err != nil {
		t.Fatal(err)
	}
	if (current == nil) != (user == nil) {
		t.Fatal("a session without a user, or a user without a session")
	}
	if user != nil && user.UID != current.UserUID {
		t.Fatalf("the session of %s belongs to %s", user.UID, current.UserUID)
	}
	return current
}

// sealCookie returns the cookie that the server would make of s.
func sealCookie(t *testing.T, w *interactiontest.Server, purpose keys.Purpose, name string, s *session.Session) *http.Cookie {
	t.Helper()
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	value, err := w.Keys.Seal(purpose, data)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Cookie{Name: name, Value: value}
}

func TestASessionIsFoundAgainAsItBegan(t *testing.T) {
	w := interactiontest.New(t)
	begun, cookie := beginSession(t, w)
	w.Advance(time.Hour)
	again := findSession(t, w, cookie)
	if again == nil {
		t.Fatal("there is none")
	}
	if again.Hash() != begun.Hash() || again.RootHash() != begun.RootHash() || again.AuthTime != begun.AuthTime || len(again.AMR) != 1 || again.AMR[0] != "pwd" {
		t.Errorf("began as %+v, found as %+v", begun, again)
	}
	if strings.Contains(cookie.Value, begun.ID) || strings.Contains(cookie.Value, begun.Root) || strings.Contains(cookie.Value, "alice") ||
		begun.Hash() == begun.ID || begun.RootHash() == begun.Root {
		t.Error("the cookie or the hash shows what it stands for")
	}
	if findSession(t, w) != nil {
		t.Error("there is a session without a cookie")
	}
}

func TestEachLoginDrawsAnotherSessionID(t *testing.T) {
	w := interactiontest.New(t)
	seen := map[string]bool{}
	var has []*http.Cookie
	for i := range 10 {
		begun, cookie := login(t, w, "alice", has...)
		if len(begun.ID) < 43 || len(begun.Root) < 43 || seen[begun.ID] || seen[begun.Hash()] || begun.Root == begun.ID {
			t.Errorf("the id has %d characters, or was there before", len(begun.ID))
		}
		seen[begun.ID], seen[begun.Hash()] = true, true
		if i%2 == 0 { // every other time in the browser of the login before
			has = []*http.Cookie{cookie}
		} else {
			has = nil
		}
	}
}

func TestALoginInABrowserWithoutASessionDrawsARoot(t *testing.T) {
	w := interactiontest.New(t)
	first, cookie := beginSession(t, w)
	second, _ := beginSession(t, w)
	if first.Root == second.Root {
		t.Error("two browsers have one root")
	}
	for what, value := range map[string]string{"not sealed": "x", "of a session without a root": sealCookie(t, w, keys.PurposeSession, "", &session.Session{
		ID: "id", UserUID: first.UserUID, UserEpoch: first.UserEpoch, StartedAt: first.StartedAt, ExpiresAt: first.ExpiresAt, LastUsed: first.LastUsed,
	}).Value} {
		odd := &http.Cookie{Name: cookie.Name, Value: value}
		if findSession(t, w, odd) != nil {
			t.Errorf("%s: it is a session", what)
		}
		if begun, _ := login(t, w, "alice", odd); len(begun.Root) < 43 {
			t.Errorf("%s: the root is %q", what, begun.Root)
		}
	}
}

// waysToEnd are ways in which a session becomes invalid while something that was issued for it is
// valid, or may be again.
var waysToEnd = map[string]func(*interactiontest.Server){
	"running":              func(*interactiontest.Server) {},
	"idle":                 func(w *interactiontest.Server) { w.Advance(w.Document.SessionIdleLifetime.Duration()) },
	"at its absolute end":  func(w *interactiontest.Server) { w.Advance(w.Document.SessionAbsoluteLifetime.Duration()) },
	"of a lifetime before": func(w *interactiontest.Server) { w.Document.SessionAbsoluteLifetime = 60; w.Advance(time.Hour) },
	"of a password before": func(w *interactiontest.Server) {
		alice := w.User("alice")
		alice.Epoch = "epoch-later"
		w.Apply(alice)
	},
}

func TestTheRootStaysWithTheUserThroughLaterLogins(t *testing.T) {
	for name, become := range waysToEnd {
		w := interactiontest.New(t)
		first, cookie := beginSession(t, w)
		become(w)
		second, later := login(t, w, "alice", cookie)
		third, _ := login(t, w, "alice", later)
		if second.Root != first.Root || third.Root != first.Root {
			t.Errorf("%s: the root changed", name)
		}
		if again := findSession(t, w, later); again == nil || again.Hash() != second.Hash() {
			t.Errorf("%s: the new session is %+v", name, again)
		}
		if err := w.Sessions.End(t.Context(), httptest.NewRecorder(), w.Document, third); err != nil {
			t.Fatal(err)
		}
		if ended, err := w.Grants.IsSessionEnded(t.Context(), first.RootHash()); !ended || err != nil {
			t.Errorf("%s: what the first login led to lives on after logout (%v)", name, err)
		}
		if findSession(t, w, cookie) != nil || findSession(t, w, later) != nil {
			t.Errorf("%s: a copy of a cookie is good after logout", name)
		}
	}
}

func TestALoginOfAnotherUserEndsTheSessionThatItReplaces(t *testing.T) {
	for name, become := range waysToEnd {
		w := interactiontest.New(t)
		first, cookie := beginSession(t, w)
		become(w)
		second, later := login(t, w, "bob", cookie)
		if second.Root == first.Root || findSession(t, w, later) == nil {
			t.Errorf("%s: bob has alice's root, or no session", name)
		}
		if ended, err := w.Grants.IsSessionEnded(t.Context(), first.RootHash()); !ended || err != nil {
			t.Errorf("%s: what came from the session that was replaced lives on (%v)", name, err)
		}
		if !strings.Contains(w.Log.String(), `"reason":"SessionReplaced","user":"uid-alice"`) {
			t.Errorf("%s: the log does not say so", name)
		}
	}
}

func TestTheSessionOfAUserWhoIsNotServedAtTheMomentIsReplacedLikeAnyOther(t *testing.T) {
	w := interactiontest.New(t)
	_, cookie := beginSession(t, w)
	alice := w.User("alice")
	w.Registry.Remove("identity/" + alice.Subject)
	if findSession(t, w, cookie) != nil {
		t.Fatal("alice is served")
	}
	login(t, w, "bob", cookie)
	w.Apply(alice)
	if findSession(t, w, cookie) != nil {
		t.Error("the session that was replaced is good again")
	}
}

func TestAnEndedRootIsTakenUpByNoLogin(t *testing.T) {
	store := &storagetest.Faulty{}
	w := interactiontest.New(t, interactiontest.Store(store))
	first, cookie := beginSession(t, w)
	if err := w.Sessions.End(t.Context(), httptest.NewRecorder(), w.Document, first); err != nil {
		t.Fatal(err)
	}
	before := store.Writes()
	for _, name := range []string{"alice", "bob", "alice"} { // with a copy of the cookie
		if begun, later := login(t, w, name, cookie); begun.Root == first.Root || findSession(t, w, later) == nil {
			t.Errorf("%s has the ended root, or no session", name)
		}
	}
	if n := store.Writes() - before; n != 0 {
		t.Errorf("%d writes about a session that had ended", n)
	}
}

func TestOnceNothingOfASessionCanBeGoodItIsLeftAlone(t *testing.T) {
	store := &storagetest.Faulty{}
	w := interactiontest.New(t, interactiontest.Store(store))
	first, cookie := beginSession(t, w)
	w.Advance(w.Document.SessionAbsoluteLifetime.Duration() + 24*time.Hour)
	if begun, _ := login(t, w, "alice", cookie); begun.Root == first.Root {
		t.Error("the root is that of the session")
	}
	login(t, w, "bob", cookie)
	if n := store.Writes(); n != 0 {
		t.Errorf("%d writes", n)
	}
}

func TestALoginWhoseMarkCannotBeWrittenSetsNoCookie(t *testing.T) {
	store := &storagetest.Faulty{}
	w := interactiontest.New(t, interactiontest.Store(store))
	_, cookie := beginSession(t, w)
	bob, _ := w.Registry.UserByUID("uid-bob")
	for name, fail := range map[string]func(){
		"away":               func() { store.FailAll(storagetest.Unavailable) },
		"requests lost":      func() { store.FailAll(storagetest.LostRequest) },
		"away for the write": func() { store.Fail("SetMark", storagetest.Unavailable) },
	} {
		fail()
		answer := httptest.NewRecorder()
		if begun, err := w.Sessions.Begin(t.Context(), answer, newRequest(cookie), w.Document, session.Login{User: bob, AMR: []string{"pwd"}}); err == nil || begun != nil ||
			len(answer.Result().Cookies()) != 0 {
			t.Errorf("%s: %v, cookies %v", name, err, answer.Result().Cookies())
		}
		store.FailAll(storagetest.None)
		if findSession(t, w, cookie) == nil {
			t.Fatalf("%s: the session has ended", name)
		}
	}
}

func TestAUserLogsInThirtyTimesInTenMinutesAndNoMore(t *testing.T) {
	w := interactiontest.New(t)
	refused := func(want time.Duration) {
		t.Helper()
		alice, _ := w.Registry.UserByUID("uid-alice")
		answer := httptest.NewRecorder()
		_, err := w.Sessions.Begin(t.Context(), answer, newRequest(), w.Document, session.Login{User: alice, AMR: []string{"pwd"}})
		var often *session.TooManyLoginsError
		if !errors.As(err, &often) || often.Wait != want || len(answer.Result().Cookies()) != 0 {
			t.Errorf("the answer is %v, cookies %v; want a refusal for %s", err, answer.Result().Cookies(), want)
		}
	}
	for range 30 {
		beginSession(t, w)
		w.Advance(10 * time.Second)
	}
	refused(5 * time.Minute)
	login(t, w, "bob")
	w.Advance(5*time.Minute - time.Second)
	refused(time.Second)
	w.Advance(time.Second)
	beginSession(t, w)
	refused(10 * time.Second)
	w.Advance(10 * time.Minute)
	for range 30 {
		beginSession(t, w)
	}
	refused(10 * time.Minute)
}

func TestAThousandLoginsAndLogoutsLeaveAtMostAHundredMarks(t *testing.T) {
	for name, leave := range map[string]func(*interactiontest.Server, *session.Session, *http.Cookie){
		"logout": func(w *interactiontest.Server, begun *session.Session, _ *http.Cookie) {
			if err := w.Sessions.End(t.Context(), httptest.NewRecorder(), w.Document, begun); err != nil {
				t.Fatal(err)
			}
		},
		"replacement": func(w *interactiontest.Server, _ *session.Session, cookie *http.Cookie) {
			for _, other := range []string{"bob", "carol", "dan", "erin", "frank", "grace", "heidi", "ivan", "judy", "mallory"} {
				user := &registry.User{User: documents.User{UID: "uid-" + other}}
				_, err := w.Sessions.Begin(t.Context(), httptest.NewRecorder(), newRequest(cookie), w.Document, session.Login{User: user, AMR: []string{"pwd"}})
				var often *session.TooManyLoginsError
				if err == nil || !errors.As(err, &often) {
					return
				}
			}
		},
	} {
		w := interactiontest.New(t)
		alice, _ := w.Registry.UserByUID("uid-alice")
		marks := func() int {
			n, err := w.Memory.CountMarks(t.Context(), storage.MarkSession, alice.UID, 1_000_000)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		refused := 0
		for range 1000 {
			answer := httptest.NewRecorder()
			begun, err := w.Sessions.Begin(t.Context(), answer, newRequest(), w.Document, session.Login{User: alice, AMR: []string{"pwd"}})
			var often *session.TooManyLoginsError
			switch {
			case errors.As(err, &often):
				refused++
			case err != nil:
				t.Fatal(err)
			default:
				leave(w, begun, onlyCookie(t, answer))
			}
			w.Advance(30 * time.Second)
		}
		if n := marks(); n != 100 || refused != 900 {
			t.Errorf("%s: %d marks, and %d of 1000 logins were refused", name, n, refused)
		}
		w.Advance(w.Document.SessionAbsoluteLifetime.Duration() + 24*time.Hour)
		if _, err := w.Memory.Sweep(t.Context(), w.Now()); err != nil || marks() != 0 {
			t.Errorf("%s: %d marks are left (%v)", name, marks(), err)
		}
		beginSession(t, w)
	}
}

// A thief logs out with a copy of an early cookie, long after the browser got a later one. The mark
// must end that one too.
func TestALogoutWithAnEarlyCookieHoldsForTheLatest(t *testing.T) {
	w := interactiontest.New(t)
	first, cookie := beginSession(t, w)
	w.Advance(w.Document.SessionAbsoluteLifetime.Duration() - time.Hour)
	_, later := login(t, w, "alice", cookie)
	if err := w.Sessions.End(t.Context(), httptest.NewRecorder(), w.Document, first); err != nil {
		t.Fatal(err)
	}
	for range 24 {
		if _, err := w.Memory.Sweep(t.Context(), w.Now()); err != nil {
			t.Fatal(err)
		}
		if findSession(t, w, later) != nil {
			t.Fatal("the latest cookie is good after logout")
		}
		w.Advance(time.Hour)
	}
	w.Advance(23 * time.Hour)
	if _, err := w.Memory.Sweep(t.Context(), w.Now()); err != nil {
		t.Fatal(err)
	}
	if ended, err := w.Grants.IsSessionEnded(t.Context(), first.RootHash()); !ended || err != nil {
		t.Errorf("the mark is gone while an access token of the latest session may live (%v)", err)
	}
}

func TestALogoutHoldsForEarlierLoginsOfTheRootThatMayOutliveTheLatest(t *testing.T) {
	w := interactiontest.New(t)
	w.Document.SessionAbsoluteLifetime, w.Document.SessionIdleLifetime = 720*3600, 720*3600
	first, early := beginSession(t, w)
	w.Document.SessionAbsoluteLifetime = 3600 // for a while
	w.Advance(30 * time.Minute)
	latest, _ := login(t, w, "alice", early)
	if latest.Root != first.Root {
		t.Fatal("the root did not stay")
	}
	if err := w.Sessions.End(t.Context(), httptest.NewRecorder(), w.Document, latest); err != nil {
		t.Fatal(err)
	}
	w.Advance(72 * time.Hour)
	if _, err := w.Memory.Sweep(t.Context(), w.Now()); err != nil {
		t.Fatal(err)
	}
	w.Document.SessionAbsoluteLifetime = 720 * 3600
	if findSession(t, w, early) != nil {
		t.Error("after a logout an earlier cookie is good again")
	}
	if ended, err := w.Grants.IsSessionEnded(t.Context(), first.RootHash()); !ended || err != nil {
		t.Errorf("the mark is gone while a refresh token of the first login may live (%v)", err)
	}
}

func TestASessionDoesNotOutliveAStoreThatForgets(t *testing.T) {
	w := interactiontest.New(t)
	ended, cookie := beginSession(t, w)
	if err := w.Sessions.End(t.Context(), httptest.NewRecorder(), w.Document, ended); err != nil {
		t.Fatal(err)
	}
	empty, err := memory.New(w.Now, rand.Reader) // of the next process
	if err != nil {
		t.Fatal(err)
	}
	w.Grants.Store, w.Grants.StoreID = empty, empty.ID()
	if findSession(t, w, cookie) != nil {
		t.Error("a session that was ended is good again")
	}
	if begun, later := login(t, w, "alice", cookie); begun.Root == ended.Root || findSession(t, w, later) == nil {
		t.Error("a login takes up the ended root, or has no session")
	}
}

func TestASessionEndsWithEitherLifetime(t *testing.T) {
	w := interactiontest.New(t)
	idle, absolute := w.Document.SessionIdleLifetime.Duration(), w.Document.SessionAbsoluteLifetime.Duration()
	_, cookie := beginSession(t, w)
	w.Advance(idle - time.Second)
	if findSession(t, w, cookie) == nil {
		t.Fatal("ended before its idle lifetime")
	}
	w.Advance(time.Second)
	if findSession(t, w, cookie) != nil {
		t.Error("outlived its idle lifetime")
	}
	begun, cookie := beginSession(t, w)
	for range 2 * int(absolute/idle) {
		w.Advance(idle / 2)
		current := findSession(t, w, cookie)
		if inTime := w.Now().Before(begun.EndsAt(w.Document)); (current != nil) != inTime {
			t.Fatalf("%s after the login: there is a session: %v", w.Now().Sub(time.Unix(begun.StartedAt, 0)), current != nil)
		}
		if current == nil {
			break
		}
		answer := httptest.NewRecorder()
		if err := w.Sessions.Touch(answer, w.Document, current); err != nil {
			t.Fatal(err)
		}
		cookie = onlyCookie(t, answer)
	}
	if w.Now().Before(begun.EndsAt(w.Document)) || findSession(t, w, cookie) != nil {
		t.Error("the last touch carried it over its absolute lifetime")
	}
}

func TestALoweredLifetimeActsOnRunningSessions(t *testing.T) {
	for name, lower := range map[string]func(*documents.Server){
		"idle":     func(s *documents.Server) { s.SessionIdleLifetime = 60 },
		"absolute": func(s *documents.Server) { s.SessionAbsoluteLifetime = 60 },
	} {
		w := interactiontest.New(t)
		_, cookie := beginSession(t, w)
		w.Advance(time.Minute)
		if findSession(t, w, cookie) == nil {
			t.Fatal("there is none")
		}
		lower(&w.Document)
		if findSession(t, w, cookie) != nil {
			t.Errorf("%s: the session goes on", name)
		}
	}
}

func TestATouchChangesNothingButTheLastUseAndNotAtEachRequest(t *testing.T) {
	w := interactiontest.New(t)
	begun, cookie := beginSession(t, w)
	w.Advance(30 * time.Second)
	answer := httptest.NewRecorder()
	if err := w.Sessions.Touch(answer, w.Document, findSession(t, w, cookie)); err != nil {
		t.Fatal(err)
	}
	if cookies := answer.Result().Cookies(); len(cookies) != 0 {
		t.Errorf("sets a cookie half a minute after the last: %v", cookies)
	}
	w.Advance(time.Minute)
	answer = httptest.NewRecorder()
	if err := w.Sessions.Touch(answer, w.Document, findSession(t, w, cookie)); err != nil {
		t.Fatal(err)
	}
	touched := findSession(t, w, onlyCookie(t, answer))
	want := *begun
	want.LastUsed = w.Now().Unix()
	if touched == nil || touched.Hash() != want.Hash() || touched.AuthTime != want.AuthTime || touched.StartedAt != want.StartedAt || touched.LastUsed != want.LastUsed {
		t.Errorf("touched %+v, want %+v", touched, want)
	}
}

func TestASessionEndsWithItsUser(t *testing.T) {
	for name, change := range map[string]func(*interactiontest.Server){
		"another password": func(w *interactiontest.Server) {
			alice := w.User("alice")
			alice.Epoch = "epoch-later"
			w.Apply(alice)
		},
		"removed": func(w *interactiontest.Server) { w.Registry.Remove("identity/subject-alice") },
		"suspended": func(w *interactiontest.Server) {
			alice := w.User("alice")
			alice.Suspended = true
			w.Apply(alice)
		},
		"created again": func(w *interactiontest.Server) {
			alice := w.User("alice")
			w.Registry.Remove("identity/" + alice.Subject)
			w.Registry.Remove("username/" + alice.Username)
			alice.UID = "uid-later"
			w.Apply(alice)
		},
	} {
		w := interactiontest.New(t)
		_, cookie := beginSession(t, w)
		if findSession(t, w, cookie) == nil {
			t.Fatal("there is none")
		}
		change(w)
		if findSession(t, w, cookie) != nil {
			t.Errorf("%s: the session goes on", name)
		}
	}
}

func TestTheUserOfASessionIsTheUserOfNow(t *testing.T) {
	w := interactiontest.New(t)
	_, cookie := beginSession(t, w)
	alice := w.User("alice")
	alice.Claims = map[string]any{"name": "Alice Later"}
	w.Apply(alice)
	r := httptest.NewRequest(http.MethodGet, "/authorize", nil)
	r.AddCookie(cookie)
	_, user, err := w.Sessions.Current(t.Context(), r, w.Document)
	if err != nil || user == nil || user.Claims["name"] != "Alice Later" {
		t.Errorf("the user is %+v: %v", user, err)
	}
}

func TestACopyOfTheCookieOfAnEndedSessionIsDead(t *testing.T) {
	w := interactiontest.New(t)
	begun, cookie := beginSession(t, w)
	other, otherCookie := beginSession(t, w)
	if err := w.Memory.SetMark(t.Context(), storage.Mark{Kind: storage.MarkSession, ID: begun.RootHash(), ExpiresAt: begun.EndsAt(w.Document)}); err != nil {
		t.Fatal(err)
	}
	if findSession(t, w, cookie) != nil {
		t.Error("the ended session is still good")
	}
	if still := findSession(t, w, otherCookie); still == nil || still.Hash() != other.Hash() {
		t.Error("another session of the same user ended with it")
	}
}

func TestWhetherASessionHasEndedIsNeverGuessed(t *testing.T) {
	store := &storagetest.Faulty{}
	w := interactiontest.New(t, interactiontest.Store(store))
	_, cookie := beginSession(t, w)
	store.FailAll(storagetest.Unavailable)
	r := httptest.NewRequest(http.MethodGet, "/authorize", nil)
	r.AddCookie(cookie)
	if current, user, err := w.Sessions.Current(t.Context(), r, w.Document); err == nil || current != nil || user != nil {
		t.Errorf("got %v, %v, %v; want an error alone", current, user, err)
	}
}

func TestACookieThatWasNotSealedHereAsASessionIsNone(t *testing.T) {
	w, elsewhere := interactiontest.New(t), interactiontest.New(t)
	begun, cookie := beginSession(t, w)
	for i := 0; i < len(cookie.Value); i += 11 {
		edited := []byte(cookie.Value)
		edited[i] ^= 1
		if findSession(t, w, &http.Cookie{Name: cookie.Name, Value: string(edited)}) != nil {
			t.Errorf("byte %d was changed, and it is still a session", i)
		}
	}
	// The two issuers share their sealing key. What tells them apart is the issuer in what is
	// sealed.
	_, theirs := beginSession(t, elsewhere)
	hostile := map[string]*http.Cookie{
		"another issuer's": {Name: cookie.Name, Value: theirs.Value}, "its name elsewhere": theirs, "empty": {Name: cookie.Name},
		"not sealed": {Name: cookie.Name, Value: "uid-alice"},
	}
	for _, purpose := range []keys.Purpose{keys.PurposeFlow, keys.PurposePost, keys.PurposeBrowser, keys.PurposeCode, keys.PurposeRefresh, keys.PurposeTokenID} {
		hostile["sealed for "+string(purpose)] = sealCookie(t, w, purpose, cookie.Name, begun)
	}
	for name, c := range hostile {
		if findSession(t, w, c) != nil {
			t.Errorf("%s: it is a session", name)
		}
	}
	if findSession(t, w, sealCookie(t, w, keys.PurposeSession, cookie.Name, begun)) == nil {
		t.Error("what the test seals is no session in any case")
	}
	if findSession(t, w, cookie, &http.Cookie{Name: cookie.Name, Value: "planted"}) != nil {
		t.Error("one of two cookies of the same name was chosen")
	}
}

func TestARaisedLifetimeDoesNotActOnRunningSessions(t *testing.T) {
	w := interactiontest.New(t)
	w.Document.SessionIdleLifetime = 100 * 3600
	begun, cookie := beginSession(t, w)
	ends := begun.EndsAt(w.Document)
	w.Document.SessionAbsoluteLifetime = 100 * 3600
	if got := begun.EndsAt(w.Document); !got.Equal(ends) {
		t.Errorf("it ends at %s, was to end at %s", got, ends)
	}
	w.Advance(24*time.Hour - time.Second)
	if findSession(t, w, cookie) == nil {
		t.Fatal("there is none")
	}
	w.Advance(time.Second)
	if findSession(t, w, cookie) != nil {
		t.Error("the session goes on")
	}
}

func TestASessionIsLeftToEndForAsLongAsATokenOfItMayLive(t *testing.T) {
	w := interactiontest.New(t)
	begun, cookie := beginSession(t, w)
	r := httptest.NewRequest(http.MethodGet, "/logout", nil)
	r.AddCookie(cookie)
	left := func(when string, want bool) {
		t.Helper()
		left, user, err := w.Sessions.Endable(t.Context(), r, w.Document)
		if err != nil || (left != nil) != want || want && (left.Hash() != begun.Hash() || user.Username != "alice") || findSession(t, w, cookie) != nil {
			t.Errorf("%s, left is %+v of %+v (%v), current is %+v", when, left, user, err, findSession(t, w, cookie))
		}
	}
	w.Advance(w.Document.SessionIdleLifetime.Duration())
	left("idle", true)
	w.Advance(w.Document.SessionAbsoluteLifetime.Duration() - w.Document.SessionIdleLifetime.Duration())
	left("at its end", true)
	w.Advance(24*time.Hour - time.Second)
	left("just before the end of the last access token", true)
	w.Advance(time.Second)
	left("after it", false)
}

func TestASessionEndsForEveryCopyAndForgetsTheCookieOnlyThen(t *testing.T) {
	store := &storagetest.Faulty{}
	w := interactiontest.New(t, interactiontest.Store(store))
	begun, cookie := beginSession(t, w)
	store.FailAll(storagetest.Unavailable)
	answer := httptest.NewRecorder()
	if err := w.Sessions.End(t.Context(), answer, w.Document, begun); err == nil || len(answer.Result().Cookies()) != 0 {
		t.Errorf("a store that is away: %v, cookies %v", err, answer.Result().Cookies())
	}
	store.FailAll(storagetest.None)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	answer = httptest.NewRecorder()
	if err := w.Sessions.End(gone, answer, w.Document, begun); err != nil {
		t.Errorf("the client that asked is gone: %v", err)
	}
	if deleted := onlyCookie(t, answer); deleted.Name != cookie.Name || deleted.MaxAge >= 0 || deleted.Value != "" {
		t.Errorf("the cookie is %v", deleted)
	}
	if findSession(t, w, cookie) != nil {
		t.Error("a copy of the cookie is good")
	}
}
