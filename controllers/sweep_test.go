package controllers

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/test/eventually"
)

// sweepWorld is an AuthorizationServer with Entries of clients that exist and of clients that do not, and a Sweeper with a clock of its own.
type sweepWorld struct {
	*Sweeper

	t      *testing.T
	api    *brokenAPI
	server *v1alpha1.AuthorizationServer
	clock  time.Time
}

func newSweepWorld(t *testing.T) *sweepWorld {
	t.Helper()
	w := &sweepWorld{t: t, api: newBrokenAPI(t), clock: time.Now(), server: &v1alpha1.AuthorizationServer{
		ObjectMeta: metav1.ObjectMeta{Namespace: newNamespace(t), Name: "main"},
	}}
	w.server.Spec.Issuer = "https://" + w.server.Namespace + ".example.com"
	create(t, w.server)
	reader := clientOf(t, w.api.config)
	w.Sweeper = &Sweeper{
		operator: &operator{Client: reader, apiReader: reader, events: newRecorder(t), now: func() time.Time { return w.clock }},
		Interval: DefaultSweepInterval, Wait: DefaultSweepWait,
	}
	t.Cleanup(func() { // or the next test's sweep would meet them
		for _, o := range []client.Object{&internalv1alpha1.Entry{}, &v1alpha1.OAuthClient{}, &v1alpha1.AuthorizationServer{}} {
			if err := admin.DeleteAllOf(context.Background(), o, client.InNamespace(w.server.Namespace)); err != nil {
				t.Error(err)
			}
		}
	})
	return w
}

// newRecorder records events in the cluster, as the manager.
func newRecorder(t *testing.T) events.EventRecorder {
	t.Helper()
	clients, err := kubernetes.NewForConfig(managerConfig)
	if err != nil {
		t.Fatal(err)
	}
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: clients.EventsV1()})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	if err := broadcaster.StartRecordingToSinkWithContext(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); broadcaster.Shutdown() })
	return broadcaster.NewRecorder(Scheme(), FieldManager)
}

// living makes a client that exists, with its Entry.
func (w *sweepWorld) living(name string) *internalv1alpha1.Entry {
	w.t.Helper()
	c := &v1alpha1.OAuthClient{ObjectMeta: metav1.ObjectMeta{Namespace: w.server.Namespace, Name: name}, Spec: v1alpha1.OAuthClientSpec{
		ServerRef: v1alpha1.ServerReference{Name: "main"}, GrantTypes: []v1alpha1.GrantType{"client_credentials"},
		TokenEndpointAuthMethod: v1alpha1.AuthMethodBasic,
	}}
	create(w.t, c)
	return w.entry(name, compile.Owner(kindClient, c))
}

// orphan makes an Entry of a client that does not exist.
func (w *sweepWorld) orphan(name string) *internalv1alpha1.Entry {
	w.t.Helper()
	return w.entry(name, internalv1alpha1.Owner{Kind: kindClient, Namespace: w.server.Namespace, Name: name, UID: types.UID("gone-" + name)})
}

func (w *sweepWorld) orphans(n int) []*internalv1alpha1.Entry {
	w.t.Helper()
	var all []*internalv1alpha1.Entry
	for i := range n {
		all = append(all, w.orphan(fmt.Sprint("lost-", i)))
	}
	return all
}

func (w *sweepWorld) entry(value string, owner internalv1alpha1.Owner) *internalv1alpha1.Entry {
	w.t.Helper()
	e := compile.NewEntry(w.server, compile.Name{Space: internalv1alpha1.SpaceIdentity, Value: value}, owner, "", "")
	create(w.t, e)
	return e
}

// after lets time pass and sweeps.
func (w *sweepWorld) after(d time.Duration) (time.Time, error) {
	w.t.Helper()
	w.clock = w.clock.Add(d)
	return w.sweep(w.t.Context())
}

// sweeps is after, when nothing is in the way.
func (w *sweepWorld) sweeps(d time.Duration) time.Time {
	w.t.Helper()
	next, err := w.after(d)
	if err != nil {
		w.t.Fatal(err)
	}
	return next
}

// left fails the test unless the server has so many Entries.
func (w *sweepWorld) left(when string, n int) {
	w.t.Helper()
	var list internalv1alpha1.EntryList
	if err := admin.List(w.t.Context(), &list, client.InNamespace(w.server.Namespace)); err != nil {
		w.t.Fatal(err)
	}
	if len(list.Items) != n {
		w.t.Errorf("%s: %d Entries are left, not %d", when, len(list.Items), n)
	}
}

