package controllers

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// everything that token servers could have applied.
const everything = "9223372036854775807"

// world is a platform team's namespace with an AuthorizationServer, and an app team's namespace
// beside it. A Replica says that all is served.
type world struct {
	t              *testing.T
	identity, apps string
	server         *v1alpha1.AuthorizationServer
	replica        *internalv1alpha1.Replica
	manager        ctrl.Manager
	clock          *clock
}

// newWorld starts a manager and applies an AuthorizationServer that allows everything to the app
// team's namespace.
func newWorld(t *testing.T, change ...func(*v1alpha1.AuthorizationServer)) *world {
	t.Helper()
	w := emptyWorld(t, change...)
	w.manager = startManager(t, w.clock.set)
	w.startServer()
	return w
}

// clock of the manager, which can be moved.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time       { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) move(d time.Duration) { c.ahead.Add(int64(d)) }
func (c *clock) set(o *Options)       { o.Now = c.now }

// newStoppableWorld is newWorld with a manager that the test stops.
func newStoppableWorld(t *testing.T) (w *world, stop func()) {
	t.Helper()
	w = emptyWorld(t)
	_, stop = runManager(t, w.clock.set)
	w.startServer()
	return w, stop
}

func emptyWorld(t *testing.T, change ...func(*v1alpha1.AuthorizationServer)) *world {
	t.Helper()
	w := &world{t: t, identity: newNamespace(t), clock: &clock{}}
	w.apps = newNamespace(t, map[string]string{"apps-of": w.identity})
	w.server = &v1alpha1.AuthorizationServer{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.identity, Name: "main"},
		Spec: v1alpha1.AuthorizationServerSpec{
			Issuer: "https://" + w.identity + ".example.com",
			AllowedClients: []v1alpha1.ClientRule{{
				Name: "apps", Namespaces: w.from("apps-of", w.identity), ClientIDs: []string{"free-*"},
				GrantTypes: []v1alpha1.GrantType{"authorization_code", "implicit", "password", "client_credentials", "refresh_token"},
			}},
			AllowedResourceServers: []v1alpha1.ResourceServerRule{{Name: "apps", Namespaces: w.from("apps-of", w.identity)}},
		},
	}
	for _, f := range change {
		f(w.server)
	}
	t.Cleanup(w.cleanUp)
	return w
}

func (w *world) from(label, value string) *v1alpha1.RuleNamespaces {
	return &v1alpha1.RuleNamespaces{From: v1alpha1.NamespacesSelector, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{label: value}}}
}

// startServer creates the AuthorizationServer and a Replica of it.
func (w *world) startServer() {
	w.t.Helper()
	w.server.ResourceVersion, w.server.UID = "", ""
	create(w.t, w.server)
	w.replica = w.newReplica("main-0", everything)
	w.keepRenewing(w.replica)
	w.condition(w.server, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// newReplica is a token server that says so once; see keepRenewing.
func (w *world) newReplica(name, applied string, change ...func(*internalv1alpha1.Replica)) *internalv1alpha1.Replica {
	w.t.Helper()
	r := &internalv1alpha1.Replica{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.identity, Name: name, Labels: map[string]string{internalv1alpha1.ServerUIDLabel: string(w.server.UID)},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: kindServer, Name: w.server.Name, UID: w.server.UID,
			}},
		},
		Spec: internalv1alpha1.ReplicaSpec{
			ServerUID: w.server.UID, RenewTime: renewal(), AppliedResourceVersion: applied, Ready: true, Formats: documents.Formats(),
		},
	}
	for _, f := range change {
		f(r)
	}
	create(w.t, r)
	return r
}

func renewal() metav1.MicroTime {
	return metav1.NewMicroTime(time.Now().UTC().Truncate(time.Microsecond))
}

// renew has a replica renew itself now, as it does every ten seconds.
func (w *world) renew(r *internalv1alpha1.Replica) {
	w.t.Helper()
	edit(w, r, func(r *internalv1alpha1.Replica) { r.Spec.RenewTime = renewal() })
}

// keepRenewing renews a replica until the test ends or the replica is gone.
func (w *world) keepRenewing(r *internalv1alpha1.Replica) {
	key, ctx := client.ObjectKeyFromObject(r), w.t.Context()
	go func() {
		for ticker := time.NewTicker(10 * time.Second); ; {
			select {
			case <-ctx.Done():
				ticker.Stop()
				return
			case <-ticker.C:
			}
			var now internalv1alpha1.Replica
			if err := admin.Get(ctx, key, &now); err != nil {
				ticker.Stop()
				return
			}
			now.Spec.RenewTime = renewal()
			_ = admin.Update(ctx, &now) // a conflict is a renewal too
		}
	}()
}

// cleanUp removes what the managers of other tests would reconcile.
func (w *world) cleanUp() {
	ctx := context.Background()
	for _, o := range []client.Object{
		&v1alpha1.OAuthClient{}, &v1alpha1.OAuthUser{}, &v1alpha1.ResourceServer{}, &v1alpha1.AuthorizationServer{}, &internalv1alpha1.Replica{}, &internalv1alpha1.Usage{}, &internalv1alpha1.Entry{},
	} {
		for _, namespace := range []string{w.identity, w.apps} {
			if err := admin.DeleteAllOf(ctx, o, client.InNamespace(namespace)); err != nil {
				w.t.Error(err)
			}
		}
	}
}

