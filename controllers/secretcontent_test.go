package controllers

import (
	"encoding/base64"
	"maps"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks/jwkstest"
)

func withData(data map[string]string) func(*v1alpha1.OAuthClient) {
	return func(c *v1alpha1.OAuthClient) {
		if c.Spec.Secret == nil {
			withTarget("with-data")(c)
		}
		c.Spec.Secret.Target.Data = data
	}
}

func withPolicy(policy v1alpha1.DeletionPolicy) func(*v1alpha1.OAuthClient) {
	return func(c *v1alpha1.OAuthClient) {
		if c.Spec.Secret == nil {
			withTarget("kept")(c)
		}
		c.Spec.Secret.Target.DeletionPolicy = policy
	}
}

func TestKeysOfDataFollowTheClientAndItsSecretInOneWrite(t *testing.T) {
	env := newEnv(t)
	h := env.recordHistory()
	c := env.readyClient(withData(map[string]string{
		"OIDC_SECRET": "$(client_secret)", "auth": "$(client_id|urlquery):$(client_secret|b64enc)", "issuer": "<$(issuer)>", "plain": "$$(client_secret)",
		"ini": "[auth]\nclient = $(client_id)\nat = $(token_endpoint) $(namespace)/$(name)\n",
	}))
	follows := func(s *corev1.Secret) bool {
		value := string(s.Data["client_secret"])
		return string(s.Data["OIDC_SECRET"]) == value && string(s.Data["auth"]) == c.Status.ClientID+":"+base64.StdEncoding.EncodeToString([]byte(value))
	}
	issuer := env.server.Spec.Issuer
	s := env.secretOf(c)
	if !follows(s) || string(s.Data["issuer"]) != "<"+issuer+">" || string(s.Data["plain"]) != "$(client_secret)" ||
		string(s.Data["ini"]) != "[auth]\nclient = "+c.Status.ClientID+"\nat = "+issuer+"/token "+c.Namespace+"/"+c.Name+"\n" {
		t.Errorf("the Secret holds %s", s.Data)
	}
	value := string(s.Data["client_secret"])
	env.deleteObject(s)
	eventually.True(t, "there is another secret", func() bool {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: "with-data"}}
		return env.exists(s) && string(s.Data["client_secret"]) != value && env.isCredential(c, string(s.Data["client_secret"]))
	})
	if torn := h.findSecret(func(s corev1.Secret) bool { return s.Name == "with-data" && !follows(&s) }); torn != nil {
		t.Error("for a moment the keys of data held another secret than client_secret")
	}

	// Another encoding of the secret is another content, and a key that is not asked for goes.
	value = env.clientSecretOf(c)
	updateObject(env, c, withData(map[string]string{"OIDC_SECRET": "$(client_secret|b64enc)"}))
	eventually.True(t, "the Secret follows", func() bool {
		s := env.secretOf(c)
		return string(s.Data["OIDC_SECRET"]) == base64.StdEncoding.EncodeToString([]byte(value)) && s.Data["ini"] == nil && string(s.Data["issuer"]) == issuer
	})
	if env.clientSecretOf(c) != value {
		t.Error("the secret itself changed")
	}
}

func TestTheContentHashSaysNothingAboutTheClientSecret(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient(withData(map[string]string{"copy": "$(client_secret)"}))
	before := env.secretOf(c)
	env.deleteObject(before.DeepCopy())
	after := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: before.Name}}
	eventually.True(t, "there is another secret", func() bool { return env.exists(after) })
	if before.Annotations[contentAnnotation] == "" || string(after.Data["copy"]) == string(before.Data["copy"]) ||
		after.Annotations[contentAnnotation] != before.Annotations[contentAnnotation] {
		t.Errorf("the hash of one secret is %s, of another %s", before.Annotations[contentAnnotation], after.Annotations[contentAnnotation])
	}
}