// unowned counts the Entries that orphan made and that are left.
func (w *sweepWorld) unowned() int {
	w.t.Helper()
	var list internalv1alpha1.EntryList
	if err := admin.List(w.t.Context(), &list, client.InNamespace(w.server.Namespace)); err != nil {
		w.t.Fatal(err)
	}
	n := 0
	for _, e := range list.Items {
		if strings.HasPrefix(string(e.Spec.Owner.UID), "gone-") {
			n++
		}
	}
	return n
}

// announcements are the notes of the events of large sweeps at the server; it waits until there are n.
func (w *sweepWorld) announcements(n int) []string {
	w.t.Helper()
	var notes []string
	eventually.True(w.t, fmt.Sprintf("%d large sweeps are announced", n), func() bool {
		var list eventsv1.EventList
		if err := admin.List(w.t.Context(), &list, client.InNamespace(w.server.Namespace)); err != nil {
			w.t.Fatal(err)
		}
		notes = nil
		for _, e := range list.Items {
			if e.Regarding.UID == w.server.UID && e.Reason == reasonLargeSweep && e.Type == corev1.EventTypeWarning {
				notes = append(notes, e.Note)
			}
		}
		return len(notes) >= n
	})
	return notes
}

// brokenAPI stands between the manager and the API server, and can answer in its place.
type brokenAPI struct {
	config  *rest.Config
	answers atomic.Pointer[func(w http.ResponseWriter, r *http.Request) bool]
}

func newBrokenAPI(t *testing.T) *brokenAPI {
	t.Helper()
	target, err := url.Parse(managerConfig.Host)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(managerConfig)
	if err != nil {
		t.Fatal(err)
	}
	b := &brokenAPI{}
	behind := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer := b.answers.Load(); answer == nil || !(*answer)(w, r) {
			behind.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(front.Close)
	b.config = &rest.Config{Host: front.URL, QPS: -1}
	return b
}

const clientsPath = "/apis/oauth-operator.dev/v1alpha1/oauthclients"

// answer has every GET of one OAuthClient answered with a status and a body.
func (b *brokenAPI) answer(status int, contentType, body string) {
	b.set(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/oauthclients/") {
			return false
		}
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, body)
		return true
	})
}

