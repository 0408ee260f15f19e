package bench

import (
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/bench/results"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// BenchmarkTails is how long a token takes under a steady load, at half of what the server can do:
// requests come at a constant rate, whether or not
// those before have been answered. Garbage is collected meanwhile, and the second time the keys are
// rotated. The floor has the same load.
func BenchmarkTails(b *testing.B) {
	const connections, lasting = 64, 20 * time.Second
	env := testenv.New(b)
	env.ReadyAPI(ordersAPI, []string{ordersScope})
	request := tokenRequest(env, env.Config(env.ReadyClient("service", service)))
	address, token := hostOf(env.Issuer), repeat(request)
	floor := startFloor(b)("/sign")

	capacityOf(b, address, connections, 2*time.Second, token)
	capacity := capacityOf(b, address, connections, 5*time.Second, token)
	rate := capacity / 2
	table.add(b, results.Row{Group: tailRows, Name: "tokens at full load, 64 connections", Unit: "a second", Value: capacity})
	floors := steadily(b, floor.address, connections, rate, lasting, floor.prepare())
	measure := func(name string, meanwhile func()) {
		collections := collectionsOf(b, env)
		done := make(chan struct{})
		go func() {
			defer close(done)
			meanwhile()
		}()
		took := steadily(b, address, connections, rate, lasting, token)
		<-done
		if n := collectionsOf(b, env) - collections; n < 10 {
			b.Fatalf("garbage was collected %.0f times: that is no load", n)
		}
		row := tailOf(name, took, floors)
		row.Target = atMost(20)
		table.add(b, row)
	}
	measure("a token at half of that: p99.9", func() {})
	before := kidOf(b, address, request)
	measure("a token at half of that, keys rotated: p99.9", func() { rotateKeys(b, env, before, lasting/4) })
	if kidOf(b, address, request) == before {
		b.Fatal("the keys were not rotated")
	}
}

// tailOf is a row of the p99.9 of a load and of the same load on the floor.
func tailOf(name string, took, floors []time.Duration) results.Row {
	row := results.Row{Group: tailRows, Name: name, Unit: "ms", Percentiles: percentilesOf(took)}
	row.Value, row.Floor = row.Percentiles["p99.9"], percentilesOf(floors)["p99.9"]
	row.Ratio = row.Value / row.Floor
	return row
}

// rotateKeys waits, and then revokes the signing key, so that the next one signs at once, and has
// all others replaced.
func rotateKeys(b *testing.B, env *testenv.Env, kid string, after time.Duration) {
	time.Sleep(after)
	for range 20 {
		server := &v1alpha1.AuthorizationServer{}
		if err := testenv.Kube.Get(b.Context(), objectKey(env.Server), server); err != nil {
			b.Error(err)
			return
		}
		server.Spec.Signing = &v1alpha1.SigningSettings{Rotation: &v1alpha1.KeyRotation{Revision: 1}, RevokedKeys: []v1alpha1.KeyID{v1alpha1.KeyID(kid)}}
		if testenv.Kube.Update(b.Context(), server) == nil {
			return
		}
	}
	b.Error("the AuthorizationServer could not be updated")
}

// kidOf is the id of the key that signs access tokens.
func kidOf(b *testing.B, address string, request []byte) string {
	b.Helper()
	kid, _ := accessToken(b, address, request).Header["kid"].(string)
	return kid
}
