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
	// ErrBusy: there is no place in the queue; try again later.
	ErrBusy = errors.New("too many passwords are being verified")
	// ErrMemory: the hash takes more memory than all hashes together may take.
	ErrMemory = errors.New("the password hash takes more memory than the server has for hashes: raise the memory limit of the server, or lower m of the hash")
)

// Limits of what verifying passwords may take.
type Limits struct {
	// CPUs that hashes are computed on at once; at least one.
	CPUs int
	// Memory of the hashes that are computed at once, in bytes; zero: as much as the CPUs make them
	// take.
	Memory int64
}

// Verifier verifies passwords, few at once: each takes tens of MiB of memory, and anyone may ask.
// The others wait in a queue that is bounded by the time that it takes.
type Verifier struct {
	queue  *queue
	rates  rates
	limits Limits
	now    func() time.Time
	done   atomic.Int64
	// refused counts the errors that wrap ErrBusy.
	refused atomic.Int64
}

// NewVerifier returns a Verifier that computes within the limits. It learns from the clock how long
// hashes take.
func NewVerifier(limits Limits, now func() time.Time) *Verifier {
	limits.CPUs = max(limits.CPUs, 1)
	if limits.Memory <= 0 {
		limits.Memory = math.MaxInt64
	}
	return &Verifier{queue: newQueue(limits), limits: limits, now: now}
}

// Request is a password to verify.
type Request struct {
	// Hash of the right password. Empty: the work of a hash of our own is done, and no password is
	// right.
	Hash     string
	Password string
	// Shares of the queue that it counts in.
	Quotas []Quota
	// Reserve lets it into the part of the queue that is kept for such requests, where the rest is
	// full.
	UseReserve bool
	// May, if it is not nil, is called when the turn of the request has come; with an error nothing
	// is computed. It must return at once.
	BeforeHash func() error
}

// Verify is Verify of the package, when the turn of the request comes. The error wraps ErrBusy if
// there is no place in the queue, ErrMemory if there never is one for such a hash, and is that of
// ctx if it ends first.
func (v *Verifier) Verify(ctx context.Context, r Request) (bool, error) {
	if r.Hash == "" {
		r.Hash = DummyHash("")
	}
	h, err := parse(r.Hash)
	if err != nil {
		return false, err
	}
	if h.memory() > v.limits.Memory {
		return false, fmt.Errorf("%w (it takes %d KiB, and there are %d)", ErrMemory, h.memory()>>10, v.limits.Memory>>10)
	}
	threads := min(h.threads(), v.limits.CPUs)
	p := &place{cpus: threads, memory: h.memory(), takes: v.rates.estimate(h, threads), shares: r.Quotas}
	if !v.queue.enter(p, r.UseReserve) {
		v.refused.Add(1)
		return false, ErrBusy
	}
	defer v.queue.leave(p)
	late := time.NewTimer(longestWait)
	defer late.Stop()
	select {
	case <-p.turn:
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
	v.done.Add(1)
	began := v.now()
	right, err := Verify(r.Hash, r.Password)
	v.rates.learn(h, threads, v.now().Sub(began))
	return right, err
}

// Work is how many verifications were computed so far.
func (v *Verifier) CountHashed() int64 { return v.done.Load() }

// Queued is how many requests are in the queue, those that are computed included.
func (v *Verifier) QueueLength() int { return v.queue.length() }