// loseClients answers as an API server whose OAuthClients were lost, all of them.
func (b *brokenAPI) loseClients() {
	b.set(func(w http.ResponseWriter, r *http.Request) bool {
		status, body := http.StatusOK, ""
		switch {
		case r.URL.Path == clientsPath:
			body = `{"kind": "OAuthClientList", "apiVersion": "oauth-operator.dev/v1alpha1", "metadata": {"resourceVersion": "1"}, "items": []}`
		case strings.Contains(r.URL.Path, "/oauthclients/"):
			status, body = http.StatusNotFound, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}`
		default:
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, body)
		return true
	})
}

func (b *brokenAPI) set(f func(w http.ResponseWriter, r *http.Request) bool) { b.answers.Store(&f) }
func (b *brokenAPI) mend()                                                   { b.answers.Store(nil) }

func TestAnEntryWhoseOwnerIsGoneIsSwept(t *testing.T) {
	w := newSweepWorld(t)
	w.living("living")
	w.orphan("gone")
	w.entry("again", internalv1alpha1.Owner{Kind: kindClient, Namespace: w.server.Namespace, Name: "living", UID: "the one before"})
	w.entry("no-such-user", internalv1alpha1.Owner{Kind: kindUser, Namespace: w.server.Namespace, Name: "nobody", UID: "gone-user"})
	w.entry("no-such-api", internalv1alpha1.Owner{Kind: kindResourceServer, Namespace: w.server.Namespace, Name: "nothing", UID: "gone-api"})
	w.entry("no-such-namespace", internalv1alpha1.Owner{Kind: kindNamespace, Name: "nowhere", UID: "gone-namespace"})
	var namespace corev1.Namespace
	if err := admin.Get(t.Context(), client.ObjectKey{Name: w.server.Namespace}, &namespace); err != nil {
		t.Fatal(err)
	}
	w.entry("its-namespace", compile.Owner(kindNamespace, &namespace))
	w.entry(w.server.Spec.Issuer, compile.Owner(kindServer, w.server))
	if next := w.sweeps(0); next != w.clock.Add(DefaultSweepInterval) {
		t.Errorf("the next sweep is at %s, now it is %s", next, w.clock)
	}
	w.left("after the sweep", 3)
	var kept internalv1alpha1.EntryList
	if err := admin.List(t.Context(), &kept, client.InNamespace(w.server.Namespace)); err != nil {
		t.Fatal(err)
	}
	for _, e := range kept.Items {
		if v := e.Spec.Value; v != "living" && v != "its-namespace" && v != w.server.Spec.Issuer {
			t.Errorf("kept: %s", v)
		}
	}
}

func TestAnEntryIsNotSweptOnTheWordOfTheCache(t *testing.T) {
	w := newSweepWorld(t)
	w.living("living")
	w.api.loseClients()
	stale := w.Client
	truthful := clientOf(t, managerConfig)
	w.Client, w.apiReader = stale, truthful
	w.sweeps(0)
	w.left("the cache lost the owner, the API server has it", 1)
}

func TestAnEntryIsNotSweptWhileTheAPIServerCannotSay(t *testing.T) {
	w := newSweepWorld(t)
	w.orphan("gone")
	for name, what := range map[string]func(){
		"forbidden": func() {
			w.api.answer(http.StatusForbidden, "application/json", `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403}`)
		},
		"an error of the API server": func() { w.api.answer(http.StatusInternalServerError, "text/plain", "etcdserver: request timed out") },
		"overload":                   func() { w.api.answer(http.StatusServiceUnavailable, "text/plain", "") },
		"a kind that is not served":  func() { w.api.answer(http.StatusNotFound, "text/plain", "404 page not found\n") },
		"a load balancer's 404":      func() { w.api.answer(http.StatusNotFound, "text/html", "<h1>Not Found</h1>") },
		"something else":             func() { w.api.answer(http.StatusOK, "application/json", `{"hello": "world"}`) },
		"a broken connection": func() {
			w.api.set(func(_ http.ResponseWriter, r *http.Request) bool {
				if strings.Contains(r.URL.Path, "/oauthclients/") {
					panic(http.ErrAbortHandler)
				}
				return false
			})
		},
	} {
		what()
		next, err := w.after(0)
		if err == nil {
			t.Errorf("%s: the sweep did not fail", name)
		}
		if next != w.clock.Add(retrySweep) {
			t.Errorf("%s: the next sweep is at %s, now it is %s", name, next, w.clock)
		}
		w.left(name, 1)
	}
	w.api.mend()
	w.sweeps(0)
	w.left("when it can say", 0)
}

func TestAnEntryThatHasANewOwnerMeanwhileIsNotSwept(t *testing.T) {
	w := newSweepWorld(t)
	e := w.orphan("name")
	w.api.set(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodDelete { // at the last moment
			e.Spec.Owner = compile.Owner(kindServer, w.server)
			if err := admin.Update(t.Context(), e); err != nil {
				t.Error(err)
			}
		}
		return false
	})
	w.sweeps(0)
	w.left("after the sweep", 1)
}

func TestWhatTheGarbageCollectorRemovesIsLeftToIt(t *testing.T) {
	w := newSweepWorld(t)
	e := compile.NewEntry(w.server, compile.Name{Space: internalv1alpha1.SpaceIdentity, Value: "x"},
		internalv1alpha1.Owner{Kind: kindClient, Namespace: w.server.Namespace, Name: "x", UID: "gone"}, "", "")
	e.Spec.ServerUID, e.OwnerReferences = "another", nil // what is to be collected is; this is not
	create(t, e)
	w.sweeps(0)
	w.left("an Entry of a server that does not exist", 1)
}

func TestALargeSweepIsOneOfMoreThanTenAndMoreThanFivePercent(t *testing.T) {
	for _, c := range []struct {
		total, orphans int
		large          bool
	}{
		{10, 10, false}, {11, 11, true}, {219, 11, true}, {220, 11, false}, {220, 12, true}, {10_000, 500, false}, {10_000, 501, true}, {0, 0, false},
	} {
		var orphans []*internalv1alpha1.Entry
		for i := range c.orphans {
			orphans = append(orphans, &internalv1alpha1.Entry{ObjectMeta: metav1.ObjectMeta{UID: types.UID(fmt.Sprint(i))}})
		}
		remove, waiting := decideSweep(c.total, orphans, nil, time.Now(), time.Minute)
		if large := waiting != nil; large != c.large || large == (len(remove) > 0 || c.orphans == 0) {
			t.Errorf("%d of %d: removed %d, waits %v", c.orphans, c.total, len(remove), large)
		}
	}
}

func TestALargeSweepSaysSoAndWaits(t *testing.T) {
	w := newSweepWorld(t)
	w.living("living")
	w.orphans(11)
	goesOn := w.clock.Add(DefaultSweepWait)
	if next := w.sweeps(0); next != goesOn {
		t.Errorf("the next sweep is at %s, not at %s", next, goesOn)
	}
	w.left("at first", 12)
	note := w.announcements(1)[0]
	for _, part := range []string{"11 of 12", goesOn.UTC().Format(time.RFC3339)} {
		if !strings.Contains(note, part) {
			t.Errorf("the event does not say %q: %s", part, note)
		}
	}
	w.sweeps(DefaultSweepWait - time.Second)
	w.left("a second too early", 12)
	w.sweeps(time.Second)
	w.left("in the end", 1)
	if all := w.announcements(1); len(all) != 1 {
		t.Errorf("it was announced more than once: %q", all)
	}
}

func TestALargeSweepAsksAgainBeforeItGoesOn(t *testing.T) {
	w := newSweepWorld(t)
	for i := range 11 {
		w.living(fmt.Sprint("client-", i))
	}
	w.api.loseClients()
	w.sweeps(0)
	w.announcements(1)
	w.api.mend()
	w.sweeps(DefaultSweepWait)
	w.left("the clients were there after all", 11)

	w.api.loseClients() // again, and this has not been announced
	w.sweeps(0)
	w.left("after another announcement", 11)
}

func TestALargeSweepIsAnnouncedAnewWhenTheAPIServerCannotSay(t *testing.T) {
	w := newSweepWorld(t)
	w.orphans(11)
	w.sweeps(0)
	w.api.answer(http.StatusInternalServerError, "text/plain", "")
	if _, err := w.after(DefaultSweepWait); err == nil {
		t.Error("the sweep did not fail")
	}
	w.api.mend()
	w.sweeps(time.Minute)
	w.left("after a failure", 11)
	w.sweeps(DefaultSweepWait)
	w.left("in the end", 0)
}

func TestALargeSweepRemovesNoMoreThanItAnnounced(t *testing.T) {
	w := newSweepWorld(t)
	w.orphans(11)
	w.sweeps(0)
	w.orphan("later")
	w.sweeps(DefaultSweepWait)
	w.left("after what was announced", 1)
	w.sweeps(DefaultSweepInterval)
	w.left("after the next sweep", 0)
}

func TestALargeSweepOfOneServerHoldsUpNoOther(t *testing.T) {
	large, small := newSweepWorld(t), newSweepWorld(t)
	large.orphans(11)
	small.orphan("gone")
	large.sweeps(0)
	large.left("the large one", 11)
	small.left("the small one", 0)
}

func TestWhatIsAnOrphanWhenTheManagerStartsIsSweptAtOnceUnlessItIsMuch(t *testing.T) {
	large, small := newSweepWorld(t), newSweepWorld(t)
	large.orphans(11)
	small.orphan("gone")
	startManager(t)
	eventually.True(t, "the one orphan is gone", func() bool { return small.unowned() == 0 })
	large.announcements(1)
	time.Sleep(time.Second) // for whoever else might want to remove them
	if n := large.unowned(); n != 11 {
		t.Errorf("of 11 orphans %d are left", n)
	}
}

func TestWhatADeletedServerLeavesBehindIsSwept(t *testing.T) {
	w := newSweepWorld(t)
	living, gone := w.living("living"), w.orphan("gone")
	issuer := w.entry(w.server.Spec.Issuer, compile.Owner(kindServer, w.server))
	// The test takes the ownerReferences off before it deletes the server, as the garbage collector
	// does with --cascade=orphan for the dependents that it knows. An Entry that it did not know yet
	// would keep its reference and be collected.
	for _, e := range []*internalv1alpha1.Entry{living, issuer, gone} {
		e.OwnerReferences = nil
		if err := admin.Update(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := admin.Delete(t.Context(), w.server, client.PropagationPolicy(metav1.DeletePropagationOrphan)); err != nil {
		t.Fatal(err)
	}
	eventually.True(t, "the server is gone", func() bool {
		return apierrors.IsNotFound(admin.Get(t.Context(), client.ObjectKeyFromObject(w.server), &v1alpha1.AuthorizationServer{}))
	})
	w.api.set(func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/authorizationservers/") {
			return false
		}
		http.Error(rw, "404 page not found", http.StatusNotFound) // which speaks of no server
		return true
	})
	if _, err := w.after(0); err == nil {
		t.Error("the sweep did not fail")
	}
	w.left("while the API server cannot say", 3)
	w.api.mend()
	w.sweeps(0)
	w.left("when it says that there is no such server", 0)
}
