package kubernetes_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

func sweep(t *testing.T, s storage.Store, w *testServer) int {
	t.Helper()
	removed, err := s.Sweep(t.Context(), w.now())
	if err != nil {
		t.Fatal(err)
	}
	return removed
}

func TestTheSweepGoesBeyondOnePage(t *testing.T) {
	w := newTestServer(t)
	s := w.openStore(t, "main-0")
	const count = 1200
	var creating sync.WaitGroup
	for part := range 8 {
		creating.Go(func() {
			for i := part; i < count; i += 8 {
				g := w.newGrant(fmt.Sprint(i), fmt.Sprint("user-", i), "client")
				g.ExpiresAt = g.CreatedAt.Add(30 * time.Minute)
				if _, err := s.CreateGrant(t.Context(), g); err != nil {
					t.Error(err)
				}
			}
		})
	}
	creating.Wait()
	mustCreate(t, s, w.newGrant("lives on", "user", "client"))
	if n := sweep(t, s, w); n != 0 {
		t.Fatalf("%d records were removed before they had expired", n)
	}
	w.clockOffset.Store(int64(time.Hour))
	if n := sweep(t, s, w); n != count {
		t.Errorf("%d records were removed, want %d", n, count)
	}
	if left := w.grants(t); len(left) != 1 || left[0].Spec.ID != "lives on" {
		t.Errorf("%d grants are left", len(left))
	}
	if marks := w.marks(t); len(marks) > 0 {
		t.Errorf("the sweep left %d marks behind", len(marks))
	}
}

func TestOneReplicaSweepsAndAnotherTakesOverWhenItIsGone(t *testing.T) {
	w := newTestServer(t)
	a, b := w.openStore(t, "main-0"), w.openStore(t, "main-1")
	expire := func(id string) {
		g := w.newGrant(id, "user", "client")
		g.ExpiresAt = w.now().Add(-time.Second)
		mustCreate(t, a, g)
	}
	sweep(t, a, w)
	expire("1")
	if n := sweep(t, b, w); n != 0 {
		t.Errorf("the second replica removed %d records", n)
	}
	if n := sweep(t, a, w); n != 1 {
		t.Errorf("the first replica removed %d records, want 1", n)
	}
	expire("2")
	w.clockOffset.Store(int64(time.Minute))
	sweep(t, a, w)
	w.clockOffset.Store(int64(3*time.Minute + 30*time.Second))
	expire("3")
	if n := sweep(t, b, w); n != 0 {
		t.Errorf("the second replica removed %d records although the first renewed its lease", n)
	}
	w.clockOffset.Store(int64(5 * time.Minute))
	if n := sweep(t, b, w); n != 1 {
		t.Errorf("the second replica removed %d records when the first was gone, want 1", n)
	}
	var leases coordinationv1.LeaseList
	if err := admin.List(t.Context(), &leases, client.InNamespace(w.namespace)); err != nil {
		t.Fatal(err)
	}
	if len(leases.Items) != 1 || *leases.Items[0].Spec.HolderIdentity != "main-1" {
		t.Errorf("leases: %+v", leases.Items)
	}
}

func TestOfParallelSweepsOneSweeps(t *testing.T) {
	w := newTestServer(t)
	replicas := []*replica{w.openStore(t, "main-0"), w.openStore(t, "main-1"), w.openStore(t, "main-2")}
	for i := range 30 {
		g := w.newGrant(fmt.Sprint(i), fmt.Sprint("user-", i), "client")
		g.ExpiresAt = w.now().Add(-time.Second)
		mustCreate(t, replicas[0], g)
	}
	removed := make([]int, len(replicas))
	var running sync.WaitGroup
	for i, r := range replicas {
		running.Go(func() { removed[i] = sweep(t, r, w) })
	}
	running.Wait()
	swept := 0
	for _, n := range removed {
		if n > 0 {
			swept++
		}
	}
	if swept > 1 {
		t.Errorf("they removed %v records", removed)
	}
	for _, r := range replicas {
		sweep(t, r, w)
	}
	if left := w.grants(t); len(left) > 0 {
		t.Errorf("%d expired grants are left", len(left))
	}
}