func TestAMistakeInDataIsToldWithItsPlaceAndWritesNothing(t *testing.T) {
	env := newEnv(t)
	working := env.readyClient(withData(map[string]string{"ok": "$(client_id)"}))
	before := env.secretOf(working)
	mistakes := map[string]string{"ok": "$(client_id)", "bad": "to=$(redirect_uri)"}
	const place = "spec.secret.target.data[bad]: at offset 3: $(redirect_uri) has no value, because the client has no spec.redirectURIs"
	updateObject(env, working, withData(mistakes))
	for _, c := range []*v1alpha1.OAuthClient{working, env.newClient(withTarget("never"), withData(mistakes))} {
		message := env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
		if !strings.Contains(message, place) {
			t.Error(message)
		}
		env.waitForCondition(c, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonInvalid)
	}
	if env.exists(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.apps, Name: "never"}}) {
		t.Error("the new client has a Secret")
	}
	after := env.secretOf(working)
	if after.ResourceVersion != before.ResourceVersion || !env.isCredential(working, string(before.Data["client_secret"])) {
		t.Error("the client that worked does not go on")
	}
	for text, want := range map[string]string{
		"x$(nope)": `[bad]: at offset 1: there is no variable "nope"`, "$(client_id": "[bad]: at offset 0: the reference is not closed",
		"$(client_id|rot13)": `[bad]: at offset 0: there is no encoding "rot13"`, strings.Repeat("$(token_endpoint)", 3000): "the result is too large: all keys together may have 65536 bytes",
	} {
		updateObject(env, working, withData(map[string]string{"bad": text}))
		if message := env.waitForCondition(working, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonInvalid); !strings.Contains(message, want) {
			t.Errorf("want %s: %s", want, message)
		}
	}
	updateObject(env, working, withData(map[string]string{"ok": "$(name)"}))
	env.waitForCondition(working, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestARetainedSecretOutlivesTheClientAndIsTakenUpByTheNext(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient(named("phoenix"), withPolicy(v1alpha1.DeletionPolicyRetain))
	s := env.secretOf(c)
	value := string(s.Data["client_secret"])
	if len(s.OwnerReferences) > 0 || s.Annotations[v1alpha1.AdoptAnnotation] != c.Name || s.Labels[workload.ManagedByLabel] != workload.ManagedBy {
		t.Errorf("owners %v, annotations %v, labels %v", s.OwnerReferences, s.Annotations, s.Labels)
	}
	// No other client gets it meanwhile.
	thief := env.newClient(named("thief"), withTarget("kept"))
	if message := env.waitForCondition(thief, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonSecretExists); !strings.Contains(message, `OAuthClient "phoenix" owns it`) {
		t.Error(message)
	}
	env.deleteObject(c)
	eventually.True(t, "the client is forgotten", func() bool { return env.document(c).UID == "" })
	env.waitForCondition(thief, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonSecretExists)
	time.Sleep(2 * time.Second) // time for the garbage collector
	if env.get(s); string(s.Data["client_secret"]) != value {
		t.Error("the Secret was changed")
	}

	c = env.readyClient(named("phoenix"), withPolicy(v1alpha1.DeletionPolicyRetain))
	if env.clientSecretOf(c) != value || !env.isCredential(c, value) {
		t.Error("the next client has another secret")
	}
	env.deleteObject(c)
	eventually.True(t, "the client is forgotten again", func() bool { return env.document(c).UID == "" })
	// One that does not retain it owns it like any that the manager made.
	c = env.readyClient(named("phoenix"), withTarget("kept"))
	s = env.secretOf(c)
	if string(s.Data["client_secret"]) != value || metav1.GetControllerOf(s) == nil || s.Annotations[v1alpha1.AdoptAnnotation] != "" || s.Annotations[compile.RetainedAnnotation] != "" {
		t.Errorf("the same value: %v, owners %v, annotations %v", string(s.Data["client_secret"]) == value, s.OwnerReferences, s.Annotations)
	}
	env.deleteObject(c)
	eventually.True(t, "it goes with the client", func() bool { return !env.exists(s) })
}

func TestTheDeletionPolicyOfARunningClientCanBeChanged(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient(withTarget("kept"))
	value := env.clientSecretOf(c)
	for range 2 {
		updateObject(env, c, withPolicy(v1alpha1.DeletionPolicyRetain))
		eventually.True(t, "the Secret is the client's no more than a user's", func() bool {
			s := env.secretOf(c)
			return len(s.OwnerReferences) == 0 && s.Annotations[v1alpha1.AdoptAnnotation] == c.Name && s.Annotations[compile.RetainedAnnotation] == adopterValue(c)
		})
		updateObject(env, c, withPolicy(v1alpha1.DeletionPolicyDelete))
		eventually.True(t, "it goes with the client again", func() bool {
			s := env.secretOf(c)
			return metav1.IsControlledBy(s, c) && s.Annotations[v1alpha1.AdoptAnnotation] == "" && s.Annotations[compile.RetainedAnnotation] == ""
		})
	}
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if env.clientSecretOf(c) != value || !env.isCredential(c, value) || len(env.document(c).Credentials) != 1 {
		t.Error("the secret was replaced")
	}
}

// later moves the manager's clock and has it look at a client.
func (env *testEnv) later(c *v1alpha1.OAuthClient, d time.Duration) {
	env.t.Helper()
	env.clock.move(d)
	updateObject(env, c, func(c *v1alpha1.OAuthClient) {
		annotations := maps.Clone(c.Annotations)
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations["example.com/later"] += "."
		c.Annotations = annotations
	})
}

func TestTheSecretBeforeARenamingStaysForTheOverlap(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient(withTarget("first"))
	first := env.secretOf(c)
	value := string(first.Data["client_secret"])
	updateObject(env, c, withTarget("second"))
	second := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.apps, Name: "second"}}
	eventually.True(t, "the other Secret is there, and the first is superseded", func() bool {
		return env.exists(second) && env.exists(first) && first.Annotations[supersededAnnotation] != ""
	})
	if string(second.Data["client_secret"]) != value {
		t.Error("the value is another one")
	}
	// Back and forth: the one in use is not superseded.
	updateObject(env, c, withTarget("first"))
	eventually.True(t, "the first is in use again", func() bool {
		return env.exists(first) && first.Annotations[supersededAnnotation] == "" && env.exists(second) && second.Annotations[supersededAnnotation] != ""
	})
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	env.later(c, compile.Overlap(c)-time.Minute)
	time.Sleep(500 * time.Millisecond)
	if !env.exists(second) {
		t.Error("it went before the overlap was over")
	}
	env.later(c, 2*time.Minute)
	eventually.True(t, "it is gone", func() bool { return !env.exists(second) })
	if !env.exists(first) || env.clientSecretOf(c) != value || !env.isCredential(c, value) {
		t.Error("the secret in use was touched")
	}
}

