package controllers

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// strongSecret is a client secret that a user wrote, long enough to be accepted.
const strongSecret = "0123456789abcdef0123456789abcdef"

func withTarget(name string) func(*v1alpha1.OAuthClient) {
	return func(c *v1alpha1.OAuthClient) {
		if c.Spec.Secret == nil {
			c.Spec.Secret = &v1alpha1.ClientSecret{Source: v1alpha1.SecretGenerate}
		}
		c.Spec.Secret.Target = &v1alpha1.SecretTarget{Name: name}
	}
}

func TestAClientsSecretHoldsAllThatAnApplicationNeeds(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient(func(c *v1alpha1.OAuthClient) {
		c.Spec.GrantTypes, c.Spec.Scopes = []v1alpha1.GrantType{"authorization_code"}, []string{"openid"}
		c.Spec.RedirectURIs = []string{"https://app.example.com/callback"}
		c.Spec.Secret = &v1alpha1.ClientSecret{Source: v1alpha1.SecretGenerate, Target: &v1alpha1.SecretTarget{
			Name: "chosen", Labels: map[string]string{"example.com/team": "shop"}, Annotations: map[string]string{"example.com/note": "mounted"},
		}}
	})
	s := env.secretOf(c)
	value := string(s.Data["client_secret"])
	got := map[string]string{}
	for key, data := range s.Data {
		got[key] = string(data)
	}
	issuer := env.server.Spec.Issuer
	want := map[string]string{
		"client_id": c.Namespace + "." + c.Name, "client_secret": value, "issuer": issuer, "token_endpoint": issuer + "/token",
		"authorization_endpoint": issuer + "/authorize", "jwks_uri": issuer + "/jwks",
	}
	if !maps.Equal(got, want) {
		t.Errorf("the Secret holds %v", got)
	}
	if len(value) < 43 || !strings.HasPrefix(value, secretPrefix) || strings.Trim(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-") != "" {
		t.Errorf("the secret has %d characters, or the wrong ones", len(value))
	}
	if s.Labels["example.com/team"] != "shop" || s.Annotations["example.com/note"] != "mounted" || c.Status.SecretName != "chosen" {
		t.Errorf("labels %v, annotations %v, status.secretName %q", s.Labels, s.Annotations, c.Status.SecretName)
	}
	if !env.isCredential(c, value) || len(c.Status.Credentials) != 1 || c.Status.Credentials[0].State != v1alpha1.CredentialActive {
		t.Errorf("credentials %+v", c.Status.Credentials)
	}
}

// history holds every version of the Entries and the Secrets of a test environment.
type history struct {
	mu      sync.Mutex
	entries []internalv1alpha1.Entry
	secrets []corev1.Secret
}

func (env *testEnv) recordHistory() *history {
	env.t.Helper()
	watcher, err := client.NewWithWatch(plane.AdminConfig(), client.Options{Scheme: Scheme()})
	if err != nil {
		env.t.Fatal(err)
	}
	h := &history{}
	for namespace, list := range map[string]client.ObjectList{env.identity: &internalv1alpha1.EntryList{}, env.apps: &corev1.SecretList{}} {
		events, err := watcher.Watch(env.t.Context(), list, client.InNamespace(namespace))
		if err != nil {
			env.t.Fatal(err)
		}
		env.t.Cleanup(events.Stop)
		go func() {
			for e := range events.ResultChan() {
				h.mu.Lock()
				switch o := e.Object.(type) {
				case *internalv1alpha1.Entry:
					h.entries = append(h.entries, *o)
				case *corev1.Secret:
					h.secrets = append(h.secrets, *o)
				}
				h.mu.Unlock()
			}
		}()
	}
	return h
}

func (h *history) findSecret(has func(corev1.Secret) bool) *corev1.Secret {
	h.mu.Lock()
	defer h.mu.Unlock()
	if i := slices.IndexFunc(h.secrets, has); i >= 0 {
		return &h.secrets[i]
	}
	return nil
}

