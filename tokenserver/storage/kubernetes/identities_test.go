package kubernetes_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

const identitySubject = "~47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"

func (w *testServer) newIdentity() storage.Identity {
	now := w.now().UTC().Truncate(time.Microsecond)
	return storage.Identity{
		Subject: identitySubject, ProviderUID: "provider", ProviderName: "acme", Claims: map[string]any{"preferred_username": "alice"},
		ClaimsAt: now, LastSignIn: now, AllowHash: "allow",
	}
}

// newIdentityObject returns an OAuthIdentity as the owner of the server writes it.
func (w *testServer) newIdentityObject() *v1alpha1.OAuthIdentity {
	return &v1alpha1.OAuthIdentity{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: v1alpha1.OAuthIdentityName(identitySubject)},
		Spec:       v1alpha1.OAuthIdentitySpec{ServerRef: v1alpha1.LocalServerReference{Name: "main"}, Subject: identitySubject},
	}
}

func (w *testServer) identityObject(t *testing.T) *v1alpha1.OAuthIdentity {
	t.Helper()
	o := w.newIdentityObject()
	if err := admin.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		t.Fatal(err)
	}
	return o
}

func mustCreateIdentity(t *testing.T, s storage.Store, i storage.Identity) storage.Identity {
	t.Helper()
	created, err := s.CreateIdentity(t.Context(), i, 1000)
	if err != nil {
		t.Fatalf("CreateIdentity: %v", err)
	}
	return created
}

// identityReaders are the two ways to read an identity.
func identityReaders(s *replica) map[string]storage.Reader {
	return map[string]storage.Reader{"the store": s, "recent reads": storage.RecentReader(s.Store)}
}

func TestFiftyFirstSignInsAtThreeReplicasMakeOneRecordThatIsGoodAtAllOfThem(t *testing.T) {
	w := newTestServer(t)
	replicas := []*replica{w.openStore(t, "main-0"), w.openStore(t, "main-1"), w.openStore(t, "main-2")}
	var created atomic.Int64
	var incarnations sync.Map
	var wait sync.WaitGroup
	for n := range 50 {
		wait.Go(func() {
			s := replicas[n%3]
			_, err := s.CreateIdentity(t.Context(), w.newIdentity(), 1000)
			switch {
			case err == nil:
				created.Add(1)
			case !errors.Is(err, storage.ErrExists):
				t.Errorf("CreateIdentity: %v", err)
			}
			for _, other := range replicas {
				for name, reader := range identityReaders(other) {
					found, err := reader.GetIdentity(t.Context(), identitySubject)
					if err != nil {
						t.Errorf("%s: %v", name, err)
					}
					incarnations.Store(found.Incarnation, true)
				}
			}
		})
	}
	wait.Wait()
	different := 0
	incarnations.Range(func(any, any) bool { different++; return true })
	if created.Load() != 1 || different != 1 {
		t.Errorf("%d records were created, and %d incarnations were read", created.Load(), different)
	}
}

func TestARecordIsNeverUnknownAndNeverOldToAReplicaWhoseWatchIsStuck(t *testing.T) {
	w := newTestServer(t)
	api, network := newNetwork(w.api)
	a, stuck := w.openStore(t, "main-0"), w.openStoreWith(t, "main-1", api)
	eventually.True(t, "the watches are known to work", func() bool {
		network.failNext(unreachable, unreachable)
		defer network.clearFaults()
		_, err := storage.RecentReader(stuck.Store).IsMarked(t.Context(), storage.MarkToken, "token")
		return err == nil
	})
	network.holdEvents()
	first := mustCreateIdentity(t, a, w.newIdentity())
	for name, reader := range identityReaders(stuck) {
		if found, err := reader.GetIdentity(t.Context(), identitySubject); err != nil || found.Incarnation != first.Incarnation {
			t.Errorf("%s: %+v, %v", name, found, err)
		}
	}
	network.release()
	eventually.True(t, "the cache has it", func() bool { n, err := stuck.CountIdentities(t.Context(), "provider"); return err == nil && n == 1 })
	network.holdEvents()
	if err := a.DeleteIdentity(t.Context(), identitySubject); err != nil {
		t.Fatal(err)
	}
	if found, err := stuck.GetIdentity(t.Context(), identitySubject); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("what was deleted: %+v, %v, want ErrNotFound", found, err)
	}
	second := mustCreateIdentity(t, a, w.newIdentity())
	if found, err := stuck.GetIdentity(t.Context(), identitySubject); err != nil || found.Incarnation != second.Incarnation || second.Incarnation == first.Incarnation {
		t.Errorf("what was created again: %+v, %v, after %+v", found, err, first)
	}
	if _, err := stuck.UpdateIdentity(t.Context(), first); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("updating what was deleted: %v, want ErrConflict", err)
	}
	if found, err := storage.RecentReader(stuck.Store).GetIdentity(t.Context(), identitySubject); err != nil || found.Incarnation != second.Incarnation {
		t.Errorf("after this replica has read it: %+v, %v", found, err)
	}
}

