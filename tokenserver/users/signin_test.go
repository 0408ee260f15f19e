package users_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry/registrytest"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/storagetest"
	"github.com/oauth-operator/oauth-operator/tokenserver/users"
)

// acme is an OpenID provider whose employees sign in.
func acme() documents.IdentityProvider {
	return documents.IdentityProvider{
		UID: "acme-uid", Namespace: "identity", Name: "acme", DisplayName: "Acme", Type: documents.ProviderOIDC,
		Realm: "https://login.acme.example", SubjectAttribute: "sub",
		OIDC:          &documents.OIDCProvider{Issuer: "https://login.acme.example", ClientID: "us", MaxAge: 3600},
		Allow:         `upstream.employee`,
		Claims:        map[string]string{"preferred_username": "upstream.name", "groups": "upstream.groups", "level": "upstream.level"},
		MaxIdentities: 1000,
	}
}

type server struct {
	*servertest.Server
}

// newServer returns a server with the provider.
func newServer(t *testing.T, p documents.IdentityProvider) server {
	w := server{servertest.New(t)}
	w.serve(p)
	return w
}

// serve serves a provider, also in place of what was served for it.
func (w server) serve(p documents.IdentityProvider) {
	w.T.Helper()
	registrytest.Fill(w.T, w.Registry, p)
}

// remove stops serving a provider.
func (w server) remove(p documents.IdentityProvider) {
	w.Registry.Remove(registrytest.Name(registry.SpaceIdentityProvider, p.Name))
	w.Registry.Remove(registrytest.Name(registry.SpaceRealm, p.Realm))
}

// employee is what the provider says of an employee.
func employee() map[string]any {
	return map[string]any{"employee": true, "name": "alice", "groups": []any{"ops"}, "level": json.Number("1.0")}
}

func (w server) signIn(subject string, upstream map[string]any) (*registry.User, error) {
	w.T.Helper()
	return w.signInBy(w.Users, subject, upstream)
}

func (w server) signInBy(u *users.Users, subject string, upstream map[string]any) (*registry.User, error) {
	w.T.Helper()
	p, ok := w.Registry.IdentityProvider("acme")
	if !ok {
		w.T.Fatal("the provider is not served")
	}
	return u.SignIn(w.T.Context(), users.SignIn{Provider: p, Subject: []byte(subject), Upstream: upstream})
}

func (w server) mustSignIn(subject string, upstream map[string]any) *registry.User {
	w.T.Helper()
	user, err := w.signIn(subject, upstream)
	if err != nil {
		w.T.Fatal(err)
	}
	return user
}

// isServed reports whether a user is served who was issued something when the epoch was this.
func (w server) isServed(user *registry.User) bool {
	w.T.Helper()
	found, ok, err := w.Users.ByUID(w.T.Context(), storage.RecentReader(w.Users.Store), user.UID, user.Epoch)
	if err != nil {
		w.T.Fatal(err)
	}
	return ok && found.Epoch == user.Epoch && found.ProviderUID == user.ProviderUID
}

func TestASignInIsRecordedOnceAndThenWhenSomethingHasChangedOrADayHasPassed(t *testing.T) {
	w := newServer(t, acme())
	first := w.mustSignIn("1", employee())
	if !strings.HasPrefix(first.UID, "~") || first.Subject != first.UID || first.ProviderName != "acme" || first.ProviderUID != "acme-uid" ||
		first.Username != "alice" || first.Epoch == "" || first.MaxAge != time.Hour || first.Groups()[0] != "ops" {
		t.Errorf("the user is %+v", first)
	}
	for _, step := range []struct {
		what   string
		change func(upstream map[string]any)
		after  time.Duration
		writes int
	}{
		{"the same", nil, time.Minute, 1},
		{"what is not mapped", func(u map[string]any) { u["iat"] = 5 }, time.Minute, 1},
		{"a day later", nil, 24 * time.Hour, 2},
		{"other groups", func(u map[string]any) { u["groups"] = []any{"dev"} }, time.Minute, 3},
	} {
		w.Advance(step.after)
		upstream := employee()
		if step.change != nil {
			step.change(upstream)
		}
		user := w.mustSignIn("1", upstream)
		if user.UID != first.UID || user.Epoch != first.Epoch || !w.isServed(user) {
			t.Errorf("%s: the user is %+v, was %+v", step.what, user, first)
		}
		if got := w.Store.Writes(); got != step.writes {
			t.Errorf("%s: %d writes in all, want %d", step.what, got, step.writes)
		}
	}
	if other := w.mustSignIn("2", employee()); other.UID == first.UID {
		t.Error("two users have one subject")
	}
}

