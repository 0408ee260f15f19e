package controllers

import (
	"maps"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
	"github.com/oauth-operator/oauth-operator/test/eventually"
)

func withConfigMap(name string, data map[string]string) func(*v1alpha1.OAuthClient) {
	return func(c *v1alpha1.OAuthClient) { c.Spec.ConfigMap = &v1alpha1.ConfigMapTarget{Name: name, Data: data} }
}

func public(c *v1alpha1.OAuthClient) {
	c.Spec.GrantTypes, c.Spec.TokenEndpointAuthMethod = []v1alpha1.GrantType{"authorization_code"}, v1alpha1.AuthMethodNone
	c.Spec.RedirectURIs, c.Spec.Scopes = []string{"https://app.example.com/cb"}, []string{"openid", "email"}
}

func (env *testEnv) configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: env.apps, Name: name}}
}

func TestAConfigMapHoldsWhatAnApplicationNeedsAndNoSecret(t *testing.T) {
	env := newEnv(t)
	issuer := env.server.Spec.Issuer
	c := env.readyClient(public, withConfigMap("app", map[string]string{"config.json": `{"scope": $(scope|json), "to": "$(redirect_uri)"}`, "jwks_uri": "none"}))
	m := env.configMap("app")
	env.get(m)
	if want := map[string]string{
		"client_id": c.Status.ClientID, "issuer": issuer, "token_endpoint": issuer + "/token", "authorization_endpoint": issuer + "/authorize", "jwks_uri": "none",
		"config.json": `{"scope": "openid email", "to": "https://app.example.com/cb"}`,
	}; !maps.Equal(m.Data, want) {
		t.Errorf("the ConfigMap holds %v", m.Data)
	}
	if !metav1.IsControlledBy(m, c) || m.Labels[workload.ManagedByLabel] != workload.ManagedBy {
		t.Errorf("owners %v, labels %v", m.OwnerReferences, m.Labels)
	}
	confidential := env.readyClient(withConfigMap("service", nil))
	m = env.configMap("service")
	if env.get(m); len(m.Data) != 3 || m.Data["client_secret"] != "" || strings.Contains(m.String(), env.clientSecretOf(confidential)) {
		t.Errorf("the ConfigMap holds %v", m.Data)
	}
	env.deleteObject(c)
	eventually.True(t, "it goes with the client", func() bool { return !env.exists(env.configMap("app")) })
}

