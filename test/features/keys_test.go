package features

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/testenv"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks/jwkstest"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// keysOf returns the public keys of signers as a client lists them.
func keysOf(signers ...jwkstest.Signer) *v1alpha1.ClientKeys {
	keys := &v1alpha1.ClientKeys{}
	for _, s := range signers {
		j := s.JWK
		keys.Keys = append(keys.Keys, v1alpha1.JWK{
			KeyType: j.KeyType, KeyID: j.KeyID, Algorithm: j.Algorithm, Curve: j.Curve, X: j.X, Y: j.Y, N: j.N, E: j.E,
		})
	}
	return keys
}

// assertionClaims returns the claims of an assertion of a client, that is good once.
func assertionClaims(env *testenv.Env, clientID string) map[string]any {
	now := time.Now()
	return map[string]any{
		"iss": clientID, "sub": clientID, "aud": env.Issuer, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "jti": rand.Text(),
	}
}

func addAssertion(form url.Values, assertion string) {
	form.Set("client_assertion_type", oauth.AssertionTypeJWT)
	form.Set("client_assertion", assertion)
}

// service returns a client that signs with its own keys and gets tokens for itself.
func service() v1alpha1.OAuthClientSpec {
	return v1alpha1.OAuthClientSpec{GrantTypes: []v1alpha1.GrantType{"client_credentials"}, TokenEndpointAuthMethod: "private_key_jwt"}
}

// signIn asks for a token with an assertion.
func signIn(env *testenv.Env, assertion string) (int, map[string]any) {
	env.T.Helper()
	form := url.Values{"grant_type": {"client_credentials"}}
	addAssertion(form, assertion)
	return env.Post("/token", nil, form)
}

func errorOf(answer map[string]any) string {
	description, _ := answer["error_description"].(string)
	return description
}

// newAssertion returns an assertion of a client that is good once.
func newAssertion(env *testenv.Env, signer jwkstest.Signer, c *v1alpha1.OAuthClient) string {
	env.T.Helper()
	return signer.Sign(env.T, assertionClaims(env, c.Status.ClientID))
}

// checkSignIn fails the test unless the answer to a new assertion has the status.
func checkSignIn(env *testenv.Env, signer jwkstest.Signer, c *v1alpha1.OAuthClient, status int) {
	env.T.Helper()
	if got, answer := signIn(env, newAssertion(env, signer, c)); got != status {
		env.T.Errorf("%s with the key %s is answered %d %v, want %d", c.Name, signer.JWK.KeyID, got, answer, status)
	}
}

// assertionAlgorithm tries whether a client may sign its assertions by an algorithm.
func (tr *metadataCheck) assertionAlgorithm(name string) bool {
	if name == "Ed25519" { // the newer name of EdDSA
		signer := jwkstest.NewSigner("EdDSA", "k1")
		c := service()
		c.JWKS = keysOf(signer)
		status, _ := signIn(tr.Env, signer.Sign(tr.T, assertionClaims(tr.Env, tr.ReadyClient("assertion-ed25519", c).Status.ClientID), map[string]any{"alg": name}))
		return status == http.StatusOK
	}
	c := service()
	signer := jwkstest.NewSigner("ES256", "k1")
	c.JWKS = keysOf(signer)
	if strings.HasPrefix(name, "HS") || name == "none" {
		c.JWKS.Keys[0].Algorithm = name
		_, ok := tr.createIfValid("assertion-"+strings.ToLower(name), c)
		return ok
	}
	signer = jwkstest.NewSigner(name, "k1")
	c.JWKS = keysOf(signer)
	status, answer := signIn(tr.Env, newAssertion(tr.Env, signer, tr.ReadyClient("assertion-"+strings.ToLower(name), c)))
	return status == http.StatusOK && answer["access_token"] != nil
}

func TestAClientSignsInWithItsOwnKeyAndEachAssertionIsGoodOnceAtEveryEndpoint(t *testing.T) {
	env := testenv.New(t)
	signer := jwkstest.NewSigner("PS256", "2026-11")
	spec := service()
	spec.JWKS = keysOf(signer)
	c := env.ReadyClient("billing", spec)
	assertion := newAssertion(env, signer, c)
	status, answer := signIn(env, assertion)
	token, _ := answer["access_token"].(string)
	if status != http.StatusOK || token == "" {
		t.Fatalf("the first use is answered %d %v", status, answer)
	}
	for _, endpoint := range []string{"/token", "/introspect", "/revoke"} {
		form := url.Values{"grant_type": {"client_credentials"}, "token": {token}}
		addAssertion(form, assertion)
		if status, answer := env.Post(endpoint, nil, form); status != http.StatusUnauthorized || !strings.Contains(answer["error_description"].(string), "jti") {
			t.Errorf("the second use, at %s, is answered %d %v", endpoint, status, answer)
		}
		addAssertion(form, newAssertion(env, signer, c))
		if status, answer := env.Post(endpoint, nil, form); status != http.StatusOK {
			t.Errorf("a new one at %s is answered %d %v", endpoint, status, answer)
		}
	}
	marks := &internalv1alpha1.MarkList{}
	if err := testenv.Kube.List(t.Context(), marks, client.InNamespace(env.ServerNamespace)); err != nil {
		t.Fatal(err)
	}
	used := 0
	for _, m := range marks.Items {
		if m.Spec.Kind == "assertion" && m.Spec.ClientUID == string(c.UID) {
			used++
		}
	}
	if used != 4 {
		t.Errorf("there are %d marks of four assertions", used)
	}
	// The audience is the issuer, as a string.
	for _, aud := range []any{env.Issuer + "/token", env.Issuer + "/", []string{env.Issuer}} {
		claims := assertionClaims(env, c.Status.ClientID)
		claims["aud"] = aud
		if status, _ := signIn(env, signer.Sign(t, claims)); status != http.StatusUnauthorized {
			t.Errorf("aud %v is answered %d", aud, status)
		}
	}
	env.Update(c, func() { c.Spec.Suspended = true })
	env.Eventually("the suspended client is unknown", 5*time.Second, func() (bool, string) {
		status, answer := signIn(env, newAssertion(env, signer, c))
		return status == http.StatusUnauthorized, errorOf(answer)
	})
}

