package users_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/users"
)

// signInAt signs the user in whose password was changed at a time, at a replica with a clock.
func (w server) signInAt(now time.Time, changed string, upstream map[string]any) (*registry.User, error) {
	w.T.Helper()
	provider, ok := w.Registry.IdentityProvider("acme")
	if !ok {
		w.T.Fatal("the provider is not served")
	}
	replica := &users.Users{Registry: w.Registry, Store: w.Store, Keys: w.Keys, Now: func() time.Time { return now }, Log: w.Users.Log}
	return replica.SignIn(w.T.Context(), users.SignIn{Provider: provider, Subject: []byte("1"), Upstream: upstream, PasswordChanged: changed})
}

func (w server) mustSignInAt(now time.Time, changed string, upstream map[string]any) *registry.User {
	w.T.Helper()
	user, err := w.signInAt(now, changed, upstream)
	if err != nil {
		w.T.Fatal(err)
	}
	return user
}

func TestASignInWithAnEarlierPasswordIsNotGoodByALaterOne(t *testing.T) {
	w := newServer(t, acme())
	w.mustSignInAt(w.Now(), "today", employee())
	if _, err := w.signInAt(w.Now().Add(-time.Second), "yesterday", employee()); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("it is answered %v, want ErrUnavailable", err)
	}
}

func TestAClockThatIsWrongDoesNotKeepNewerClaimsOut(t *testing.T) {
	w := newServer(t, acme())
	promoted := employee()
	promoted["groups"] = []any{"ops", "dev"}
	w.mustSignInAt(w.Now().Add(time.Hour), "", promoted)
	if user := w.mustSignInAt(w.Now(), "", employee()); len(user.Groups()) != 1 || !w.isServed(user) {
		t.Errorf("the groups are %v", user.Groups())
	}
}

func TestTheLogSaysOfEachSignInWhichUserCameFromWhereAndNoMore(t *testing.T) {
	w := newServer(t, acme())
	user := w.mustSignIn("upstream-subject", employee())
	w.mustSignIn("upstream-subject", employee())
	log := w.Log.String()
	if n := strings.Count(log, `"provider":"acme","sub":"`+user.Subject+`"`); n != 2 || strings.Contains(log, "upstream-subject") || strings.Contains(log, "alice") {
		t.Errorf("the log of two sign-ins is %s", log)
	}
}
