package password

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"
)

var (
	// ErrBusy means that the queue is full. A later request may succeed.
	ErrBusy = errors.New("too many passwords are being verified")
	// ErrMemory means that one hash takes more memory than Limits.Memory.
	ErrMemory = errors.New("the password hash takes more memory than the server has for hashes: raise the memory limit of the server, or lower m of the hash")
)

// Limits limits what verifying passwords may take.
type Limits struct {
	// CPUs is how many CPUs compute hashes at once, at least one.
	CPUs int
	// Memory is how many bytes the hashes that are computed at once may take. Zero means that only
	// CPUs limits them.
	Memory int64
}

// Verifier verifies passwords, few at once: each takes tens of MiB of memory, and anyone may send
// one. The others wait in a queue that is limited by the time that it takes.
type Verifier struct {
	queue  *queue
	rates  rates
	limits Limits
	now    func() time.Time
	hashed atomic.Int64
	// refused counts the errors that wrap ErrBusy.
	refused atomic.Int64
}

// NewVerifier returns a Verifier with limits. It measures with now how long hashes take.
func NewVerifier(limits Limits, now func() time.Time) *Verifier {
	limits.CPUs = max(limits.CPUs, 1)
	if limits.Memory <= 0 {
		limits.Memory = math.MaxInt64
	}
	return &Verifier{queue: newQueue(limits), limits: limits, now: now}
}

// Request is a password to verify.
type Request struct {
	// Hash is the hash of the right password. If it is empty, no password is right, and verifying
	// takes as much work as for a hash that Hash made.
	Hash     string
	Password string
	// Quotas are the quotas of the queue that the request counts in.
	Quotas []Quota
	// UseReserve lets the request into the reserve of a full queue.
	UseReserve bool
	// BeforeHash, if it is not nil, is called when hashing is about to start. If it returns an
	// error, nothing is hashed. It must return at once.
	BeforeHash func() error
}

// Verify waits in the queue, and then verifies like the function Verify. The error wraps ErrBusy if
// the queue is full, ErrMemory if the hash can never be computed, and is that of ctx if ctx ends
// first.
func (v *Verifier) Verify(ctx context.Context, r Request) (bool, error) {
	if r.Hash == "" {
		r.Hash = DummyHash("")
	}
	h, err := parseHash(r.Hash)
	if err != nil {
		return false, err
	}
	if h.memory() > v.limits.Memory {
		return false, fmt.Errorf("%w (it takes %d KiB, and there are %d)", ErrMemory, h.memory()>>10, v.limits.Memory>>10)
	}
	threads := min(h.threads(), v.limits.CPUs)
	p := &place{cpus: threads, memory: h.memory(), hashTime: v.rates.estimate(h, threads), quotas: r.Quotas}
	if !v.queue.add(p, r.UseReserve) {
		v.refused.Add(1)
		return false, ErrBusy
	}
	defer v.queue.remove(p)
	late := time.NewTimer(maxWait)
	defer late.Stop()
	select {
	case <-p.start:
	case <-late.C:
		v.refused.Add(1)
		return false, ErrBusy
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if r.BeforeHash != nil {
		if err := r.BeforeHash(); err != nil {
			return false, err
		}
	}
	v.hashed.Add(1)
	start := v.now()
	isRight, err := Verify(r.Hash, r.Password)
	v.rates.update(h, threads, v.now().Sub(start))
	return isRight, err
}

// CountHashed returns how many passwords were hashed so far.
func (v *Verifier) CountHashed() int64 { return v.hashed.Load() }

// QueueLength returns how many requests wait or are being hashed.
func (v *Verifier) QueueLength() int { return v.queue.countPlaces() }