func TestAKeyInASecretIsReplacedWithoutARestart(t *testing.T) {
	env := testenv.New(t)
	old, next := jwkstest.NewSigner("ES256", ""), jwkstest.NewSigner("EdDSA", "")
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.AppNamespace, Name: "billing-key"}, StringData: map[string]string{"tls.key": string(old.PEM())},
	}
	env.Create(secret)
	spec := service()
	spec.JWKSSecretRef = &v1alpha1.SecretKeyReference{Name: secret.Name, Key: "tls.key"}
	c := env.ReadyClient("billing", spec)
	checkSignIn(env, old, c, http.StatusOK)
	checkSignIn(env, next, c, http.StatusUnauthorized)
	env.Update(secret, func() { secret.Data = map[string][]byte{"tls.key": append(old.PEM(), next.PEM()...)} })
	env.Eventually("the new key counts beside the old one", 10*time.Second, func() (bool, string) {
		status, answer := signIn(env, newAssertion(env, next, c))
		return status == http.StatusOK, errorOf(answer)
	})
	checkSignIn(env, old, c, http.StatusOK)
	env.Update(secret, func() { secret.Data = map[string][]byte{"tls.key": next.PEM()} })
	env.Eventually("the old key counts no more", 10*time.Second, func() (bool, string) {
		status, answer := signIn(env, newAssertion(env, old, c))
		return status == http.StatusUnauthorized, errorOf(answer)
	})
	checkSignIn(env, next, c, http.StatusOK)
}

func TestKeysAtAnAddressInsideAreFetchedOnlyWhereTheServerListsIt(t *testing.T) {
	old, next := jwkstest.NewSigner("RS256", "old"), jwkstest.NewSigner("ES384", "new")
	keys := jwkstest.NewServer(t, old)
	env := testenv.New(t)
	bundle := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.ServerNamespace, Name: "internal-ca"}, Data: map[string]string{"ca.crt": keys.CABundle()},
	}
	env.Create(bundle)
	spec := service()
	spec.JWKSURI = keys.URL
	c := env.CreateClient("billing", spec)
	env.WaitFor("the client to be served", c, func() bool { return testenv.IsTrue(c.Status.Conditions, v1alpha1.ConditionProgrammed) })
	checkSignIn(env, old, c, http.StatusUnauthorized)
	if keys.Fetches() != 0 {
		t.Error("an address inside was asked although it is not listed")
	}
	env.Update(env.Server, func() {
		env.Server.Spec.Fetch = &v1alpha1.FetchSettings{
			JWKSHosts: []string{"127.0.0.1"},
			CABundle:  &v1alpha1.CABundle{ConfigMapRef: v1alpha1.ConfigMapKeyReference{Name: bundle.Name, Key: "ca.crt"}},
		}
	})
	env.Eventually("the listed address is asked", 20*time.Second, func() (bool, string) {
		status, answer := signIn(env, newAssertion(env, old, c))
		return status == http.StatusOK, errorOf(answer)
	})
	env.WaitFor("the client to be Ready", c, func() bool { return testenv.IsTrue(c.Status.Conditions, v1alpha1.ConditionReady) })
	keys.Serve(old, next)
	env.Eventually("the new key counts", 20*time.Second, func() (bool, string) {
		status, answer := signIn(env, newAssertion(env, next, c))
		return status == http.StatusOK, errorOf(answer)
	})
	checkSignIn(env, old, c, http.StatusOK)
	for what, handler := range map[string]http.HandlerFunc{
		"404": http.NotFound, "a redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"HTML": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
	} {
		keys.Handle(handler)
		checkSignIn(env, jwkstest.NewSigner("ES256", "unknown"), c, http.StatusUnauthorized) // has it fetched again
		if status, answer := signIn(env, newAssertion(env, old, c)); status != http.StatusOK {
			t.Errorf("after %s: %d %v", what, status, answer)
		}
	}
	env.Update(env.Server, func() { env.Server.Spec.Fetch = nil })
	env.Eventually("the address that is not listed any more counts no longer", 20*time.Second, func() (bool, string) {
		status, _ := signIn(env, newAssertion(env, old, c))
		return status == http.StatusUnauthorized, http.StatusText(status)
	})
}
