package controllers

import (
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/eventually"
)

func reading(name, key string) func(*v1alpha1.OAuthClient) {
	return func(c *v1alpha1.OAuthClient) {
		c.Spec.Secret = &v1alpha1.ClientSecret{Source: v1alpha1.SecretFromSecret, FromSecret: &v1alpha1.SecretKeyReference{Name: name, Key: key}}
	}
}

func TestASourceIsReadAndNeverChanged(t *testing.T) {
	w := newEnv(t)
	c := w.newClient(reading("source", "value"))
	message := w.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)
	if !strings.Contains(message, "spec.secret.fromSecret") || !strings.Contains(message, `"source"`) {
		t.Error(message)
	}
	source := w.newSecret(w.apps, "source", map[string]string{"other": strong})
	eventually.True(t, "the message speaks of the key", func() bool {
		return strings.Contains(w.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound), `"value"`)
	})
	updateObject(w, source, func(s *corev1.Secret) { s.Data["value"] = []byte("short") })
	w.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonWeakSecret)
	if w.isCredential(c, "short") {
		t.Error("a weak secret is accepted")
	}
	updateObject(w, source, func(s *corev1.Secret) { s.Data["value"] = []byte(strong + "\n") })
	w.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
	updateObject(w, source, func(s *corev1.Secret) { s.Data["value"] = []byte(strong) })
	w.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if !w.isCredential(c, strong) {
		t.Error("the secret does not authenticate")
	}
	if w.exists(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.apps, Name: c.Name + "-oauth"}}) {
		t.Error("it was copied, and nobody asked for that")
	}
	before := source.DeepCopy()

	updateObject(w, c, targeting("copy"))
	eventually.True(t, "it is copied", func() bool {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.apps, Name: "copy"}}
		return w.exists(s) && string(s.Data["client_secret"]) == strong && string(s.Data["issuer"]) != ""
	})
	w.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if w.get(source); source.ResourceVersion != before.ResourceVersion {
		t.Error("the source was changed")
	}
	updateObject(w, source, func(s *corev1.Secret) { s.Data["value"] = []byte(strong + strong) })
	eventually.True(t, "source, copy and server follow", func() bool {
		return w.clientSecretOf(c) == strong+strong && w.isCredential(c, strong+strong) && !w.isCredential(c, strong)
	})
	w.deleteObject(source)
	w.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)
	if !w.isCredential(c, strong+strong) {
		t.Error("what was in force is not, because the source is missing")
	}
}

func TestWhatTheOperatorWroteForAClientIsNeverASource(t *testing.T) {
	w := newEnv(t)
	c := w.readyClient()
	generated := w.secretOf(c)
	value := string(generated.Data["client_secret"])
	w.newSecret(w.apps, "adopted", map[string]string{"client_secret": strong}, func(s *corev1.Secret) {
		s.Annotations = map[string]string{v1alpha1.AdoptAnnotation: "adopter"}
	})
	w.readyClient(named("adopter"), targeting("adopted"))
	for _, name := range []string{generated.Name, "adopted"} {
		updateObject(w, c, reading(name, "client_secret")) // the first one was made for this very client
		message := w.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
		if !strings.Contains(message, strconv.Quote(name)) || !strings.Contains(message, "spec.secret.fromSecret") {
			t.Error(message)
		}
	}
	if w.get(generated); string(generated.Data["client_secret"]) != value || !generated.DeletionTimestamp.IsZero() || !w.isCredential(c, value) {
		t.Error("what Pods hold is not in force any more")
	}
	// Of a password, a certificate and a DSN. The client's Secrets are in the server's namespace then.
	updateObject(w, w.server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.AllowedClients = append(s.Spec.AllowedClients, v1alpha1.ClientRule{Name: "own"})
	})
	own := w.readyClient(named("own"), func(c *v1alpha1.OAuthClient) { c.Namespace = w.identity })
	for _, name := range []string{own.Name + "-oauth", "main-tokenserver-keys"} {
		user := w.newUser("user-of-"+name, "", func(u *v1alpha1.OAuthUser) {
			u.Spec.PasswordSecretRef = &v1alpha1.SecretKeyReference{Name: name, Key: "client_id"}
		})
		w.waitForCondition(user, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
		updateObject(w, w.server, func(s *v1alpha1.AuthorizationServer) { s.Spec.TLS = &v1alpha1.TLSSettings{SecretName: name} })
		message := w.waitForCondition(w.server, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
		if !strings.Contains(message, "spec.tls.secretName") {
			t.Error(message)
		}
		updateObject(w, w.server, func(s *v1alpha1.AuthorizationServer) {
			s.Spec.TLS = nil
			s.Spec.Storage = &v1alpha1.StorageSettings{Type: v1alpha1.StoragePostgreSQL, PostgreSQL: &v1alpha1.PostgreSQLSettings{
				SecretRef: v1alpha1.SecretKeyReference{Name: name, Key: "client_id"},
			}}
		})
		message = w.waitForCondition(w.server, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
		if !strings.Contains(message, "spec.storage.postgreSQL.secretRef") {
			t.Error(message)
		}
		updateObject(w, w.server, func(s *v1alpha1.AuthorizationServer) { s.Spec.Storage = nil })
	}
}

func TestSecretsThatAreNoClientSecretsAreNotCopied(t *testing.T) {
	w := newEnv(t)
	other := w.readyClient(named("other"))
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.apps, Name: "robot"}}
	create(t, account)
	w.newSecret(w.apps, "token", map[string]string{"client_secret": strong}, func(s *corev1.Secret) {
		s.Type, s.Annotations = corev1.SecretTypeServiceAccountToken, map[string]string{corev1.ServiceAccountNameKey: "robot"}
	})
	w.newSecret(w.apps, "registry", map[string]string{corev1.DockerConfigJsonKey: `{"auths":{"registry.example.com":{"auth":"c2VjcmV0"}}}`},
		func(s *corev1.Secret) { s.Type = corev1.SecretTypeDockerConfigJson })
	for name, key := range map[string]string{"token": "client_secret", "registry": corev1.DockerConfigJsonKey, other.Name + "-oauth": "client_secret"} {
		c := w.newClient(reading(name, key), targeting("copy-of-"+name))
		message := w.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
		if !strings.Contains(message, strconv.Quote(name)) {
			t.Error(message)
		}
		if w.exists(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.apps, Name: "copy-of-" + name}}) || len(w.document(c).Credentials) > 0 {
			t.Errorf("Secret %s was read", name)
		}
	}
	// Keys of the token server, of which a sealing key is text.
	keys := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.identity, Name: "main-tokenserver-keys"}}
	w.get(keys)
	sealing := ""
	for file := range keys.Data {
		if strings.HasSuffix(file, sealingSuffix) {
			sealing = file
		}
	}
	updateObject(w, w.server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.AllowedClients = append(s.Spec.AllowedClients, v1alpha1.ClientRule{Name: "own"})
	})
	c := w.newClient(reading(keys.Name, sealing), targeting("stolen"), func(c *v1alpha1.OAuthClient) { c.Namespace = w.identity })
	w.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
	if w.exists(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.identity, Name: "stolen"}}) {
		t.Error("a key of the token server was copied")
	}
}