func TestStrangersWhomAllowDeniesLeaveNothingBehind(t *testing.T) {
	w := newServer(t, acme())
	for i := range 20_000 {
		for _, upstream := range []map[string]any{{"employee": false}, {}, {"employee": "true"}} {
			if _, err := w.signIn(fmt.Sprint(i), upstream); !errors.Is(err, users.ErrDenied) {
				t.Fatalf("%v: %v, want ErrDenied", upstream, err)
			}
		}
	}
	if w.Store.Writes() != 0 {
		t.Errorf("there were %d writes", w.Store.Writes())
	}
	w.mustSignIn("a colleague", employee()) // no stranger counts as a first sign-in
}

func TestAtMaxIdentitiesNewUsersAreRefusedAndKnownOnesSignIn(t *testing.T) {
	p := acme()
	p.MaxIdentities = 2
	w := newServer(t, p)
	w.mustSignIn("1", employee())
	w.mustSignIn("2", employee())
	if _, err := w.signIn("3", employee()); !errors.Is(err, users.ErrFull) {
		t.Errorf("the third: %v, want ErrFull", err)
	}
	promoted := employee()
	promoted["groups"] = []any{"dev"}
	w.mustSignIn("1", promoted)
	w.mustSignInAtOther()
}

// mustSignInAtOther signs a new user of another provider in.
func (w server) mustSignInAtOther() {
	w.T.Helper()
	other := acme()
	other.UID, other.Name, other.Realm, other.MaxIdentities = "other-uid", "other", "https://login.other.example", 1
	w.serve(other)
	provider, _ := w.Registry.IdentityProvider("other")
	if _, err := w.Users.SignIn(w.T.Context(), users.SignIn{Provider: provider, Subject: []byte("1"), Upstream: employee()}); err != nil {
		w.T.Errorf("a user of another provider: %v", err)
	}
}

func TestAProviderBringsSixtyNewUsersAMinuteAndKnownOnesSignIn(t *testing.T) {
	w := newServer(t, acme())
	for i := range 60 {
		w.mustSignIn(fmt.Sprint(i), employee())
	}
	var often *users.RateError
	if _, err := w.signIn("61", employee()); !errors.As(err, &often) || often.Wait != time.Minute {
		t.Errorf("the 61st: %v, want a *RateError of a minute", err)
	}
	w.mustSignIn("7", employee())
	w.mustSignInAtOther()
	w.Advance(time.Minute)
	w.mustSignIn("61", employee())
}

func TestFiftyFirstSignInsOfAUserAtThreeReplicasMakeOneRecord(t *testing.T) {
	w := newServer(t, acme())
	var replicas []*users.Users
	for range 3 {
		replicas = append(replicas, &users.Users{Registry: w.Registry, Store: w.Store, Keys: w.Keys, Now: w.Now, Log: w.Users.Log})
	}
	var group sync.WaitGroup
	results := make([]*registry.User, 50)
	for i := range results {
		group.Go(func() {
			user, err := w.signInBy(replicas[i%3], "1", employee())
			if err != nil {
				t.Error(err)
			}
			results[i] = user
		})
	}
	group.Wait()
	for _, user := range results {
		if user == nil || user.Epoch != results[0].Epoch || !w.isServed(user) {
			t.Fatalf("one is %+v, another %+v", user, results[0])
		}
	}
	if n, err := w.Memory.CountIdentities(t.Context(), "acme-uid"); n != 1 || err != nil {
		t.Errorf("there are %d records (%v), want 1", n, err)
	}
}

func TestAnotherPasswordAtTheDirectoryEndsWhatWasIssuedBefore(t *testing.T) {
	w := newServer(t, acme())
	signIn := func(changed string) *registry.User {
		p, _ := w.Registry.IdentityProvider("acme")
		user, err := w.Users.SignIn(t.Context(), users.SignIn{Provider: p, Subject: []byte("1"), Upstream: employee(), PasswordChanged: changed})
		if err != nil {
			t.Fatal(err)
		}
		return user
	}
	thief := signIn("in spring")
	if again := signIn("in spring"); again.Epoch != thief.Epoch || !w.isServed(thief) {
		t.Error("the same password has another epoch")
	}
	if owner := signIn("today"); w.isServed(thief) || !w.isServed(owner) {
		t.Error("what was issued for the old password goes on, or what was issued for the new one does not")
	}
}