func (h *history) findEntry(t *testing.T, has func(documents.Client) bool) *internalv1alpha1.Entry {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.entries {
		if h.entries[i].Spec.Format != documents.FormatClient {
			continue
		}
		doc, err := decodeEntry[documents.Client](&h.entries[i])
		if err != nil {
			t.Fatal(err)
		}
		if has(doc) {
			return &h.entries[i]
		}
	}
	return nil
}

func parseVersion(t *testing.T, o metav1.Object) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestTheHashIsServedBeforeTheSecretIsWritten(t *testing.T) {
	env := newEnv(t)
	h := env.recordHistory()
	c := env.readyClient()
	for range 2 { // the first secret, and one that replaces it
		value := env.clientSecretOf(c)
		in := func(state string) func(documents.Client) bool {
			return func(doc documents.Client) bool {
				found := findBySecret(doc.Credentials, value)
				return found != nil && found.State == state
			}
		}
		eventually.True(t, "all is seen", func() bool { return h.findEntry(t, in(documents.CredentialActive)) != nil })
		pending, active := h.findEntry(t, in(documents.CredentialPending)), h.findEntry(t, in(documents.CredentialActive))
		written := h.findSecret(func(s corev1.Secret) bool { return string(s.Data["client_secret"]) == value })
		if pending == nil || written == nil {
			t.Fatalf("pending: %v, written: %v", pending != nil, written != nil)
		}
		if p, s, a := parseVersion(t, pending), parseVersion(t, written), parseVersion(t, active); p >= s || s >= a {
			t.Errorf("the hash was served at %d, the Secret written at %d, the credential Active at %d", p, s, a)
		}
		env.deleteObject(env.secretOf(c))
		eventually.True(t, "there is another secret", func() bool {
			s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Name + "-oauth"}}
			other := env.exists(s) && len(s.Data["client_secret"]) > 0 && string(s.Data["client_secret"]) != value
			return other && env.stateOf(c, value) == documents.CredentialRetiring
		})
	}
}

func TestADeletedSecretIsWrittenAgainWithANewValue(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient()
	old := env.clientSecretOf(c)
	env.deleteObject(env.secretOf(c))
	eventually.True(t, "the new secret authenticates, and the old one for a while", func() bool {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Name + "-oauth"}}
		return env.exists(s) && env.stateOf(c, string(s.Data["client_secret"])) == documents.CredentialActive && env.stateOf(c, old) == documents.CredentialRetiring
	})
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestASecretThatWasEditedIsRepaired(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient(func(c *v1alpha1.OAuthClient) {
		c.Spec.Secret = &v1alpha1.ClientSecret{Source: v1alpha1.SecretGenerate, Target: &v1alpha1.SecretTarget{Name: "target", Labels: map[string]string{"a": "b"}}}
	})
	value := env.clientSecretOf(c)
	updateObject(env, env.secretOf(c), func(s *corev1.Secret) {
		s.Labels = nil
		delete(s.Data, "issuer")
		s.Data["token_endpoint"] = []byte("https://evil.example.com/token")
		s.Data["mine"] = []byte("kept")
	})
	eventually.True(t, "all but the secret is as it was, and what is another's was kept", func() bool {
		s := env.secretOf(c)
		return string(s.Data["issuer"]) == env.server.Spec.Issuer && string(s.Data["token_endpoint"]) == env.server.Spec.Issuer+"/token" &&
			s.Labels["a"] == "b" && string(s.Data["client_secret"]) == value && string(s.Data["mine"]) == "kept"
	})
	updateObject(env, env.secretOf(c), func(s *corev1.Secret) { s.Data["client_secret"] = []byte(strongSecret) })
	eventually.True(t, "a secret that a user wrote there is replaced by a random one", func() bool {
		now := env.clientSecretOf(c)
		return now != strongSecret && now != value && env.isCredential(c, now)
	})
	if env.isCredential(c, strongSecret) {
		t.Error("the secret that a user wrote there is accepted")
	}
	if retiring := findBySecret(env.document(c).Credentials, value); retiring == nil || retiring.State != documents.CredentialRetiring ||
		time.Until(retireAfter(*retiring)) < 23*time.Hour {
		t.Errorf("the secret that was good before is not for the overlap: %+v", retiring)
	}
	updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.Secret.Target.Labels = map[string]string{"c": "d"} })
	eventually.True(t, "labels follow the target", func() bool {
		labels := env.secretOf(c).Labels
		return labels["c"] == "d" && labels["a"] == ""
	})
}