func TestAnOAuthIdentityThatIsPutBackFromADumpRevivesNothing(t *testing.T) {
	w := newTestServer(t)
	s := w.openStore(t, "main-0")
	first := mustCreateIdentity(t, s, w.newIdentity())
	dump := w.identityObject(t)
	if err := s.DeleteIdentity(t.Context(), identitySubject); err != nil {
		t.Fatal(err)
	}
	put := w.newIdentityObject()
	put.Labels, put.OwnerReferences, put.Status = dump.Labels, dump.OwnerReferences, dump.Status
	w.create(t, put)
	for name, reader := range identityReaders(s) {
		if found, err := reader.GetIdentity(t.Context(), identitySubject); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%s: %+v, %v, want ErrNotFound", name, found, err)
		}
	}
	put.Status = dump.Status // as tools do that put the status back too
	if err := admin.Status().Update(t.Context(), put); err != nil {
		t.Fatal(err)
	}
	for name, reader := range identityReaders(s) {
		eventually.True(t, name+" finds another incarnation", func() bool {
			found, err := reader.GetIdentity(t.Context(), identitySubject)
			return err == nil && found.Incarnation == string(put.UID) && found.Incarnation != first.Incarnation
		})
	}
	if _, err := s.UpdateIdentity(t.Context(), first); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("updating the one that was deleted: %v, want ErrConflict", err)
	}
}

// Once it is being deleted, what its spec says is not in force any more.
func TestAnOAuthIdentityThatAFinalizerKeepsIsNoRecord(t *testing.T) {
	w := newTestServer(t)
	s := w.openStore(t, "main-0")
	mustCreateIdentity(t, s, w.newIdentity())
	o := w.identityObject(t)
	o.Finalizers, o.Spec.Suspended = []string{"example.com/backup"}, true
	if err := admin.Update(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if err := admin.Delete(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	for name, reader := range identityReaders(s) {
		eventually.True(t, name+" does not know it", func() bool {
			_, err := reader.GetIdentity(t.Context(), identitySubject)
			return errors.Is(err, storage.ErrNotFound)
		})
	}
	eventually.True(t, "it is not counted", func() bool { n, err := s.CountIdentities(t.Context(), "provider"); return err == nil && n == 0 })
	if _, err := s.CreateIdentity(t.Context(), w.newIdentity(), 1000); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("a sign-in meanwhile: %v, want ErrUnavailable", err)
	}
	o = w.identityObject(t)
	o.Finalizers = nil
	if err := admin.Update(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if created := mustCreateIdentity(t, s, w.newIdentity()); created.Incarnation == string(o.UID) {
		t.Error("it has come back")
	}
}

func TestAnObjectThatTheOwnerWroteBeforeTheFirstSignInIsAdopted(t *testing.T) {
	w := newTestServer(t)
	s := w.openStore(t, "main-0")
	o := w.newIdentityObject()
	o.Spec.Suspended = true
	w.create(t, o)
	for name, reader := range identityReaders(s) {
		if found, err := reader.GetIdentity(t.Context(), identitySubject); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%s: %+v, %v, want ErrNotFound", name, found, err)
		}
	}
	created := mustCreateIdentity(t, s, w.newIdentity())
	adopted := w.identityObject(t)
	if created.Incarnation != string(o.UID) || adopted.UID != o.UID || !adopted.Spec.Suspended || adopted.Status.Provider != "acme" {
		t.Errorf("the record is %+v, and the object %+v", created, adopted)
	}
	if _, err := s.CreateIdentity(t.Context(), w.newIdentity(), 1000); !errors.Is(err, storage.ErrExists) {
		t.Errorf("creating it again: %v, want ErrExists", err)
	}
}

// onFirstWrite returns a configuration whose first write of a status happens after do.
func onFirstWrite(api *rest.Config, do func()) *rest.Config {
	var once sync.Once
	api = rest.CopyConfig(api)
	api.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/status") {
				once.Do(do)
			}
			return next.RoundTrip(r)
		})
	})
	return api
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestConditionsThatTheManagerWritesDuringAFirstSignInDoNotRefuseIt(t *testing.T) {
	w := newTestServer(t)
	conditions := []metav1.Condition{{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady, LastTransitionTime: metav1.Now(),
	}}
	s := w.openStoreWith(t, "main-0", onFirstWrite(w.api, func() {
		o := w.identityObject(t)
		o.Status.Conditions = conditions
		if err := admin.Status().Update(t.Context(), o); err != nil {
			t.Error(err)
		}
	}))
	mustCreateIdentity(t, s, w.newIdentity())
	if o := w.identityObject(t); len(o.Status.Conditions) != 1 || o.Status.LastSignIn == nil {
		t.Errorf("the status is %+v", o.Status)
	}
}

