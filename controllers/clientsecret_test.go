package controllers

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// strong is a secret that somebody else wrote.
const strong = "0123456789abcdef0123456789abcdef"

func targeting(name string) func(*v1alpha1.OAuthClient) {
	return func(c *v1alpha1.OAuthClient) {
		if c.Spec.Secret == nil {
			c.Spec.Secret = &v1alpha1.ClientSecret{Source: v1alpha1.SecretGenerate}
		}
		c.Spec.Secret.Target = &v1alpha1.SecretTarget{Name: name}
	}
}

func TestAClientsSecretHoldsAllThatAnApplicationNeeds(t *testing.T) {
	w := newEnv(t)
	c := w.readyClient(func(c *v1alpha1.OAuthClient) {
		c.Spec.GrantTypes, c.Spec.Scopes = []v1alpha1.GrantType{"authorization_code"}, []string{"openid"}
		c.Spec.RedirectURIs = []string{"https://app.example.com/callback"}
		c.Spec.Secret = &v1alpha1.ClientSecret{Source: v1alpha1.SecretGenerate, Target: &v1alpha1.SecretTarget{
			Name: "chosen", Labels: map[string]string{"example.com/team": "shop"}, Annotations: map[string]string{"example.com/note": "mounted"},
		}}
	})
	s := w.secretOf(c)
	value := string(s.Data["client_secret"])
	got := map[string]string{}
	for key, data := range s.Data {
		got[key] = string(data)
	}
	issuer := w.server.Spec.Issuer
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
	if !w.isCredential(c, value) || len(c.Status.Credentials) != 1 || c.Status.Credentials[0].State != v1alpha1.CredentialActive {
		t.Errorf("credentials %+v", c.Status.Credentials)
	}
}

// history records every version of the Entries and the Secrets of a world.
type history struct {
	mu      sync.Mutex
	entries []internalv1alpha1.Entry
	secrets []corev1.Secret
}

func (w *testEnv) record() *history {
	w.t.Helper()
	watcher, err := client.NewWithWatch(plane.AdminConfig(), client.Options{Scheme: Scheme()})
	if err != nil {
		w.t.Fatal(err)
	}
	h := &history{}
	for namespace, list := range map[string]client.ObjectList{w.identity: &internalv1alpha1.EntryList{}, w.apps: &corev1.SecretList{}} {
		events, err := watcher.Watch(w.t.Context(), list, client.InNamespace(namespace))
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(events.Stop)
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

func (h *history) withSecret(has func(corev1.Secret) bool) *corev1.Secret {
	h.mu.Lock()
	defer h.mu.Unlock()
	if i := slices.IndexFunc(h.secrets, has); i >= 0 {
		return &h.secrets[i]
	}
	return nil
}

func (h *history) withClient(t *testing.T, has func(documents.Client) bool) *internalv1alpha1.Entry {
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

func version(t *testing.T, o metav1.Object) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestTheHashIsServedBeforeTheSecretIsWritten(t *testing.T) {
	w := newEnv(t)
	h := w.record()
	c := w.readyClient()
	for range 2 { // the first secret, and one that replaces it
		value := w.clientSecretOf(c)
		in := func(state string) func(documents.Client) bool {
			return func(doc documents.Client) bool {
				found := credentialOf(doc.Credentials, value)
				return found != nil && found.State == state
			}
		}
		eventually.True(t, "all is seen", func() bool { return h.withClient(t, in(documents.CredentialActive)) != nil })
		pending, active := h.withClient(t, in(documents.CredentialPending)), h.withClient(t, in(documents.CredentialActive))
		written := h.withSecret(func(s corev1.Secret) bool { return string(s.Data["client_secret"]) == value })
		if pending == nil || written == nil {
			t.Fatalf("pending: %v, written: %v", pending != nil, written != nil)
		}
		if p, s, a := version(t, pending), version(t, written), version(t, active); p >= s || s >= a {
			t.Errorf("the hash was served at %d, the Secret written at %d, the credential Active at %d", p, s, a)
		}
		w.deleteObject(w.secretOf(c))
		eventually.True(t, "there is another secret", func() bool {
			s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Name + "-oauth"}}
			other := w.exists(s) && len(s.Data["client_secret"]) > 0 && string(s.Data["client_secret"]) != value
			return other && !w.isCredential(c, value)
		})
	}
}

func TestADeletedSecretIsWrittenAgainWithANewValue(t *testing.T) {
	w := newEnv(t)
	c := w.readyClient()
	old := w.clientSecretOf(c)
	w.deleteObject(w.secretOf(c))
	eventually.True(t, "the new secret authenticates, the old one does not", func() bool {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Name + "-oauth"}}
		return w.exists(s) && w.isCredential(c, string(s.Data["client_secret"])) && !w.isCredential(c, old)
	})
	w.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestASecretThatWasEditedIsRepaired(t *testing.T) {
	w := newEnv(t)
	c := w.readyClient(func(c *v1alpha1.OAuthClient) {
		c.Spec.Secret = &v1alpha1.ClientSecret{Source: v1alpha1.SecretGenerate, Target: &v1alpha1.SecretTarget{Name: "target", Labels: map[string]string{"a": "b"}}}
	})
	value := w.clientSecretOf(c)
	updateObject(w, w.secretOf(c), func(s *corev1.Secret) {
		s.Labels = nil
		delete(s.Data, "issuer")
		s.Data["token_endpoint"] = []byte("https://evil.example.com/token")
		s.Data["mine"] = []byte("kept")
	})
	eventually.True(t, "all but the secret is as it was, and what is another's was kept", func() bool {
		s := w.secretOf(c)
		return string(s.Data["issuer"]) == w.server.Spec.Issuer && string(s.Data["token_endpoint"]) == w.server.Spec.Issuer+"/token" &&
			s.Labels["a"] == "b" && string(s.Data["client_secret"]) == value && string(s.Data["mine"]) == "kept"
	})
	updateObject(w, w.secretOf(c), func(s *corev1.Secret) { s.Data["client_secret"] = []byte(strong) })
	eventually.True(t, "a secret that somebody put there is replaced by a random one", func() bool {
		now := w.clientSecretOf(c)
		return now != strong && now != value && w.isCredential(c, now)
	})
	if w.isCredential(c, strong) {
		t.Error("the secret that somebody put there is accepted")
	}
	updateObject(w, c, func(c *v1alpha1.OAuthClient) { c.Spec.Secret.Target.Labels = map[string]string{"c": "d"} })
	eventually.True(t, "labels follow the target", func() bool {
		labels := w.secretOf(c).Labels
		return labels["c"] == "d" && labels["a"] == ""
	})
}

