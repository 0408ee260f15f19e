package controllers

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

func asking(id string) func(*v1alpha1.OAuthClient) {
	return func(c *v1alpha1.OAuthClient) { c.Spec.ClientID = id }
}

func TestOfTwoClientsWithOneIDTheFirstKeepsIt(t *testing.T) {
	env := newEnv(t)
	rival := newNamespace(t, map[string]string{"apps-of": env.identity})
	t.Cleanup(func() { env.apps = rival; env.cleanUp() })
	inRival := func(c *v1alpha1.OAuthClient) { c.Namespace = rival }
	first := env.readyClient(asking("free-first"))
	value := env.clientSecretOf(first)
	second := env.newClient(asking("free-first"), inRival)
	message := env.waitForCondition(second, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonClientIDTaken)
	if !strings.Contains(message, "spec.clientID") || !strings.Contains(message, `"free-first"`) {
		t.Errorf("the message does not say what to change: %s", message)
	}
	for _, c := range second.Status.Conditions {
		if strings.Contains(c.Message, first.Namespace) || strings.Contains(c.Message, first.Name) {
			t.Errorf("it tells of the other tenant: %s", c.Message)
		}
	}
	if second.Status.ClientID != "" || len(second.Status.Credentials) > 0 || env.exists(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: rival, Name: second.Name + "-oauth"}}) {
		t.Errorf("it has a credential: %+v", second.Status)
	}
	if doc := env.document(first); doc.UID != string(first.UID) || !env.isCredential(first, value) {
		t.Error("the first client lost its id")
	}

	// A race: each id is asked for in both namespaces at once.
	const races = 12
	var both [2][races]*v1alpha1.OAuthClient
	var all sync.WaitGroup
	for i := range races {
		for side, namespace := range []string{env.apps, rival} {
			c := &v1alpha1.OAuthClient{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprint("race-", i)}, Spec: *first.Spec.DeepCopy()}
			c.Spec.ClientID = fmt.Sprint("free-race-", i)
			both[side][i] = c
			all.Go(func() {
				if err := admin.Create(t.Context(), c); err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	for i := range races {
		eventually.True(t, "one has it and the other does not", func() bool {
			env.get(both[0][i])
			env.get(both[1][i])
			a, b := both[0][i], both[1][i]
			if isAccepted(b) {
				a, b = b, a
			}
			taken := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionAccepted)
			return isAccepted(a) && !isAccepted(b) && taken != nil && taken.Reason == v1alpha1.ReasonClientIDTaken && env.document(a).UID == string(a.UID)
		})
	}
}

// A client's tokens name it as their subject, so a user who chooses client ids could else choose whom
// an API takes it for (RFC 9068 section 5).
func TestAClientCannotHaveTheIDOfAUser(t *testing.T) {
	env := newEnv(t, func(s *v1alpha1.AuthorizationServer) { s.Spec.AllowedClients[0].ClientIDs = []string{"*"} })
	chosen, given := env.readyUser("alice", "correct horse", subject("free-alice")), env.readyUser("bob", "correct horse")
	for _, u := range []*v1alpha1.OAuthUser{chosen, given} {
		id := u.Status.Subject
		c := env.newClient(asking(id))
		if message := env.waitForCondition(c, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonClientIDTaken); !strings.Contains(message, strconv.Quote(id)) {
			t.Errorf("%s: %s", id, message)
		}
		if c.Status.ClientID != "" || len(c.Status.Credentials) > 0 {
			t.Errorf("%s: it has a credential: %+v", id, c.Status)
		}
		if doc := env.userDocument(u); doc.UID != string(u.UID) || !env.logsIn(u, "correct horse") {
			t.Errorf("%s: the user lost the subject", id)
		}
	}
}

func TestTheLoserGetsTheNameWhenTheWinnerGoes(t *testing.T) {
	env := newEnv(t)
	first := env.readyClient(asking("free-one"))
	value := env.clientSecretOf(first)
	second := env.newClient(asking("free-one"))
	env.waitForCondition(second, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonClientIDTaken)
	env.deleteObject(first)
	env.waitForCondition(second, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if doc := env.document(second); doc.UID != string(second.UID) || env.isCredential(second, value) || !env.isCredential(second, env.clientSecretOf(second)) {
		t.Error("it has not the name alone: the secret of the first is accepted, or its own is not")
	}
}

func TestAnIDOutsideTheOwnNamespaceNeedsARule(t *testing.T) {
	env := newEnv(t)
	for _, id := range []string{"other.client", "freedom", "Free-x", env.identity + ".x", env.apps} {
		c := env.newClient(asking(id))
		message := env.waitForCondition(c, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonNotAllowedByServer)
		if !strings.Contains(message, "clientID") || !strings.Contains(message, strconv.Quote(id)) {
			t.Errorf("%s: %s", id, message)
		}
		if env.entry(internalv1alpha1.SpaceIdentity, id) != nil {
			t.Errorf("%s: a client that is not allowed keeps the name from others", id)
		}
	}
	env.readyClient(asking(env.apps + ".anything"))
	env.readyClient(asking("free-x"))
}

func TestAClientThatIsCreatedAgainInheritsNothing(t *testing.T) {
	made := recordWrites(t)
	env := newEnv(t)
	for i, id := range []string{"", "free-x"} { // the second time it asks for another name, too
		first := env.readyClient(named("again"))
		old, oldID := env.clientSecretOf(first), first.Status.ClientID
		second := first.DeepCopy()
		second.ResourceVersion, second.UID, second.Status = "", "", v1alpha1.OAuthClientStatus{}
		second.Spec.ClientID = id
		made.whileWritesFail(t, func() { env.deleteObject(first); create(t, second) })
		env.waitForCondition(second, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		if value := env.clientSecretOf(second); value == old || env.isCredential(second, old) || !env.isCredential(second, value) {
			t.Errorf("%d: it has the old secret", i)
		}
		eventually.True(t, "nothing of the former one is served", func() bool {
			return !slices.ContainsFunc(env.entries(), func(e internalv1alpha1.Entry) bool { return e.Spec.Owner.UID == first.UID })
		})
		if i == 1 && env.entry(internalv1alpha1.SpaceIdentity, oldID) != nil {
			t.Errorf("%s is served still", oldID)
		}
		env.deleteObject(second)
		eventually.True(t, "it is gone with its Secret", func() bool {
			return !env.exists(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.apps, Name: "again-oauth"}})
		})
	}
}

func TestAClientThatIsBeingDeletedIsForgottenAtOnce(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient(func(c *v1alpha1.OAuthClient) { c.Finalizers = []string{"example.com/backup"} })
	env.deleteObject(c)
	eventually.True(t, "its Entry is gone while it waits for a finalizer", func() bool { return env.entry(internalv1alpha1.SpaceIdentity, c.Status.ClientID) == nil })
	if env.get(c); c.DeletionTimestamp.IsZero() {
		t.Error("it is not being deleted")
	}
	updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Finalizers = nil })
	if gone := env.readyClient(); gone.Finalizers != nil {
		t.Errorf("the operator adds finalizers: %v", gone.Finalizers)
	}
}