func TestAnObjectOfAnotherNameOrAnotherServerIsNoRecord(t *testing.T) {
	w := newTestServer(t)
	s := w.openStore(t, "main-0")
	record := mustCreateIdentity(t, s, w.newIdentity())
	status := w.identityObject(t).Status
	if err := s.DeleteIdentity(t.Context(), identitySubject); err != nil {
		t.Fatal(err)
	}
	for n, change := range []func(*v1alpha1.OAuthIdentity){
		func(o *v1alpha1.OAuthIdentity) { o.Name = "alice" },
		func(o *v1alpha1.OAuthIdentity) { o.Spec.ServerRef.Name = "other" },
		func(o *v1alpha1.OAuthIdentity) { o.Spec.Subject = "~" + strings.Repeat("A", 43) },
		func(o *v1alpha1.OAuthIdentity) { status.ServerUID = "former" },
	} {
		o := w.newIdentityObject()
		change(o)
		w.create(t, o)
		o.Status = status
		if err := admin.Status().Update(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		for name, reader := range identityReaders(s) {
			if found, err := reader.GetIdentity(t.Context(), identitySubject); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("%d, %s: %+v, %v, want ErrNotFound", n, name, found, err)
			}
		}
		if n == 1 || n == 2 { // its place is taken by what is about another user
			if _, err := s.CreateIdentity(t.Context(), record, 1000); !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(fmt.Sprint(err), o.Name) {
				t.Errorf("%d, CreateIdentity: %v", n, err)
			}
		}
		if err := admin.Delete(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheSweepNeverRemovesAnObjectInWhichSomethingIsSaid(t *testing.T) {
	w := newTestServer(t)
	s := w.openStore(t, "main-0")
	s.SetIdentitySpecs(func(string) bool { return false }) // the token server has not heard of it yet
	o := w.newIdentityObject()
	o.Spec.TokensNotBefore = &metav1.Time{Time: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}
	w.create(t, o)
	mustCreateIdentity(t, s, w.newIdentity())
	later := w.now().Add(2 * storage.IdentityRetention)
	if removed, err := s.Sweep(t.Context(), later); err != nil || removed != 0 {
		t.Errorf("the sweep removed %d objects (%v)", removed, err)
	}
	o = w.identityObject(t)
	o.Spec.TokensNotBefore = nil
	if err := admin.Update(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	eventually.True(t, "it is removed when nothing is said any more", func() bool {
		removed, err := s.Sweep(t.Context(), later)
		return err == nil && removed == 1
	})
}

func TestATokenServerHasNoRightToWriteWhatTheOwnerSays(t *testing.T) {
	w := newTestServer(t)
	o := w.newIdentityObject()
	o.Spec.Suspended = true
	w.create(t, o)
	tokenServer, err := client.New(w.api, client.Options{Scheme: admin.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	lifted := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"suspended":false}}`))
	if err := tokenServer.Patch(t.Context(), o.DeepCopy(), lifted); !apierrors.IsForbidden(err) {
		t.Errorf("patching: %v, want Forbidden", err)
	}
	changed := o.DeepCopy()
	changed.Spec.Suspended = false
	if err := tokenServer.Update(t.Context(), changed.DeepCopy()); !apierrors.IsForbidden(err) {
		t.Errorf("updating: %v, want Forbidden", err)
	}
	if err := tokenServer.Status().Update(t.Context(), changed); err != nil {
		t.Errorf("updating the status: %v", err)
	}
	if !w.identityObject(t).Spec.Suspended {
		t.Error("the spec was changed")
	}
}
