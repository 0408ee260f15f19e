package controllers

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks/jwkstest"
)

// withClientKeys makes a client one that signs with its own keys.
func withClientKeys(signers ...jwkstest.Signer) func(*v1alpha1.OAuthClient) {
	return func(c *v1alpha1.OAuthClient) {
		c.Spec.TokenEndpointAuthMethod, c.Spec.JWKS, c.Spec.JWKSSecretRef = v1alpha1.AuthMethodPrivateKey, &v1alpha1.ClientKeys{}, nil
		for _, s := range signers {
			j := s.JWK
			c.Spec.JWKS.Keys = append(c.Spec.JWKS.Keys, v1alpha1.JWK{
				KeyType: j.KeyType, KeyID: j.KeyID, Algorithm: j.Algorithm, Curve: j.Curve, X: j.X, Y: j.Y, N: j.N, E: j.E,
			})
		}
	}
}

func withKeySecret(name, key string) func(*v1alpha1.OAuthClient) {
	return func(c *v1alpha1.OAuthClient) {
		c.Spec.TokenEndpointAuthMethod, c.Spec.JWKS = v1alpha1.AuthMethodPrivateKey, nil
		c.Spec.JWKSSecretRef = &v1alpha1.SecretKeyReference{Name: name, Key: key}
	}
}

// keysOf returns the keys of a client that token servers know.
func (env *testEnv) keysOf(c *v1alpha1.OAuthClient) []documents.JWK {
	env.t.Helper()
	return env.document(c).JWKS
}

func TestTheKeysInAClientAreServedAndItHasNoSecret(t *testing.T) {
	env := newEnv(t)
	first, second := jwkstest.NewSigner("ES256", "first"), jwkstest.NewSigner("EdDSA", "second")
	c := env.readyClient(withClientKeys(first))
	env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionTrue, v1alpha1.ReasonKeysReady)
	if keys := env.keysOf(c); len(keys) != 1 || keys[0] != first.JWK {
		t.Errorf("the keys are %+v", keys)
	}
	if env.exists(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.apps, Name: c.Name + "-oauth"}}) || c.Status.SecretName != "" {
		t.Error("it has a Secret")
	}
	updateObject(env, c, withClientKeys(second))
	eventually.True(t, "the key is replaced", func() bool { keys := env.keysOf(c); return len(keys) == 1 && keys[0] == second.JWK })

	broken := jwkstest.NewSigner("ES256", "broken")
	broken.JWK.X = broken.JWK.Y
	updateObject(env, c, withClientKeys(second, broken))
	message := env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
	if !strings.Contains(message, `spec.jwks.keys["broken"]: x and y are no point on P-256`) {
		t.Error(message)
	}
	if keys := env.keysOf(c); len(keys) != 1 || keys[0] != second.JWK {
		t.Errorf("the keys are %+v", keys)
	}
}