func TestARetiringCredentialIsRemovedWhenItsTimeIsOver(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient()
	end := time.Now().Add(4 * time.Second).Unix()
	updateObject(env, env.entry(internalv1alpha1.SpaceIdentity, c.Status.ClientID), func(e *internalv1alpha1.Entry) {
		doc, err := decodeEntry[documents.Client](e)
		if err != nil {
			t.Fatal(err)
		}
		doc.Credentials = append(doc.Credentials, documents.Credential{
			ID: "c-0", SHA256: hashSecret(strongSecret), State: documents.CredentialRetiring, RetireAfter: end,
		})
		if e.Spec.Document, err = documents.Encode(doc); err != nil {
			t.Fatal(err)
		}
	})
	eventually.True(t, "the status lists it", func() bool {
		env.get(c)
		return len(c.Status.Credentials) == 2 && c.Status.Credentials[1].State == v1alpha1.CredentialRetiring
	})
	eventually.True(t, "it is removed", func() bool { return !env.isCredential(c, strongSecret) })
	if time.Now().Before(time.Unix(end, 0)) {
		t.Error("it was removed before its time")
	}
	eventually.True(t, "the status does not list it", func() bool { env.get(c); return len(c.Status.Credentials) == 1 })
	if !env.isCredential(c, env.clientSecretOf(c)) {
		t.Error("the secret does not authenticate")
	}
}

func TestASecretThatIsNotOursIsLeftAlone(t *testing.T) {
	env := newEnv(t)
	other := env.readyClient(named("other"))
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: env.apps, Name: "robot"}}
	create(t, account)
	env.newSecret(env.apps, "plain", map[string]string{"client_secret": strongSecret})
	env.newSecret(env.apps, "token", map[string]string{"client_secret": strongSecret}, func(s *corev1.Secret) {
		s.Type, s.Annotations = corev1.SecretTypeServiceAccountToken, map[string]string{corev1.ServiceAccountNameKey: "robot"}
	})
	env.newSecret(env.apps, "marked-for-another", nil, func(s *corev1.Secret) { s.Annotations = map[string]string{v1alpha1.AdoptAnnotation: "another-client"} })
	for _, name := range []string{"plain", "token", "marked-for-another", other.Name + "-oauth"} {
		before := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.apps, Name: name}}
		env.get(before)
		c := env.newClient(withTarget(name), func(c *v1alpha1.OAuthClient) { c.Spec.Scopes = []string{"no-api:has"} })
		message := env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonSecretExists)
		owned := name == other.Name+"-oauth"
		for part, wanted := range map[string]bool{
			strconv.Quote(name): true, "spec.secret.target.name": true, v1alpha1.AdoptAnnotation + "=" + c.Name: !owned, `OAuthClient "other"`: owned,
		} {
			if strings.Contains(message, part) != wanted {
				t.Errorf("%s: the message speaks of %s is %v: %s", name, part, !wanted, message)
			}
		}
		env.waitForCondition(c, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonUnknownScope)
		env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretExists) // what is worse
		after := before.DeepCopy()
		env.get(after)
		if after.ResourceVersion != before.ResourceVersion {
			t.Errorf("Secret %s was changed", name)
		}
		if c.Status.SecretName != "" || len(env.document(c).Credentials) > 0 {
			t.Errorf("Secret %s: status.secretName %q, credentials %v", name, c.Status.SecretName, env.document(c).Credentials)
		}
		env.deleteObject(c)
		eventually.True(t, "the client is forgotten", func() bool { return env.document(c).UID == "" })
		if env.get(after); after.ResourceVersion != before.ResourceVersion {
			t.Errorf("Secret %s was changed when the client went", name)
		}
	}
	// When such a Secret is deleted, the client gets its own.
	c := env.newClient(withTarget("plain"))
	env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonSecretExists)
	env.deleteObject(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.apps, Name: "plain"}})
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestASecretThatGoesWithAClientIsNotTherebyOurs(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient()
	reference := metav1.OwnerReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: compile.KindClient, Name: c.Name, UID: c.UID}
	beside := env.newSecret(env.apps, "beside", map[string]string{"client_secret": strongSecret}, func(s *corev1.Secret) {
		s.OwnerReferences = []metav1.OwnerReference{reference}
	})
	updateObject(env, c, withTarget("renamed"))
	eventually.True(t, "the target has moved", func() bool { env.get(c); return c.Status.SecretName == "renamed" })
	env.clock.move(compile.Overlap(c) + time.Second)
	touch(env, c)
	eventually.True(t, "the former target is gone", func() bool {
		return !env.exists(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.apps, Name: c.Name + "-oauth"}})
	})
	updateObject(env, c, withTarget("beside"))
	env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonSecretExists)
	if env.get(beside); string(beside.Data["client_secret"]) != strongSecret || len(beside.Data) != 1 {
		t.Error("the Secret was changed")
	}
}

