package kubernetes_test

import (
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/notbefore"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

func TestADeletedGrantIsDeadAtOnceOnEveryReplica(t *testing.T) {
	w := newTestServer(t)
	a, b := w.openStore(t, "main-0"), w.openStore(t, "main-1")
	for range 20 {
		g := mustCreate(t, a, w.newGrant("code", "user", "client"))
		if _, err := storage.RecentReader(b.Store).GetGrant(t.Context(), "code"); err != nil {
			t.Fatalf("what has just been created: %v", err)
		}
		w.deleteGrant(t, "code")
		for _, s := range []*replica{b, a} {
			if _, err := s.GetGrant(t.Context(), "code"); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("Grant: %v, want ErrNotFound", err)
			}
			if _, err := s.UpdateGrant(t.Context(), g); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("UpdateGrant: %v, want ErrNotFound", err)
			}
			if _, err := s.CreateGrant(t.Context(), w.newGrant("code", "user", "client")); !errors.Is(err, storage.ErrExists) {
				t.Errorf("redeeming the code again: %v, want ErrExists", err)
			}
		}
		began := time.Now()
		eventually.True(t, "introspection sees it", func() bool {
			_, err := storage.RecentReader(b.Store).GetGrant(t.Context(), "code")
			return errors.Is(err, storage.ErrNotFound)
		})
		if took := time.Since(began); took > time.Second {
			t.Errorf("seen after %s", took)
		}
		w.clockOffset.Add(int64(20 * time.Minute)) // the code has expired; the next round is another code of the same id
	}
	if left := w.grants(t); len(left) > 0 {
		t.Errorf("%d objects are left", len(left))
	}
}

func TestAReplicaThatHasNotHeardOfADeletionYetDoesNotRedeemTheCodeAgain(t *testing.T) {
	w := newTestServer(t)
	api, network := newNetwork(w.api)
	a, late := w.openStore(t, "main-0"), w.openStoreWith(t, "main-1", api)
	mustCreate(t, a, w.newGrant("code", "user", "client"))
	eventually.True(t, "the grant is known", func() bool {
		_, err := storage.RecentReader(late.Store).GetGrant(t.Context(), "code")
		return err == nil
	})
	network.holdEvents()
	w.deleteGrant(t, "code")
	again := w.newGrant("code", "user", "client")
	again.Attempt = "again"
	time.AfterFunc(200*time.Millisecond, network.release)
	if _, err := late.CreateGrant(t.Context(), again); !errors.Is(err, storage.ErrExists) {
		t.Errorf("CreateGrant: %v, want ErrExists", err)
	}
	if left := w.grants(t); len(left) > 0 {
		t.Errorf("what the redeemed code made again is still there: %+v", left[0].Spec)
	}
}

// While a watch is broken, a grant is deleted and its code replayed. The list that follows has an
// object of the same name.
func TestAReplicaThatMissedADeletionFindsItInTheList(t *testing.T) {
	w := newTestServer(t)
	api, network := newNetwork(w.api)
	a, late := w.openStore(t, "main-0"), w.openStoreWith(t, "main-1", api)
	mustCreate(t, a, w.newGrant("code", "user", "client"))
	eventually.True(t, "the grant is known", func() bool {
		_, err := storage.RecentReader(late.Store).GetGrant(t.Context(), "code")
		return err == nil
	})
	a.stop()
	network.blockWatches()
	network.closeWatches()
	w.deleteGrant(t, "code")
	again := w.newGrant("code", "user", "client")
	again.Attempt = "again"
	created := make(chan error)
	go func() { _, err := late.CreateGrant(t.Context(), again); created <- err }()
	eventually.True(t, "the object is there again", func() bool { return len(w.grants(t)) == 1 })
	network.release()
	if err := <-created; !errors.Is(err, storage.ErrExists) {
		t.Errorf("CreateGrant: %v, want ErrExists", err)
	}
	if left := w.grants(t); len(left) > 0 {
		t.Errorf("what the redeemed code made again is still there: %+v", left[0].Spec)
	}
}

