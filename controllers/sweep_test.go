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
	"github.com/oauth-operator/oauth-operator/controllers/names"
	"github.com/oauth-operator/oauth-operator/controllers/sweep"
	"github.com/oauth-operator/oauth-operator/test/eventually"
)

// sweepEnv is an AuthorizationServer with Entries, and a Sweeper with a clock of its own.
type sweepEnv struct {
	*sweep.Sweeper

	t      *testing.T
	api    *faultyAPI
	server *v1alpha1.AuthorizationServer
	clock  time.Time
}

func newSweepEnv(t *testing.T) *sweepEnv {
	t.Helper()
	env := &sweepEnv{t: t, api: newFaultyAPI(t), clock: time.Now(), server: &v1alpha1.AuthorizationServer{
		ObjectMeta: metav1.ObjectMeta{Namespace: newNamespace(t), Name: "main"},
	}}
	env.server.Spec.Issuer = "https://" + env.server.Namespace + ".example.com"
	create(t, env.server)
	reader := clientOf(t, env.api.config)
	env.Sweeper = &sweep.Sweeper{
		Entries: &names.Entries{Client: reader, APIReader: reader}, Cache: reader, Events: newRecorder(t), Now: func() time.Time { return env.clock },
		Interval: DefaultSweepInterval, Wait: DefaultSweepWait,
	}
	t.Cleanup(func() { // or the next test's sweep would meet them
		for _, o := range []client.Object{&internalv1alpha1.Entry{}, &v1alpha1.OAuthClient{}, &v1alpha1.AuthorizationServer{}} {
			if err := admin.DeleteAllOf(context.Background(), o, client.InNamespace(env.server.Namespace)); err != nil {
				t.Error(err)
			}
		}
	})
	return env
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

// ownedEntry creates a client and its Entry.
func (env *sweepEnv) ownedEntry(name string) *internalv1alpha1.Entry {
	env.t.Helper()
	c := &v1alpha1.OAuthClient{ObjectMeta: metav1.ObjectMeta{Namespace: env.server.Namespace, Name: name}, Spec: v1alpha1.OAuthClientSpec{
		ServerRef: v1alpha1.ServerReference{Name: "main"}, GrantTypes: []v1alpha1.GrantType{"client_credentials"},
		TokenEndpointAuthMethod: v1alpha1.AuthMethodBasic,
	}}
	create(env.t, c)
	return env.entry(name, compile.OwnerOf(c))
}

// orphanedEntry creates an Entry of a client that does not exist.
func (env *sweepEnv) orphanedEntry(name string) *internalv1alpha1.Entry {
	env.t.Helper()
	return env.entry(name, internalv1alpha1.Owner{Kind: compile.KindClient, Namespace: env.server.Namespace, Name: name, UID: types.UID("gone-" + name)})
}

func (env *sweepEnv) orphanedEntries(n int) []*internalv1alpha1.Entry {
	env.t.Helper()
	var all []*internalv1alpha1.Entry
	for i := range n {
		all = append(all, env.orphanedEntry(fmt.Sprint("lost-", i)))
	}
	return all
}

func (env *sweepEnv) entry(value string, owner internalv1alpha1.Owner) *internalv1alpha1.Entry {
	env.t.Helper()
	e := newEntry(env.t, env.server, value, owner)
	create(env.t, e)
	return e
}

// trySweepAfter lets time pass and sweeps.
func (env *sweepEnv) trySweepAfter(d time.Duration) (time.Time, error) {
	env.t.Helper()
	env.clock = env.clock.Add(d)
	return env.Sweep(env.t.Context())
}

// sweepAfter is trySweepAfter, and fails the test if the sweep fails.
func (env *sweepEnv) sweepAfter(d time.Duration) time.Time {
	env.t.Helper()
	next, err := env.trySweepAfter(d)
	if err != nil {
		env.t.Fatal(err)
	}
	return next
}

// checkCount fails the test unless the server has n Entries.
func (env *sweepEnv) checkCount(when string, n int) {
	env.t.Helper()
	var list internalv1alpha1.EntryList
	if err := admin.List(env.t.Context(), &list, client.InNamespace(env.server.Namespace)); err != nil {
		env.t.Fatal(err)
	}
	if len(list.Items) != n {
		env.t.Errorf("%s: %d Entries are left, not %d", when, len(list.Items), n)
	}
}

// countOrphaned counts the Entries of orphanedEntry that still exist.
func (env *sweepEnv) countOrphaned() int {
	env.t.Helper()
	var list internalv1alpha1.EntryList
	if err := admin.List(env.t.Context(), &list, client.InNamespace(env.server.Namespace)); err != nil {
		env.t.Fatal(err)
	}
	n := 0
	for _, e := range list.Items {
		if strings.HasPrefix(string(e.Spec.Owner.UID), "gone-") {
			n++
		}
	}
	return n
}

// announcements waits until large sweeps of the server were announced n times, and returns the
// notes of the events.
func (env *sweepEnv) announcements(n int) []string {
	env.t.Helper()
	var notes []string
	eventually.True(env.t, fmt.Sprintf("%d large sweeps are announced", n), func() bool {
		var list eventsv1.EventList
		if err := admin.List(env.t.Context(), &list, client.InNamespace(env.server.Namespace)); err != nil {
			env.t.Fatal(err)
		}
		notes = nil
		for _, e := range list.Items {
			if e.Regarding.UID == env.server.UID && e.Reason == sweep.ReasonLargeSweep && e.Type == corev1.EventTypeWarning {
				notes = append(notes, e.Note)
			}
		}
		return len(notes) >= n
	})
	return notes
}

// faultyAPI is a proxy between the manager and the API server that can answer in its place.
type faultyAPI struct {
	config  *rest.Config
	answers atomic.Pointer[func(w http.ResponseWriter, r *http.Request) bool]
}

func newFaultyAPI(t *testing.T) *faultyAPI {
	t.Helper()
	target, err := url.Parse(managerConfig.Host)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(managerConfig)
	if err != nil {
		t.Fatal(err)
	}
	b := &faultyAPI{}
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

// answer answers every request for one OAuthClient with a status and a body.
func (b *faultyAPI) answer(status int, contentType, body string) {
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
func (b *faultyAPI) loseClients() {
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

func (b *faultyAPI) set(f func(w http.ResponseWriter, r *http.Request) bool) { b.answers.Store(&f) }
func (b *faultyAPI) mend()                                                   { b.answers.Store(nil) }

func TestAnEntryWhoseOwnerIsGoneIsSwept(t *testing.T) {
	env := newSweepEnv(t)
	env.ownedEntry("living")
	env.orphanedEntry("gone")
	env.entry("again", internalv1alpha1.Owner{Kind: compile.KindClient, Namespace: env.server.Namespace, Name: "living", UID: "the one before"})
	env.entry("no-such-user", internalv1alpha1.Owner{Kind: compile.KindUser, Namespace: env.server.Namespace, Name: "no-such-user", UID: "gone-user"})
	env.entry("no-such-api", internalv1alpha1.Owner{Kind: compile.KindResourceServer, Namespace: env.server.Namespace, Name: "nothing", UID: "gone-api"})
	env.entry("no-such-namespace", internalv1alpha1.Owner{Kind: compile.KindNamespace, Name: "nowhere", UID: "gone-namespace"})
	var namespace corev1.Namespace
	if err := admin.Get(t.Context(), client.ObjectKey{Name: env.server.Namespace}, &namespace); err != nil {
		t.Fatal(err)
	}
	env.entry("its-namespace", compile.OwnerOf(&namespace))
	env.entry(env.server.Spec.Issuer, compile.OwnerOf(env.server))
	if next := env.sweepAfter(0); next != env.clock.Add(DefaultSweepInterval) {
		t.Errorf("the next sweep is at %s, now it is %s", next, env.clock)
	}
	env.checkCount("after the sweep", 3)
	var kept internalv1alpha1.EntryList
	if err := admin.List(t.Context(), &kept, client.InNamespace(env.server.Namespace)); err != nil {
		t.Fatal(err)
	}
	for _, e := range kept.Items {
		if v := e.Spec.Value; v != "living" && v != "its-namespace" && v != env.server.Spec.Issuer {
			t.Errorf("kept: %s", v)
		}
	}
}

func TestAnEntryIsNotSweptOnTheWordOfTheCache(t *testing.T) {
	env := newSweepEnv(t)
	env.ownedEntry("living")
	env.api.loseClients()
	env.Entries.APIReader = clientOf(t, managerConfig)
	env.sweepAfter(0)
	env.checkCount("the cache lost the owner, the API server has it", 1)
}

func TestAnEntryIsNotSweptWhileTheAPIServerCannotSay(t *testing.T) {
	env := newSweepEnv(t)
	env.orphanedEntry("gone")
	for name, what := range map[string]func(){
		"forbidden": func() {
			env.api.answer(http.StatusForbidden, "application/json", `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403}`)
		},
		"an error of the API server": func() { env.api.answer(http.StatusInternalServerError, "text/plain", "etcdserver: request timed out") },
		"overload":                   func() { env.api.answer(http.StatusServiceUnavailable, "text/plain", "") },
		"a kind that is not served":  func() { env.api.answer(http.StatusNotFound, "text/plain", "404 page not found\n") },
		"a load balancer's 404":      func() { env.api.answer(http.StatusNotFound, "text/html", "<h1>Not Found</h1>") },
		"something else":             func() { env.api.answer(http.StatusOK, "application/json", `{"hello": "world"}`) },
		"a broken connection": func() {
			env.api.set(func(_ http.ResponseWriter, r *http.Request) bool {
				if strings.Contains(r.URL.Path, "/oauthclients/") {
					panic(http.ErrAbortHandler)
				}
				return false
			})
		},
	} {
		what()
		next, err := env.trySweepAfter(0)
		if err == nil {
			t.Errorf("%s: the sweep did not fail", name)
		}
		if next != env.clock.Add(sweep.RetryInterval) {
			t.Errorf("%s: the next sweep is at %s, now it is %s", name, next, env.clock)
		}
		env.checkCount(name, 1)
	}
	env.api.mend()
	env.sweepAfter(0)
	env.checkCount("when it can say", 0)
}

func TestAnEntryThatHasANewOwnerMeanwhileIsNotSwept(t *testing.T) {
	env := newSweepEnv(t)
	e := env.orphanedEntry("name")
	env.api.set(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodDelete { // at the last moment
			e.Spec.Owner = compile.OwnerOf(env.server)
			if err := admin.Update(t.Context(), e); err != nil {
				t.Error(err)
			}
		}
		return false
	})
	env.sweepAfter(0)
	env.checkCount("after the sweep", 1)
}

func TestWhatTheGarbageCollectorRemovesIsLeftToIt(t *testing.T) {
	env := newSweepEnv(t)
	// A reference to what exists, which is no server: the garbage collector lets the Entry be too.
	other := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: env.server.Namespace, Name: "other"}}
	create(t, other)
	e := newEntry(t, env.server, "x", internalv1alpha1.Owner{Kind: compile.KindClient, Namespace: env.server.Namespace, Name: "x", UID: "gone"})
	e.Spec.ServerUID = other.UID
	e.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: other.Name, UID: other.UID}}
	create(t, e)
	env.sweepAfter(0)
	env.checkCount("an Entry that refers to its server", 1)
}

