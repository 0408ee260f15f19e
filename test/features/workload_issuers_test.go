package features

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/testenv"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks/jwkstest"
)

const jobSubject = "repo:acme/shop:ref:refs/heads/main"

// jobSpec is a service that is a job of a CI service.
func jobSpec(issuer string) v1alpha1.OAuthClientSpec {
	return v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"client_credentials"}, TokenEndpointAuthMethod: v1alpha1.AuthMethodWorkloadIdentity,
		WorkloadIdentities: []v1alpha1.WorkloadIdentity{{Issuer: issuer, Subject: jobSubject}},
	}
}

// jobToken returns a token for the server as a CI service issues it.
func jobToken(env *testenv.Env, signer jwkstest.Signer, issuer, subject string) string {
	env.T.Helper()
	now := time.Now()
	return signer.Sign(env.T, map[string]any{
		"iss": issuer, "sub": subject, "aud": env.Issuer, "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(), "jti": "1",
	}, map[string]any{"typ": "JWT"})
}

// serveProvider has a server answer as an OpenID provider with the keys.
func serveProvider(s *jwkstest.Server, issuer string, signers ...jwkstest.Signer) {
	s.Handle(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration") {
			_, _ = fmt.Fprintf(w, `{"issuer": %q, "jwks_uri": %q}`, issuer, s.URL)
			return
		}
		_, _ = fmt.Fprint(w, jwkstest.SetOf(signers...))
	})
}

func TestAJobElsewhereIsAClientByTheTokenOfItsOpenIDProvider(t *testing.T) {
	first, second, other := jwkstest.NewSigner("RS256", "first"), jwkstest.NewSigner("ES256", "second"), jwkstest.NewSigner("ES256", "first")
	provider := jwkstest.NewServer(t)
	issuer := strings.TrimSuffix(provider.URL, "/jwks")
	serveProvider(provider, issuer, first)
	env := testenv.New(t, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.WorkloadIssuers = []v1alpha1.WorkloadIssuer{
			{Name: "ci", Type: v1alpha1.WorkloadIssuerJWT, JWT: &v1alpha1.JWTWorkloadIssuer{Issuer: issuer}},
			{Name: "other", Type: v1alpha1.WorkloadIssuerJWT, JWT: &v1alpha1.JWTWorkloadIssuer{Issuer: issuer + "/other"}},
		}
	})
	env.ReadyClient("deploy", jobSpec("ci"))
	id := env.AppNamespace + ".deploy"
	token := jobToken(env, first, issuer, jobSubject)

	// The provider is at a private address, which the server does not list.
	status, answer := workloadToken(env, token, "client_id", id)
	expectWorkload(env, "not listed", status, answer, http.StatusUnauthorized, "unknown client, wrong credentials")
	if provider.Fetches() != 0 {
		t.Error("an address inside was asked although it is not listed")
	}
	env.WaitFor("the condition that names the issuer", env.Server, func() bool {
		available := meta.FindStatusCondition(env.Server.Status.Conditions, v1alpha1.ConditionAvailable)
		return available != nil && strings.Contains(available.Message, `workload issuer "ci": its keys cannot be fetched (Unreachable)`)
	})
	env.Create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: env.ServerNamespace, Name: "internal-ca"}, Data: map[string]string{"ca.crt": provider.CABundle()}})
	env.Update(env.Server, func() {
		env.Server.Spec.Fetch = &v1alpha1.FetchSettings{
			AllowedNetworks: []string{"127.0.0.0/8"},
			CABundle:        &v1alpha1.CABundle{ConfigMapRef: v1alpha1.ConfigMapKeyReference{Name: "internal-ca", Key: "ca.crt"}},
		}
	})
	env.Eventually("the listed provider is asked", 20*time.Second, func() (bool, string) {
		status, answer := workloadToken(env, token, "client_id", id)
		return status == http.StatusOK, fmt.Sprint(status, answer)
	})

	for what, test := range map[string]struct{ token, client, said string }{
		"another subject":             {jobToken(env, first, issuer, jobSubject+"2"), id, "there is no accepted client with this client_id"},
		"without client_id":           {token, "", "client_id is missing"},
		"another key of the same kid": {jobToken(env, other, issuer, jobSubject), id, "unknown client, wrong credentials"},
		"another issuer's name":       {jobToken(env, first, issuer+"/other", jobSubject), id, "unknown client, wrong credentials"},
		"an issuer that is none":      {jobToken(env, first, "https://ci.example.com", jobSubject), id, "unknown client, wrong credentials"},
	} {
		pairs := []string{"client_id", test.client}
		if test.client == "" {
			pairs = nil
		}
		status, answer := workloadToken(env, test.token, pairs...)
		expectWorkload(env, what, status, answer, http.StatusUnauthorized, test.said)
	}

	// A new key counts, and while the provider is away its last keys do.
	serveProvider(provider, issuer, first, second)
	env.Eventually("the new key counts", 20*time.Second, func() (bool, string) {
		status, answer := workloadToken(env, jobToken(env, second, issuer, jobSubject), "client_id", id)
		return status == http.StatusOK, fmt.Sprint(status, answer)
	})
	provider.Handle(http.NotFound)
	status, answer = workloadToken(env, token, "client_id", id)
	expectWorkload(env, "the provider is away", status, answer, http.StatusOK, "")
}

func TestTheKeysOfAnIssuerThatCannotBeReachedComeFromAConfigMap(t *testing.T) {
	const issuer = "https://ci.plant.example.com"
	first, second := jwkstest.NewSigner("RS256", "first"), jwkstest.NewSigner("EdDSA", "second")
	env := testenv.New(t)
	keys := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.ServerNamespace, Name: "plant-keys"}, Data: map[string]string{"jwks.json": jwkstest.SetOf(first)},
	}
	env.Create(keys)
	env.Update(env.Server, func() {
		env.Server.Spec.WorkloadIssuers = []v1alpha1.WorkloadIssuer{{Name: "plant", Type: v1alpha1.WorkloadIssuerJWT, JWT: &v1alpha1.JWTWorkloadIssuer{
			Issuer: issuer, JWKS: &v1alpha1.WorkloadIssuerJWKS{ConfigMapRef: v1alpha1.ConfigMapKeyReference{Name: "plant-keys", Key: "jwks.json"}},
		}}}
	})
	env.ReadyClient("deploy", jobSpec("plant"))
	id := env.AppNamespace + ".deploy"
	accepts := func(signer jwkstest.Signer, want int) func() (bool, string) {
		return func() (bool, string) {
			status, answer := workloadToken(env, jobToken(env, signer, issuer, jobSubject), "client_id", id)
			return status == want, fmt.Sprint(status, answer)
		}
	}
	env.Eventually("the first key counts", 10*time.Second, accepts(first, http.StatusOK))
	env.Eventually("the second does not", 10*time.Second, accepts(second, http.StatusUnauthorized))
	env.Update(keys, func() { keys.Data["jwks.json"] = jwkstest.SetOf(second) })
	env.Eventually("the second counts", 10*time.Second, accepts(second, http.StatusOK))
	env.Eventually("the first does not any more", 10*time.Second, accepts(first, http.StatusUnauthorized))
}
