package controllers

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks/jwkstest"
)

// withKeysIn has the server take the keys of a workload issuer from the ConfigMap.
func withKeysIn(configMap string) func(*v1alpha1.AuthorizationServer) {
	return func(s *v1alpha1.AuthorizationServer) {
		s.Spec.WorkloadIssuers = []v1alpha1.WorkloadIssuer{{Name: "ci", Type: v1alpha1.WorkloadIssuerJWT, JWT: &v1alpha1.JWTWorkloadIssuer{
			Issuer: "https://ci.example.com", JWKS: &v1alpha1.WorkloadIssuerJWKS{ConfigMapRef: v1alpha1.ConfigMapKeyReference{Name: configMap, Key: "jwks.json"}},
		}}}
	}
}

// issuerKeyIDs returns the kids of the workload issuer in the server's document.
func (env *testEnv) issuerKeyIDs() string {
	env.t.Helper()
	doc, err := decodeEntry[documents.Server](env.entry(internalv1alpha1.SpaceIdentity, env.server.Spec.Issuer))
	if err != nil {
		env.t.Fatal(err)
	}
	var kids []string
	for _, issuer := range doc.WorkloadIssuers {
		for _, key := range issuer.JWKS {
			kids = append(kids, key.KeyID)
		}
	}
	return strings.Join(kids, " ")
}

func (env *testEnv) waitForIssuerKeys(want string) {
	env.t.Helper()
	eventually.True(env.t, "the document has the keys "+want, func() bool { return env.issuerKeyIDs() == want })
}

func TestTheKeysOfAWorkloadIssuerFollowItsConfigMap(t *testing.T) {
	env := newEnv(t)
	first, second := jwkstest.NewSigner("ES256", "first"), jwkstest.NewSigner("RS256", "second")
	updateObject(env, env.server, withKeysIn("ci-keys"))
	message := env.waitForCondition(env.server, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonConfigMapNotFound)
	if !strings.Contains(message, "spec.workloadIssuers[0].jwt.jwks.configMapRef") {
		t.Errorf("the message is %q", message)
	}
	env.waitForIssuerKeys("")
	configMap := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "ci-keys"}, Data: map[string]string{"jwks.json": jwkstest.SetOf(first)},
	}
	create(t, configMap)
	env.waitForCondition(env.server, v1alpha1.ConditionResolvedRefs, metav1.ConditionTrue, v1alpha1.ReasonResolvedRefs)
	env.waitForIssuerKeys("first")
	updateObject(env, configMap, func(c *corev1.ConfigMap) { c.Data["jwks.json"] = jwkstest.SetOf(first, second) })
	env.waitForIssuerKeys("first second")

	// What is no key set, and a ConfigMap that is gone, say nothing about keys.
	for value, reason := range map[string]string{
		"": v1alpha1.ReasonInvalid, `[]`: v1alpha1.ReasonInvalid, `{"keys": {}}`: v1alpha1.ReasonInvalid, strings.Repeat(" ", maxIssuerKeys) + `{"keys": []}`: v1alpha1.ReasonInvalid,
	} {
		updateObject(env, configMap, func(c *corev1.ConfigMap) { c.Data["jwks.json"] = value })
		env.waitForCondition(env.server, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, reason)
	}
	updateObject(env, configMap, func(c *corev1.ConfigMap) { c.Data = map[string]string{"other": "x"} })
	env.waitForCondition(env.server, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonConfigMapNotFound)
	env.deleteObject(configMap)
	env.waitForCondition(env.server, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonConfigMapNotFound)
	env.waitForIssuerKeys("first second")
	configMap.ResourceVersion, configMap.Data = "", map[string]string{"jwks.json": `{"keys": []}`}
	create(t, configMap)
	env.waitForIssuerKeys("")
	env.waitForCondition(env.server, v1alpha1.ConditionResolvedRefs, metav1.ConditionTrue, v1alpha1.ReasonResolvedRefs)
}