// An administrator has kept the YAML of a grant and applies it after it was deleted.
func TestAGrantThatIsPutBackByHandStaysDead(t *testing.T) {
	w := newTestServer(t)
	api, network := newNetwork(w.api)
	s := w.openStoreWith(t, "main-0", api)
	recent := storage.RecentReader(s.Store)
	mustCreate(t, s, w.newGrant("code", "user", "client"))
	saved := w.grants(t)[0].DeepCopy()
	w.deleteGrant(t, "code")
	eventually.True(t, "the deletion is written down", func() bool { return len(w.marks(t)) == 1 })
	saved.ObjectMeta = metav1.ObjectMeta{
		Namespace: saved.Namespace, Name: saved.Name, Labels: saved.Labels, OwnerReferences: saved.OwnerReferences,
	}
	w.create(t, saved)
	known := mustCreate(t, s, w.newGrant("later", "user", "client")) // once this one is known, so is what came before it
	eventually.True(t, "the watches are known to work", func() bool {
		network.failNext(unreachable)
		defer network.clearFaults()
		_, err := recent.GetGrant(t.Context(), known.ID)
		return err == nil
	})
	for name, reader := range map[string]storage.Reader{"Grant": s, "Recent": recent} {
		if g, err := reader.GetGrant(t.Context(), "code"); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%s: %+v, %v, want ErrNotFound", name, g, err)
		}
	}
}

func TestACreationThatTheWatchDoesNotConfirmIsNotBelieved(t *testing.T) {
	w := newTestServer(t)
	api, network := newNetwork(w.api)
	s := w.openStoreWith(t, "main-0", api)
	network.holdEvents()
	if _, err := s.CreateGrant(t.Context(), w.newGrant("code", "user", "client")); !errors.Is(err, storage.ErrAmbiguous) {
		t.Errorf("CreateGrant: %v, want ErrAmbiguous", err)
	}
	if _, err := s.GetGrant(t.Context(), "code"); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Grant: %v, want ErrUnavailable", err)
	}
	network.release()
	if g, err := s.GetGrant(t.Context(), "code"); err != nil || g.Attempt != "attempt-code" {
		t.Errorf("once the watch works: %+v, %v", g, err)
	}
}

func TestAReplicaThatStartsLaterKnowsWhatWasDeleted(t *testing.T) {
	w := newTestServer(t)
	a := w.openStore(t, "main-0")
	mustCreate(t, a, w.newGrant("code", "user", "client"))
	w.deleteGrant(t, "code")
	eventually.True(t, "the deletion is written down", func() bool { return len(w.marks(t)) == 1 })
	a.stop()
	later := w.openStore(t, "main-1")
	if _, err := later.CreateGrant(t.Context(), w.newGrant("code", "user", "client")); !errors.Is(err, storage.ErrExists) {
		t.Errorf("CreateGrant: %v, want ErrExists", err)
	}
	w.clockOffset.Store(int64(20 * time.Minute)) // the code has expired long ago
	if _, err := later.Sweep(t.Context(), w.now()); err != nil {
		t.Fatal(err)
	}
	if left := w.marks(t); len(left) > 0 {
		t.Errorf("%d marks are left", len(left))
	}
}