// newClient applies a client of the app team; its name is made up unless it is given.
func (w *world) newClient(change ...func(*v1alpha1.OAuthClient)) *v1alpha1.OAuthClient {
	w.t.Helper()
	c := &v1alpha1.OAuthClient{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.apps, GenerateName: "client-"},
		Spec: v1alpha1.OAuthClientSpec{
			ServerRef: v1alpha1.ServerReference{Name: "main", Namespace: w.identity}, GrantTypes: []v1alpha1.GrantType{"client_credentials"},
			TokenEndpointAuthMethod: v1alpha1.AuthMethodBasic,
		},
	}
	for _, f := range change {
		f(c)
	}
	if c.Name != "" {
		c.GenerateName = ""
	}
	create(w.t, c)
	return c
}

// readyClient is newClient, and Ready.
func (w *world) readyClient(change ...func(*v1alpha1.OAuthClient)) *v1alpha1.OAuthClient {
	w.t.Helper()
	c := w.newClient(change...)
	w.condition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	return c
}

func named(name string) func(*v1alpha1.OAuthClient) {
	return func(c *v1alpha1.OAuthClient) { c.Name = name }
}

func (w *world) newAPI(identifier string, scopes ...string) *v1alpha1.ResourceServer {
	w.t.Helper()
	api := &v1alpha1.ResourceServer{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.apps, GenerateName: "api-"},
		Spec: v1alpha1.ResourceServerSpec{
			ServerRef: v1alpha1.ServerReference{Name: "main", Namespace: w.identity}, Identifier: identifier, Scopes: declared(scopes...),
		},
	}
	create(w.t, api)
	return api
}

func declared(names ...string) []v1alpha1.ResourceScope {
	var list []v1alpha1.ResourceScope
	for _, name := range names {
		list = append(list, v1alpha1.ResourceScope{Name: name})
	}
	return list
}

// newUser applies a user, and a Secret of the same name with the password.
func (w *world) newUser(name, password string, change ...func(*v1alpha1.OAuthUser)) *v1alpha1.OAuthUser {
	w.t.Helper()
	u := &v1alpha1.OAuthUser{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.identity, Name: name},
		Spec: v1alpha1.OAuthUserSpec{
			ServerRef: v1alpha1.LocalServerReference{Name: "main"}, Username: name,
			PasswordSecretRef: &v1alpha1.SecretKeyReference{Name: name, Key: "password"},
		},
	}
	for _, f := range change {
		f(u)
	}
	if password != "" {
		w.newSecret(w.identity, name, map[string]string{"password": password})
	}
	create(w.t, u)
	return u
}

func (w *world) newSecret(namespace, name string, data map[string]string, change ...func(*corev1.Secret)) *corev1.Secret {
	w.t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, StringData: data}
	for _, f := range change {
		f(s)
	}
	create(w.t, s)
	return s
}

// condition waits until a condition has a status and a reason for the present generation, and
// returns its message. The object is then as it was.
func (w *world) condition(o client.Object, kind string, status metav1.ConditionStatus, reason string) string {
	w.t.Helper()
	var c *metav1.Condition
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		w.get(o)
		c = meta.FindStatusCondition(conditionsOf(o), kind)
		if c != nil && c.Status == status && c.Reason == reason && c.ObservedGeneration == o.GetGeneration() {
			return c.Message
		}
		if time.Now().After(deadline) {
			text, _ := json.MarshalIndent(conditionsOf(o), "", " ")
			w.t.Fatalf("%s is not %s/%s within 30 seconds: %s", kind, status, reason, text)
		}
	}
}

func (w *world) get(o client.Object) {
	w.t.Helper()
	if err := admin.Get(w.t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		w.t.Fatal(err)
	}
}

// exists reads the object and says whether it is there.
func (w *world) exists(o client.Object) bool {
	w.t.Helper()
	err := admin.Get(w.t.Context(), client.ObjectKeyFromObject(o), o)
	if client.IgnoreNotFound(err) != nil {
		w.t.Fatal(err)
	}
	return err == nil
}

// edit changes an object as it is now.
func edit[T client.Object](w *world, o T, change func(T)) {
	w.t.Helper()
	for {
		w.get(o)
		change(o)
		err := admin.Update(w.t.Context(), o)
		if err == nil {
			return
		}
		if !apierrors.IsConflict(err) {
			w.t.Fatal(err)
		}
	}
}

func (w *world) remove(o client.Object) {
	w.t.Helper()
	if err := admin.Delete(w.t.Context(), o); err != nil {
		w.t.Fatal(err)
	}
}

// secretOf is the Secret of a client, which has to be there.
func (w *world) secretOf(c *v1alpha1.OAuthClient) *corev1.Secret {
	w.t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: compile.SecretTarget(c).Name}}
	w.get(s)
	return s
}