func TestASecretIsTakenOverOnlyWithTheAnnotation(t *testing.T) {
	env := newEnv(t)
	env.newSecret(env.apps, "restored", map[string]string{"client_secret": strongSecret, "more": "kept"})
	c := env.newClient(withTarget("restored"))
	env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonSecretExists)
	updateObject(env, env.secretOf(c), func(s *corev1.Secret) { s.Annotations = map[string]string{v1alpha1.AdoptAnnotation: c.Name} })
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	s := env.secretOf(c)
	if !env.isCredential(c, strongSecret) || string(s.Data["client_secret"]) != strongSecret || string(s.Data["more"]) != "kept" ||
		string(s.Data["issuer"]) != env.server.Spec.Issuer {
		t.Errorf("the Secret holds %d keys, its value authenticates: %v", len(s.Data), env.isCredential(c, strongSecret))
	}
	if len(s.OwnerReferences) > 0 || s.Labels[workload.ManagedByLabel] != "" {
		t.Errorf("it goes with the client: owners %v, labels %v", s.OwnerReferences, s.Labels)
	}
	if _, marked := s.Annotations[v1alpha1.AdoptAnnotation]; marked {
		t.Error("it is still marked, so a later client of this name could take it too")
	}

	weak := env.newClient(func(c *v1alpha1.OAuthClient) { c.Name = "weak" }, withTarget("guessable"))
	env.waitForCondition(weak, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	env.deleteObject(weak)
	eventually.True(t, "it is gone with its Secret", func() bool {
		return !env.exists(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.apps, Name: "guessable"}})
	})
	env.newSecret(env.apps, "guessable", map[string]string{"client_secret": "hunter2"}, func(s *corev1.Secret) {
		s.Annotations = map[string]string{v1alpha1.AdoptAnnotation: "weak"}
	})
	weak = env.newClient(named("weak"), withTarget("guessable"))
	message := env.waitForCondition(weak, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonWeakSecret)
	if !strings.Contains(message, `"guessable"`) || strings.Contains(message, "hunter2") || env.isCredential(weak, "hunter2") {
		t.Errorf("accepted: %v, message: %s", env.isCredential(weak, "hunter2"), message)
	}
}

func TestTheSecretsOfAnotherUIDAreWaitedOut(t *testing.T) {
	const hold = "example.com/hold"
	env := newEnv(t)
	c := env.readyClient(named("again"))
	old := env.clientSecretOf(c)
	updateObject(env, env.secretOf(c), func(s *corev1.Secret) { s.Finalizers = []string{hold} })
	env.deleteObject(c)
	eventually.True(t, "it is gone", func() bool { return !env.exists(c) })
	c = env.newClient(named("again"))
	message := env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionUnknown, v1alpha1.ReasonPending)
	if !strings.Contains(message, `"again-oauth"`) {
		t.Errorf("the message does not name the Secret: %s", message)
	}
	if s := env.secretOf(c); string(s.Data["client_secret"]) != old || env.isCredential(c, old) {
		t.Errorf("the new client has the old one's secret: %v", env.isCredential(c, old))
	}
	updateObject(env, env.secretOf(c), func(s *corev1.Secret) { s.Finalizers = nil })
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if value := env.clientSecretOf(c); value == old || env.isCredential(c, old) || !env.isCredential(c, value) {
		t.Error("the new client has the old one's secret")
	}
}

