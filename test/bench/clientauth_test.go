package bench

import (
	"crypto/rand"
	"net/url"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/testenv"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks/jwkstest"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// BenchmarkClientAssertions is the cost of a token for a client that authenticates by a JWT: one
// that it has signed, which is good once, and that of its ServiceAccount. The floor verifies one and
// signs a token. Records are kept in memory: what marking an assertion as used costs elsewhere is
// the cost of a write there.
func BenchmarkClientAssertions(b *testing.B) {
	env := testenv.New(b, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.Storage = &v1alpha1.StorageSettings{Type: v1alpha1.StorageMemory}
		s.Spec.WorkloadIssuers = []v1alpha1.WorkloadIssuer{{Name: "cluster", Type: v1alpha1.WorkloadIssuerKubernetes}}
	})
	env.ReadyAPI(ordersAPI, []string{ordersScope})
	floor := startFloor(b)
	for _, algorithm := range []string{"ES256", "RS256", "EdDSA"} {
		signer := jwkstest.NewSigner(algorithm, "one")
		k := signer.JWK
		spec := service
		spec.TokenEndpointAuthMethod = v1alpha1.AuthMethodPrivateKey
		spec.JWKS = &v1alpha1.ClientKeys{Keys: []v1alpha1.JWK{{
			KeyType: k.KeyType, KeyID: k.KeyID, Algorithm: k.Algorithm, Curve: k.Curve, X: k.X, Y: k.Y, N: k.N, E: k.E,
		}}}
		c := env.ReadyClient("signs-by-"+strings.ToLower(algorithm), spec)
		measureAssertions(b, env, "a token, private_key_jwt with "+algorithm, floor("/assertion-"+strings.ToLower(algorithm)), func() string {
			return newAssertion(b, env, signer, c.Status.ClientID)
		})
	}
	spec := service
	spec.TokenEndpointAuthMethod = v1alpha1.AuthMethodWorkloadIdentity
	spec.WorkloadIdentities = []v1alpha1.WorkloadIdentity{{ServiceAccount: &v1alpha1.ServiceAccountIdentity{Name: "service"}}}
	env.ReadyClient("workload", spec)
	token := accountToken(b, env, "service")
	measureAssertions(b, env, "a token, by the token of a ServiceAccount", floor("/assertion-rs256"), func() string { return token })
}

// measureAssertions adds a row of the tokens that a client gets by assertions.
func measureAssertions(b *testing.B, env *testenv.Env, name string, floor target, next func() string) {
	b.Helper()
	const count, each = 7, 120 // within the 10,000 assertions that a client may have used
	request := func() []byte {
		return post(hostOf(env.Issuer), "/token", "", url.Values{
			"grant_type": {"client_credentials"}, "scope": {ordersScope},
			"client_assertion_type": {oauth.AssertionTypeJWT}, "client_assertion": {next()},
		})
	}
	checkES256(b, hostOf(env.Issuer), request())
	server := target{pid: replica(b, env).PID(), address: hostOf(env.Issuer), prepare: func() step {
		var requests [workers][]([]byte)
		for worker := range workers {
			for range each {
				requests[worker] = append(requests[worker], request())
			}
		}
		return func(l *connection, worker, i int) error { return repeat(requests[worker][i])(l, worker, i) }
	}}
	costs := measureAlternately(b, count, each, floor, server)
	table.add(b, compared(requestRows, name, costs[1], costs[0], ratios(costs[1], costs[0])))
}

// newAssertion returns an assertion of a client (RFC 7523 section 3).
func newAssertion(b *testing.B, env *testenv.Env, signer jwkstest.Signer, clientID string) string {
	b.Helper()
	now := time.Now()
	return signer.Sign(b, map[string]any{
		"iss": clientID, "sub": clientID, "aud": env.Issuer, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "jti": rand.Text(),
	})
}

// accountToken returns a token of a new ServiceAccount, as a kubelet requests it for a Pod.
func accountToken(b *testing.B, env *testenv.Env, name string) string {
	b.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: env.AppNamespace, Name: name}}
	env.Create(account)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{env.Issuer}}}
	if err := testenv.Kube.SubResource("token").Create(b.Context(), account, request); err != nil {
		b.Fatal(err)
	}
	return request.Status.Token
}
