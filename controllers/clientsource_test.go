package controllers

import (
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

func withFromSecret(name, key string) func(*v1alpha1.OAuthClient) {
	return func(c *v1alpha1.OAuthClient) {
		c.Spec.Secret = &v1alpha1.ClientSecret{Source: v1alpha1.SecretFromSecret, FromSecret: &v1alpha1.SecretKeyReference{Name: name, Key: key}}
	}
}

func TestASourceIsReadAndNeverChanged(t *testing.T) {
	env := newEnv(t)
	c := env.newClient(withFromSecret("source", "value"))
	message := env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)
	if !strings.Contains(message, "spec.secret.fromSecret") || !strings.Contains(message, `"source"`) {
		t.Error(message)
	}
	source := env.newSecret(env.apps, "source", map[string]string{"other": strongSecret})
	eventually.True(t, "the message speaks of the key", func() bool {
		return strings.Contains(env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound), `"value"`)
	})
	updateObject(env, source, func(s *corev1.Secret) { s.Data["value"] = []byte("short") })
	env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonWeakSecret)
	if env.isCredential(c, "short") {
		t.Error("a weak secret is accepted")
	}
	updateObject(env, source, func(s *corev1.Secret) { s.Data["value"] = []byte(strongSecret + "\n") })
	env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
	updateObject(env, source, func(s *corev1.Secret) { s.Data["value"] = []byte(strongSecret) })
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if !env.isCredential(c, strongSecret) {
		t.Error("the secret does not authenticate")
	}
	if env.exists(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.apps, Name: c.Name + "-oauth"}}) {
		t.Error("it was copied without a target")
	}
	before := source.DeepCopy()

	updateObject(env, c, withTarget("copy"))
	eventually.True(t, "it is copied", func() bool {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.apps, Name: "copy"}}
		return env.exists(s) && string(s.Data["client_secret"]) == strongSecret && string(s.Data["issuer"]) != ""
	})
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if env.get(source); source.ResourceVersion != before.ResourceVersion {
		t.Error("the source was changed")
	}
	updateObject(env, source, func(s *corev1.Secret) { s.Data["value"] = []byte(strongSecret + strongSecret) })
	eventually.True(t, "source, copy and server follow", func() bool {
		return env.clientSecretOf(c) == strongSecret+strongSecret && env.stateOf(c, strongSecret+strongSecret) == documents.CredentialActive && env.stateOf(c, strongSecret) == documents.CredentialRetiring
	})
	env.deleteObject(source)
	env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)
	if !env.isCredential(c, strongSecret+strongSecret) {
		t.Error("what was in force is not, because the source is missing")
	}
}

func TestWhatTheOperatorWroteForAClientIsNeverASource(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient()
	generated := env.secretOf(c)
	value := string(generated.Data["client_secret"])
	env.newSecret(env.apps, "adopted", map[string]string{"client_secret": strongSecret}, func(s *corev1.Secret) {
		s.Annotations = map[string]string{v1alpha1.AdoptAnnotation: "adopter"}
	})
	env.readyClient(named("adopter"), withTarget("adopted"))
	for _, name := range []string{generated.Name, "adopted"} {
		updateObject(env, c, withFromSecret(name, "client_secret")) // the operator made the first one for this client
		message := env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
		if !strings.Contains(message, strconv.Quote(name)) || !strings.Contains(message, "spec.secret.fromSecret") {
			t.Error(message)
		}
	}
	if env.get(generated); string(generated.Data["client_secret"]) != value || !generated.DeletionTimestamp.IsZero() || !env.isCredential(c, value) {
		t.Error("what Pods hold is not in force any more")
	}
	// The same holds for a password, a certificate and a DSN, when the client's Secret is in the
	// server's namespace.
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.AllowedClients = append(s.Spec.AllowedClients, v1alpha1.ClientRule{Name: "own"})
	})
	own := env.readyClient(named("own"), func(c *v1alpha1.OAuthClient) { c.Namespace = env.identity })
	for _, name := range []string{own.Name + "-oauth", "main-tokenserver-keys"} {
		user := env.newUser("user-of-"+name, "", func(u *v1alpha1.OAuthUser) {
			u.Spec.PasswordSecretRef = &v1alpha1.SecretKeyReference{Name: name, Key: "client_id"}
		})
		env.waitForCondition(user, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
		updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) { s.Spec.TLS = &v1alpha1.TLSSettings{SecretName: name} })
		message := env.waitForCondition(env.server, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
		if !strings.Contains(message, "spec.tls.secretName") {
			t.Error(message)
		}
		env.checkNotMounted(name)
		updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
			s.Spec.TLS = nil
			s.Spec.Storage = &v1alpha1.StorageSettings{Type: v1alpha1.StoragePostgreSQL, PostgreSQL: &v1alpha1.PostgreSQLSettings{
				SecretRef: v1alpha1.SecretKeyReference{Name: name, Key: "client_id"},
			}}
		})
		message = env.waitForCondition(env.server, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
		if !strings.Contains(message, "spec.storage.postgreSQL.secretRef") {
			t.Error(message)
		}
		env.checkNotMounted(name)
		updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) { s.Spec.Storage = nil })
	}
}

