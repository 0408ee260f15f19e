// Package userstest has the tests of users from elsewhere that hold with every storage, at several
// replicas.
package userstest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry/registrytest"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/users"
)

// Storage is where the replicas of one server keep their records.
type Storage struct {
	// Stores are those of the replicas, two at least.
	Stores []storage.Store
	// DeleteIdentity deletes an identity, as people do with kubectl or SQL, and returns when each of the
	// replicas knows.
	DeleteIdentity func(ctx context.Context, subject string) error
	// PutBack deletes an identity too, and creates it again from a dump; nil if a dump has more than it.
	PutBack func(ctx context.Context, subject string) error
}

// Run runs the tests. Open opens the storage of a server that has no records.
func Run(t *testing.T, open func(t *testing.T) Storage) {
	for name, test := range map[string]func(t *testing.T, s *server){
		"FiftyFirstSignInsOfAUserMakeOneRecordAndAllAreGoodEverywhereAtOnce": firstSignIns,
		"OfWhatWasIssuedNothingIsGoodAfterTheProviderWasCreatedAgain":        providerCreatedAgain,
		"OfWhatWasIssuedNothingIsGoodAfterTheRecordIsGone":                   recordGone,
		"ATightenedAllowEndsASignInAtEveryReplicaAndTheNextOneIsOneWrite":    tightenedAllow,
		"StrangersLeaveNothingBehindAndABoundRefusesNewUsersAlone":           strangers,
		"ASuspendedUserDoesNotSignInAlsoWithoutARecord":                      suspended,
	} {
		t.Run(name, func(t *testing.T) { test(t, newServer(t, open(t))) })
	}
}

// server is a server with several replicas.
type server struct {
	t        *testing.T
	storage  Storage
	replicas []*users.Users
}

func newServer(t *testing.T, s Storage) *server {
	w := &server{t: t, storage: s}
	for _, store := range s.Stores {
		replica := servertest.New(t)
		replica.Users.Store, replica.Users.Now = store, time.Now
		w.replicas = append(w.replicas, replica.Users)
	}
	w.serve(provider())
	return w
}

// provider is an OpenID provider whose employees sign in.
func provider() documents.IdentityProvider {
	return documents.IdentityProvider{
		UID: "acme-uid", Namespace: "identity", Name: "acme", DisplayName: "Acme", Type: documents.ProviderOIDC,
		Realm: "https://login.acme.example", SubjectAttribute: "sub",
		OIDC:  &documents.OIDCProvider{Issuer: "https://login.acme.example", ClientID: "us", MaxAge: 3600},
		Allow: `upstream.employee`, Claims: map[string]string{"groups": "upstream.groups"}, MaxIdentities: 1000,
	}
}

func employee() map[string]any { return map[string]any{"employee": true, "groups": []any{"ops"}} }

// serve serves documents at all replicas.
func (w *server) serve(docs ...any) {
	w.t.Helper()
	for _, replica := range w.replicas {
		registrytest.Fill(w.t, replica.Registry, docs...)
	}
}

func (w *server) signInAt(replica *users.Users, subject string, upstream map[string]any) (*registry.User, error) {
	p, ok := replica.Registry.IdentityProvider("acme")
	if !ok {
		return nil, errors.New("the provider is not served")
	}
	return replica.SignIn(w.t.Context(), users.SignIn{Provider: p, Subject: []byte(subject), Upstream: upstream})
}

// signIn signs an employee in at the first replica.
func (w *server) signIn(subject string) *registry.User {
	w.t.Helper()
	user, err := w.signInAt(w.replicas[0], subject, employee())
	if err != nil {
		w.t.Fatal(err)
	}
	return user
}

// check fails the test unless what was issued to the user is good, or is not, at each replica: to use it,
// and to get more.
func (w *server) check(when string, user *registry.User, want bool) {
	w.t.Helper()
	for n, replica := range w.replicas {
		found, ok, err := replica.ByUID(w.t.Context(), storage.RecentReader(replica.Store), user.UID, user.Epoch)
		if err != nil {
			w.t.Error(err)
		}
		confirmed, more, err := replica.Confirm(w.t.Context(), user.UID, user.Epoch)
		if err != nil {
			w.t.Error(err)
		}
		isOf := func(found *registry.User) bool {
			return found.Epoch == user.Epoch && found.ProviderUID == user.ProviderUID
		}
		if ok = ok && isOf(found); ok != want {
			w.t.Errorf("%s the token of the user is good at replica %d: %v, want %v", when, n, ok, want)
		}
		if more = more && isOf(confirmed); more != want {
			w.t.Errorf("%s the user gets more at replica %d: %v, want %v", when, n, more, want)
		}
	}
}

