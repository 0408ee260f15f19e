package kubernetes_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
	"github.com/oauth-operator/oauth-operator/hack/local/controlplane/controlplanetest"
	"github.com/oauth-operator/oauth-operator/hack/local/operator"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/clock"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/kubernetes"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/storagetest"
)

var (
	// plane is the control plane that all tests share, with the kinds and the RBAC of config.
	plane *controlplane.ControlPlane
	// admin is an administrator with kubectl.
	admin       client.Client
	serverCount atomic.Int64
)

func TestMain(m *testing.M) { controlplanetest.Main(m, setUp) }

func setUp(ctx context.Context, started *controlplane.ControlPlane) (err error) {
	plane = started
	if err := operator.Install(ctx, plane); err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme), internalv1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	if admin, err = client.New(plane.AdminConfig(), client.Options{Scheme: scheme}); err != nil {
		return err
	}
	return nil
}

// testServer is an AuthorizationServer for one test, with the ServiceAccount and the rights that
// its token server has.
type testServer struct {
	namespace, serverUID string
	api                  *rest.Config
	clockOffset          atomic.Int64 // how far the clock is ahead, in nanoseconds
}

func newTestServer(t *testing.T) *testServer {
	t.Helper()
	w := &testServer{namespace: fmt.Sprintf("identity-%d", serverCount.Add(1))}
	server := &v1alpha1.AuthorizationServer{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "main"},
		Spec:       v1alpha1.AuthorizationServerSpec{Issuer: "https://auth.example.com"},
	}
	w.create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}})
	w.create(t, server)
	w.create(t, workload.ServiceAccount(server))
	w.create(t, workload.RoleBinding(server))
	w.serverUID = string(server.UID)
	var err error
	if w.api, err = plane.ConfigFor(t.Context(), w.namespace, workload.ServiceAccountName(server.Name)); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *testServer) create(t *testing.T, o client.Object) {
	t.Helper()
	if err := admin.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

func (w *testServer) now() time.Time { return time.Now().Add(time.Duration(w.clockOffset.Load())) }

// replica is a store of one process.
type replica struct {
	*kubernetes.Store
	namespace string
	metrics   *prometheus.Registry
	stop      func()
}

// DeleteConsent deletes the object of a consent, as people do with kubectl to withdraw it.
func (r *replica) DeleteConsent(ctx context.Context, userUID, clientUID string) error {
	var consents v1alpha1.OAuthConsentList
	if err := admin.List(ctx, &consents, client.InNamespace(r.namespace)); err != nil {
		return err
	}
	for i := range consents.Items {
		if spec := consents.Items[i].Spec; spec.UserUID == userUID && spec.ClientUID == clientUID {
			return client.IgnoreNotFound(admin.Delete(ctx, &consents.Items[i]))
		}
	}
	return nil
}

// DeleteIdentity deletes an OAuthIdentity, as people do with kubectl, and returns once the store knows.
func (r *replica) DeleteIdentity(ctx context.Context, subject string) error {
	o := &v1alpha1.OAuthIdentity{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: v1alpha1.OAuthIdentityName(subject)}}
	if err := client.IgnoreNotFound(admin.Delete(ctx, o)); err != nil {
		return err
	}
	for {
		if _, err := storage.RecentReader(r.Store).GetIdentity(ctx, subject); errors.Is(err, storage.ErrNotFound) {
			return nil
		}
		if !clock.Sleep(ctx, time.Millisecond) {
			return ctx.Err()
		}
	}
}

func (w *testServer) openStore(t *testing.T, name string) *replica {
	t.Helper()
	return w.openStoreWith(t, name, w.api)
}

// openStoreWith opens a store with a configuration of its own, and waits until it can be
// used.
func (w *testServer) openStoreWith(t *testing.T, name string, api *rest.Config) *replica {
	t.Helper()
	r := w.startStoreWith(t, name, api)
	eventually.True(t, "the store can be used", func() bool { return r.Problem() == "" })
	return r
}