func TestASecretThatIsNotOursIsLeftAlone(t *testing.T) {
	w := newEnv(t)
	other := w.readyClient(named("other"))
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.apps, Name: "robot"}}
	create(t, account)
	w.newSecret(w.apps, "plain", map[string]string{"client_secret": strong})
	w.newSecret(w.apps, "token", map[string]string{"client_secret": strong}, func(s *corev1.Secret) {
		s.Type, s.Annotations = corev1.SecretTypeServiceAccountToken, map[string]string{corev1.ServiceAccountNameKey: "robot"}
	})
	w.newSecret(w.apps, "marked-for-another", nil, func(s *corev1.Secret) { s.Annotations = map[string]string{v1alpha1.AdoptAnnotation: "somebody"} })
	for _, name := range []string{"plain", "token", "marked-for-another", other.Name + "-oauth"} {
		before := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.apps, Name: name}}
		w.get(before)
		c := w.newClient(targeting(name))
		message := w.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonSecretExists)
		owned := name == other.Name+"-oauth"
		for part, wanted := range map[string]bool{
			strconv.Quote(name): true, "spec.secret.target.name": true, v1alpha1.AdoptAnnotation + "=" + c.Name: !owned, `OAuthClient "other"`: owned,
		} {
			if strings.Contains(message, part) != wanted {
				t.Errorf("%s: the message speaks of %s is %v: %s", name, part, !wanted, message)
			}
		}
		w.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretExists)
		after := before.DeepCopy()
		w.get(after)
		if after.ResourceVersion != before.ResourceVersion {
			t.Errorf("Secret %s was changed", name)
		}
		if c.Status.SecretName != "" || len(w.document(c).Credentials) > 0 {
			t.Errorf("Secret %s: status.secretName %q, credentials %v", name, c.Status.SecretName, w.document(c).Credentials)
		}
		w.deleteObject(c)
		eventually.True(t, "the client is forgotten", func() bool { return w.document(c).UID == "" })
		if w.get(after); after.ResourceVersion != before.ResourceVersion {
			t.Errorf("Secret %s was changed when the client went", name)
		}
	}
	// One that is there first, and then is not: the client gets its own.
	c := w.newClient(targeting("plain"))
	w.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonSecretExists)
	w.deleteObject(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.apps, Name: "plain"}})
	w.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestASecretThatGoesWithAClientIsNotTherebyOurs(t *testing.T) {
	w := newEnv(t)
	c := w.readyClient()
	reference := metav1.OwnerReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: kindClient, Name: c.Name, UID: c.UID}
	beside := w.newSecret(w.apps, "beside", map[string]string{"client_secret": strong}, func(s *corev1.Secret) {
		s.OwnerReferences = []metav1.OwnerReference{reference}
	})
	updateObject(w, c, targeting("renamed"))
	eventually.True(t, "the target has moved", func() bool {
		return !w.exists(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.apps, Name: c.Name + "-oauth"}})
	})
	updateObject(w, c, targeting("beside"))
	w.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonSecretExists)
	if w.get(beside); string(beside.Data["client_secret"]) != strong || len(beside.Data) != 1 {
		t.Error("the Secret was changed")
	}
}