func TestARestoredSecretIsTakenUpByTheClientItIsMarkedFor(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient(named("restored"))
	backup := env.secretOf(c)
	env.deleteObject(c)
	eventually.True(t, "both are gone", func() bool { return !env.exists(c) && !env.exists(backup.DeepCopy()) })
	backup.ResourceVersion, backup.UID, backup.OwnerReferences = "", "", nil
	backup.Annotations[v1alpha1.AdoptAnnotation] = c.Name
	create(t, backup)
	c = env.readyClient(named("restored"))
	if value := string(backup.Data["client_secret"]); env.clientSecretOf(c) != value || !env.isCredential(c, value) {
		t.Error("the restored secret was replaced")
	}
}

func TestATargetThatIsRenamedKeepsTheValue(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient()
	value := env.clientSecretOf(c)
	updateObject(env, c, withTarget("elsewhere"))
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	old := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.apps, Name: c.Name + "-oauth"}}
	if !env.exists(old) || string(old.Data["client_secret"]) != value {
		t.Error("the Secret that Pods mount is gone at once")
	}
	env.clock.move(compile.Overlap(c) + time.Second)
	touch(env, c)
	eventually.True(t, "the old Secret is gone", func() bool { return !env.exists(old) })
	if env.clientSecretOf(c) != value || !env.isCredential(c, value) || c.Status.SecretName != "elsewhere" {
		t.Errorf("the value is another one: %v, status.secretName %q", env.clientSecretOf(c) != value, c.Status.SecretName)
	}
	// If the new name is taken, the old Secret stays.
	env.newSecret(env.apps, "taken", nil)
	updateObject(env, c, withTarget("taken"))
	env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonSecretExists)
	kept := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.apps, Name: "elsewhere"}}
	if !env.exists(kept) || string(kept.Data["client_secret"]) != value || !env.isCredential(c, value) {
		t.Error("the Secret that the workload mounts is gone")
	}
}

func TestAClientThatBecomesPublicHasNoSecret(t *testing.T) {
	env := newEnv(t)
	native := func(method v1alpha1.TokenEndpointAuthMethod) func(*v1alpha1.OAuthClient) {
		return func(c *v1alpha1.OAuthClient) {
			c.Spec.GrantTypes, c.Spec.RedirectURIs = []v1alpha1.GrantType{"authorization_code"}, []string{"http://127.0.0.1/cb"}
			c.Spec.TokenEndpointAuthMethod = method
		}
	}
	c := env.readyClient(native(v1alpha1.AuthMethodBasic))
	old := env.secretOf(c)
	value := string(old.Data["client_secret"])
	updateObject(env, c, native(v1alpha1.AuthMethodNone))
	env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionTrue, v1alpha1.ReasonNotNeeded)
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	eventually.True(t, "the Secret is gone", func() bool { return !env.exists(old.DeepCopy()) })
	if env.isCredential(c, value) || c.Status.SecretName != "" || len(c.Status.Credentials) > 0 {
		t.Errorf("the secret is accepted: %v, status %+v", env.isCredential(c, value), c.Status)
	}
	updateObject(env, c, native(v1alpha1.AuthMethodPost))
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if now := env.clientSecretOf(c); now == value || env.isCredential(c, value) || !env.isCredential(c, now) {
		t.Error("the old secret is in force again")
	}
}