func TestAnEntryOfAServerThatIsGoneIsSweptThoughItRefersToNone(t *testing.T) {
	env := newSweepEnv(t)
	e := newEntry(t, env.server, "x", internalv1alpha1.Owner{Kind: compile.KindClient, Namespace: env.server.Namespace, Name: "x", UID: "gone"})
	e.Spec.ServerUID, e.OwnerReferences = "another", nil
	create(t, e)
	env.sweepAfter(0)
	env.checkCount("an Entry of a server that does not exist", 0)
}

func TestALargeSweepSaysSoAndWaits(t *testing.T) {
	env := newSweepEnv(t)
	env.ownedEntry("living")
	env.orphanedEntries(11)
	goesOn := env.clock.Add(DefaultSweepWait)
	if next := env.sweepAfter(0); next != goesOn {
		t.Errorf("the next sweep is at %s, not at %s", next, goesOn)
	}
	env.checkCount("at first", 12)
	note := env.announcements(1)[0]
	for _, part := range []string{"11 of 12", goesOn.UTC().Format(time.RFC3339)} {
		if !strings.Contains(note, part) {
			t.Errorf("the event does not say %q: %s", part, note)
		}
	}
	env.sweepAfter(DefaultSweepWait - time.Second)
	env.checkCount("a second too early", 12)
	env.sweepAfter(time.Second)
	env.checkCount("in the end", 1)
	if all := env.announcements(1); len(all) != 1 {
		t.Errorf("it was announced more than once: %q", all)
	}
}