func TestASecretIsTakenOverOnlyWithTheAnnotation(t *testing.T) {
	w := newEnv(t)
	w.newSecret(w.apps, "restored", map[string]string{"client_secret": strong, "more": "kept"})
	c := w.newClient(targeting("restored"))
	w.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonSecretExists)
	updateObject(w, w.secretOf(c), func(s *corev1.Secret) { s.Annotations = map[string]string{v1alpha1.AdoptAnnotation: c.Name} })
	w.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	s := w.secretOf(c)
	if !w.isCredential(c, strong) || string(s.Data["client_secret"]) != strong || string(s.Data["more"]) != "kept" ||
		string(s.Data["issuer"]) != w.server.Spec.Issuer {
		t.Errorf("the Secret holds %d keys, its value authenticates: %v", len(s.Data), w.isCredential(c, strong))
	}
	if len(s.OwnerReferences) > 0 || s.Labels[workload.ManagedByLabel] != "" {
		t.Errorf("it goes with the client: owners %v, labels %v", s.OwnerReferences, s.Labels)
	}
	if _, marked := s.Annotations[v1alpha1.AdoptAnnotation]; marked {
		t.Error("it is still marked, so a later client of this name could take it too")
	}

	weak := w.newClient(func(c *v1alpha1.OAuthClient) { c.Name = "weak" }, targeting("guessable"))
	w.waitForCondition(weak, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.deleteObject(weak)
	eventually.True(t, "it is gone with its Secret", func() bool {
		return !w.exists(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.apps, Name: "guessable"}})
	})
	w.newSecret(w.apps, "guessable", map[string]string{"client_secret": "hunter2"}, func(s *corev1.Secret) {
		s.Annotations = map[string]string{v1alpha1.AdoptAnnotation: "weak"}
	})
	weak = w.newClient(named("weak"), targeting("guessable"))
	message := w.waitForCondition(weak, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonWeakSecret)
	if !strings.Contains(message, `"guessable"`) || strings.Contains(message, "hunter2") || w.isCredential(weak, "hunter2") {
		t.Errorf("accepted: %v, message: %s", w.isCredential(weak, "hunter2"), message)
	}
}

func TestTheSecretsOfAnotherUIDAreWaitedOut(t *testing.T) {
	const hold = "example.com/hold"
	w := newEnv(t)
	c := w.readyClient(named("again"))
	old := w.clientSecretOf(c)
	updateObject(w, w.secretOf(c), func(s *corev1.Secret) { s.Finalizers = []string{hold} })
	w.deleteObject(c)
	eventually.True(t, "it is gone", func() bool { return !w.exists(c) })
	c = w.newClient(named("again"))
	message := w.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionUnknown, v1alpha1.ReasonPending)
	if !strings.Contains(message, `"again-oauth"`) {
		t.Errorf("the message does not name the Secret: %s", message)
	}
	if s := w.secretOf(c); string(s.Data["client_secret"]) != old || w.isCredential(c, old) {
		t.Errorf("the new client has the old one's secret: %v", w.isCredential(c, old))
	}
	updateObject(w, w.secretOf(c), func(s *corev1.Secret) { s.Finalizers = nil })
	w.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if value := w.clientSecretOf(c); value == old || w.isCredential(c, old) || !w.isCredential(c, value) {
		t.Error("the new client has the old one's secret")
	}
}

func TestARestoredSecretIsTakenUpByTheClientItIsMarkedFor(t *testing.T) {
	w := newEnv(t)
	c := w.readyClient(named("restored"))
	backup := w.secretOf(c)
	w.deleteObject(c)
	eventually.True(t, "both are gone", func() bool { return !w.exists(c) && !w.exists(backup.DeepCopy()) })
	backup.ResourceVersion, backup.UID, backup.OwnerReferences = "", "", nil
	backup.Annotations[v1alpha1.AdoptAnnotation] = c.Name
	create(t, backup)
	c = w.readyClient(named("restored"))
	if value := string(backup.Data["client_secret"]); w.clientSecretOf(c) != value || !w.isCredential(c, value) {
		t.Error("the restored secret was replaced")
	}
}