func TestClientsKeepTheirSecretsWhenAllEntriesAreLost(t *testing.T) {
	env := newEnv(t)
	env.newSecret(env.apps, "source", map[string]string{"value": strongSecret})
	clients := []*v1alpha1.OAuthClient{env.readyClient(), env.readyClient(), env.readyClient(withFromSecret("source", "value"), withTarget("copy"))}
	values := map[string]string{}
	for _, c := range clients {
		values[c.Name] = env.clientSecretOf(c)
	}
	lost := map[string]bool{}
	for _, e := range env.entries() {
		lost[string(e.UID)] = true
	}
	if err := admin.DeleteAllOf(t.Context(), &internalv1alpha1.Entry{}, client.InNamespace(env.identity)); err != nil {
		t.Fatal(err)
	}
	for _, c := range clients {
		eventually.True(t, "it is served anew", func() bool {
			e := env.entry(internalv1alpha1.SpaceIdentity, compile.ClientID(c))
			return e != nil && !lost[string(e.UID)] && findByState(env.document(c).Credentials, documents.CredentialActive) != nil
		})
		if value := values[c.Name]; env.clientSecretOf(c) != value || !env.isCredential(c, value) {
			t.Errorf("client %s has another secret", c.Name)
		}
		env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	}
}

func TestWhatAnotherOwnsIsNeverTakenHoweverItIsMarked(t *testing.T) {
	env := newEnv(t)
	living := env.readyClient(named("living"))
	certificate := []metav1.OwnerReference{{APIVersion: "cert-manager.io/v1", Kind: "Certificate", Name: "site", UID: "its-uid", Controller: new(true)}}
	along := []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: compile.KindClient, Name: living.Name, UID: living.UID}}
	for name, change := range map[string]func(*corev1.Secret){
		"of-a-controller":      func(s *corev1.Secret) { s.OwnerReferences = certificate },
		"with-a-living-client": func(s *corev1.Secret) { s.OwnerReferences = along },
		"adopted-by-another":   func(s *corev1.Secret) { s.Annotations[compile.AdoptedAnnotation] = adopterValue(living) },
	} {
		secret := env.newSecret(env.apps, name, map[string]string{"client_secret": strongSecret}, func(s *corev1.Secret) {
			s.Annotations = map[string]string{v1alpha1.AdoptAnnotation: "for-" + name}
			change(s)
		})
		c := env.newClient(named("for-"+name), withTarget(name))
		message := env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonSecretExists)
		if strings.Contains(message, v1alpha1.AdoptAnnotation) || !strings.Contains(message, "owns it") {
			t.Error(message)
		}
		before := secret.ResourceVersion
		if env.get(secret); secret.ResourceVersion != before || env.isCredential(c, strongSecret) {
			t.Errorf("%s: the Secret was changed, or read", name)
		}
	}
}

