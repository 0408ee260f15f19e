package token_test

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/password"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
)

// exchangePassword sends a password to the token endpoint as the client.
func exchangePassword(w *servertest.Server, c documents.Client, username, secret string) servertest.Answer {
	return w.Post("/token", c, "grant_type", "password", "username", username, "password", secret)
}

func TestTenWrongPasswordsMakeANameWaitWhoeverItIs(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newPasswordClient())
	other := newPasswordClient()
	other.ID, other.UID = "shop.other", "other-uid"
	w.AddClient(other)
	var bodies []string
	for _, username := range []string{"alice", "unknown", "not a\u200bname"} {
		for range 10 {
			w.CheckError(exchangePassword(w, c, username, "wrong"), 400, "invalid_grant")
		}
		before := w.Passwords.CountHashed()
		for _, c := range []documents.Client{c, other} {
			a := exchangePassword(w, c, username, servertest.Password)
			w.CheckError(a, 429, "temporarily_unavailable")
			if a.Header.Get("Retry-After") != "1" {
				t.Errorf("%s: Retry-After is %q", username, a.Header.Get("Retry-After"))
			}
			bodies = append(bodies, a.Body)
		}
		if work := w.Passwords.CountHashed() - before; work != 0 {
			t.Errorf("%d passwords were hashed for %s, want none", work, username)
		}
	}
	for _, body := range bodies {
		if body != bodies[0] {
			t.Errorf("one is answered %s, another %s", bodies[0], body)
		}
	}
	w.CheckError(exchangePassword(w, c, "ALICE", servertest.Password), 429, "temporarily_unavailable")
	w.Advance(time.Second)
	w.RequireOK(exchangePassword(w, other, "alice", servertest.Password))
	if len(w.StoredGrants()) != 1 {
		t.Errorf("there are %d grants, want 1", len(w.StoredGrants()))
	}
}

func TestAThousandWrongPasswordsMakeAClientWaitAndNoOther(t *testing.T) {
	w := newServer(t)
	// The hashes are cheap, since a thousand are computed, also for unknown names.
	cheap := servertest.User()
	cheap.PasswordHash = "$2a$04$" + strings.Repeat(".", 53)
	w.AddUser(cheap)
	c := w.AddClient(newPasswordClient())
	for range 1000 {
		w.CheckError(exchangePassword(w, c, rand.Text(), "wrong"), 400, "invalid_grant")
	}
	w.CheckError(exchangePassword(w, c, "bob", "wrong"), 429, "temporarily_unavailable")
	other := newPasswordClient()
	other.ID, other.UID = "shop.other", "other-uid"
	w.CheckError(exchangePassword(w, w.AddClient(other), "bob", "wrong"), 400, "invalid_grant")
}

func TestAUserWhoseNameMustWaitKeepsTheTokensThatAreThere(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newPasswordClient())
	a := w.RequireOK(exchangePassword(w, c, "alice", servertest.Password))
	for range 11 {
		exchangePassword(w, c, "alice", "wrong")
	}
	if !w.IsActive(a.String("access_token")) {
		t.Error("the access token is not active")
	}
	w.RequireOK(w.Refresh(c, a.String("refresh_token")))
}

func TestATooBusyServerAnswers503WithRetryAfter(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newPasswordClient())
	ctx, stop := context.WithCancel(t.Context())
	var crowd sync.WaitGroup
	defer crowd.Wait()
	defer stop()
	// The queue is full: a verification that does not end runs on each CPU, and as many as may wait
	// are waiting.
	for full := false; !full; {
		crowd.Go(func() {
			_, _ = w.Passwords.Verify(ctx, password.Request{BeforeHash: func() error { <-ctx.Done(); return ctx.Err() }})
		})
		probe, cancel := context.WithTimeout(ctx, time.Millisecond)
		_, err := w.Passwords.Verify(probe, password.Request{})
		cancel()
		full = errors.Is(err, password.ErrBusy)
	}
	a := exchangePassword(w, c, "alice", servertest.Password)
	w.CheckError(a, 503, "temporarily_unavailable")
	if a.Header.Get("Retry-After") == "" {
		t.Error("there is no Retry-After")
	}
	if len(w.StoredGrants()) != 0 {
		t.Error("there is a grant")
	}
}

func TestAHashThatTakesMoreMemoryThanTheServerHasIsAnsweredClearly(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newPasswordClient())
	user := servertest.User()
	user.PasswordHash = "$argon2id$v=19$m=131072,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	w.AddUser(user)
	var bodies []string
	for _, username := range []string{"alice", "unknown"} { // the same work for both, since all hashes are like this one
		a := exchangePassword(w, c, username, servertest.Password)
		w.CheckError(a, 500, "server_error")
		bodies = append(bodies, a.Body)
	}
	if bodies[0] != bodies[1] || !strings.Contains(bodies[0], "memory") || strings.Contains(bodies[0], "131072") || w.Passwords.CountHashed() != 0 {
		t.Errorf("after %d hashes the answers are %s", w.Passwords.CountHashed(), bodies)
	}
	if log := w.Log.String(); !strings.Contains(log, "raise the memory limit of the server") || !strings.Contains(log, "131072 KiB") {
		t.Error("the log does not say what to change")
	}
}