func TestALargeSweepAsksAgainBeforeItGoesOn(t *testing.T) {
	env := newSweepEnv(t)
	for i := range 11 {
		env.ownedEntry(fmt.Sprint("client-", i))
	}
	env.api.loseClients()
	env.sweepAfter(0)
	env.announcements(1)
	env.api.mend()
	env.sweepAfter(DefaultSweepWait)
	env.checkCount("the clients were there after all", 11)

	env.api.loseClients() // again, and this has not been announced
	env.sweepAfter(0)
	env.checkCount("after another announcement", 11)
}

func TestALargeSweepIsAnnouncedAnewWhenTheAPIServerCannotSay(t *testing.T) {
	env := newSweepEnv(t)
	env.orphanedEntries(11)
	env.sweepAfter(0)
	env.api.answer(http.StatusInternalServerError, "text/plain", "")
	if _, err := env.trySweepAfter(DefaultSweepWait); err == nil {
		t.Error("the sweep did not fail")
	}
	env.api.mend()
	env.sweepAfter(time.Minute)
	env.checkCount("after a failure", 11)
	env.sweepAfter(DefaultSweepWait)
	env.checkCount("in the end", 0)
}

func TestALargeSweepRemovesNoMoreThanItAnnounced(t *testing.T) {
	env := newSweepEnv(t)
	env.orphanedEntries(11)
	env.sweepAfter(0)
	env.orphanedEntry("later")
	env.sweepAfter(DefaultSweepWait)
	env.checkCount("after what was announced", 1)
	env.sweepAfter(DefaultSweepInterval)
	env.checkCount("after the next sweep", 0)
}