func TestWhatTheManagerDidNotSeeIsForgottenWhenItIsBack(t *testing.T) {
	env, stop := newEnvWithStop(t)
	gone, again := env.readyClient(), env.readyClient(named("again"))
	stop()
	env.deleteObject(gone)
	env.deleteObject(again)
	_, stop = runManager(t)
	defer stop()
	eventually.True(t, "their Entries are gone", func() bool {
		return env.entry(internalv1alpha1.SpaceIdentity, gone.Status.ClientID) == nil && env.entry(internalv1alpha1.SpaceIdentity, again.Status.ClientID) == nil
	})
}

func TestAClientThatIsNotAllowedIsToldWhat(t *testing.T) {
	env := newEnv(t)
	foreign := newNamespace(t)
	t.Cleanup(func() { env.apps = foreign; env.cleanUp() })
	for _, test := range []struct {
		change func(*v1alpha1.OAuthClient)
		say    []string
	}{
		{func(c *v1alpha1.OAuthClient) { c.Namespace = foreign }, []string{"namespace", strconv.Quote(foreign)}},
		{func(c *v1alpha1.OAuthClient) {
			c.Spec.GrantTypes, c.Spec.RedirectURIs = []v1alpha1.GrantType{"authorization_code"}, []string{"com.example.app:/cb"}
		}, []string{`rule "apps"`, "redirectURIs", "com.example.app:/cb"}},
		{func(c *v1alpha1.OAuthClient) { c.Spec.Consent = v1alpha1.ConsentSkip }, []string{`rule "apps"`, "consent", "Skip"}},
	} {
		c := env.newClient(test.change)
		message := env.waitForCondition(c, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonNotAllowedByServer)
		for _, part := range test.say {
			if !strings.Contains(message, part) {
				t.Errorf("the message does not speak of %s: %s", part, message)
			}
		}
		env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNotAllowedByServer)
		if doc := env.document(c); doc.UID != "" {
			t.Error("it is served")
		}
		eventually.True(t, "an event warns of it", func() bool {
			return slices.ContainsFunc(env.eventsOf(c), func(e string) bool { return strings.HasPrefix(e, "Warning NotAllowedByServer "+message) })
		})
	}
}