// A user who deletes the Secret after a leak must not get the same value back from one that is left over.
func TestASupersededSecretLendsNoValue(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient(withTarget("first"))
	first := env.secretOf(c)
	updateObject(env, c, withTarget("second"))
	eventually.True(t, "the first is superseded", func() bool { return env.exists(first) && first.Annotations[supersededAnnotation] != "" })
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	value := env.clientSecretOf(c)
	env.deleteObject(env.secretOf(c))
	eventually.True(t, "there is another secret", func() bool {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.apps, Name: "second"}}
		return env.exists(s) && string(s.Data["client_secret"]) != value
	})
}

// Pods that still authenticate by the secret are replaced meanwhile.
func TestTheSecretOfAClientThatGoesOnWithoutOneStaysForTheOverlap(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient(withConfigMap("app", nil))
	secret := env.secretOf(c)
	updateObject(env, c, withClientKeys(jwkstest.NewSigner("ES256", "k")))
	env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionTrue, v1alpha1.ReasonKeysReady)
	eventually.True(t, "the Secret is superseded", func() bool { return env.exists(secret) && secret.Annotations[supersededAnnotation] != "" })
	env.later(c, compile.Overlap(c)+time.Minute)
	eventually.True(t, "it is gone", func() bool { return !env.exists(secret) })
	if !env.exists(env.configMap("app")) {
		t.Error("the ConfigMap went too")
	}
}
