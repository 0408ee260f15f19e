package login_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/password"
)

// busyServer is a server whose CPUs are all busy until they are released, so logins wait.
type busyServer struct {
	*interactiontest.Server
	release func()
	waiting sync.WaitGroup
}

func newBusyServer(t *testing.T) *busyServer {
	t.Helper()
	q := &busyServer{Server: interactiontest.New(t)}
	q.Document.TrustedProxies = []string{"127.0.0.0/8", "::1/128"}
	q.Apply(q.Document)
	t.Cleanup(q.waiting.Wait)
	return q
}

// holdCPUs makes all CPUs busy until release is called.
func (q *busyServer) holdCPUs() {
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

// newLoginRequest returns a request from an address by a browser that has opened the login page.
func (q *busyServer) newLoginRequest(ctx context.Context, page interactiontest.Page, address, username, secret string) *http.Request {
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

// getsPlace runs ask, and reports whether it gets a place in the queue: it does when the queue
// grows, and does not when ask returns before that.
func (q *busyServer) getsPlace(ask func()) bool {
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

// fillQueue fills the queue from an address with unknown names, until one gets no place. It returns
// how many got one, and a function that removes them.
func (q *busyServer) fillQueue(b *interactiontest.Browser, page interactiontest.Page, prefix string) (names int, leave func()) {
	q.T.Helper()
	ctx, leave := context.WithCancel(q.T.Context())
	refused := false
	for ; !refused && names < 300; names++ {
		r := q.newLoginRequest(ctx, page, fmt.Sprintf("%s%x", prefix, names), fmt.Sprint("name-", names), "wrong")
		for _, cookie := range b.Jar.Cookies(r.URL) {
			r.AddCookie(cookie)
		}
		refused = !q.getsPlace(func() {
			connection := &http.Transport{}
			defer connection.CloseIdleConnections()
			if answer, err := connection.RoundTrip(r); err == nil { // otherwise the context has ended
				_ = answer.Body.Close()
			}
		})
	}
	return names - 1, leave
}

// signIn starts a login, and reports whether it waits in the queue. The answer is sent to the
// channel.
func (q *busyServer) signIn(b *interactiontest.Browser, page interactiontest.Page, address, username, secret string) (answer chan interactiontest.Page, waits bool) {
	q.T.Helper()
	answer = make(chan interactiontest.Page, 1)
	r := q.newLoginRequest(context.WithoutCancel(q.T.Context()), page, address, username, secret)
	return answer, q.getsPlace(func() { answer <- b.Do(r) })
}

func TestNamesThatWaitFromOneIPv6NetworkShareItsBoundAndTheOwnersDeviceGetsInThroughIt(t *testing.T) {
	q := newBusyServer(t)
	owner := q.NewBrowser()
	if page := owner.Login(owner.Get(q.WebRequest()), "alice", interactiontest.AlicePassword); !page.IsConsent() {
		t.Fatalf("status %d", page.StatusCode)
	}
	ownersPage := owner.Get(q.WebRequest("prompt", "login"))
	b := q.NewBrowser()
	page := b.Get(q.WebRequest())
	q.holdCPUs()
	names, leave := q.fillQueue(b, page, "2001:db8:7:8::")
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
	q := newBusyServer(t)
	b := q.NewBrowser()
	page := b.Get(q.WebRequest())
	q.holdCPUs()
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
	q := newBusyServer(t)
	crowd, bob := q.NewBrowser(), q.NewBrowser()
	page, bobsPage := crowd.Get(q.WebRequest()), bob.Get(q.WebRequest())
	q.holdCPUs()
	var waiting []chan interactiontest.Page
	for range 20 {
		answer, waits := q.signIn(crowd, page, "192.0.2.1", "alice", interactiontest.AlicePassword)
		if waits {
			waiting = append(waiting, answer)
		} else if a := <-answer; a.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("without a place she is answered %d: %s", a.StatusCode, a.Body)
		}
	}
	if len(waiting) != 2 {
		t.Errorf("one account has %d places in the queue, want 2", len(waiting))
	}
	answer, waits := q.signIn(bob, bobsPage, "192.0.2.1", "bob", interactiontest.BobPassword)
	if !waits {
		t.Fatal("another account has no place")
	}
	q.release()
	for _, answer := range append(waiting, answer) {
		if a := <-answer; !a.IsConsent() {
			t.Errorf("who has a place is answered %d: %s", a.StatusCode, a.Body)
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
	eventually.True(t, "the log says what to change", func() bool { // it is written after the response
		log := w.Log.String()
		return strings.Contains(log, "raise the memory limit of the server") && strings.Contains(log, "131072 KiB")
	})
}