func TestALargeSweepOfOneServerHoldsUpNoOther(t *testing.T) {
	large, small := newSweepEnv(t), newSweepEnv(t)
	large.orphanedEntries(11)
	small.orphanedEntry("gone")
	large.sweepAfter(0)
	large.checkCount("the large one", 11)
	small.checkCount("the small one", 0)
}

func TestWhatIsAnOrphanWhenTheManagerStartsIsSweptAtOnceUnlessItIsMuch(t *testing.T) {
	large, small := newSweepEnv(t), newSweepEnv(t)
	large.orphanedEntries(11)
	small.orphanedEntry("gone")
	startManager(t)
	eventually.True(t, "the one orphan is gone", func() bool { return small.countOrphaned() == 0 })
	large.announcements(1)
	time.Sleep(time.Second) // in which reconcilers could delete them
	if n := large.countOrphaned(); n != 11 {
		t.Errorf("of 11 orphans %d are left", n)
	}
}

func TestWhatADeletedServerLeavesBehindIsSwept(t *testing.T) {
	env := newSweepEnv(t)
	living, gone := env.ownedEntry("living"), env.orphanedEntry("gone")
	issuer := env.entry(env.server.Spec.Issuer, compile.OwnerOf(env.server))
	// The test takes the ownerReferences off before it deletes the server, as the garbage collector
	// does with --cascade=orphan for the dependents that it knows. An Entry that it did not know
	// yet would keep its reference and be collected.
	for _, e := range []*internalv1alpha1.Entry{living, issuer, gone} {
		e.OwnerReferences = nil
		if err := admin.Update(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := admin.Delete(t.Context(), env.server, client.PropagationPolicy(metav1.DeletePropagationOrphan)); err != nil {
		t.Fatal(err)
	}
	eventually.True(t, "the server is gone", func() bool {
		return apierrors.IsNotFound(admin.Get(t.Context(), client.ObjectKeyFromObject(env.server), &v1alpha1.AuthorizationServer{}))
	})
	env.api.set(func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/namespaces/"+env.server.Namespace+"/authorizationservers") {
			return false
		}
		http.Error(rw, "404 page not found", http.StatusNotFound) // which is no list of servers
		return true
	})
	if _, err := env.trySweepAfter(0); err == nil {
		t.Error("the sweep did not fail")
	}
	env.checkCount("while the API server cannot say", 3)
	env.api.mend()
	env.sweepAfter(0)
	env.checkCount("when it says that there is no such server", 0)
}

// The manager that deletes the document of the server at once must not thereby lose what the rest of
// its Entries belong to.
func TestAManagerLeavesNothingOfAServerThatIsDeletedWithoutWhatItOwns(t *testing.T) {
	env := newEnvWithoutManager(t)
	startManager(t, func(o *Options) { o.SweepInterval, o.SweepWait = time.Second, time.Second })
	env.startServer()
	env.readyClient()
	if len(env.entries()) < 3 { // of the server, the namespace and the client
		t.Fatalf("there are %d Entries", len(env.entries()))
	}
	if err := admin.Delete(t.Context(), env.server, client.PropagationPolicy(metav1.DeletePropagationOrphan)); err != nil {
		t.Fatal(err)
	}
	eventually.True(t, "its Entries are gone", func() bool { return !env.exists(env.server) && len(env.entries()) == 0 })
}
