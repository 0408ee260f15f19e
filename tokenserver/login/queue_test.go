package login_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/password"
)

// queue is a World whose CPUs are all busy until they are released, so that whoever signs in waits.
// Its hashes take a quarter of a second, so that few fill the queue.
type queue struct {
	*interactiontest.World
	release func()
	waiting sync.WaitGroup
}

func newQueue(t *testing.T) *queue {
	t.Helper()
	q := &queue{World: interactiontest.New(t, rand.Reader)}
	for name, secret := range map[string]string{"alice": interactiontest.AlicePassword, "bob": interactiontest.BobPassword} {
		hash, err := bcrypt.GenerateFromPassword([]byte(secret), 12)
		if err != nil {
			t.Fatal(err)
		}
		user := q.User(name)
		user.PasswordHash = string(hash)
		q.Apply(user)
	}
	q.Server.TrustedProxies = []string{"127.0.0.0/8", "::1/128"}
	q.Apply(q.Server)
	t.Cleanup(q.waiting.Wait)
	return q
}

// hold all CPUs.
func (q *queue) hold() {
	ctx, release := context.WithCancel(context.WithoutCancel(q.T.Context()))
	q.release = release
	q.T.Cleanup(release)
	for range 2 {
		held := make(chan struct{})
		q.waiting.Go(func() {
			_, _ = q.Passwords.Verify(ctx, password.Request{May: func() error { close(held); <-ctx.Done(); return ctx.Err() }})
		})
		<-held
	}
}

// signIn from an address with a browser that has opened the login page. It returns when the login
// has a place in the queue, or has none and was answered so. The answer of one that has a place
// comes when its password has been verified.
func (q *queue) signIn(b *interactiontest.Browser, page interactiontest.Answer, address, username, secret string) (answer chan interactiontest.Answer, waits bool) {
	q.T.Helper()
	action, fields := page.Form(q.T)
	fields.Set("username", username)
	fields.Set("password", secret)
	r, err := http.NewRequestWithContext(context.WithoutCancel(q.T.Context()), http.MethodPost, action, strings.NewReader(fields.Encode()))
	if err != nil {
		q.T.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("X-Forwarded-For", address)
	answer = make(chan interactiontest.Answer, 1)
	before := q.Passwords.Queued()
	q.waiting.Go(func() { answer <- b.Do(r) })
	for q.Passwords.Queued() == before {
		select {
		case a := <-answer:
			if a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" || !strings.Contains(a.Body, pages.SentenceBusy) {
				q.T.Errorf("refused with %d, Retry-After %q: %s", a.StatusCode, a.Header.Get("Retry-After"), a.Body)
			}
			return answer, false
		case <-time.After(time.Millisecond):
		}
	}
	return answer, true
}

func TestNamesThatWaitFromOneIPv6NetworkShareItsBoundAndTheOwnersDeviceGetsInThroughIt(t *testing.T) {
	q := newQueue(t)
	owner := q.Browser()
	if page := owner.Login(owner.Get(q.WebRequest()), "alice", interactiontest.AlicePassword); !page.IsConsent() {
		t.Fatalf("status %d", page.StatusCode)
	}
	ownersPage := owner.Get(q.WebRequest("prompt", "login"))
	b := q.Browser()
	page := b.Get(q.WebRequest())
	q.hold()
	names := 0
	for waits := true; waits && names < 20; names++ {
		_, waits = q.signIn(b, page, fmt.Sprintf("2001:db8:7:8::%x", names), fmt.Sprint("name-", names), "wrong")
	}
	if names < 3 || names == 20 { // some 8 places are a quarter of the queue
		t.Fatalf("%d names wait from one network", names)
	}
	if _, waits := q.signIn(b, page, "2001:db8:7:8:ffff::1", "alice", interactiontest.AlicePassword); waits {
		t.Error("another name from another address of the network has a place")
	}
	elsewhere, waits := q.signIn(b, page, "2001:db8:7:9::1", "bob", interactiontest.BobPassword)
	if !waits {
		t.Fatal("another network has no place")
	}
	known, waits := q.signIn(owner, ownersPage, "2001:db8:7:8::1", "alice", interactiontest.AlicePassword)
	if !waits {
		t.Fatal("the owner's device has no place")
	}
	q.release()
	for name, answer := range map[string]chan interactiontest.Answer{"bob from another network": elsewhere, "alice's device": known} {
		if a := <-answer; a.IsLogin() || a.StatusCode != http.StatusOK {
			t.Errorf("%s is answered %d: %s", name, a.StatusCode, a.Body)
		}
	}
}