func TestOfAKeyInASecretOnlyThePublicPartIsServed(t *testing.T) {
	env := newEnv(t)
	signer := jwkstest.NewSigner("ES256", "")
	c := env.newClient(withKeySecret("key", "tls.key"))
	message := env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)
	if !strings.Contains(message, "spec.jwksSecretRef") {
		t.Error(message)
	}
	secret := env.newSecret(env.apps, "key", map[string]string{"tls.key": string(signer.PEM())})
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	signer.JWK.Algorithm = ""
	if keys := env.keysOf(c); len(keys) != 1 || keys[0] != signer.JWK {
		t.Errorf("the keys are %+v", keys)
	}
	pem := string(signer.PEM())
	named := mustEncode(t, jwkstest.NewSigner("ES256", "a").JWK)

	next := jwkstest.NewSigner("RS256", "next")
	private := `{"keys":[` + strings.TrimSuffix(mustEncode(t, next.JWK), "}") + `,"d":"c2VjcmV0LWtleQ"}]}`
	updateObject(env, secret, func(s *corev1.Secret) { s.Data["tls.key"] = []byte(private) })
	eventually.True(t, "the key is replaced", func() bool { keys := env.keysOf(c); return len(keys) == 1 && keys[0] == next.JWK })

	for what, value := range map[string]string{
		"a password":      "c2VjcmV0LXBhc3N3b3Jk",
		"a symmetric key": `{"kty":"oct","k":"c2VjcmV0"}`, "two keys with one name": `{"keys":[` + named + `,` + named + `]}`,
		"four keys without a name": pem + pem + pem + pem,
	} {
		updateObject(env, secret, func(s *corev1.Secret) { s.Data["tls.key"] = []byte(value) })
		message := env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
		if strings.Contains(message, "c2VjcmV0") || !strings.Contains(message, "spec.jwksSecretRef") {
			t.Errorf("%s: %s", what, message)
		}
		updateObject(env, secret, func(s *corev1.Secret) { s.Data["tls.key"] = []byte(private) })
		env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	}
	env.deleteObject(secret)
	env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)
	if keys := env.keysOf(c); len(keys) != 1 || keys[0] != next.JWK {
		t.Errorf("without the Secret the keys are %+v", keys)
	}
	for _, object := range []any{c, env.entries()} {
		if text := mustEncode(t, object); strings.Contains(text, "c2VjcmV0") || strings.Contains(text, "PRIVATE KEY") {
			t.Errorf("a private key is in %s", text)
		}
	}
}

func TestASuspensionIsInForceThoughTheKeysOfTheClientCannotBeRead(t *testing.T) {
	fail, tried := failReads(t, "/secrets/key")
	env := newEnv(t)
	signer := jwkstest.NewSigner("ES256", "")
	secret := env.newSecret(env.apps, "key", map[string]string{"tls.key": string(signer.PEM())})
	c := env.readyClient(withKeySecret("key", "tls.key"))
	keys := env.keysOf(c)
	fail.Store(true)
	updateObject(env, secret, func(s *corev1.Secret) { s.Data["other"] = nil })
	eventually.True(t, "the manager tries to read them", func() bool { return tried.Load() > 0 })
	updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.Suspended = true })
	eventually.True(t, "the client is suspended", func() bool { return env.document(c).Suspended })
	if now := env.keysOf(c); len(keys) != 1 || !slices.Equal(now, keys) {
		t.Errorf("its keys are %+v, and were %+v", now, keys)
	}
	env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonFailed)
	fail.Store(false)
	env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionTrue, v1alpha1.ReasonKeysReady)
}

func TestWhatTheOperatorWroteForAClientIsNoSourceOfKeys(t *testing.T) {
	env := newEnv(t)
	other := env.readyClient()
	c := env.newClient(withKeySecret(other.Name+"-oauth", "client_secret"))
	message := env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
	if !strings.Contains(message, "is written by the operator") {
		t.Error(message)
	}
}

func mustEncode(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestAClientIsToldWhyItsKeySetCannotBeFetchedAndNoMore(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient(func(c *v1alpha1.OAuthClient) {
		c.Spec.TokenEndpointAuthMethod, c.Spec.JWKSURI = v1alpha1.AuthMethodPrivateKey, "https://keys.shop.example.com/jwks.json"
	})
	env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionTrue, v1alpha1.ReasonKeysReady)
	if doc := env.document(c); doc.JWKSURI != c.Spec.JWKSURI || doc.JWKS != nil {
		t.Errorf("the document has %+v", doc)
	}
	other := env.readyClient()
	for _, reason := range []string{v1alpha1.ReasonUnreachable, v1alpha1.ReasonBadCertificate, v1alpha1.ReasonBadAnswer} {
		updateObject(env, env.replica, func(r *internalv1alpha1.Replica) {
			r.Spec.KeySetProblems = []internalv1alpha1.KeySetProblem{{ClientUID: c.UID, Reason: reason}}
		})
		message := env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, reason)
		if !strings.HasPrefix(message, "spec.jwksURI: ") {
			t.Error(message)
		}
		env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionFalse, reason)
	}
	updateObject(env, env.replica, func(r *internalv1alpha1.Replica) { r.Spec.KeySetProblems = nil })
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	env.waitForCondition(other, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}
