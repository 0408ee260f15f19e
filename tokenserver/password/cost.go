package password

import (
	"sync"
	"time"
)

// memory that computing the hash takes, in bytes.
func (p parsed) memory() int64 {
	if p.bcrypt {
		return 8 << 10 // some 4 KiB of state, and a little
	}
	return int64(p.params.memory) << 10
}

// threads that compute it.
func (p parsed) threads() int {
	if p.bcrypt {
		return 1
	}
	return int(p.params.threads)
}

// work is what computing it takes of one CPU: rounds of bcrypt, or KiB that Argon2 fills.
func (p parsed) work() float64 {
	if p.bcrypt {
		return float64(uint64(1) << p.cost)
	}
	return float64(p.params.memory) * float64(p.params.time)
}

// rates are how long a unit of work takes one thread, in nanoseconds. They begin with those of an
// ordinary machine, and follow what is measured: a container may have a tenth of a CPU, or share
// it.
type rates struct {
	mu             sync.Mutex
	argon2, bcrypt float64 // zero: nothing was asked for yet
}

const (
	initialArgon2 = 700    // a KiB: 27 ms for a hash of our own
	initialBcrypt = 60_000 // a round: 61 ms for cost 10
	// smoothing is the part of a rate, as its reciprocal, that one measurement replaces.
	smoothing = 8
	// outlier is how many times the rate a measurement counts as, at most: a process that was
	// stopped for a while says nothing of hashes.
	outlier = 4
)

// rate of the hash's work. The caller has the lock.
func (s *rates) rate(p parsed) *float64 {
	rate, initial := &s.argon2, float64(initialArgon2)
	if p.bcrypt {
		rate, initial = &s.bcrypt, initialBcrypt
	}
	if *rate == 0 {
		*rate = initial
	}
	return rate
}

// estimate how long so many threads take for the hash.
func (s *rates) estimate(p parsed, threads int) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Duration(*s.rate(p) * p.work() / float64(threads))
}

// learn from how long they took.
func (s *rates) learn(p parsed, threads int, took time.Duration) {
	if took <= 0 {
		return // a clock that stands still, or was set back
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rate := s.rate(p)
	*rate += (min(float64(took)*float64(threads)/p.work(), outlier**rate) - *rate) / smoothing
}