func TestWhatAnotherReplicaChangedIsSeenAlsoWhenTheWatchIsStuck(t *testing.T) {
	w := newTestServer(t)
	api, network := newNetwork(w.api)
	a, stuck := w.openStore(t, "main-0"), w.openStoreWith(t, "main-1", api)
	g := mustCreate(t, a, w.newGrant("code", "user", "client"))
	recent := storage.RecentReader(stuck.Store)
	eventually.True(t, "the grant is known", func() bool { _, err := recent.GetGrant(t.Context(), "code"); return err == nil })
	network.holdEvents()
	g.End(w.now(), storage.EndRevoked)
	if _, err := a.UpdateGrant(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	if err := a.SetMark(t.Context(), storage.Mark{Kind: storage.MarkToken, ID: "token", ExpiresAt: w.now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if ended, err := stuck.GetGrant(t.Context(), "code"); err != nil || !ended.IsEnded() {
		t.Errorf("a read that has to be right: %+v, %v", ended, err)
	}
	if marked, err := stuck.IsMarked(t.Context(), storage.MarkToken, "token"); err != nil || !marked {
		t.Errorf("a read that has to be right: %v, %v", marked, err)
	}
	network.failNext(unreachable, unreachable) // the connection is dead, which is not noticed
	w.clockOffset.Store(int64(storage.MaxRecentLag))
	if _, err := recent.GetGrant(t.Context(), "code"); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("with an old cache and no API server: %v, want ErrUnavailable", err)
	}
	if _, err := recent.IsMarked(t.Context(), storage.MarkToken, "token"); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("with an old cache and no API server: %v, want ErrUnavailable", err)
	}
}

func TestTheAPIServerIsAskedWhileAllIsListedAgain(t *testing.T) {
	w := newTestServer(t)
	api, network := newNetwork(w.api)
	a, late := w.openStore(t, "main-0"), w.openStoreWith(t, "main-1", api)
	g := mustCreate(t, a, w.newGrant("code", "user", "client"))
	recent := storage.RecentReader(late.Store)
	fromMemory := func() bool {
		network.failNext(unreachable, unreachable)
		defer network.clearFaults()
		_, err := recent.GetGrant(t.Context(), "code")
		return err == nil
	}
	eventually.True(t, "the grant is known", fromMemory)
	network.holdEvents()
	listed := network.countListings()
	network.closeWatches()
	eventually.True(t, "the lists have begun", func() bool { return network.countListings() == listed+4 })
	g.End(w.now(), storage.EndRevoked)
	if _, err := a.UpdateGrant(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	if err := a.SetMark(t.Context(), storage.Mark{Kind: storage.MarkToken, ID: "token", ExpiresAt: w.now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(500 * time.Millisecond); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		if found, err := recent.GetGrant(t.Context(), "code"); err != nil || !found.IsEnded() {
			t.Fatalf("a grant that has ended: %+v, %v", found, err)
		}
		if marked, err := recent.IsMarked(t.Context(), storage.MarkToken, "token"); err != nil || !marked {
			t.Fatalf("a mark: %v, %v", marked, err)
		}
	}
	network.release()
	eventually.True(t, "the API server is not needed any more", func() bool {
		network.failNext(unreachable, unreachable)
		defer network.clearFaults()
		marked, err := recent.IsMarked(t.Context(), storage.MarkToken, "another")
		return err == nil && !marked
	})
}

func TestWhenTheClockIsSetBackWhatWasKnownIsNotRecent(t *testing.T) {
	w := newTestServer(t)
	api, network := newNetwork(w.api)
	s := w.openStoreWith(t, "main-0", api)
	recent := storage.RecentReader(s.Store)
	mustCreate(t, s, w.newGrant("code", "user", "client"))
	eventually.True(t, "the watches are known to work", func() bool {
		network.failNext(unreachable, unreachable)
		defer network.clearFaults()
		_, err := recent.GetGrant(t.Context(), "code")
		return err == nil
	})
	network.disconnect()
	w.clockOffset.Store(-int64(time.Hour))
	if g, err := recent.GetGrant(t.Context(), "code"); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("without an API server: %+v, %v, want ErrUnavailable", g, err)
	}
	if marked, err := recent.IsMarked(t.Context(), storage.MarkToken, "token"); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("without an API server: %v, %v, want ErrUnavailable", marked, err)
	}
}

// A program that backs objects up, or a deletion in the foreground, keeps the object for a while.
func TestAGrantThatAFinalizerKeepsIsDead(t *testing.T) {
	w := newTestServer(t)
	stores := []*replica{w.openStore(t, "main-0"), w.openStore(t, "main-1")}
	mustCreate(t, stores[0], w.newGrant("code", "user", "client"))
	if _, err := storage.RecentReader(stores[1].Store).GetGrant(t.Context(), "code"); err != nil {
		t.Fatalf("what has just been created: %v", err)
	}
	release := deleteHeld(t, &w.grants(t)[0])
	stores = append(stores, w.openStore(t, "main-2")) // which finds it in the list
	checkDead := func(when string) {
		t.Helper()
		for i, s := range stores {
			if _, err := s.GetGrant(t.Context(), "code"); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("%s, replica %d: GetGrant: %v, want ErrNotFound", when, i, err)
			}
			eventually.True(t, "introspection sees it", func() bool {
				_, err := storage.RecentReader(s.Store).GetGrant(t.Context(), "code")
				return errors.Is(err, storage.ErrNotFound)
			})
			if _, err := s.CreateGrant(t.Context(), w.newGrant("code", "user", "client")); !errors.Is(err, storage.ErrExists) {
				t.Errorf("%s, replica %d: redeeming the code again: %v, want ErrExists", when, i, err)
			}
		}
	}
	checkDead("while it is kept")
	w.clockOffset.Store(int64(20 * time.Minute)) // no replica remembers the deletion so long after the code has expired
	checkDead("while it is still kept")
	w.clockOffset.Store(0)
	release()
	checkDead("afterwards")
	if left := w.grants(t); len(left) > 0 {
		t.Errorf("%d objects are left", len(left))
	}
}