func (w *world) valueOf(c *v1alpha1.OAuthClient) string {
	w.t.Helper()
	return string(w.secretOf(c).Data["client_secret"])
}

// entry of a name, nil if nobody has it.
func (w *world) entry(space internalv1alpha1.Space, value string) *internalv1alpha1.Entry {
	w.t.Helper()
	e := &internalv1alpha1.Entry{ObjectMeta: metav1.ObjectMeta{
		Namespace: w.identity, Name: compile.EntryName(w.server.UID, compile.Claim{Space: space, Value: value}),
	}}
	if !w.exists(e) {
		return nil
	}
	return e
}

// entries of all owners.
func (w *world) entries() []internalv1alpha1.Entry {
	w.t.Helper()
	var list internalv1alpha1.EntryList
	if err := admin.List(w.t.Context(), &list, client.InNamespace(w.identity)); err != nil {
		w.t.Fatal(err)
	}
	return list.Items
}

// document that is served for a client; the zero document if none is.
func (w *world) document(c *v1alpha1.OAuthClient) documents.Client {
	w.t.Helper()
	return documentAt[documents.Client](w, compile.ClientID(c))
}

func documentAt[T any](w *world, identity string) T {
	w.t.Helper()
	var doc T
	if e := w.entry(internalv1alpha1.SpaceIdentity, identity); e != nil {
		var err error
		if doc, err = decodeEntry[T](e); err != nil {
			w.t.Fatal(err)
		}
	}
	return doc
}

// authenticates says whether a secret is one of the client's, as the token server reads it.
func (w *world) authenticates(c *v1alpha1.OAuthClient, secret string) bool {
	w.t.Helper()
	return credentialOf(w.document(c).Credentials, secret) != nil
}

// eventsOf an object, as "<type> <reason> <note>".
func (w *world) eventsOf(o client.Object) []string {
	w.t.Helper()
	var list eventsv1.EventList
	if err := admin.List(w.t.Context(), &list, client.InNamespace(o.GetNamespace())); err != nil {
		w.t.Fatal(err)
	}
	var found []string
	for _, e := range list.Items {
		if e.Regarding.UID == o.GetUID() {
			found = append(found, e.Type+" "+e.Reason+" "+e.Note)
		}
	}
	return found
}

// writes are the requests of a manager that change something, but for events.
type writes struct {
	mu      sync.Mutex
	made    []string
	allowed int // what comes after so many is refused; negative: none
	refused int
}

// watchWrites has the managers that the test starts from now on tell of their writes.
func watchWrites(t *testing.T) *writes {
	t.Helper()
	made := &writes{allowed: -1}
	before := managerConfig
	managerConfig = rest.CopyConfig(before)
	managerConfig.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Method != http.MethodGet && !strings.Contains(r.URL.Path, "/events") && !made.record(r) {
				return nil, context.Canceled
			}
			return next.RoundTrip(r)
		})
	})
	t.Cleanup(func() { managerConfig = before })
	return made
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (w *writes) record(r *http.Request) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.allowed >= 0 && len(w.made) >= w.allowed {
		w.refused++
		return false
	}
	w.made = append(w.made, r.Method+" "+r.URL.Path)
	return true
}

// allow forgets what was written, and lets so many be written from now on, or any number if it is
// negative.
func (w *writes) allow(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.made, w.allowed, w.refused = nil, n, 0
}

func (w *writes) refusedSome() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refused > 0
}

// unseen does what the manager sees the end of only: until it is done none of the manager's writes
// succeed.
func (w *writes) unseen(t *testing.T, do func()) {
	t.Helper()
	w.allow(0)
	do()
	eventually.True(t, "the manager has tried to write", w.refusedSome)
	w.allow(-1)
}

// to are the writes whose path contains a text.
func (w *writes) to(text string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []string
	for _, made := range w.made {
		if strings.Contains(made, text) {
			found = append(found, made)
		}
	}
	return found
}

// settle waits until nothing has been written for a while, and forgets what was.
func (w *writes) settle(t *testing.T) {
	t.Helper()
	const quiet = countDelay + 300*time.Millisecond
	last, since := -1, time.Now()
	for deadline := time.Now().Add(30 * time.Second); time.Since(since) < quiet; time.Sleep(20 * time.Millisecond) {
		w.mu.Lock()
		n := len(w.made)
		w.mu.Unlock()
		if n != last {
			last, since = n, time.Now()
		}
		if time.Now().After(deadline) {
			t.Fatalf("the manager does not stop writing: %q", w.to("")[max(0, n-20):])
		}
	}
	w.mu.Lock()
	w.made = nil
	w.mu.Unlock()
}

// settleAt fails the test if there were more writes than so many by the time that there are no
// more.
func (w *writes) settleAt(t *testing.T, most int, when string) {
	t.Helper()
	var made []string
	for last := -1; len(made) != last; made = w.to("") {
		last = len(made)
		time.Sleep(countDelay + 300*time.Millisecond)
	}
	if len(made) > most {
		t.Errorf("%s: %d writes: %q", when, len(made), made[:min(10, len(made))])
	}
}
