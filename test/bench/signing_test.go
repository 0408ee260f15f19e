package bench

import (
	"testing"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// BenchmarkRS256 is the cost of a token for a machine from a server that signs access tokens with
// RS256. (A server offers that and ES256.)
func BenchmarkRS256(b *testing.B) {
	const count, each = 7, 200
	env := testenv.New(b, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.Signing = &v1alpha1.SigningSettings{Algorithms: []v1alpha1.SigningAlgorithm{v1alpha1.AlgorithmRS256}}
	})
	env.ReadyAPI(ordersAPI, []string{ordersScope})
	request := tokenRequest(env, env.Config(env.ReadyClient("service", service)))
	if alg := accessToken(b, hostOf(env.Issuer), request).Method.Alg(); alg != "RS256" {
		b.Fatalf("want a token signed with RS256, got %s", alg)
	}
	server := target{pid: replica(b, env).PID(), address: hostOf(env.Issuer), prepare: constantly(repeat(request))}
	costs := measureAlternately(b, count, each, startFloor(b)("/sign-rs256"), server)
	table.add(b, compared(requestRows, "a token for a machine, RS256", costs[1], costs[0], ratios(costs[1], costs[0])))
}