// checkNotMounted checks that the server's Pods get neither a certificate nor a DSN, and that a
// condition names the Secret that is to blame.
func (env *testEnv) checkNotMounted(secret string) {
	env.t.Helper()
	if message := env.waitForCondition(env.server, v1alpha1.ConditionDeployed, metav1.ConditionFalse, v1alpha1.ReasonInvalid); !strings.Contains(message, strconv.Quote(secret)) {
		env.t.Error(message)
	}
	for _, v := range env.deployment().Spec.Template.Spec.Volumes {
		if v.Name == "tls" || v.Name == "storage" {
			env.t.Errorf("Secret %s is mounted as volume %s", v.Secret.SecretName, v.Name)
		}
	}
}

// An author of OAuthClients in the namespace of a server would choose its certificate or its database
// while the Secret of that name is missing.
func TestAClientGetsNoSecretOfANameThatTokenServersMount(t *testing.T) {
	env := newEnv(t, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.AllowedClients = append(s.Spec.AllowedClients, v1alpha1.ClientRule{Name: "own"})
	})
	env.newSecret(env.identity, "database", map[string]string{"dsn": "postgres://" + strongSecret})
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.TLS = &v1alpha1.TLSSettings{SecretName: "certificate"}
		s.Spec.Storage = &v1alpha1.StorageSettings{Type: v1alpha1.StoragePostgreSQL, PostgreSQL: &v1alpha1.PostgreSQLSettings{
			SecretRef: v1alpha1.SecretKeyReference{Name: "database", Key: "dsn"},
		}}
	})
	env.waitForCondition(env.server, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)
	own := func(c *v1alpha1.OAuthClient) { c.Namespace = env.identity }
	c := env.newClient(own, withTarget("certificate"))
	message := env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
	if !strings.Contains(message, `is the certificate of the AuthorizationServer "main": choose another name`) {
		t.Error(message)
	}
	if env.exists(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "certificate"}}) {
		t.Error("there is a Secret")
	}
	// Nor may it take one that is there.
	annotated := env.newSecret(env.identity, "certificate", map[string]string{"tls.crt": "x"}, func(s *corev1.Secret) {
		s.Annotations = map[string]string{v1alpha1.AdoptAnnotation: c.Name}
	})
	touch(env, c)
	env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
	if before := annotated.ResourceVersion; !env.exists(annotated) || annotated.ResourceVersion != before {
		t.Error("the Secret was changed")
	}
	reader := env.newClient(own, withFromSecret("database", "dsn"), withTarget("stolen"))
	message = env.waitForCondition(reader, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
	if !strings.Contains(message, `spec.secret.fromSecret: Secret "database" has the DSN of the AuthorizationServer "main"`) {
		t.Error(message)
	}
	if env.exists(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "stolen"}}) {
		t.Error("the DSN was copied")
	}
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) { s.Spec.TLS = nil })
	env.waitForCondition(env.server, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	touch(env, c)
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// The Secret may have come into being a moment before the server did.
func TestAClientsSecretThatTheCacheLacksIsNotMounted(t *testing.T) {
	api := delayAPI(t, "/secrets")
	env := newEnv(t, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.AllowedClients = append(s.Spec.AllowedClients, v1alpha1.ClientRule{Name: "own"})
	})
	api.set(true, "")
	env.newClient(func(c *v1alpha1.OAuthClient) { c.Namespace = env.identity }, withTarget("certificate"))
	eventually.True(t, "the client has its Secret", func() bool {
		return env.exists(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "certificate"}})
	})
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.TLS = &v1alpha1.TLSSettings{SecretName: "certificate"}
	})
	env.checkNotMounted("certificate")
}

func TestSecretsThatAreNoClientSecretsAreNotCopied(t *testing.T) {
	env := newEnv(t)
	other := env.readyClient(named("other"))
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: env.apps, Name: "robot"}}
	create(t, account)
	env.newSecret(env.apps, "token", map[string]string{"client_secret": strongSecret}, func(s *corev1.Secret) {
		s.Type, s.Annotations = corev1.SecretTypeServiceAccountToken, map[string]string{corev1.ServiceAccountNameKey: "robot"}
	})
	env.newSecret(env.apps, "registry", map[string]string{corev1.DockerConfigJsonKey: `{"auths":{"registry.example.com":{"auth":"c2VjcmV0"}}}`},
		func(s *corev1.Secret) { s.Type = corev1.SecretTypeDockerConfigJson })
	for name, key := range map[string]string{"token": "client_secret", "registry": corev1.DockerConfigJsonKey, other.Name + "-oauth": "client_secret"} {
		c := env.newClient(withFromSecret(name, key), withTarget("copy-of-"+name))
		message := env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
		if !strings.Contains(message, strconv.Quote(name)) {
			t.Error(message)
		}
		if env.exists(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.apps, Name: "copy-of-" + name}}) || len(env.document(c).Credentials) > 0 {
			t.Errorf("Secret %s was read", name)
		}
	}
	// The token server's key Secret holds sealing keys, which are printable text.
	keys := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "main-tokenserver-keys"}}
	env.get(keys)
	sealing := ""
	for file := range keys.Data {
		if strings.HasSuffix(file, sealingSuffix) {
			sealing = file
		}
	}
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.AllowedClients = append(s.Spec.AllowedClients, v1alpha1.ClientRule{Name: "own"})
	})
	c := env.newClient(withFromSecret(keys.Name, sealing), withTarget("stolen"), func(c *v1alpha1.OAuthClient) { c.Namespace = env.identity })
	env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
	if env.exists(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "stolen"}}) {
		t.Error("a key of the token server was copied")
	}
}