func TestNoReferenceToTheSecretInAConfigMapIsAdmittedInAnyEncoding(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient(withConfigMap("app", nil))
	for text, refused := range map[string]bool{
		"$(client_secret)": true, "a$(client_secret|b64enc|urlquery)b": true, "$$$$(x) $(client_secret|json": true, "$(client_id)$(client_secret)": true,
		"$$(client_secret)": false, "$$$((client_secret)": false, "client_secret": false,
	} {
		env.get(c)
		withConfigMap("app", map[string]string{"k": text})(c)
		if err := admin.Update(t.Context(), c, client.DryRunAll); (err != nil) != refused || err != nil && !strings.Contains(err.Error(), "must not refer to $(client_secret)") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestAMistakeInAConfigMapIsToldAndLeavesTheRestAlone(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient(withConfigMap("app", map[string]string{"k": "$(client_id)"}))
	before := env.configMap("app")
	env.get(before)
	updateObject(env, c, withConfigMap("app", map[string]string{"k": "x$(scope)"}))
	message := env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
	if !strings.Contains(message, "spec.configMap.data[k]: at offset 1: $(scope) has no value, because the client has no spec.scopes") {
		t.Error(message)
	}
	after := env.configMap("app")
	if env.get(after); after.ResourceVersion != before.ResourceVersion || c.Status.SecretName == "" || !env.isCredential(c, env.clientSecretOf(c)) {
		t.Errorf("the ConfigMap was written, or status.secretName %q is not what it was", c.Status.SecretName)
	}
	updateObject(env, c, withConfigMap("app", nil))
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if env.get(after); after.Data["k"] != "" {
		t.Error("a key that is not asked for is still there")
	}
}

func TestAConfigMapThatIsDeletedOrEditedComesBack(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient(withConfigMap("app", map[string]string{"k": "$(name)"}))
	env.deleteObject(env.configMap("app"))
	isRight := func() bool {
		m := env.configMap("app")
		return env.exists(m) && m.Data["k"] == c.Name && m.Data["issuer"] == env.server.Spec.Issuer && m.Labels[workload.ManagedByLabel] == workload.ManagedBy
	}
	eventually.True(t, "it is there again", isRight)
	for range 2 { // the second edit is undone repairInterval after the first
		updateObject(env, env.configMap("app"), func(m *corev1.ConfigMap) {
			m.Data["issuer"], m.Labels = "https://evil.example.com", nil
			delete(m.Data, "k")
		})
		eventually.True(t, "it is as it was", isRight)
	}
}

func TestWhatOthersApplyToAConfigMapStaysAndNobodyWritesInALoop(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient(withConfigMap("app", nil))
	apply := func(data map[string]string) {
		t.Helper()
		theirs := corev1apply.ConfigMap("app", env.apps).WithData(data).WithLabels(map[string]string{"team": "shop"})
		if err := admin.Apply(t.Context(), theirs, client.FieldOwner("another"), client.ForceOwnership); err != nil {
			t.Fatal(err)
		}
	}
	apply(map[string]string{"theirs": "x"})
	env.later(c, 0)
	time.Sleep(time.Second)
	before := env.configMap("app")
	env.get(before)
	if before.Data["theirs"] != "x" || before.Labels["team"] != "shop" || before.Data["issuer"] == "" {
		t.Errorf("data %v, labels %v", before.Data, before.Labels)
	}
	// Even one that takes our fields by force over and over causes a write every repairInterval only.
	writes := 0
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		apply(map[string]string{"theirs": "x", "issuer": "https://evil.example.com"})
		m := env.configMap("app")
		if env.get(m); m.ResourceVersion != before.ResourceVersion {
			writes++
			before = m
		}
	}
	if writes > 5 {
		t.Errorf("%d writes in two seconds", writes)
	}
}

func TestAConfigMapThatIsNotOursIsLeftAloneUnlessItIsMarked(t *testing.T) {
	env := newEnv(t)
	other := env.readyClient(named("other"), withConfigMap("others", nil))
	m := env.configMap("plain")
	m.Data = map[string]string{"mine": "x", "issuer": "mine"}
	create(t, m)
	for _, name := range []string{"plain", "others"} {
		before := env.configMap(name)
		env.get(before)
		c := env.newClient(withConfigMap(name, nil))
		message := env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonConfigMapExists)
		if !strings.Contains(message, "choose another name in spec.configMap.name") || strings.Contains(message, `OAuthClient "other" owns it`) != (name == "others") {
			t.Error(message)
		}
		if after := env.configMap(name); env.exists(after) && after.ResourceVersion != before.ResourceVersion {
			t.Errorf("ConfigMap %s was changed", name)
		}
		env.deleteObject(c)
	}
	c := env.newClient(named("adopter"), withConfigMap("plain", nil))
	env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonConfigMapExists)
	updateObject(env, m, func(m *corev1.ConfigMap) { m.Annotations = map[string]string{v1alpha1.AdoptAnnotation: "adopter"} })
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if env.get(m); m.Data["mine"] != "x" || m.Data["issuer"] != env.server.Spec.Issuer || len(m.OwnerReferences) > 0 || m.Annotations[v1alpha1.AdoptAnnotation] != "" {
		t.Errorf("data %v, owners %v, annotations %v", m.Data, m.OwnerReferences, m.Annotations)
	}
	if what := compile.DescribeOperatorSecret(m); what == "" {
		t.Error("it could be a source")
	}
	env.deleteObject(c)
	eventually.True(t, "the client is forgotten", func() bool { return env.document(c).UID == "" })
	time.Sleep(2 * time.Second) // time for the garbage collector
	if !env.exists(m) || !env.exists(env.configMap("others")) || other.Name == "" {
		t.Error("an adopted ConfigMap went with the client")
	}
}