func TestASignInThatLosesTheRaceToALaterOneChangesNothingOfIt(t *testing.T) {
	w := newServer(t, acme())
	w.Advance(time.Minute)
	w.mustSignIn("1", employee())
	later, err := w.Store.GetIdentity(t.Context(), w.mustSignIn("1", employee()).UID)
	if err != nil {
		t.Fatal(err)
	}
	p := acme()
	p.Allow = `upstream.employee || false`
	w.serve(p) // as a replica does that has not read a new allow yet
	earlier := &users.Users{
		Registry: w.Registry, Store: w.Store, Keys: w.Users.Keys, Log: w.Users.Log, Now: func() time.Time { return w.Now().Add(-time.Second) },
	}
	if _, err := w.signInBy(earlier, "1", map[string]any{"employee": true, "name": "eve"}); err != nil {
		t.Fatal(err)
	}
	if got, err := w.Store.GetIdentity(t.Context(), later.Subject); err != nil || !reflect.DeepEqual(got, later) {
		t.Errorf("the record is %+v, %v, was %+v", got, err, later)
	}
}

// swept is a store that is swept just before a record is updated.
type swept struct {
	storage.Store
}

func (s swept) UpdateIdentity(ctx context.Context, i storage.Identity) (storage.Identity, error) {
	if _, err := s.Sweep(ctx, i.LastSignIn); err != nil {
		return storage.Identity{}, err
	}
	return s.Store.UpdateIdentity(ctx, i)
}

func TestAUserWhoseRecordIsGoneMeanwhileIsRecordedAnew(t *testing.T) {
	w := newServer(t, acme())
	first := w.mustSignIn("1", employee())
	w.Store.SetIdentitySpecs(func(string) bool { return false })
	w.Advance(31 * 24 * time.Hour)
	u := &users.Users{Registry: w.Registry, Store: swept{w.Store}, Keys: w.Users.Keys, Log: w.Users.Log, Now: w.Now}
	user, err := w.signInBy(u, "1", employee())
	if err != nil || !w.isServed(user) || user.Epoch == first.Epoch {
		t.Errorf("the user is %+v, %v, was %+v", user, err, first)
	}
}

func TestAWriteWhoseAnswerIsLostIsAdopted(t *testing.T) {
	for _, fault := range []storagetest.Fault{storagetest.LostAnswer, storagetest.LostRequest} {
		w := newServer(t, acme())
		w.Store.Fail("CreateIdentity", fault)
		if user := w.mustSignIn("1", employee()); !w.isServed(user) {
			t.Errorf("fault %v: the user is not served", fault)
		}
	}
}

func TestWhileTheStoreTakesNoWritesKnownUsersOfWhomNothingIsNewSignIn(t *testing.T) {
	w := newServer(t, acme())
	w.mustSignIn("1", employee())
	w.Advance(25 * time.Hour)
	w.Store.Fail("UpdateIdentity", storagetest.Unavailable, storagetest.Unavailable)
	w.mustSignIn("1", employee())
	promoted := employee()
	promoted["groups"] = []any{"dev"}
	if _, err := w.signIn("1", promoted); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("with other groups: %v, want ErrUnavailable", err)
	}
	w.Store.Fail("CreateIdentity", storagetest.Unavailable)
	if _, err := w.signIn("2", employee()); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("a new user: %v, want ErrUnavailable", err)
	}
	w.Store.Fail("GetIdentity", storagetest.Unavailable)
	if _, _, err := w.Users.ByUID(t.Context(), storage.RecentReader(w.Users.Store), "~x", ""); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("a user who cannot be read: %v, want ErrUnavailable", err)
	}
}

func TestATightenedAllowEndsWhatRestsOnTheOldSignInUntilTheNextOne(t *testing.T) {
	w := newServer(t, acme())
	user := w.mustSignIn("1", employee())
	p := acme()
	p.Allow = `upstream.employee && "ops" in upstream.groups`
	w.serve(p)
	if w.isServed(user) {
		t.Error("the user is served, who has not passed the new allow")
	}
	if user = w.mustSignIn("1", employee()); !w.isServed(user) || w.Store.Writes() != 2 {
		t.Errorf("after signing in again the user is not served, or there were %d writes", w.Store.Writes())
	}
	p.Allow = "false"
	w.serve(p)
	if _, err := w.signIn("1", employee()); !errors.Is(err, users.ErrDenied) || w.isServed(user) {
		t.Errorf("a user who does not pass: %v, want ErrDenied", err)
	}
}

