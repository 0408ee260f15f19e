package login_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/password"
)

// queue is a server whose CPUs are all busy until they are released, so that whoever signs in
// waits.
type queue struct {
	*interactiontest.Server
	release func()
	waiting sync.WaitGroup
}

func newQueue(t *testing.T) *queue {
	t.Helper()
	q := &queue{Server: interactiontest.New(t)}
	q.Document.TrustedProxies = []string{"127.0.0.0/8", "::1/128"}
	q.Apply(q.Document)
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
			_, _ = q.Passwords.Verify(ctx, password.Request{BeforeHash: func() error { close(held); <-ctx.Done(); return ctx.Err() }})
		})
		<-held
	}
}

// request of a login with a browser that has opened the login page, from an address.
func (q *queue) request(ctx context.Context, page interactiontest.Page, address, username, secret string) *http.Request {
	q.T.Helper()
	action, fields := page.Form(q.T)
	fields.Set("username", username)
	fields.Set("password", secret)
	r, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, action, strings.NewReader(fields.Encode()))
	if err != nil {
		q.T.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("X-Forwarded-For", address)
	return r.WithContext(ctx)
}

// queued does what asks for a place in the queue, and says whether it has one: it does when the
// queue has grown, and does not when it is over before that.
func (q *queue) queued(ask func()) bool {
	before, over := q.Passwords.QueueLength(), make(chan struct{})
	q.waiting.Go(func() { defer close(over); ask() })
	for q.Passwords.QueueLength() == before {
		select {
		case <-over:
			return false
		case <-time.After(time.Millisecond):
		}
	}
	return true
}

// fill the queue from an address with names that nobody has, until one has no place. It returns how
// many have one, and a function that takes them away.
func (q *queue) fill(b *interactiontest.Browser, page interactiontest.Page, prefix string) (names int, leave func()) {
	q.T.Helper()
	ctx, leave := context.WithCancel(q.T.Context())
	refused := false
	for ; !refused && names < 300; names++ {
		r := q.request(ctx, page, fmt.Sprintf("%s%x", prefix, names), fmt.Sprint("name-", names), "wrong")
		for _, cookie := range b.Jar.Cookies(r.URL) {
			r.AddCookie(cookie)
		}
		refused = !q.queued(func() {
			connection := &http.Transport{}
			defer connection.CloseIdleConnections()
			if answer, err := connection.RoundTrip(r); err == nil { // else its time was over
				_ = answer.Body.Close()
			}
		})
	}
	return names - 1, leave
}

// signIn is a login that has a place in the queue, or none. The answer comes when it is there.
func (q *queue) signIn(b *interactiontest.Browser, page interactiontest.Page, address, username, secret string) (answer chan interactiontest.Page, waits bool) {
	q.T.Helper()
	answer = make(chan interactiontest.Page, 1)
	r := q.request(context.WithoutCancel(q.T.Context()), page, address, username, secret)
	return answer, q.queued(func() { answer <- b.Do(r) })
}

func TestNamesThatWaitFromOneIPv6NetworkShareItsBoundAndTheOwnersDeviceGetsInThroughIt(t *testing.T) {
	q := newQueue(t)
	owner := q.NewBrowser()
	if page := owner.Login(owner.Get(q.WebRequest()), "alice", interactiontest.AlicePassword); !page.IsConsent() {
		t.Fatalf("status %d", page.StatusCode)
	}
	ownersPage := owner.Get(q.WebRequest("prompt", "login"))
	b := q.NewBrowser()
	page := b.Get(q.WebRequest())
	q.hold()
	names, leave := q.fill(b, page, "2001:db8:7:8::")
	defer leave()
	if names < 10 || names > 100 { // some 74 hashes of our own are a quarter of the queue on two CPUs
		t.Fatalf("%d names wait from one network", names)
	}
	answer, waits := q.signIn(b, page, "2001:db8:7:8:ffff::1", "alice", interactiontest.AlicePassword)
	if waits {
		t.Fatal("another name from another address of the network has a place")
	}
	if a := <-answer; a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" || !strings.Contains(a.Body, pages.MessageBusy) {
		t.Errorf("she is refused with %d, Retry-After %q: %s", a.StatusCode, a.Header.Get("Retry-After"), a.Body)
	}
	elsewhere, waits := q.signIn(b, page, "2001:db8:7:9::1", "bob", interactiontest.BobPassword)
	if !waits {
		t.Fatal("another network has no place")
	}
	known, waits := q.signIn(owner, ownersPage, "2001:db8:7:8::1", "alice", interactiontest.AlicePassword)
	if !waits {
		t.Fatal("the owner's device has no place")
	}
	leave()
	for q.Passwords.QueueLength() > 4 { // those that hold the CPUs, and two
		time.Sleep(time.Millisecond)
	}
	q.release()
	for name, answer := range map[string]chan interactiontest.Page{"bob from another network": elsewhere, "alice's device": known} {
		if a := <-answer; a.IsLogin() || a.StatusCode != http.StatusOK {
			t.Errorf("%s is answered %d: %s", name, a.StatusCode, a.Body)
		}
	}
}

func TestAPasswordClientThatTakesAUsersPlacesDoesNotStopHerLoginPage(t *testing.T) {
	q := newQueue(t)
	b := q.NewBrowser()
	page := b.Get(q.WebRequest())
	q.hold()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	full := make(chan struct{}, 3)
	for range 3 {
		q.waiting.Go(func() {
			_, err := q.Throttle.NewGrantAttempt("alice", "client-uid").Verify(ctx, q.Passwords, q.User("alice").PasswordHash, interactiontest.AlicePassword)
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
	w := interactiontest.New(t)
	crowd := w.NewBrowser()
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
		bob := w.NewBrowser()
		if page := bob.Login(bob.Get(w.WebRequest()), "bob", interactiontest.BobPassword); !page.IsConsent() {
			t.Errorf("try %d: status %d", try, page.StatusCode)
		}
	}
}

// signInUntil the context ends, over a connection of its own, and without ever becoming a browser
// that is known.
func signInUntil(ctx context.Context, w *interactiontest.Server, like *interactiontest.Browser, action string, fields url.Values) {
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
	w := interactiontest.New(t)
	alice := w.User("alice")
	alice.PasswordHash = "$argon2id$v=19$m=131072,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	w.Apply(alice)
	b := w.NewBrowser()
	answer := b.Login(b.Get(w.WebRequest()), "alice", interactiontest.AlicePassword)
	if answer.StatusCode != http.StatusInternalServerError || !strings.Contains(answer.Body, pages.MessageMemory) || w.Passwords.CountHashed() != 0 {
		t.Errorf("status %d after %d hashes: %s", answer.StatusCode, w.Passwords.CountHashed(), answer.Body)
	}
	if log := w.Log.String(); !strings.Contains(log, "raise the memory limit of the server") || !strings.Contains(log, "131072 KiB") {
		t.Error("the log does not say what to change")
	}
}