// putConsent gives its UID.
func putConsent(t *testing.T, s storage.Store, user, client string) string {
	t.Helper()
	consent, err := s.PutConsent(t.Context(), storage.Consent{UserUID: user, ClientUID: client, Scopes: []string{"openid"}})
	if err != nil {
		t.Fatal(err)
	}
	return consent.UID
}

func (w *testServer) consentObject(t *testing.T, user, clientUID string) *v1alpha1.OAuthConsent {
	t.Helper()
	var consents v1alpha1.OAuthConsentList
	if err := admin.List(t.Context(), &consents, client.InNamespace(w.namespace)); err != nil {
		t.Fatal(err)
	}
	for i := range consents.Items {
		if spec := consents.Items[i].Spec; spec.UserUID == user && spec.ClientUID == clientUID {
			return &consents.Items[i]
		}
	}
	t.Fatalf("no consent of %s to %s", user, clientUID)
	return nil
}

// deleteConsent is what kubectl delete does.
func (w *testServer) deleteConsent(t *testing.T, user, clientUID string) {
	t.Helper()
	if err := admin.Delete(t.Context(), w.consentObject(t, user, clientUID)); err != nil {
		t.Fatal(err)
	}
}

// deleteHeld deletes an object that a finalizer keeps until release.
func deleteHeld(t *testing.T, o client.Object) (release func()) {
	t.Helper()
	o.SetFinalizers([]string{"example.com/backup"})
	if err := admin.Update(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if err := admin.Delete(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := admin.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			t.Fatal(err)
		}
		o.SetFinalizers(nil)
		if err := admin.Update(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
}

func hasEnded(t *testing.T, s storage.Store, id string) bool {
	t.Helper()
	g, err := s.GetGrant(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if g.IsEnded() && g.EndReason != storage.EndConsentWithdrawn {
		t.Errorf("%s ended for %s", id, g.EndReason)
	}
	return g.IsEnded()
}

func (w *testServer) newConsentedGrant(id, user, client, consent string) storage.Grant {
	g := w.newGrant(id, user, client)
	g.Consented, g.ConsentUID = true, consent
	return g
}

func TestADeletedConsentEndsTheGrantsOfItsPair(t *testing.T) {
	w := newTestServer(t)
	a, b := w.openStore(t, "main-0"), w.openStore(t, "main-1")
	shop, phone := putConsent(t, a, "alice", "shop"), putConsent(t, a, "alice", "phone")
	mustCreate(t, a, w.newConsentedGrant("rests on it", "alice", "shop", shop))
	mustCreate(t, b, w.newGrant("by password", "alice", "shop"))
	mustCreate(t, a, w.newConsentedGrant("another client", "alice", "phone", phone))
	mustCreate(t, a, w.newGrant("another user", "bob", "shop"))
	began := time.Now()
	w.deleteConsent(t, "alice", "shop")
	eventually.True(t, "the pair's grants end", func() bool { return hasEnded(t, b, "rests on it") && hasEnded(t, a, "by password") })
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("that took %s", took)
	}
	if _, err := a.GetConsent(t.Context(), "alice", "shop"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("the consent: %v", err)
	}
	time.Sleep(time.Second)
	if hasEnded(t, a, "another client") || hasEnded(t, a, "another user") {
		t.Error("another pair's grant has ended")
	}
	again := putConsent(t, a, "alice", "shop") // the user agrees again
	mustCreate(t, b, w.newConsentedGrant("later", "alice", "shop", again))
	mustCreate(t, b, w.newConsentedGrant("too late", "alice", "shop", shop))
	eventually.True(t, "what rests on the withdrawn consent ends, although there is another", func() bool { return hasEnded(t, b, "too late") })
	time.Sleep(time.Second)
	if hasEnded(t, a, "later") || !hasEnded(t, a, "rests on it") {
		t.Error("a new consent is not a new beginning")
	}
}

func TestAConsentThatAFinalizerKeepsIsWithdrawn(t *testing.T) {
	w := newTestServer(t)
	stores := []*replica{w.openStore(t, "main-0"), w.openStore(t, "main-1")}
	uid := putConsent(t, stores[0], "alice", "shop")
	mustCreate(t, stores[0], w.newConsentedGrant("rests on it", "alice", "shop", uid))
	if there, err := storage.RecentReader(stores[1].Store).HasConsent(t.Context(), "alice", "shop", uid); err != nil || !there {
		t.Fatalf("what has just been created: %v, %v", there, err)
	}
	release := deleteHeld(t, w.consentObject(t, "alice", "shop"))
	eventually.True(t, "the grant ends", func() bool { return hasEnded(t, stores[1], "rests on it") })
	stores = append(stores, w.openStore(t, "main-2")) // which finds it in the list
	time.Sleep(time.Second)                           // and knows that its watches work
	consent := storage.Consent{UserUID: "alice", ClientUID: "shop", Scopes: []string{"openid"}}
	for i, s := range stores {
		if found, err := s.GetConsent(t.Context(), "alice", "shop"); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("replica %d: GetConsent: %+v, %v, want ErrNotFound", i, found, err)
		}
		if there, err := s.HasConsent(t.Context(), "alice", "shop", uid); err != nil || there {
			t.Errorf("replica %d: HasConsent: %v, %v", i, there, err)
		}
		eventually.True(t, "introspection sees it", func() bool {
			there, err := storage.RecentReader(s.Store).HasConsent(t.Context(), "alice", "shop", uid)
			return err == nil && !there
		})
		if _, err := s.PutConsent(t.Context(), consent); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("replica %d: another consent meanwhile: %v, want ErrUnavailable", i, err)
		}
	}
	mustCreate(t, stores[2], w.newConsentedGrant("too late", "alice", "shop", uid))
	eventually.True(t, "a grant that comes after ends", func() bool { return hasEnded(t, stores[2], "too late") })
	release()
	if again := putConsent(t, stores[1], "alice", "shop"); again == uid {
		t.Error("the consent has come back")
	}
}

