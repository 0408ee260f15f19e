package main

import "math"

const (
	// step is the time that a simulation of a promotion goes on at once, in seconds.
	step = 0.05
	// longest is how long it goes on at most, and longestWait how long a client waits at most.
	longest, longestWait = 600, 60
)

// behaviour is what clients do after an answer 503.
type behaviour struct {
	name string
	// wait is the least and the most that a client waits before its next attempt, after so many.
	wait func(in *input, attempts int) (least, most float64)
}

var behaviours = []behaviour{
	{"wait as long as `Retry-After` says", func(in *input, _ int) (float64, float64) { return in.of("retryAfter"), in.of("retryAfterMost") }},
	{"wait so long, and up to as long again by chance", func(in *input, _ int) (float64, float64) { return in.of("retryAfter"), 2 * in.of("retryAfterMost") }},
	{"do not read it, and try ten times a second", func(*input, int) (float64, float64) { return 0.1, 0.1 }},
	{"wait by chance, up to twice as long each time, a minute at most", func(_ *input, attempts int) (float64, float64) {
		return 0, min(longestWait, math.Exp2(float64(attempts)))
	}},
}

// outcome is what a promotion did to the clients.
type outcome struct {
	highest   float64 // attempts in the worst second, as many times as without it
	full      float64 // seconds in which as many requests waited for the database as may
	recovered float64 // seconds from the end of the outage until no client waits; infinite: not in time
	gaveUp    float64 // share of the requests that came until then
}

// cohort is a number of requests that came at the same moment and are at the same attempt.
type cohort struct {
	since    float64
	attempts int
	count    float64
}

// failover is a simulation of a database that is away, and of clients that try again. Requests are
// amounts, so that nothing is by chance.
//
// A request waits for the database until the call times out; when as many wait at its replica as may,
// the next one is refused. The database can do 1/utilization of what
// comes without an outage.
type failover struct {
	in       *input
	wait     behaviour
	rate     float64 // requests a second that need a record
	capacity float64 // of the database, in requests a second
	places   float64 // how many requests may wait for the database, at all replicas

	later        [][]float64 // what comes again in a step, by the attempts that it has made
	waiting      []cohort
	inQueue      float64
	came, gaveUp float64
}

func simulateFailover(in *input, utilization float64, hangs bool, wait behaviour) outcome {
	l := peak(in)
	rate := l.codes + l.refreshes() + l.introspections
	places := replicasFor(in, l) * in.of("storeOperations")
	if missing := rate + places; math.IsNaN(missing) {
		return outcome{missing, missing, missing, missing}
	}
	f := &failover{in: in, wait: wait, rate: rate, capacity: rate / utilization, places: places}
	f.later = make([][]float64, int((longest+longestWait)/step)+2)
	outage, coldUntil := in.of("outage"), in.of("outage")+in.of("coldTime")
	out, second := outcome{recovered: math.Inf(1)}, 0.0
	for i := range int(longest / step) {
		now := float64(i) * step
		arrived, attempted := f.arrive(i, now)
		if i%int(1/step) == 0 {
			second = 0
		}
		second += attempted
		out.highest = max(out.highest, second/rate)
		if now < outage && !hangs {
			for _, c := range arrived {
				f.again(i, c)
			}
			continue
		}
		if f.admit(i, arrived) {
			out.full += step
		}
		switch {
		case now < outage:
		case now < coldUntil:
			f.serve(f.capacity * step * in.of("coldCapacity"))
		default:
			f.serve(f.capacity * step)
		}
		f.expire(i, now)
		if now >= coldUntil && f.inQueue < 1 && f.isQuiet(i+1) {
			out.recovered = now - outage
			break
		}
	}
	out.gaveUp = f.gaveUp / f.came
	return out
}

// arrive returns the attempts of a step: first ones, and those of clients that try again.
func (f *failover) arrive(i int, now float64) (arrived []cohort, attempted float64) {
	attempted = f.rate * step
	f.came += attempted
	arrived = []cohort{{now, 1, attempted}}
	for attempts, count := range f.later[i] {
		if count > 0 {
			arrived = append(arrived, cohort{now, attempts + 1, count})
			attempted += count
		}
	}
	return arrived, attempted
}

// admit lets requests wait for the database while so many may, and refuses the others.
func (f *failover) admit(i int, arrived []cohort) (isFull bool) {
	for _, c := range arrived {
		refused := c
		c.count = min(c.count, f.places-f.inQueue)
		if refused.count -= c.count; refused.count > 0 {
			isFull = true
			f.again(i, refused)
		}
		if c.count > 0 {
			f.waiting, f.inQueue = append(f.waiting, c), f.inQueue+c.count
		}
	}
	return isFull
}

// serve answers so many of those that wait.
func (f *failover) serve(capacity float64) {
	for len(f.waiting) > 0 && capacity > 0 {
		n := min(capacity, f.waiting[0].count)
		capacity, f.inQueue = capacity-n, max(0, f.inQueue-n)
		if f.waiting[0].count -= n; f.waiting[0].count > 1e-9 {
			return
		}
		f.waiting = f.waiting[1:]
	}
}

// expire answers those with 503 that have waited for as long as a call may take.
func (f *failover) expire(i int, now float64) {
	for len(f.waiting) > 0 && now-f.waiting[0].since >= f.in.of("callTimeout") {
		f.again(i, f.waiting[0])
		f.inQueue = max(0, f.inQueue-f.waiting[0].count)
		f.waiting = f.waiting[1:]
	}
}

// again has requests come again, spread over the time that their clients wait.
func (f *failover) again(i int, c cohort) {
	if c.attempts >= int(f.in.of("attempts")) {
		f.gaveUp += c.count
		return
	}
	least, most := f.wait.wait(f.in, c.attempts)
	first, last := i+max(1, int(math.Round(least/step))), i+max(1, int(math.Round(most/step)))
	for j := first; j <= last; j++ {
		for len(f.later[j]) <= c.attempts {
			f.later[j] = append(f.later[j], 0)
		}
		f.later[j][c.attempts] += c.count / float64(last-first+1)
	}
}

// isQuiet reports whether less than one request will come again from a step on.
func (f *failover) isQuiet(from int) bool {
	sum := 0.0
	for _, counts := range f.later[from:min(len(f.later), from+int(longestWait/step)+1)] {
		for _, count := range counts {
			sum += count
		}
	}
	return sum < 1
}

// failoverTable is what a promotion does, by what clients do.
func failoverTable(in *input) [][]string {
	lines := [][]string{{"clients that get no answer", "utilization before", "calls meanwhile", "attempts in the worst second", "as many wait for it as may", "no client waits any more", "gave up"}}
	for _, b := range behaviours {
		for _, c := range []struct {
			utilization float64
			hangs       bool
		}{{in.of("utilization"), false}, {in.of("utilization"), true}, {0.8, false}} {
			o := simulateFailover(in, c.utilization, c.hangs, b)
			lines = append(lines, []string{
				b.name, text(c.utilization), map[bool]string{true: "hang", false: "fail at once"}[c.hangs],
				short(o.highest) + " ×", fullText(math.Round(o.full)), afterText(math.Round(o.recovered)), short(math.Round(1000*o.gaveUp)/10) + " %",
			})
		}
	}
	return lines
}

func afterText(seconds float64) string {
	if math.IsInf(seconds, 0) {
		return "not within ten minutes"
	}
	return "after " + timeText(seconds)
}

func fullText(seconds float64) string {
	if seconds == 0 {
		return "never"
	}
	return "for " + timeText(seconds)
}