// One write changes what a rule, a label or a lifetime says, whatever the number of clients; their
// conditions follow.
func TestWhatDecidesAboutManyClientsIsOneWrite(t *testing.T) {
	made := recordWrites(t)
	env := newEnv(t)
	clients := []*v1alpha1.OAuthClient{env.readyClient(), env.readyClient(), env.readyClient()}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: env.apps}}
	for _, change := range []struct {
		name     string
		make     func()
		accepted metav1.ConditionStatus
		reason   string
	}{
		{"a rule is tightened", func() {
			updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
				s.Spec.AllowedClients[0].GrantTypes = []v1alpha1.GrantType{"authorization_code"}
			})
		}, metav1.ConditionFalse, v1alpha1.ReasonNotAllowedByServer},
		{"it is loosened", func() {
			updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) { s.Spec.AllowedClients[0].GrantTypes = nil })
		}, metav1.ConditionTrue, v1alpha1.ReasonAccepted},
		{"a label is removed", func() {
			updateObject(env, namespace, func(n *corev1.Namespace) { delete(n.Labels, "apps-of") })
		}, metav1.ConditionFalse, v1alpha1.ReasonNotAllowedByServer},
		{"it is set again", func() {
			updateObject(env, namespace, func(n *corev1.Namespace) { n.Labels["apps-of"] = env.identity })
		}, metav1.ConditionTrue, v1alpha1.ReasonAccepted},
		{"a lifetime is lowered", func() {
			updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
				s.Spec.Tokens = &v1alpha1.TokenSettings{AccessTokenLifetime: &metav1.Duration{Duration: 60e9}}
			})
		}, metav1.ConditionTrue, v1alpha1.ReasonAccepted},
	} {
		made.waitUntilQuiet(t)
		values := map[string]string{}
		for _, c := range clients {
			values[c.Name] = env.clientSecretOf(c)
		}
		change.make()
		eventually.True(t, change.name+": it is written", func() bool { return len(made.matching("/entries")) > 0 })
		for _, c := range clients {
			env.waitForCondition(c, v1alpha1.ConditionAccepted, change.accepted, change.reason)
			if env.clientSecretOf(c) != values[c.Name] || !env.isCredential(c, values[c.Name]) {
				t.Errorf("%s: client %s has another secret", change.name, c.Name)
			}
		}
		if n := len(made.matching("/entries")); n != 1 {
			t.Errorf("%s: %d writes of Entries: %q", change.name, n, made.matching("/entries"))
		}
	}
	if doc := documentAt[documents.Server](env, env.server.Spec.Issuer); doc.AccessTokenLifetime != 60 {
		t.Errorf("the lifetime is %d s", doc.AccessTokenLifetime)
	}
}