func TestAConfigMapThatAnotherOwnsIsNeverTakenAndAnAdoptedOneKeepsItsOwners(t *testing.T) {
	env := newEnv(t)
	living := env.readyClient(named("living"))
	for name, change := range map[string]func(*corev1.ConfigMap){
		"of-a-controller": func(m *corev1.ConfigMap) {
			m.OwnerReferences = []metav1.OwnerReference{{APIVersion: "cert-manager.io/v1", Kind: "Certificate", Name: "site", UID: "its-uid", Controller: new(true)}}
		},
		"with-a-living-client": func(m *corev1.ConfigMap) {
			m.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: compile.KindClient, Name: living.Name, UID: living.UID}}
		},
		"adopted-by-another": func(m *corev1.ConfigMap) { m.Annotations[compile.AdoptedAnnotation] = adopterValue(living) },
	} {
		m := env.configMap(name)
		m.Data, m.Annotations = map[string]string{"issuer": "mine"}, map[string]string{v1alpha1.AdoptAnnotation: "for-" + name}
		change(m)
		create(t, m)
		c := env.newClient(named("for-"+name), withConfigMap(name, nil))
		message := env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonConfigMapExists)
		if strings.Contains(message, v1alpha1.AdoptAnnotation) || !strings.Contains(message, "owns it") {
			t.Error(message)
		}
		before := m.ResourceVersion
		if env.get(m); m.ResourceVersion != before {
			t.Errorf("%s: the ConfigMap was changed", name)
		}
	}

	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: env.apps, Name: "holder"}}
	create(t, account)
	kept := env.configMap("kept")
	kept.Annotations = map[string]string{v1alpha1.AdoptAnnotation: "adopter"}
	kept.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ServiceAccount", Name: account.Name, UID: account.UID}}
	create(t, kept)
	env.readyClient(named("adopter"), withConfigMap("kept", nil))
	if env.get(kept); len(kept.OwnerReferences) != 1 || kept.OwnerReferences[0].UID != account.UID || kept.Data["issuer"] != env.server.Spec.Issuer {
		t.Errorf("owners %v, data %v", kept.OwnerReferences, kept.Data)
	}
}

func TestAConfigMapThatIsRenamedStaysForTheOverlapAndOneThatIsNotAskedForGoes(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient(public, withConfigMap("first", nil))
	updateObject(env, c, withConfigMap("second", nil))
	first := env.configMap("first")
	eventually.True(t, "the first is superseded", func() bool {
		return env.exists(env.configMap("second")) && env.exists(first) && first.Annotations[supersededAnnotation] != ""
	})
	env.later(c, compile.Overlap(c)+time.Minute)
	eventually.True(t, "it is gone", func() bool { return !env.exists(env.configMap("first")) })
	updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.ConfigMap = nil })
	eventually.True(t, "the second is gone too", func() bool { return !env.exists(env.configMap("second")) })
}

func TestAConfigMapThatTheAPIServerRefusesIsACondition(t *testing.T) {
	env := newEnv(t)
	m := env.configMap("frozen")
	m.Immutable, m.Annotations = new(true), map[string]string{v1alpha1.AdoptAnnotation: "frosty"}
	create(t, m)
	c := env.newClient(named("frosty"), withConfigMap("frozen", nil))
	if message := env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonRefused); !strings.Contains(message, "immutable") {
		t.Error(message)
	}
}

// The ids that spec.secret.revokedCredentials takes are in the status only.
func TestTheStatusListsTheCredentialsThoughTheConfigMapIsRefused(t *testing.T) {
	env := newEnv(t)
	m := env.configMap("frozen")
	m.Immutable, m.Annotations = new(true), map[string]string{v1alpha1.AdoptAnnotation: "frosty"}
	create(t, m)
	c := env.newClient(named("frosty"), withConfigMap("frozen", nil))
	lists := func(n int) func() bool {
		return func() bool {
			env.get(c)
			served := env.document(c).Credentials
			return len(served) == n && len(c.Status.Credentials) == n && c.Status.Credentials[0].ID == served[0].ID && c.Status.SecretName != ""
		}
	}
	env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonRefused)
	eventually.True(t, "the status lists the credential", lists(1))
	env.deleteObject(env.secretOf(c))
	eventually.True(t, "the status lists the next, and the one that retires", lists(2))
	env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonRefused)
}