// failReads has the managers that the test starts from now on fail to read what is at the end of a
// path, while fail is set, and counts how often they tried.
func failReads(t *testing.T, path string) (fail *atomic.Bool, tried *atomic.Int32) {
	t.Helper()
	fail, tried = &atomic.Bool{}, &atomic.Int32{}
	interceptRequests(t, func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, path) && fail.Load() {
			tried.Add(1)
			return nil, errors.New("the API server is away")
		}
		return next.RoundTrip(r)
	})
	return fail, tried
}

// A document without keys would end every session and every token of the server.
func TestAServersDocumentIsWrittenWithAllItsKeysThoughAConfigMapCannotBeRead(t *testing.T) {
	fail, tried := failReads(t, "/configmaps/ci-keys")
	env := newEnv(t)
	first, second := jwkstest.NewSigner("ES256", "first"), jwkstest.NewSigner("ES256", "second")
	configMap := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "ci-keys"}, Data: map[string]string{"jwks.json": jwkstest.SetOf(first)},
	}
	create(t, configMap)
	updateObject(env, env.server, withKeysIn("ci-keys"))
	env.waitForIssuerKeys("first")
	keys := servedKIDs(t, env.server)
	fail.Store(true)
	updateObject(env, configMap, func(c *corev1.ConfigMap) { c.Data["jwks.json"] = jwkstest.SetOf(first, second) })
	eventually.True(t, "the manager tries to read it", func() bool { return tried.Load() > 0 })
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.Tokens = &v1alpha1.TokenSettings{AccessTokenLifetime: &metav1.Duration{Duration: time.Minute}}
	})
	eventually.True(t, "the rest of the spec is served", func() bool {
		doc, err := decodeEntry[documents.Server](env.entry(internalv1alpha1.SpaceIdentity, env.server.Spec.Issuer))
		return err == nil && doc.AccessTokenLifetime == 60
	})
	if now := servedKIDs(t, env.server); len(keys) == 0 || !slices.Equal(now, keys) || env.issuerKeyIDs() != "first" {
		t.Errorf("token servers are told of the keys %q, and were of %q; of the issuer %q", now, keys, env.issuerKeyIDs())
	}
	env.waitForCondition(env.server, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonFailed)
	env.waitForCondition(env.server, v1alpha1.ConditionAvailable, metav1.ConditionTrue, v1alpha1.ReasonAvailable)
	fail.Store(false)
	env.waitForIssuerKeys("first second")
	env.waitForCondition(env.server, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestAPrivateKeyInTheConfigMapOfAWorkloadIssuerStaysThere(t *testing.T) {
	env := newEnv(t)
	public := jwkstest.NewSigner("ES256", "public")
	set := strings.TrimSuffix(jwkstest.SetOf(public), "]}") + `,{"kty":"EC","kid":"private","crv":"P-256","x":"` + public.JWK.X + `","y":"` + public.JWK.Y + `","d":"c2VjcmV0LXNlY3JldA"}]}`
	create(t, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "ci-keys"}, Data: map[string]string{"jwks.json": set}})
	updateObject(env, env.server, withKeysIn("ci-keys"))
	env.waitForIssuerKeys("public")
	if document := env.entry(internalv1alpha1.SpaceIdentity, env.server.Spec.Issuer).Spec.Document; strings.Contains(document, "c2VjcmV0LXNlY3JldA") {
		t.Errorf("the document is %s", document)
	}
}

func TestAConfigMapThatTheOperatorWroteIsNoSourceOfKeys(t *testing.T) {
	env := newEnv(t, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.AllowedClients = append(s.Spec.AllowedClients, v1alpha1.ClientRule{Name: "own"})
	})
	c := env.newClient(func(c *v1alpha1.OAuthClient) {
		c.Namespace = env.identity
		c.Spec.ConfigMap = &v1alpha1.ConfigMapTarget{Name: "trojan", Data: map[string]string{"jwks.json": jwkstest.SetOf(jwkstest.NewSigner("ES256", "trojan"))}}
	})
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	updateObject(env, env.server, withKeysIn("trojan"))
	message := env.waitForCondition(env.server, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
	if !strings.Contains(message, `ConfigMap "trojan" is written by the operator for an OAuthClient`) {
		t.Errorf("the message is %q", message)
	}
	env.waitForIssuerKeys("")
}