func TestAScopeThatAClientMayNotHaveIsNamedAndLeftOut(t *testing.T) {
	env := newEnv(t)
	c := env.newClient(func(c *v1alpha1.OAuthClient) { c.Spec.Scopes = []string{"openid", "orders:read", "orders:write"} })
	unknown := func() string {
		return env.waitForCondition(c, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonUnknownScope)
	}
	if message := unknown(); !strings.Contains(message, `declares "orders:read", "orders:write"`) {
		t.Error(message)
	}
	env.waitForCondition(c, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
	env.waitForCondition(c, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed)
	if !env.isCredential(c, env.clientSecretOf(c)) {
		t.Error("the rest does not work")
	}

	api := env.newAPI("https://orders.example.com", "orders:read")
	eventually.True(t, "one is declared", func() bool {
		message := unknown()
		return strings.Contains(message, `declares "orders:write"`) && !strings.Contains(message, "orders:read")
	})
	updateObject(env, api, func(api *v1alpha1.ResourceServer) { api.Spec.Scopes = resourceScopes("orders:read", "orders:write") })
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	updateObject(env, api, func(api *v1alpha1.ResourceServer) {
		api.Spec.AllowedClients = []v1alpha1.ResourceClientRule{{Name: "read", Scopes: []string{"orders:read"}}}
	})
	eventually.True(t, "one is refused", func() bool { return strings.Contains(unknown(), `do not let this client have "orders:write"`) })
	updateObject(env, api, func(api *v1alpha1.ResourceServer) { api.Spec.AllowedClients = nil })
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	updateObject(env, api, func(api *v1alpha1.ResourceServer) { api.Spec.Scopes = resourceScopes("orders:read") }) // it loses a scope
	eventually.True(t, "one is undeclared", func() bool { return strings.Contains(unknown(), `declares "orders:write"`) })
	updateObject(env, api, func(api *v1alpha1.ResourceServer) { api.Spec.Scopes = resourceScopes("orders:read", "orders:write") })
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) { // the server allows the API no more
		s.Spec.AllowedResourceServers[0].Scopes = []string{"nothing"}
	})
	eventually.True(t, "both are undeclared", func() bool { return strings.Contains(unknown(), `declares "orders:read", "orders:write"`) })
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) { s.Spec.AllowedResourceServers[0].Scopes = nil })
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	env.deleteObject(api)
	unknown()
}

func TestAClientWaitsForItsServerAndOutlivesIt(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient()
	value := env.clientSecretOf(c)
	early := env.newClient(func(c *v1alpha1.OAuthClient) { c.Spec.ServerRef.Name = "later" })
	message := env.waitForCondition(early, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonServerNotFound)
	for _, part := range []string{"spec.serverRef", `"later"`, strconv.Quote(env.identity)} {
		if !strings.Contains(message, part) {
			t.Errorf("the message does not speak of %s: %s", part, message)
		}
	}
	later := &v1alpha1.AuthorizationServer{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "later"}, Spec: *env.server.Spec.DeepCopy()}
	later.Spec.Issuer += "/later"
	create(t, later)
	env.waitForCondition(early, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
	env.waitForCondition(early, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonNoReplica)

	env.deleteObject(env.server)
	env.waitForCondition(c, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonServerNotFound)
	if env.clientSecretOf(c) != value {
		t.Error("its Secret has another value")
	}
	eventually.True(t, "the Replica of the old server is gone", func() bool { return !env.exists(env.replica) })
	env.startServer() // of the same name, but another server
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if env.clientSecretOf(c) != value || !env.isCredential(c, value) {
		t.Error("its Secret has another value, or that is refused")
	}
}