func TestATargetThatIsRenamedKeepsTheValue(t *testing.T) {
	w := newEnv(t)
	c := w.readyClient()
	value := w.clientSecretOf(c)
	updateObject(w, c, targeting("elsewhere"))
	w.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	eventually.True(t, "the old Secret is gone", func() bool {
		return !w.exists(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.apps, Name: c.Name + "-oauth"}})
	})
	if w.clientSecretOf(c) != value || !w.isCredential(c, value) || c.Status.SecretName != "elsewhere" {
		t.Errorf("the value is another one: %v, status.secretName %q", w.clientSecretOf(c) != value, c.Status.SecretName)
	}
	// To a name that is taken: what works goes on working.
	w.newSecret(w.apps, "taken", nil)
	updateObject(w, c, targeting("taken"))
	w.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonSecretExists)
	kept := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.apps, Name: "elsewhere"}}
	if !w.exists(kept) || string(kept.Data["client_secret"]) != value || !w.isCredential(c, value) {
		t.Error("the Secret that the workload mounts is gone")
	}
}

func TestAClientThatBecomesPublicHasNoSecret(t *testing.T) {
	w := newEnv(t)
	native := func(method v1alpha1.TokenEndpointAuthMethod) func(*v1alpha1.OAuthClient) {
		return func(c *v1alpha1.OAuthClient) {
			c.Spec.GrantTypes, c.Spec.RedirectURIs = []v1alpha1.GrantType{"authorization_code"}, []string{"http://127.0.0.1/cb"}
			c.Spec.TokenEndpointAuthMethod = method
		}
	}
	c := w.readyClient(native(v1alpha1.AuthMethodBasic))
	old := w.secretOf(c)
	value := string(old.Data["client_secret"])
	updateObject(w, c, native(v1alpha1.AuthMethodNone))
	w.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionTrue, v1alpha1.ReasonNotNeeded)
	w.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	eventually.True(t, "the Secret is gone", func() bool { return !w.exists(old.DeepCopy()) })
	if w.isCredential(c, value) || c.Status.SecretName != "" || len(c.Status.Credentials) > 0 {
		t.Errorf("the secret is accepted: %v, status %+v", w.isCredential(c, value), c.Status)
	}
	updateObject(w, c, native(v1alpha1.AuthMethodPost))
	w.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if now := w.clientSecretOf(c); now == value || w.isCredential(c, value) || !w.isCredential(c, now) {
		t.Error("the old secret is in force again")
	}
}

func TestClientsKeepTheirSecretsWhenAllEntriesAreLost(t *testing.T) {
	w := newEnv(t)
	w.newSecret(w.apps, "source", map[string]string{"value": strong})
	clients := []*v1alpha1.OAuthClient{w.readyClient(), w.readyClient(), w.readyClient(reading("source", "value"), targeting("copy"))}
	values := map[string]string{}
	for _, c := range clients {
		values[c.Name] = w.clientSecretOf(c)
	}
	lost := map[string]bool{}
	for _, e := range w.entries() {
		lost[string(e.UID)] = true
	}
	if err := admin.DeleteAllOf(t.Context(), &internalv1alpha1.Entry{}, client.InNamespace(w.identity)); err != nil {
		t.Fatal(err)
	}
	for _, c := range clients {
		eventually.True(t, "it is served anew", func() bool {
			e := w.entry(internalv1alpha1.SpaceIdentity, compile.ClientID(c))
			return e != nil && !lost[string(e.UID)] && inState(w.document(c).Credentials, documents.CredentialActive) != nil
		})
		if value := values[c.Name]; w.clientSecretOf(c) != value || !w.isCredential(c, value) {
			t.Errorf("client %s has another secret", c.Name)
		}
		w.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	}
}

