package users_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/storagetest"
	"github.com/oauth-operator/oauth-operator/tokenserver/users"
)

// opsOf is what the directory says of a user of these groups.
func opsOf(groups ...any) users.Answer {
	return users.Answer{Upstream: map[string]any{"groups": groups}, PasswordChanged: "yesterday"}
}

// newDirectoryServer returns a server with a directory, where a user has signed in.
func newDirectoryServer(t *testing.T) (server, *servertest.Directory, *registry.User) {
	w := newServer(t, servertest.LDAPProvider())
	d := w.UseDirectory(opsOf("ops"))
	return w, d, w.mustSignInByPassword(opsOf("ops"))
}

func (w server) mustSignInByPassword(a users.Answer) *registry.User {
	w.T.Helper()
	p, ok := w.Registry.IdentityProvider("acme-ldap")
	if !ok {
		w.T.Fatal("the provider is not served")
	}
	user, err := w.Users.SignIn(w.T.Context(), users.SignIn{Provider: p, Subject: []byte{0, 255, 7}, Upstream: a.Upstream, PasswordChanged: a.PasswordChanged})
	if err != nil {
		w.T.Fatal(err)
	}
	return user
}

// isConfirmed reports whether a user may get tokens who signed in when the epoch was this.
func (w server) isConfirmed(user *registry.User) bool {
	w.T.Helper()
	found, ok, err := w.Users.Confirm(w.T.Context(), user.UID, user.Epoch)
	if err != nil {
		w.T.Error(err)
	}
	return ok && found.Epoch == user.Epoch
}

func TestADirectoryIsAskedAboutAUserAfterFiveMinutesOnceForAllRequests(t *testing.T) {
	w, d, user := newDirectoryServer(t)
	check := func(when string, want int) {
		t.Helper()
		if !w.isConfirmed(user) {
			t.Errorf("%s the user is not confirmed", when)
		}
		if got, _ := d.Asked(); got != want {
			t.Errorf("%s the directory was asked %d times, want %d", when, got, want)
		}
	}
	check("at once", 0)
	w.Advance(5*time.Minute - time.Second)
	check("before five minutes", 0)
	w.Advance(time.Second)
	check("after five minutes", 1)
	check("then", 1)
	if _, subject := d.Asked(); subject != "\x00\xff\x07" {
		t.Errorf("the directory was asked about %q", subject)
	}
	w.Advance(5 * time.Minute)
	waiting := make(chan struct{})
	d.Before(func() { <-waiting })
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() { check("of twenty at once", 2) })
	}
	close(waiting)
	group.Wait()
	if writes := w.Store.Writes(); writes != 1 {
		t.Errorf("there were %d writes, want that of the sign-in", writes)
	}
}

func TestWhenAUserIsGoneDeniedOrHasAnotherPasswordWhatWasIssuedEndsForGood(t *testing.T) {
	for what, answer := range map[string]struct {
		users.Answer
		err error
	}{
		"gone":             {err: users.ErrGone},
		"denied":           {Answer: opsOf("guests")},
		"without groups":   {Answer: users.Answer{Upstream: map[string]any{}, PasswordChanged: "yesterday"}},
		"another password": {Answer: users.Answer{Upstream: opsOf("ops").Upstream, PasswordChanged: "today"}},
	} {
		t.Run(what, func(t *testing.T) {
			p := servertest.LDAPProvider()
			p.Allow = `"ops" in upstream.groups`
			w := newServer(t, p)
			d := w.UseDirectory(opsOf("ops"))
			user := w.mustSignInByPassword(opsOf("ops"))
			w.Advance(5 * time.Minute)
			d.Set(answer.Answer, answer.err)
			if w.isConfirmed(user) || w.isServed(user) {
				t.Error("the user has tokens")
			}
			d.Set(opsOf("ops"), nil)
			if w.isConfirmed(user) {
				t.Error("the user has tokens again, without signing in")
			}
			if asked, _ := d.Asked(); asked != 1 {
				t.Errorf("the directory was asked %d times about what has ended", asked-1)
			}
			again := w.mustSignInByPassword(opsOf("ops"))
			if again.UID != user.UID || !w.isServed(again) || w.isServed(user) || w.isConfirmed(user) {
				t.Errorf("after signing in again what was issued before is good, or what is issued is not: %+v, was %+v", again, user)
			}
		})
	}
}

func TestSigningInWithANewPasswordEndsWhatWasIssuedBefore(t *testing.T) {
	w, _, user := newDirectoryServer(t)
	changed := opsOf("ops")
	changed.PasswordChanged = "today"
	again := w.mustSignInByPassword(changed)
	if w.isServed(user) || !w.isServed(again) {
		t.Errorf("the user is %+v, was %+v", again, user)
	}
	unknown := opsOf("ops")
	unknown.PasswordChanged = "" // the provider does not name the attribute any more
	if w.mustSignInByPassword(unknown); !w.isServed(again) {
		t.Error("what was issued has ended, although no password was changed")
	}
}