func TestASuspendedClientIsRefusedAndNothingIsDeleted(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient()
	value := env.clientSecretOf(c)
	updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.Suspended = true })
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSuspended)
	if !env.document(c).Suspended {
		t.Error("token servers are not told")
	}
	updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.Suspended = false })
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if env.document(c).Suspended || env.clientSecretOf(c) != value || !env.isCredential(c, value) {
		t.Error("it is not as it was")
	}
}

func TestAClientWithALegacyGrantCarriesAWarning(t *testing.T) {
	env := newEnv(t)
	modern := env.readyClient()
	legacy := env.readyClient(func(c *v1alpha1.OAuthClient) {
		c.Spec.GrantTypes = []v1alpha1.GrantType{"implicit", "password"}
		c.Spec.RedirectURIs = []string{"https://app.example.com/callback"}
	})
	message := env.waitForCondition(legacy, v1alpha1.ConditionLegacyGrant, metav1.ConditionTrue, v1alpha1.ReasonLegacyGrant)
	if !strings.Contains(message, "implicit and password") || !strings.Contains(message, "RFC 9700") {
		t.Error(message)
	}
	eventually.True(t, "an event warns of it", func() bool {
		return slices.ContainsFunc(env.eventsOf(legacy), func(e string) bool { return strings.HasPrefix(e, "Warning LegacyGrant ") })
	})
	if meta.FindStatusCondition(modern.Status.Conditions, v1alpha1.ConditionLegacyGrant) != nil {
		t.Error("a client without legacy grants carries the warning too")
	}
	for _, grant := range []string{"implicit", "password"} {
		eventually.True(t, "the metric counts it", func() bool {
			return gauge(t, "oauth_operator_legacy_grant_clients", map[string]string{"grant_type": grant}) == 1
		})
	}
	updateObject(env, legacy, func(c *v1alpha1.OAuthClient) { c.Spec.GrantTypes, c.Spec.RedirectURIs = modern.Spec.GrantTypes, nil })
	env.waitForCondition(legacy, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if meta.FindStatusCondition(legacy.Status.Conditions, v1alpha1.ConditionLegacyGrant) != nil {
		t.Error("the warning stays when the grants are gone")
	}
}

// gauge reads a metric of the manager that runs.
func gauge(t *testing.T, name string, labels map[string]string) float64 {
	t.Helper()
	families, err := metrics.Registry.(prometheus.Gatherer).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			same := len(metric.GetLabel()) == len(labels)
			for _, label := range metric.GetLabel() {
				same = same && labels[label.GetName()] == label.GetValue()
			}
			if same {
				return metric.GetGauge().GetValue()
			}
		}
	}
	return -1
}

