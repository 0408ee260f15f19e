package main

import (
	"math"
	"math/rand/v2"
	"slices"
)

// times are how long requests took, in seconds.
type times []float64

// at is the time within which so many of them were answered; not a number if there are too few to
// say.
func (t times) at(share float64) float64 {
	if float64(len(t))*(1-share) < 10 {
		return math.NaN()
	}
	slices.Sort(t)
	return t[int(float64(len(t))*share)]
}

// queued is how long the requests of a simulation took.
type queued struct{ tokens, passwords times }

// simulated is how many requests a simulation has; tests have fewer.
var simulated = 300_000

// simulateQueue is a replica at a utilization: an M/G/k queue. Requests come by chance, their kinds
// as in the load, and compute by turns. At most as many passwords as there are cores are in it at
// once, since the others have a queue of their own.
func simulateQueue(in *input, l load, utilization float64) queued {
	parts := l.parts(in)
	rate, mean := 0.0, 0.0
	for i, p := range parts {
		if p.idToken {
			parts[i].cost += in.of("rs256")
		}
		rate, mean = rate+p.rate, mean+p.rate*parts[i].cost
	}
	mean /= rate
	q := &queue{cores: int(in.of("cores")), slice: in.of("timeSlice")}
	if math.IsNaN(mean) || math.IsNaN(in.of("variation")) {
		return queued{}
	}
	arrivals := rand.New(rand.NewPCG(1, 2))
	sigma := math.Sqrt(math.Log(1 + in.of("variation")*in.of("variation")))
	next := func(at float64) (float64, job) {
		at += arrivals.ExpFloat64() * mean / (utilization * float64(q.cores))
		kind, left := 0, arrivals.Float64()*rate
		for kind < len(parts)-1 && left >= parts[kind].rate {
			left -= parts[kind].rate
			kind++
		}
		cost := parts[kind].cost * math.Exp(sigma*arrivals.NormFloat64()-sigma*sigma/2)
		return at, job{came: at, left: cost, isPassword: parts[kind].name == passwordPart, isToken: parts[kind].name == tokenPart}
	}
	return q.run(next, simulated)
}

// job is a request that computes.
type job struct {
	came, left          float64
	isPassword, isToken bool
}

// queue is a number of cores and the requests that wait for one.
type queue struct {
	cores int
	slice float64 // how long a request computes before those that wait have their turn

	waiting   fifo
	passwords fifo // wait for others to be verified
	verifying int
	busy      []turn
}

// turn is a request on a core, until its slice ends.
type turn struct {
	job
	ends float64
}

// run lets n requests come, and returns how long they took.
func (q *queue) run(next func(at float64) (float64, job), n int) queued {
	var took queued
	at, coming := next(0)
	for came := 0; came < n || len(q.busy) > 0; {
		first := -1
		for i, t := range q.busy {
			if first < 0 || t.ends < q.busy[first].ends {
				first = i
			}
		}
		if came < n && (first < 0 || at < q.busy[first].ends) {
			q.add(coming)
			q.fill(at)
			came++
			at, coming = next(at)
			continue
		}
		ended := q.busy[first]
		q.busy = slices.Delete(q.busy, first, first+1)
		if ended.left > 0 {
			q.waiting.push(ended.job)
		} else {
			took.add(ended.job, ended.ends)
			if ended.isPassword {
				q.verifying--
				q.admit()
			}
		}
		q.fill(ended.ends)
	}
	return took
}

func (q *queue) add(j job) {
	if j.isPassword {
		q.passwords.push(j)
		q.admit()
		return
	}
	q.waiting.push(j)
}

// admit lets passwords be verified, as many at once as there are cores.
func (q *queue) admit() {
	for q.verifying < q.cores && q.passwords.len() > 0 {
		q.verifying++
		q.waiting.push(q.passwords.pop())
	}
}

// fill gives the cores that are idle to those that wait.
func (q *queue) fill(now float64) {
	for len(q.busy) < q.cores && q.waiting.len() > 0 {
		j := q.waiting.pop()
		slice := min(j.left, q.slice)
		j.left -= slice
		q.busy = append(q.busy, turn{job: j, ends: now + slice})
	}
}

func (t *queued) add(j job, ended float64) {
	switch {
	case j.isPassword:
		t.passwords = append(t.passwords, ended-j.came)
	case j.isToken:
		t.tokens = append(t.tokens, ended-j.came)
	}
}

// fifo is a list of requests: first come, first served.
type fifo struct {
	jobs []job
	head int
}

func (f *fifo) len() int   { return len(f.jobs) - f.head }
func (f *fifo) push(j job) { f.jobs = append(f.jobs, j) }

func (f *fifo) pop() job {
	j := f.jobs[f.head]
	f.head++
	if f.head > 1024 && f.head > len(f.jobs)/2 {
		f.jobs, f.head = append(f.jobs[:0], f.jobs[f.head:]...), 0
	}
	return j
}
