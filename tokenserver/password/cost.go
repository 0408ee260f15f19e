package password

import (
	"sync"
	"time"
)

// memory returns how many bytes computing the hash takes.
func (p parsedHash) memory() int64 {
	if p.bcrypt {
		return 8 << 10 // the state has 4 KiB
	}
	return int64(p.params.memory) << 10
}

// threads returns how many threads compute the hash.
func (p parsedHash) threads() int {
	if p.bcrypt {
		return 1
	}
	return int(p.params.threads)
}

// work returns how much work the hash is: rounds of bcrypt, or KiB that Argon2 fills.
func (p parsedHash) work() float64 {
	if p.bcrypt {
		return float64(uint64(1) << p.bcryptCost)
	}
	return float64(p.params.memory) * float64(p.params.time)
}

// rates are how many nanoseconds one thread takes for a unit of work. They begin with those of an
// ordinary machine and follow what is measured, since a container may have a tenth of a CPU.
type rates struct {
	mu             sync.Mutex
	argon2, bcrypt float64 // 0 until it is used
}

const (
	initialArgon2 = 700    // for a KiB: 27 ms for a hash that Hash made
	initialBcrypt = 60_000 // for a round: 61 ms for cost 10
	// smoothing: a measurement replaces 1/smoothing of a rate.
	smoothing = 8
	// outlier is how many times the rate a measurement counts at most. A process that was stopped
	// for a while measures too much.
	outlier = 4
)

// rateOf returns the rate for a hash. The caller holds the lock.
func (r *rates) rateOf(p parsedHash) *float64 {
	rate, initial := &r.argon2, float64(initialArgon2)
	if p.bcrypt {
		rate, initial = &r.bcrypt, initialBcrypt
	}
	if *rate == 0 {
		*rate = initial
	}
	return rate
}

// estimate returns how long the threads will take for a hash.
func (r *rates) estimate(p parsedHash, threads int) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Duration(*r.rateOf(p) * p.work() / float64(threads))
}

// update updates the rate with how long the threads took for a hash.
func (r *rates) update(p parsedHash, threads int, took time.Duration) {
	if took <= 0 {
		return // the clock was set back
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	rate := r.rateOf(p)
	*rate += (min(float64(took)*float64(threads)/p.work(), outlier**rate) - *rate) / smoothing
}