func TestADeletedConsentEndsAlsoTheGrantsThatAreVoidAtThatMoment(t *testing.T) {
	w := newTestServer(t)
	a := w.openStore(t, "main-0")
	putConsent(t, a, "alice", "shop")
	mustCreate(t, a, w.newGrant("by password", "alice", "shop"))
	void := notbefore.Times{Clients: map[string]int64{"shop": time.Now().Add(-time.Second).Unix()}}
	g, err := a.GetGrant(t.Context(), "by password")
	if err != nil {
		t.Fatal(err)
	}
	void.Clients["shop"] = max(void.Clients["shop"], g.CreatedAt.Unix())
	a.SetNotBefore(func() notbefore.Times { return void })
	if a.Counts(g, time.Now()) {
		t.Fatal("the grant is not void")
	}
	w.deleteConsent(t, "alice", "shop")
	eventually.True(t, "the grant ends, since a lower tokensNotBefore would make it good again", func() bool { return hasEnded(t, a, "by password") })
}

func TestAConsentThatIsDeletedWhileNoTokenServerRunsEndsItsGrantsWhenOneStarts(t *testing.T) {
	w := newTestServer(t)
	a := w.openStore(t, "main-0")
	shop, phone := putConsent(t, a, "alice", "shop"), putConsent(t, a, "alice", "phone")
	mustCreate(t, a, w.newConsentedGrant("rests on it", "alice", "shop", shop))
	mustCreate(t, a, w.newConsentedGrant("another client", "alice", "phone", phone))
	mustCreate(t, a, w.newGrant("rests on none", "carol", "shop"))
	a.stop()
	w.deleteConsent(t, "alice", "shop")
	b := w.openStore(t, "main-1")
	eventually.True(t, "the grant ends", func() bool { return hasEnded(t, b, "rests on it") })
	if hasEnded(t, b, "another client") || hasEnded(t, b, "rests on none") {
		t.Error("a grant has ended whose consent stands, or that needs none")
	}
}

