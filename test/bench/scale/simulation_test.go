package main

import (
	"math"
	"math/rand/v2"
	"testing"
)

// simulate runs a queue of tokens that take by chance what draw says, of which the mean is 1.
func simulate(cores int, slice, utilization float64, draw func(*rand.Rand) float64) (mean float64) {
	random := rand.New(rand.NewPCG(3, 4))
	q := &queue{cores: cores, slice: slice}
	took := q.run(func(at float64) (float64, job) {
		at += random.ExpFloat64() / (utilization * float64(cores))
		return at, job{came: at, left: draw(random), isToken: true}
	}, 100_000)
	for _, t := range took.tokens {
		mean += t / float64(len(took.tokens))
	}
	return mean
}

func exponential(r *rand.Rand) float64 { return r.ExpFloat64() }

// erlang is the mean time in an M/M/k queue whose requests take 1 in the mean (Erlang's formula C).
func erlang(k int, utilization float64) float64 {
	offered := utilization * float64(k)
	sum, term := 0.0, 1.0
	for i := range k {
		sum += term
		term *= offered / float64(i+1)
	}
	waits := term / (1 - utilization)
	waits /= sum + waits
	return 1 + waits/(float64(k)*(1-utilization))
}

func TestAQueueWaitsAsErlangsFormulaSays(t *testing.T) {
	for _, k := range []int{1, 4} {
		for _, utilization := range []float64{0.5, 0.8} {
			want := erlang(k, utilization)
			if got := simulate(k, math.Inf(1), utilization, exponential); math.Abs(got/want-1) > 0.05 {
				t.Errorf("%d cores at %v: want %.3f, got %.3f", k, utilization, want, got)
			}
		}
	}
}

func TestAQueueOfUnequalRequestsWaitsAsPollaczekAndKhinchineSay(t *testing.T) {
	const utilization, short, long, share = 0.7, 0.5, 5.5, 0.1 // 9 of 10 take 0.5, and one 5.5
	draw := func(r *rand.Rand) float64 {
		if r.Float64() < share {
			return long
		}
		return short
	}
	square := share*long*long + (1-share)*short*short
	want := 1 + utilization*square/(2*(1-utilization))
	if got := simulate(1, math.Inf(1), utilization, draw); math.Abs(got/want-1) > 0.05 {
		t.Errorf("want %.3f, got %.3f", want, got)
	}
}

func TestRequestsThatComputeByTurnsTakeAsLongAsIfTheySharedACore(t *testing.T) {
	// With slices that go to zero, the mean depends on the mean alone: 1/(1-utilization).
	const utilization = 0.6
	draw := func(r *rand.Rand) float64 {
		if r.Float64() < 0.1 {
			return 5.5
		}
		return 0.5
	}
	if got, want := simulate(1, 0.05, utilization, draw), 1/(1-utilization); math.Abs(got/want-1) > 0.06 {
		t.Errorf("want %.3f, got %.3f", want, got)
	}
}

func TestAsManyPasswordsAreVerifiedAtOnceAsThereAreCores(t *testing.T) {
	q := &queue{cores: 2, slice: 1}
	for range 5 {
		q.add(job{left: 10, isPassword: true})
	}
	q.add(job{left: 0.1, isToken: true})
	if q.verifying != 2 || q.passwords.len() != 3 {
		t.Errorf("want two that are verified and three that wait, got %d and %d", q.verifying, q.passwords.len())
	}
	took := q.run(func(float64) (float64, job) { return math.Inf(1), job{} }, 0)
	if len(took.tokens) != 0 {
		t.Errorf("nothing computes before it has a core: %v", took.tokens)
	}
	q.fill(0)
	if took = q.run(func(float64) (float64, job) { return math.Inf(1), job{} }, 0); len(took.passwords) != 5 || len(took.tokens) != 1 || took.tokens[0] > 1.2 {
		t.Errorf("want five passwords, and the token after one slice, got %v", took)
	}
}

func TestWithoutAnOutageNoClientTriesTwice(t *testing.T) {
	in := mustShip(t, func(in *input) {
		setAssumption("outage", 0)(in)
		setAssumption("coldTime", 0)(in)
	})
	for _, b := range behaviours {
		if o := simulateFailover(in, 0.5, false, b); o.highest > 1+1e-9 || o.gaveUp != 0 || o.full != 0 || o.recovered != 0 {
			t.Errorf("clients that %s: %+v", b.name, o)
		}
	}
}

func TestEachRequestOfAnOutageIsServedOrGivenUpOrStillThere(t *testing.T) {
	in := mustShip(t, nil)
	f := &failover{in: in, wait: behaviours[0], rate: 1000, capacity: 2000, places: 700, later: make([][]float64, 10_000)}
	served := 0.0
	for i := range 800 {
		arrived, _ := f.arrive(i, float64(i)*step)
		f.admit(i, arrived)
		before := f.inQueue
		if i > 400 {
			f.serve(f.capacity * step)
		}
		served += before - f.inQueue
		f.expire(i, float64(i)*step)
		if f.inQueue > f.places+1e-6 {
			t.Fatalf("step %d: %v wait on %v connections", i, f.inQueue, f.places)
		}
	}
	still := f.inQueue
	for _, counts := range f.later[800:] {
		for _, count := range counts {
			still += count
		}
	}
	if sum := served + f.gaveUp + still; math.Abs(sum/f.came-1) > 1e-6 {
		t.Errorf("%v came; %v were served, %v gave up and %v are there", f.came, served, f.gaveUp, still)
	}
}

func TestClientsThatWaitByChanceComeLessAtOnce(t *testing.T) {
	in := mustShip(t, nil)
	exact, spread := simulateFailover(in, 0.5, false, behaviours[0]), simulateFailover(in, 0.5, false, behaviours[1])
	if spread.highest >= exact.highest || spread.gaveUp > exact.gaveUp {
		t.Errorf("want less, got %+v and %+v", exact, spread)
	}
	if math.IsInf(exact.recovered, 0) || exact.recovered < in.of("coldTime") {
		t.Errorf("want a recovery once the database is warm, got %+v", exact)
	}
}