func TestTheSweepFindsAnObjectWhoseLabelsWereTakenAway(t *testing.T) {
	w := newTestServer(t)
	s := w.openStore(t, "main-0")
	mustCreate(t, s, w.newGrant("a", "user", "client"))
	o := &w.grants(t)[0]
	o.Labels = nil
	if err := admin.Update(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	w.clockOffset.Store(int64(24 * time.Hour))
	if n := sweep(t, s, w); n < 1 || len(w.grants(t)) > 0 {
		t.Errorf("%d records were removed, %d grants are left", n, len(w.grants(t)))
	}
}

func TestTheSweepFindsMoreThanAPageOfObjectsWhoseLabelsWereTakenAway(t *testing.T) {
	w := newTestServer(t)
	s := w.openStore(t, "main-0")
	mustCreate(t, s, w.newGrant("a", "user", "client"))
	first := w.grants(t)[0]
	first.Labels = nil
	if err := admin.Update(t.Context(), &first); err != nil {
		t.Fatal(err)
	}
	const count = 510 // a page has 500
	var creating sync.WaitGroup
	for part := range 8 {
		creating.Go(func() {
			for i := part + 1; i < count; i += 8 {
				o := &v1alpha1.OAuthGrant{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: fmt.Sprint("grant-", i)}, Spec: first.Spec}
				if err := admin.Create(t.Context(), o); err != nil {
					t.Error(err)
				}
			}
		})
	}
	creating.Wait()
	w.clockOffset.Store(int64(24 * time.Hour))
	sweep(t, s, w)
	if left := w.grants(t); len(left) > 0 {
		t.Errorf("%d of %d grants are left", len(left), count)
	}
}

// A grant that was refreshed just now must not go because it had expired a moment ago.
func TestTheSweepLeavesWhatHasChanged(t *testing.T) {
	w := newTestServer(t)
	api, network := newNetwork(w.api)
	a, late := w.openStore(t, "main-0"), w.openStoreWith(t, "main-1", api)
	sweep(t, late, w)
	g := w.newGrant("a", "user", "client")
	g.ExpiresAt = w.now().Add(time.Minute)
	created := mustCreate(t, a, g)
	eventually.True(t, "the grant is known", func() bool { _, err := storage.RecentReader(late.Store).GetGrant(t.Context(), "a"); return err == nil })
	network.holdEvents()
	defer network.release()
	created.ExpiresAt = w.now().Add(time.Hour)
	if _, err := a.UpdateGrant(t.Context(), created); err != nil {
		t.Fatal(err)
	}
	w.clockOffset.Store(int64(2 * time.Minute))
	if n := sweep(t, late, w); n != 0 || len(w.grants(t)) != 1 {
		t.Errorf("%d records were removed, %d grants are left", n, len(w.grants(t)))
	}
}

func TestTheUserOfAnObjectStaysWritten(t *testing.T) {
	w := newTestServer(t)
	s := w.openStore(t, "main-0")
	g := mustCreate(t, s, w.newGrant("a", "user", "client"))
	g.RefreshTokenNumber++
	if _, err := s.UpdateGrant(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	var o v1alpha1.OAuthGrant
	if err := admin.Get(t.Context(), client.ObjectKeyFromObject(&w.grants(t)[0]), &o); err != nil {
		t.Fatal(err)
	}
	if o.Spec.Username != "name-of-user" || o.Spec.RefreshTokenNumber != 2 || len(o.OwnerReferences) != 1 || len(o.Labels) != 3 {
		t.Errorf("after an update: %+v %+v", o.ObjectMeta, o.Spec)
	}
	if _, err := s.UpdateGrant(t.Context(), storage.Grant{ID: "a"}); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("an update without a version: %v, want ErrConflict", err)
	}
}