func (w *server) count(store storage.Store, providerUID string) int {
	w.t.Helper()
	n, err := store.CountIdentities(w.t.Context(), providerUID)
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func firstSignIns(t *testing.T, w *server) {
	var all sync.WaitGroup
	start, signedIn := make(chan struct{}), make([]*registry.User, 50)
	for n := range signedIn {
		all.Go(func() {
			<-start
			user, err := w.signInAt(w.replicas[n%len(w.replicas)], "1", employee())
			if err != nil {
				t.Error(err)
				return
			}
			signedIn[n] = user
			w.check("at once", user, true)
		})
	}
	close(start)
	all.Wait()
	for _, user := range signedIn {
		if user != nil && (user.UID != signedIn[0].UID || user.Epoch != signedIn[0].Epoch) {
			t.Errorf("one is %+v, another %+v", user, signedIn[0])
		}
	}
	if n := w.count(w.replicas[0].Store, "acme-uid"); n != 1 {
		t.Errorf("there are %d records, want 1", n)
	}
}

func providerCreatedAgain(t *testing.T, w *server) {
	user := w.signIn("1")
	for _, replica := range w.replicas {
		replica.Registry.Remove(registrytest.Name(registry.SpaceIdentityProvider, provider().Name))
		replica.Registry.Remove(registrytest.Name(registry.SpaceRealm, provider().Realm))
	}
	w.check("while the provider is gone", user, false)
	again := provider()
	again.UID = "acme-uid-2"
	w.serve(again)
	w.check("after it was created again", user, false)
	second := w.signIn("1")
	if second.Subject != user.Subject {
		t.Errorf("the same person is %s, was %s", second.Subject, user.Subject)
	}
	w.check("after signing in", second, true)
	w.check("after signing in again", user, false)
}

func recordGone(t *testing.T, w *server) {
	first := w.signIn("1")
	if err := w.storage.DeleteIdentity(t.Context(), first.UID); err != nil {
		t.Fatal(err)
	}
	w.check("without a record", first, false)
	second := w.signIn("1")
	if second.Subject != first.Subject {
		t.Errorf("the same person is %s, was %s", second.Subject, first.Subject)
	}
	w.check("after signing in", second, true)
	w.check("after signing in again", first, false)
	if w.storage.PutBack == nil {
		return
	}
	if err := w.storage.PutBack(t.Context(), first.UID); err != nil {
		t.Fatal(err)
	}
	w.check("put back from a dump", second, false)
	w.check("after signing in to what was put back", w.signIn("1"), true)
	w.check("after signing in to what was put back", second, false)
}

func tightenedAllow(t *testing.T, w *server) {
	user := w.signIn("1")
	before, err := w.replicas[0].Store.GetIdentity(t.Context(), user.UID)
	if err != nil {
		t.Fatal(err)
	}
	tightened := provider()
	tightened.Allow = `upstream.employee && "ops" in upstream.groups`
	w.serve(tightened)
	w.check("before the next sign-in", user, false)
	if i, err := w.replicas[0].Store.GetIdentity(t.Context(), user.UID); err != nil || i.Version != before.Version {
		t.Errorf("the record was written (%v)", err)
	}
	w.check("after the next sign-in", w.signIn("1"), true)
	after, err := w.replicas[0].Store.GetIdentity(t.Context(), user.UID)
	if err != nil || after.Version == before.Version {
		t.Errorf("the record was not written (%v)", err)
	}
	w.signIn("1")
	if i, err := w.replicas[0].Store.GetIdentity(t.Context(), user.UID); err != nil || i.Version != after.Version {
		t.Errorf("a sign-in with nothing new is written (%v)", err)
	}
	tightened.Allow = `"dev" in upstream.groups`
	w.serve(tightened)
	if _, err := w.signInAt(w.replicas[1], "1", employee()); !errors.Is(err, users.ErrDenied) {
		t.Errorf("a user who does not pass: %v, want ErrDenied", err)
	}
	w.check("after the user was denied", user, false)
}

func strangers(t *testing.T, w *server) {
	p := provider()
	p.MaxIdentities = 2
	w.serve(p)
	for n := range 1000 {
		if _, err := w.signInAt(w.replicas[n%len(w.replicas)], fmt.Sprint(n), map[string]any{"employee": false}); !errors.Is(err, users.ErrDenied) {
			t.Fatalf("a stranger: %v, want ErrDenied", err)
		}
	}
	if n := w.count(w.replicas[0].Store, "acme-uid"); n != 0 {
		t.Errorf("strangers have %d records", n)
	}
	w.signIn("known")
	w.signIn("too")
	if _, err := w.signInAt(w.replicas[0], "new", employee()); !errors.Is(err, users.ErrFull) {
		t.Errorf("a user beyond maxIdentities: %v, want ErrFull", err)
	}
	promoted := employee()
	promoted["groups"] = []any{"dev"}
	for _, replica := range w.replicas {
		if _, err := w.signInAt(replica, "known", promoted); err != nil {
			t.Errorf("a known user: %v", err)
		}
	}
	other := provider()
	other.UID, other.Name, other.Realm = "other-uid", "other", "https://login.other.example"
	w.serve(other)
	served, _ := w.replicas[0].Registry.IdentityProvider("other")
	if _, err := w.replicas[0].SignIn(t.Context(), users.SignIn{Provider: served, Subject: []byte("new"), Upstream: employee()}); err != nil {
		t.Errorf("a user of another provider: %v", err)
	}
}

func suspended(t *testing.T, w *server) {
	user := w.signIn("1")
	spec := documents.Identity{UID: "spec-uid", Subject: user.UID, Suspended: true}
	w.serve(spec)
	w.check("suspended", user, false)
	if err := w.storage.DeleteIdentity(t.Context(), user.UID); err != nil {
		t.Fatal(err)
	}
	for _, replica := range w.replicas {
		if _, err := w.signInAt(replica, "1", employee()); !errors.Is(err, users.ErrDenied) {
			t.Errorf("without a record: %v, want ErrDenied", err)
		}
	}
	if n := w.count(w.replicas[0].Store, "acme-uid"); n != 0 {
		t.Errorf("a suspended user has %d records", n)
	}
	spec.Suspended = false
	w.serve(spec)
	w.check("afterwards", w.signIn("1"), true)
}