// startStoreWith opens a store and does not wait for it.
func (w *testServer) startStoreWith(t *testing.T, name string, api *rest.Config) *replica {
	t.Helper()
	r := &replica{namespace: w.namespace, metrics: prometheus.NewRegistry()}
	var err error
	r.Store, err = kubernetes.New(api, kubernetes.Config{
		Namespace: w.namespace, ServerName: "main", ServerUID: w.serverUID, ReplicaName: name,
		Username: func(uid string) string { return "name-of-" + uid }, ClientID: func(uid string) string { return "id-of-" + uid },
		Now: w.now, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Metrics: r.metrics,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	r.stop = func() { cancel(); running.Wait() }
	t.Cleanup(r.stop)
	return r
}

func (w *testServer) grants(t *testing.T) []v1alpha1.OAuthGrant {
	t.Helper()
	var found v1alpha1.OAuthGrantList
	if err := admin.List(t.Context(), &found, client.InNamespace(w.namespace)); err != nil {
		t.Fatal(err)
	}
	return found.Items
}

func (w *testServer) marks(t *testing.T) []internalv1alpha1.Mark {
	t.Helper()
	var found internalv1alpha1.MarkList
	if err := admin.List(t.Context(), &found, client.InNamespace(w.namespace)); err != nil {
		t.Fatal(err)
	}
	return found.Items
}

// deleteGrant is what kubectl delete does to the grant of an id.
func (w *testServer) deleteGrant(t *testing.T, id string) {
	t.Helper()
	for _, o := range w.grants(t) {
		if o.Spec.ID == id {
			if err := admin.Delete(t.Context(), &o); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("there is no grant %s", id)
}

// newGrant returns a live grant, as package grant creates it when a code is redeemed.
func (w *testServer) newGrant(id, user, client string) storage.Grant {
	now := w.now()
	return storage.Grant{
		ID: id, Incarnation: "incarnation-" + id, Attempt: "attempt-" + id,
		UserUID: user, Subject: "subject", UserEpoch: "epoch", ClientUID: client, ClientID: "shop.web",
		Scopes: []string{"openid"}, RefreshTokenNumber: 1, RefreshTokenIssuedAt: now, SealingKID: "seal-1", CreatedAt: now, LastUsedAt: now,
		RefreshUntil: now.Add(2 * time.Hour), ExpiresAt: now.Add(3 * time.Hour),
	}
}

func mustCreate(t *testing.T, s storage.Store, g storage.Grant) storage.Grant {
	t.Helper()
	created, err := s.CreateGrant(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	return created
}

func TestTheKubernetesStoreIsAStore(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storagetest.Backend { return newTestServer(t).openStore(t, "main-0") })
}

func TestObjectsHoldNoMoreThanTheRecordAndTheirNamesAndLabelsSayNothing(t *testing.T) {
	w := newTestServer(t)
	s := w.openStore(t, "main-0")
	g := w.newGrant("the-id", "the-user", "the-client")
	g.SessionHash = "the-session"
	mustCreate(t, s, g)
	if _, err := s.PutConsent(t.Context(), storage.Consent{UserUID: "the-user", ClientUID: "the-client", Scopes: []string{"openid"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.SetMark(t.Context(), storage.Mark{Kind: storage.MarkSession, ID: "the-session", ExpiresAt: w.now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	var consents v1alpha1.OAuthConsentList
	if err := admin.List(t.Context(), &consents, client.InNamespace(w.namespace)); err != nil {
		t.Fatal(err)
	}
	objects := []client.Object{&w.grants(t)[0], &consents.Items[0], &w.marks(t)[0]}
	for _, o := range objects {
		owners := o.GetOwnerReferences()
		if len(owners) != 1 || string(owners[0].UID) != w.serverUID {
			t.Errorf("%s does not go with its server: %v", o.GetName(), owners)
		}
		shown := o.GetName()
		for key, value := range o.GetLabels() {
			if value != w.serverUID {
				shown += " " + key + "=" + value
			}
		}
		for _, said := range []string{"the-", "alice", "shop", "subject", "openid"} {
			if strings.Contains(shown, said) {
				t.Errorf("name and labels tell %q: %s", said, shown)
			}
		}
		if len(o.GetAnnotations()) > 0 {
			t.Errorf("%s has annotations", o.GetName())
		}
	}
	if spec := w.grants(t)[0].Spec; spec.Username != "name-of-the-user" || spec.ServerRef.Name != "main" {
		t.Errorf("people cannot read whose grant it is: %+v", spec)
	}
	if spec := consents.Items[0].Spec; spec.Username != "name-of-the-user" || spec.ClientID != "id-of-the-client" {
		t.Errorf("people cannot read whose consent it is: %+v", spec)
	}
	other := newTestServer(t)
	mustCreate(t, other.openStore(t, "main-0"), g)
	if a, b := w.grants(t)[0], other.grants(t)[0]; a.Name == b.Name || a.Labels[v1alpha1.UserLabel] == b.Labels[v1alpha1.UserLabel] {
		t.Error("two servers name and label the same user alike")
	}
}

// What the API server remembers of who wrote which field is in its memory for each object.
func TestTheAPIServerKeepsOneEntryForTheFieldsOfARecord(t *testing.T) {
	w := newTestServer(t)
	s := w.openStore(t, "main-0")
	g := mustCreate(t, s, w.newGrant("the-id", "the-user", "the-client"))
	if _, err := s.PutConsent(t.Context(), storage.Consent{UserUID: "the-user", ClientUID: "the-client", Scopes: []string{"openid"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.SetMark(t.Context(), storage.Mark{Kind: storage.MarkSession, ID: "the-session", ExpiresAt: w.now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	var consents v1alpha1.OAuthConsentList
	if err := admin.List(t.Context(), &consents, client.InNamespace(w.namespace)); err != nil {
		t.Fatal(err)
	}
	for _, o := range []client.Object{&w.grants(t)[0], &consents.Items[0], &w.marks(t)[0]} {
		if fields := o.GetManagedFields(); len(fields) != 1 || !strings.Contains(fields[0].FieldsV1.GetRawString(), `"f:spec":{}`) {
			t.Errorf("of %s it keeps %v", o.GetName(), fields)
		}
	}
	g.RefreshTokenNumber++
	if _, err := s.UpdateGrant(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	if fields := w.grants(t)[0].ManagedFields; len(fields) != 0 {
		t.Errorf("of a grant that was used it keeps %v", fields)
	}
}

func TestAnEventAndAMetricTellThatTheBoundIsNear(t *testing.T) {
	w := newTestServer(t)
	s := w.openStore(t, "main-0")
	s.SetGrantBounds(20, 10)
	tell := func() (events int, live float64) {
		t.Helper()
		if _, err := s.Sweep(t.Context(), w.now()); err != nil {
			t.Fatal(err)
		}
		var list eventsv1.EventList
		if err := admin.List(t.Context(), &list, client.InNamespace(w.namespace)); err != nil {
			t.Fatal(err)
		}
		for _, e := range list.Items {
			if e.Reason == "GrantsNearBound" && e.Regarding.Name == "main" && e.Type == corev1.EventTypeWarning {
				events++
			}
		}
		families, err := s.metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "oauth_operator_tokenserver_live_grants" {
				return events, f.GetMetric()[0].GetGauge().GetValue()
			}
		}
		t.Fatal("there is no metric")
		return 0, 0
	}
	for i := range 8 {
		mustCreate(t, s, w.newGrant(fmt.Sprint(i), fmt.Sprint("user-", i), "client"))
	}
	if events, live := tell(); events != 0 || live != 8 {
		t.Errorf("with 8 of 10 grants there are %d events, and the metric says %v", events, live)
	}
	mustCreate(t, s, w.newGrant("8", "user-8", "client"))
	for range 2 {
		if events, live := tell(); events != 1 || live != 9 {
			t.Errorf("with 9 of 10 grants there are %d events, and the metric says %v", events, live)
		}
	}
	mustCreate(t, s, w.newGrant("9", "user-9", "client"))
	if _, err := s.CreateGrant(t.Context(), w.newGrant("10", "user-10", "client")); !errors.Is(err, storage.ErrFull) {
		t.Errorf("beyond the bound: %v, want ErrFull", err)
	}
	if _, err := s.CreateGrant(t.Context(), w.newGrant("9", "user-9", "client")); !errors.Is(err, storage.ErrExists) {
		t.Errorf("what exists, at the bound: %v, want ErrExists", err)
	}
	w.clockOffset.Store(int64(4 * time.Hour))
	mustCreate(t, s, w.newGrant("11", "user-11", "client"))
}

func TestABoundOnMarksHoldsOverReplicas(t *testing.T) {
	w := newTestServer(t)
	const bound, replicas = 20, 3
	stores := make([]*replica, replicas)
	for i := range stores {
		stores[i] = w.openStore(t, fmt.Sprint("main-", i))
		stores[i].SetMarkBounds(storage.MarkToken, storage.MarkBounds{PerClient: bound})
	}
	mark := func(s *replica, id, client string) error {
		return s.SetMark(t.Context(), storage.Mark{
			Kind: storage.MarkToken, ID: id, UserUID: "user", ClientUID: client, Namespace: "shop", ExpiresAt: w.now().Add(time.Hour),
		})
	}
	var all sync.WaitGroup
	for i, s := range stores {
		all.Go(func() { // one after another, as a loop of a client would
			for n := range bound {
				if err := mark(s, fmt.Sprint(i, "-", n), "client"); err != nil && !errors.Is(err, storage.ErrFull) {
					t.Errorf("replica %d: %v", i, err)
				}
			}
		})
	}
	all.Wait()
	if n := len(w.marks(t)); n < bound || n > bound+replicas*2 {
		t.Errorf("there are %d marks, and the bound is %d", n, bound)
	}
	for i, s := range stores {
		eventually.True(t, "the marks are known", func() bool { return errors.Is(mark(s, fmt.Sprint("more-", i), "client"), storage.ErrFull) })
		if err := mark(s, fmt.Sprint("other-", i), "another"); err != nil {
			t.Errorf("replica %d: another client: %v", i, err)
		}
	}
	if n, err := w.openStore(t, "later").CountMarks(t.Context(), storage.MarkToken, "user", 1000); err != nil || n < bound+replicas {
		t.Errorf("a replica that started later counts %d marks (%v)", n, err)
	}
}