func TestWhatWasAdoptedKeepsItsOwnersAndOutlivesTheClient(t *testing.T) {
	env := newEnv(t)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: env.apps, Name: "holder"}}
	create(t, account)
	owner := metav1.OwnerReference{APIVersion: "v1", Kind: "ServiceAccount", Name: account.Name, UID: account.UID}
	gone := metav1.OwnerReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: compile.KindClient, Name: "former", UID: "former-uid", Controller: new(true)}
	secret := env.newSecret(env.apps, "kept", map[string]string{"client_secret": strongSecret, "theirs": "x"}, func(s *corev1.Secret) {
		s.Annotations = map[string]string{v1alpha1.AdoptAnnotation: "adopter", "example.com/a": "b"}
		s.Labels = map[string]string{workload.ManagedByLabel: "Helm"}
		s.OwnerReferences = []metav1.OwnerReference{owner, gone}
	})
	c := env.readyClient(named("adopter"), withTarget("kept"))
	env.get(secret)
	if len(secret.OwnerReferences) != 1 || secret.OwnerReferences[0].UID != account.UID || secret.Labels[workload.ManagedByLabel] != "Helm" ||
		secret.Annotations["example.com/a"] != "b" || string(secret.Data["theirs"]) != "x" || string(secret.Data["issuer"]) == "" {
		t.Errorf("owners %v, labels %v, annotations %v", secret.OwnerReferences, secret.Labels, secret.Annotations)
	}
	updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.Secret.Target.Labels = map[string]string{"team": "shop"} })
	eventually.True(t, "it is kept current", func() bool { env.get(secret); return secret.Labels["team"] == "shop" })
	updateObject(env, c, withTarget("elsewhere"))
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	eventually.True(t, "the target has moved", func() bool { return env.clientSecretOf(c) == strongSecret })
	updateObject(env, c, withTarget("kept"))
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	env.deleteObject(c)
	eventually.True(t, "the client is forgotten", func() bool { return env.document(c).UID == "" })
	time.Sleep(2 * time.Second) // time for the garbage collector
	if !env.exists(secret) || string(secret.Data["theirs"]) != "x" {
		t.Error("it went with the client")
	}
	// A client that is created again does not get the Secret without a new annotation.
	c = env.newClient(named("adopter"), withTarget("kept"))
	env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonSecretExists)
	annotate(t, secret, v1alpha1.AdoptAnnotation, "adopter")
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestTheCacheHoldsOfSecretsOnlyWhatTheManagerReads(t *testing.T) {
	var lists atomic.Int64
	interceptRequests(t, func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/secrets") {
			lists.Add(1)
			if accept := r.Header.Get("Accept"); !strings.Contains(accept, "as=PartialObjectMetadata") {
				t.Errorf("Secrets are listed or watched with their content: %s, Accept %q", r.URL, accept)
			}
		}
		return next.RoundTrip(r)
	})
	env := newEnv(t)
	env.secretOf(env.readyClient())
	if lists.Load() == 0 {
		t.Error("no list of Secrets was looked at")
	}
	const applied = "kubectl.kubernetes.io/last-applied-configuration"
	secret := env.newSecret(env.apps, "theirs", map[string]string{"a": "b"}, func(s *corev1.Secret) {
		s.Annotations = map[string]string{applied: `{"data":{"a":"Yg=="}}`, v1alpha1.AdoptAnnotation: "x", compile.AdoptedAnnotation: "y", "notoauth-operator.dev/a": "b"}
		s.Labels = map[string]string{"team": "a", workload.ManagedByLabel: "Helm"}
	})
	cached := secretMetadata()
	eventually.True(t, "it is in the cache", func() bool {
		return env.manager.GetClient().Get(t.Context(), client.ObjectKeyFromObject(secret), cached) == nil
	})
	if want := map[string]string{v1alpha1.AdoptAnnotation: "x", compile.AdoptedAnnotation: "y"}; !maps.Equal(cached.Annotations, want) {
		t.Errorf("annotations %v", cached.Annotations)
	}
	if want := map[string]string{workload.ManagedByLabel: "Helm"}; !maps.Equal(cached.Labels, want) || len(cached.ManagedFields) > 0 {
		t.Errorf("labels %v, managed fields %v", cached.Labels, cached.ManagedFields)
	}
}

// Two programs that write one Secret must not keep the manager and each other busy, nor the token
// servers, which see each write of the Entry.
func TestAnInsistentEditOfAnotherKeyOfTheSecretIsUndoneEveryTenSecondsOnly(t *testing.T) {
	made := recordWrites(t)
	env := newEnv(t)
	c := env.readyClient(withTarget("app"))
	value := env.clientSecretOf(c)
	made.waitUntilQuiet(t)
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		theirs := corev1apply.Secret("app", env.apps).WithStringData(map[string]string{"issuer": "https://evil.example.com"})
		if err := admin.Apply(t.Context(), theirs, client.FieldOwner("another"), client.ForceOwnership); err != nil {
			t.Fatal(err)
		}
	}
	if secrets, entries := made.matching("/secrets/"), made.matching("/entries/"); len(secrets) > 4 || len(entries) > 3 {
		t.Errorf("%d writes of the Secret, and %d of Entries in three seconds", len(secrets), len(entries))
	}
	eventually.True(t, "the last edit is undone", func() bool { return string(env.secretOf(c).Data["issuer"]) == env.server.Spec.Issuer })
	updateObject(env, env.secretOf(c), func(s *corev1.Secret) { s.Data["client_secret"], s.Data["issuer"] = []byte(strongSecret), nil })
	begun := time.Now()
	eventually.True(t, "an edit of the value is undone at once", func() bool {
		now := env.clientSecretOf(c)
		return now != value && env.stateOf(c, now) == documents.CredentialActive && string(env.secretOf(c).Data["issuer"]) == env.server.Spec.Issuer
	})
	if took := time.Since(begun); took > repairInterval/2 {
		t.Errorf("it took %s", took)
	}
}