func TestUsersOfAProviderThatIsSuspendedGoneOrCreatedAgainAreNotServed(t *testing.T) {
	w := newServer(t, acme())
	user := w.mustSignIn("1", employee())
	provider, _ := w.Registry.IdentityProvider("acme")
	p := acme()
	p.Suspended = true
	w.serve(p)
	if _, err := w.signIn("1", employee()); !errors.Is(err, users.ErrDenied) || w.isServed(user) {
		t.Errorf("suspended: %v, want ErrDenied", err)
	}
	w.serve(acme())
	if !w.isServed(user) {
		t.Error("the user is not served after the suspension")
	}
	w.remove(acme())
	if _, err := w.Users.SignIn(t.Context(), users.SignIn{Provider: provider, Subject: []byte("1"), Upstream: employee()}); !errors.Is(err, users.ErrDenied) || w.isServed(user) {
		t.Errorf("gone: %v, want ErrDenied", err)
	}
	p = acme()
	p.UID = "acme-uid-2"
	w.serve(p)
	again := w.mustSignIn("1", employee())
	if again.UID != user.UID || w.isServed(user) || !w.isServed(again) {
		t.Errorf("created again: the user is %+v, was %+v", again, user)
	}
}

func TestWhileAProviderIsNotAcceptedNothingIsKnownOfItsUsers(t *testing.T) {
	w := newServer(t, acme())
	user := w.mustSignIn("1", employee())
	w.serve(documents.IdentityProvider{UID: "acme-uid", Name: "acme", DisplayName: "Acme", NotAccepted: true})
	if _, _, err := w.Users.ByUID(t.Context(), storage.RecentReader(w.Users.Store), user.UID, user.Epoch); !errors.Is(err, registry.ErrNotServing) {
		t.Errorf("the look-up: %v, want ErrNotServing", err)
	}
	if _, err := w.signIn("1", employee()); !errors.Is(err, registry.ErrNotServing) {
		t.Errorf("the sign-in: %v, want ErrNotServing", err)
	}
	w.serve(acme())
	if !w.isServed(user) {
		t.Error("the user is not served afterwards")
	}
}

func TestASuspendedIdentityIsNotServedAndDoesNotSignIn(t *testing.T) {
	w := newServer(t, acme())
	user := w.mustSignIn("1", employee())
	spec := documents.Identity{UID: "spec-uid", Subject: user.UID, Suspended: true}
	registrytest.Fill(t, w.Registry, spec)
	if _, err := w.signIn("1", employee()); !errors.Is(err, users.ErrDenied) || w.isServed(user) {
		t.Errorf("suspended: %v, want ErrDenied", err)
	}
	spec.Suspended = false
	registrytest.Fill(t, w.Registry, spec)
	if !w.isServed(user) {
		t.Error("the user is not served after the suspension")
	}
}

func TestARecordThatIsCreatedAgainRevivesNothing(t *testing.T) {
	w := newServer(t, acme())
	user := w.mustSignIn("1", employee())
	if err := w.Memory.DeleteIdentity(t.Context(), user.UID); err != nil {
		t.Fatal(err)
	}
	if w.isServed(user) {
		t.Error("a user without a record is served")
	}
	again := w.mustSignIn("1", employee())
	if again.UID != user.UID || again.Epoch == user.Epoch || w.isServed(user) {
		t.Errorf("the user is %+v, was %+v", again, user)
	}
}

func TestAClaimWhoseMappingFailsIsLeftOutAndCounted(t *testing.T) {
	w := newServer(t, acme())
	metrics, err := users.NewMetrics(w.Metrics, w.Registry)
	if err != nil {
		t.Fatal(err)
	}
	w.Users.Metrics = metrics
	upstream := employee()
	delete(upstream, "level")
	upstream["groups"] = []any{"ops", "system:masters"}
	user := w.mustSignIn("1", upstream)
	if _, has := user.Claims["level"]; has || len(user.Groups()) != 1 || user.Groups()[0] != "ops" {
		t.Errorf("the claims are %v", user.Claims)
	}
	families, err := w.Metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "oauth_operator_tokenserver_claim_errors_total" {
			if m := f.Metric[0]; m.GetLabel()[0].GetValue() != "acme" || m.GetCounter().GetValue() != 2 {
				t.Errorf("the metric is %v, want 2 of acme", m)
			}
			return
		}
	}
	t.Error("there is no such metric")
}