func TestWhileADirectoryIsAwayNothingEnds(t *testing.T) {
	w, d, user := newDirectoryServer(t)
	w.Advance(time.Hour)
	d.Set(users.Answer{}, errors.New("connection refused"))
	if _, _, err := w.Users.Confirm(t.Context(), user.UID, user.Epoch); !errors.Is(err, users.ErrUnconfirmed) {
		t.Errorf("the error is %v, want ErrUnconfirmed", err)
	}
	if !w.isServed(user) || w.Store.Writes() != 1 {
		t.Errorf("the user is not served, or there were %d writes", w.Store.Writes())
	}
	d.Set(opsOf("ops"), nil)
	if !w.isConfirmed(user) {
		t.Error("the user is not confirmed afterwards")
	}
	w.Advance(time.Hour)
	d.Set(users.Answer{}, users.ErrGone)
	w.Store.Fail("UpdateIdentity", storagetest.Unavailable)
	if _, _, err := w.Users.Confirm(t.Context(), user.UID, user.Epoch); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("an end that is not recorded: %v, want ErrUnavailable", err)
	}
	if w.isConfirmed(user) {
		t.Error("a user who is gone is confirmed")
	}
}

func TestWhatADirectorySaysOfAUserIsRecorded(t *testing.T) {
	w, d, user := newDirectoryServer(t)
	w.Advance(5 * time.Minute)
	d.Set(opsOf("dev"), nil)
	found, ok, err := w.Users.Confirm(t.Context(), user.UID, user.Epoch)
	if err != nil || !ok || found.Epoch != user.Epoch || found.Groups()[0] != "dev" {
		t.Errorf("the user is %+v (%v)", found, err)
	}
	if found, _, _ = w.Users.ByUID(t.Context(), storage.RecentReader(w.Users.Store), user.UID, user.Epoch); found == nil || found.Groups()[0] != "dev" || w.Store.Writes() != 2 {
		t.Errorf("the record says %+v, after %d writes", found, w.Store.Writes())
	}
}

func TestAfterAllowHasChangedADirectoryIsAskedAtOnce(t *testing.T) {
	w, d, user := newDirectoryServer(t)
	p := servertest.LDAPProvider()
	p.Allow = `"ops" in upstream.groups`
	w.serve(p)
	if w.isServed(user) {
		t.Error("the user is served before the directory was asked")
	}
	if !w.isConfirmed(user) || !w.isServed(user) {
		t.Error("the user who passes is not served")
	}
	if asked, _ := d.Asked(); asked != 1 {
		t.Errorf("the directory was asked %d times, want once", asked)
	}
	p.Allow = `"dev" in upstream.groups`
	w.serve(p)
	if w.isConfirmed(user) {
		t.Error("the user who does not pass is confirmed")
	}
	w.serve(servertest.LDAPProvider())
	if w.isServed(user) {
		t.Error("what has ended is good again")
	}
}

func TestAnAnswerFromBeforeASignInChangesNothing(t *testing.T) {
	w, d, user := newDirectoryServer(t)
	w.Advance(5 * time.Minute)
	d.Set(users.Answer{}, users.ErrGone)
	d.Before(func() {
		w.Advance(time.Second)
		w.mustSignInByPassword(opsOf("dev"))
	})
	if !w.isConfirmed(user) {
		t.Error("the user is gone, who has signed in since")
	}
	if found, _, _ := w.Users.ByUID(t.Context(), storage.RecentReader(w.Users.Store), user.UID, user.Epoch); found == nil || found.Groups()[0] != "dev" {
		t.Errorf("the user is %+v", found)
	}
}

func TestAUserWhoseSubjectCannotBeOpenedSignsInAgain(t *testing.T) {
	w, d, user := newDirectoryServer(t)
	i, err := w.Memory.GetIdentity(t.Context(), user.UID)
	if err != nil {
		t.Fatal(err)
	}
	i.SealedSubject = "gone." + i.SealedSubject
	if _, err := w.Memory.UpdateIdentity(t.Context(), i); err != nil {
		t.Fatal(err)
	}
	w.Advance(time.Hour)
	if w.isConfirmed(user) {
		t.Error("the user is confirmed")
	}
	w.mustSignInByPassword(opsOf("ops"))
	w.Advance(time.Hour)
	if !w.isConfirmed(user) {
		t.Error("the user is not confirmed after signing in, by which the subject is sealed again")
	}
	if asked, _ := d.Asked(); asked != 1 {
		t.Errorf("the directory was asked %d times, want once", asked)
	}
}

func TestNoDirectoryIsAskedAboutOtherUsers(t *testing.T) {
	w := newServer(t, acme())
	d := w.UseDirectory(opsOf("ops"))
	user := w.mustSignIn("1", employee())
	w.Advance(time.Hour)
	local := servertest.User()
	w.AddUser(local)
	if !w.isConfirmed(user) || !w.isConfirmed(&registry.User{User: local}) {
		t.Error("a user is not confirmed")
	}
	if asked, _ := d.Asked(); asked != 0 {
		t.Errorf("the directory was asked %d times", asked)
	}
}