func TestWhatAnotherOwnsIsNeverTakenHoweverItIsMarked(t *testing.T) {
	w := newEnv(t)
	living := w.readyClient(named("living"))
	certificate := []metav1.OwnerReference{{APIVersion: "cert-manager.io/v1", Kind: "Certificate", Name: "site", UID: "its-uid", Controller: new(true)}}
	along := []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: kindClient, Name: living.Name, UID: living.UID}}
	for name, change := range map[string]func(*corev1.Secret){
		"of-a-controller":      func(s *corev1.Secret) { s.OwnerReferences = certificate },
		"with-a-living-client": func(s *corev1.Secret) { s.OwnerReferences = along },
		"adopted-by-another":   func(s *corev1.Secret) { s.Annotations[adoptedAnnotation] = adoptedBy(living) },
	} {
		secret := w.newSecret(w.apps, name, map[string]string{"client_secret": strong}, func(s *corev1.Secret) {
			s.Annotations = map[string]string{v1alpha1.AdoptAnnotation: "for-" + name}
			change(s)
		})
		c := w.newClient(named("for-"+name), targeting(name))
		message := w.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonSecretExists)
		if strings.Contains(message, v1alpha1.AdoptAnnotation) || !strings.Contains(message, "owns it") {
			t.Error(message)
		}
		before := secret.ResourceVersion
		if w.get(secret); secret.ResourceVersion != before || w.isCredential(c, strong) {
			t.Errorf("%s: the Secret was changed, or read", name)
		}
	}
}

func TestWhatWasAdoptedKeepsItsOwnersAndOutlivesTheClient(t *testing.T) {
	w := newEnv(t)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.apps, Name: "holder"}}
	create(t, account)
	owner := metav1.OwnerReference{APIVersion: "v1", Kind: "ServiceAccount", Name: account.Name, UID: account.UID}
	gone := metav1.OwnerReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: kindClient, Name: "former", UID: "former-uid", Controller: new(true)}
	secret := w.newSecret(w.apps, "kept", map[string]string{"client_secret": strong, "theirs": "x"}, func(s *corev1.Secret) {
		s.Annotations = map[string]string{v1alpha1.AdoptAnnotation: "adopter", "example.com/a": "b"}
		s.Labels = map[string]string{workload.ManagedByLabel: "Helm"}
		s.OwnerReferences = []metav1.OwnerReference{owner, gone}
	})
	c := w.readyClient(named("adopter"), targeting("kept"))
	w.get(secret)
	if len(secret.OwnerReferences) != 1 || secret.OwnerReferences[0].UID != account.UID || secret.Labels[workload.ManagedByLabel] != "Helm" ||
		secret.Annotations["example.com/a"] != "b" || string(secret.Data["theirs"]) != "x" || string(secret.Data["issuer"]) == "" {
		t.Errorf("owners %v, labels %v, annotations %v", secret.OwnerReferences, secret.Labels, secret.Annotations)
	}
	updateObject(w, c, func(c *v1alpha1.OAuthClient) { c.Spec.Secret.Target.Labels = map[string]string{"team": "shop"} })
	eventually.True(t, "it is kept current", func() bool { w.get(secret); return secret.Labels["team"] == "shop" })
	updateObject(w, c, targeting("elsewhere"))
	w.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	eventually.True(t, "the target has moved", func() bool { return w.clientSecretOf(c) == strong })
	updateObject(w, c, targeting("kept"))
	w.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.deleteObject(c)
	eventually.True(t, "the client is forgotten", func() bool { return w.document(c).UID == "" })
	time.Sleep(2 * time.Second) // the garbage collector has had its time
	if !w.exists(secret) || string(secret.Data["theirs"]) != "x" {
		t.Error("it went with the client")
	}
	// A client that is created again does not inherit it, unless it is marked anew.
	c = w.newClient(named("adopter"), targeting("kept"))
	w.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonSecretExists)
	annotate(t, secret, v1alpha1.AdoptAnnotation, "adopter")
	w.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestTheCacheHoldsOfSecretsOnlyWhatTheManagerReads(t *testing.T) {
	w := newEnv(t)
	const applied = "kubectl.kubernetes.io/last-applied-configuration"
	secret := w.newSecret(w.apps, "theirs", map[string]string{"a": "b"}, func(s *corev1.Secret) {
		s.Annotations = map[string]string{applied: `{"data":{"a":"Yg=="}}`, v1alpha1.AdoptAnnotation: "x", adoptedAnnotation: "y", "notoauth-operator.dev/a": "b"}
		s.Labels = map[string]string{"team": "a", workload.ManagedByLabel: "Helm"}
	})
	cached := secretMetadata()
	eventually.True(t, "it is in the cache", func() bool {
		return w.manager.GetClient().Get(t.Context(), client.ObjectKeyFromObject(secret), cached) == nil
	})
	if want := map[string]string{v1alpha1.AdoptAnnotation: "x", adoptedAnnotation: "y"}; !maps.Equal(cached.Annotations, want) {
		t.Errorf("annotations %v", cached.Annotations)
	}
	if want := map[string]string{workload.ManagedByLabel: "Helm"}; !maps.Equal(cached.Labels, want) || len(cached.ManagedFields) > 0 {
		t.Errorf("labels %v, managed fields %v", cached.Labels, cached.ManagedFields)
	}
}
