package bench

import (
	"slices"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/bench/results"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// BenchmarkTails is how long a token takes under a steady load, at half of what the server can do:
// requests come at a constant rate, whether or not those before have been answered. Garbage is
// collected meanwhile, and in every other turn the keys are rotated. The floor has the same load, in
// turns with the server. How long the threads of both wait for a core says what of the tail is theirs.
func BenchmarkTails(b *testing.B) {
	const connections, turns, lasting = 64, 5, 6 * time.Second
	env := testenv.New(b)
	env.ReadyAPI(ordersAPI, []string{ordersScope})
	request := tokenRequest(env, env.Config(env.ReadyClient("service", service)))
	address, token := hostOf(env.Issuer), repeat(request)
	server, floor := target{pid: replica(b, env).PID(), address: address, prepare: constantly(token)}, startFloor(b)("/sign")

	capacityOf(b, address, connections, 2*time.Second, token)
	capacity := capacityOf(b, address, connections, 5*time.Second, token)
	rate := capacity / 2
	table.add(b, results.Row{Group: tailRows, Name: "tokens at full load, 64 connections", Unit: "a second", Value: capacity})
	steady := func(t target) map[string]float64 {
		before := waitedOf(b, t.pid)
		measured := percentilesOf(steadily(b, t.address, connections, rate, lasting, t.prepare()))
		measured[waiting] = milliseconds(waitedOf(b, t.pid)-before) / lasting.Seconds()
		return measured
	}
	var floors, plain, rotated []map[string]float64
	collections := collectionsOf(b, env)
	for turn := range turns {
		floors = append(floors, steady(floor))
		plain = append(plain, steady(server))
		before, done := kidOf(b, address, request), make(chan struct{})
		go func() {
			defer close(done)
			time.Sleep(lasting / 6)
			rotateKeys(b, env, before, turn)
		}()
		rotated = append(rotated, steady(server))
		<-done
		if kidOf(b, address, request) == before {
			b.Fatal("the keys were not rotated while the load went on")
		}
	}
	if n := collectionsOf(b, env) - collections; n < 10*turns {
		b.Fatalf("garbage was collected %.0f times: that is no load", n)
	}
	for _, load := range []struct {
		name  string
		turns []map[string]float64
	}{{"a token at half of the capacity: p99.9", plain}, {"a token at half of the capacity, while keys are rotated: p99.9", rotated}} {
		row := tailOf(load.name, load.turns, floors)
		row.Target = atMost(20)
		table.add(b, row)
	}
	table.add(b, results.Row{
		Group: tailRows, Name: "threads of the server that wait for a core meanwhile", Unit: "ms a second",
		Value: median(turnsOf(plain, waiting)), Floor: median(turnsOf(floors, waiting)),
	})
}

// waiting is how many milliseconds the threads of a process waited for a core in a second of a load.
const waiting = "waiting"

// turnsOf returns one of the values that were measured, by turn.
func turnsOf(turns []map[string]float64, name string) (all []float64) {
	for _, t := range turns {
		all = append(all, t[name])
	}
	return all
}

// tailOf is a row of the p99.9 of a load and of the same load on the floor. Each percentile is the
// median over the turns.
func tailOf(name string, turns, floors []map[string]float64) results.Row {
	row := results.Row{Group: tailRows, Name: name, Unit: "ms", Turns: len(turns), Percentiles: map[string]float64{}}
	for _, percentile := range results.PercentileNames {
		row.Percentiles[percentile] = median(turnsOf(turns, percentile))
	}
	tails, least := turnsOf(turns, "p99.9"), turnsOf(floors, "p99.9")
	ratios := make([]float64, len(turns))
	for turn := range turns {
		ratios[turn] = tails[turn] / least[turn]
	}
	row.Value, row.Spread = median(tails), &results.Range{Low: slices.Min(tails), High: slices.Max(tails)}
	row.Floor = median(least)
	row.Ratio, row.RatioSpread = median(ratios), &results.Range{Low: slices.Min(ratios), High: slices.Max(ratios)}
	return row
}

// rotateKeys revokes the signing key, so that the next one signs at once, and has all others replaced.
func rotateKeys(b *testing.B, env *testenv.Env, kid string, turn int) {
	for range 20 {
		server := &v1alpha1.AuthorizationServer{}
		if err := testenv.Kube.Get(b.Context(), objectKey(env.Server), server); err != nil {
			b.Error(err)
			return
		}
		server.Spec.Signing = &v1alpha1.SigningSettings{
			Rotation: &v1alpha1.KeyRotation{Revision: int64(turn + 1)}, RevokedKeys: []v1alpha1.KeyID{v1alpha1.KeyID(kid)},
		}
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