func TestAPasswordClientThatTakesAUsersPlacesDoesNotStopHerLoginPage(t *testing.T) {
	q := newQueue(t)
	b := q.Browser()
	page := b.Get(q.WebRequest())
	q.hold()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	full := make(chan struct{}, 3)
	for range 3 {
		q.waiting.Go(func() {
			_, err := q.Throttle.Grant("alice", "client-uid").Verify(ctx, q.Passwords, q.User("alice").PasswordHash, interactiontest.AlicePassword)
			if errors.Is(err, password.ErrBusy) {
				full <- struct{}{}
			}
		})
	}
	<-full
	answer, waits := q.signIn(b, page, "2001:db8::1", "alice", interactiontest.AlicePassword)
	if !waits {
		t.Fatal("the login page has no place for her")
	}
	q.release()
	if a := <-answer; !a.IsConsent() {
		t.Errorf("she is answered %d: %s", a.StatusCode, a.Body)
	}
}

func TestOneAccountOnManyConnectionsKeepsNoOtherOut(t *testing.T) {
	w := interactiontest.New(t, rand.Reader)
	crowd := w.Browser()
	action, fields := crowd.Get(w.WebRequest()).Form(t)
	fields.Set("username", "alice")
	fields.Set("password", interactiontest.AlicePassword)
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	for range 60 {
		all.Go(func() { signInUntil(ctx, w, crowd, action, fields) })
	}
	for try := range 10 {
		bob := w.Browser()
		if page := bob.Login(bob.Get(w.WebRequest()), "bob", interactiontest.BobPassword); !page.IsConsent() {
			t.Errorf("try %d: status %d", try, page.StatusCode)
		}
	}
}

// signInUntil the context ends, over a connection of its own, and without ever becoming a browser
// that is known.
func signInUntil(ctx context.Context, w *interactiontest.World, like *interactiontest.Browser, action string, fields url.Values) {
	connection := &http.Transport{}
	defer connection.CloseIdleConnections()
	for ctx.Err() == nil {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, action, strings.NewReader(fields.Encode()))
		if err != nil {
			w.T.Error(err)
			return
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for _, cookie := range like.Jar.Cookies(r.URL) {
			r.AddCookie(cookie)
		}
		if answer, err := connection.RoundTrip(r); err == nil {
			_ = answer.Body.Close()
		}
	}
}

func TestAHashThatTakesMoreMemoryThanTheServerHasIsSaidOnThePageAndInTheLog(t *testing.T) {
	w := interactiontest.New(t, rand.Reader)
	alice := w.User("alice")
	alice.PasswordHash = "$argon2id$v=19$m=131072,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	w.Apply(alice)
	b := w.Browser()
	answer := b.Login(b.Get(w.WebRequest()), "alice", interactiontest.AlicePassword)
	if answer.StatusCode != http.StatusInternalServerError || !strings.Contains(answer.Body, pages.SentenceMemory) || w.Passwords.Work() != 0 {
		t.Errorf("status %d after %d hashes: %s", answer.StatusCode, w.Passwords.Work(), answer.Body)
	}
	if log := w.Log(); !strings.Contains(log, "raise the memory limit of the server") || !strings.Contains(log, "131072 KiB") {
		t.Error("the log does not say what to change")
	}
}