// A consent may be withdrawn between the moment that a redemption looks at it and the moment that
// its grant is created.
func TestAGrantThatComesAfterItsConsentWentEndsSoon(t *testing.T) {
	w := newTestServer(t)
	s := w.openStore(t, "main-0")
	mustCreate(t, s, w.newConsentedGrant("too late", "alice", "shop", "of one that is gone"))
	mustCreate(t, s, w.newConsentedGrant("before consents had a UID", "alice", "shop", ""))
	eventually.True(t, "the grants end", func() bool { return hasEnded(t, s, "too late") && hasEnded(t, s, "before consents had a UID") })
}

func TestAWithdrawalByAnotherReplicaIsSeenAlsoWhenTheWatchIsStuck(t *testing.T) {
	w := newTestServer(t)
	api, network := newNetwork(w.api)
	a, stuck := w.openStore(t, "main-0"), w.openStoreWith(t, "main-1", api)
	recent := storage.RecentReader(stuck.Store)
	first := putConsent(t, a, "alice", "shop")
	if there, err := recent.HasConsent(t.Context(), "alice", "shop", first); err != nil || !there {
		t.Errorf("what another replica has just created: %v, %v", there, err)
	}
	fromMemory := func() bool {
		network.failNext(unreachable, unreachable)
		defer network.clearFaults()
		there, err := recent.HasConsent(t.Context(), "alice", "shop", first)
		return err == nil && there
	}
	eventually.True(t, "the consent is known", fromMemory)
	network.holdEvents()
	w.deleteConsent(t, "alice", "shop")
	second := putConsent(t, a, "alice", "shop")
	for name, reader := range map[string]storage.Reader{"a read that has to be right": stuck, "a recent one": recent} {
		if there, err := reader.HasConsent(t.Context(), "alice", "shop", second); err != nil || !there {
			t.Errorf("%s: the new consent is there: %v, %v", name, there, err)
		}
	}
	if there, err := stuck.HasConsent(t.Context(), "alice", "shop", first); err != nil || there {
		t.Errorf("the withdrawn consent is there: %v, %v", there, err)
	}
	network.failNext(unreachable, unreachable)
	w.clockOffset.Store(int64(storage.MaxRecentLag))
	if there, err := recent.HasConsent(t.Context(), "alice", "shop", first); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("with an old cache and no API server: %v, %v, want ErrUnavailable", there, err)
	}
}