func TestNoPartOfAStatusOrEventHoldsASecret(t *testing.T) {
	env := newEnv(t)
	secrets := []string{strongSecret, "hunter2-hunter2", "not a hash at all"}
	good := env.readyClient()
	secrets = append(secrets, env.clientSecretOf(good))
	env.newSecret(env.apps, "source", map[string]string{"value": strongSecret, "weak": secrets[1], "broken": strongSecret + "\n"})
	read := env.readyClient(withFromSecret("source", "value"), withTarget("copy"))
	weak, broken := env.newClient(withFromSecret("source", "weak")), env.newClient(withFromSecret("source", "broken"))
	env.waitForCondition(weak, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonWeakSecret)
	env.waitForCondition(broken, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
	user := env.newUser("alice", secrets[1])
	env.waitForCondition(user, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	hashed := env.newUser("bob", secrets[2], func(u *v1alpha1.OAuthUser) {
		u.Spec.PasswordSecretRef, u.Spec.PasswordHashSecretRef = nil, u.Spec.PasswordSecretRef
	})
	env.waitForCondition(hashed, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonInvalidPassword)
	updateObject(env, env.secretOf(good), func(s *corev1.Secret) { s.Data["client_secret"] = []byte(strongSecret) })
	eventually.True(t, "it is repaired", func() bool { return env.clientSecretOf(good) != strongSecret })
	secrets = append(secrets, env.clientSecretOf(good))

	said := []any{env.entries()}
	for _, o := range []client.Object{good, read, weak, broken, user, hashed, env.server} {
		env.get(o)
		said = append(said, o, env.eventsOf(o))
	}
	measured, err := metrics.Registry.Gather()
	if err != nil || len(measured) == 0 {
		t.Fatalf("no metric was looked at (%v)", err)
	}
	for _, thing := range append(said, measured) {
		text, err := json.Marshal(thing)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range secrets {
			for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret)), url.QueryEscape(secret)} {
				if strings.Contains(string(text), form) {
					t.Errorf("%q is in %s", secret, text)
				}
			}
		}
	}
}

func TestReconcilingTwiceWritesNothing(t *testing.T) {
	made := recordWrites(t)
	env, stop := newEnvWithStop(t)
	defer func() { stop() }()
	env.newAPI("https://orders.example.com", "orders:read")
	env.newAPI("https://orders.example.com", "orders:write") // its identifier is taken
	env.newAPI("https://bills.example.com", "orders:read")   // its scope is
	env.newSecret(env.apps, "source", map[string]string{"value": strongSecret, "weak": "hunter2"})
	env.newSecret(env.apps, "taken", nil)
	env.newUser("alice", "correct horse")
	env.newUser("alice-2", "correct horse", func(u *v1alpha1.OAuthUser) { u.Spec.Username = "alice" })
	env.newUser("bob", "correct horse", func(u *v1alpha1.OAuthUser) { u.Spec.Subject = "free-same" })
	env.newUser("bob-2", "correct horse", func(u *v1alpha1.OAuthUser) { u.Spec.Subject = "free-same" })
	all := []client.Object{env.server}
	for _, change := range []func(*v1alpha1.OAuthClient){
		func(c *v1alpha1.OAuthClient) { c.Spec.Scopes = []string{"orders:read", "no:such"} },
		func(c *v1alpha1.OAuthClient) { c.Spec.GrantTypes = []v1alpha1.GrantType{"password"} },
		func(c *v1alpha1.OAuthClient) { c.Spec.Suspended = true },
		func(c *v1alpha1.OAuthClient) {
			c.Spec.GrantTypes, c.Spec.RedirectURIs = []v1alpha1.GrantType{"authorization_code"}, []string{"http://127.0.0.1/cb"}
			c.Spec.TokenEndpointAuthMethod = v1alpha1.AuthMethodNone
		},
		asking("free-same"), asking("elsewhere.x"), withTarget("taken"), withFromSecret("source", "value"), withFromSecret("source", "weak"), withFromSecret("nothing", "value"),
		func(c *v1alpha1.OAuthClient) { withFromSecret("source", "value")(c); withTarget("copy")(c) },
		func(c *v1alpha1.OAuthClient) { withFromSecret("source", "value")(c); withTarget("taken")(c) },
		func(c *v1alpha1.OAuthClient) { c.Spec.ServerRef.Name = "nowhere" },
	} {
		all = append(all, env.newClient(change))
	}
	made.waitUntilQuiet(t)
	for _, o := range all { // each is looked at again when it is touched
		env.get(o)
		o.SetAnnotations(map[string]string{"example.com/touched": "yes"})
		if err := admin.Update(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	env.renew(env.replica)
	made.checkUntilQuiet(t, 0, "when objects are touched")
	stop()
	_, stop = runManager(t)
	made.checkUntilQuiet(t, 0, "when the manager starts anew")
}
