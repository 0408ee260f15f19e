package password

import (
	"context"
	"errors"
	"sync/atomic"
)

// waiting is how many verifications may wait for each that runs. At some 20 ms each, the last one waits for less than a second.
const waiting = 32

// ErrBusy: too many verifications wait already; try again later.
var ErrBusy = errors.New("too many passwords are being verified")

// Verifier verifies passwords, no more at once than it was made for: each takes tens of MiB of memory, and anyone may ask.
type Verifier struct {
	slots  chan struct{}
	queued atomic.Int64
	limit  int64
	done   atomic.Int64
}

// NewVerifier returns a Verifier that computes at most concurrent hashes at once; at least one.
func NewVerifier(concurrent int) *Verifier {
	concurrent = max(concurrent, 1)
	return &Verifier{slots: make(chan struct{}, concurrent), limit: int64(concurrent) * (1 + waiting)}
}

// Verify is Verify of the package, when its turn comes: ErrBusy if too many wait, the error of ctx if that ends first. With phc "" it does the
// work of a hash of our own and says false.
func (v *Verifier) Verify(ctx context.Context, phc, password string) (bool, error) {
	return v.VerifyIf(ctx, func() error { return nil }, phc, password)
}

// VerifyIf is Verify, if may has no error when its turn has come; else the error is that one, and nothing is computed. May must return at
// once.
func (v *Verifier) VerifyIf(ctx context.Context, may func() error, phc, password string) (bool, error) {
	if v.queued.Add(1) > v.limit {
		v.queued.Add(-1)
		return false, ErrBusy
	}
	defer v.queued.Add(-1)
	select {
	case v.slots <- struct{}{}:
		defer func() { <-v.slots }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if err := may(); err != nil {
		return false, err
	}
	v.done.Add(1)
	if phc == "" {
		phc = Decoy("")
	}
	return Verify(phc, password)
}

// Work is how many verifications were computed so far.
func (v *Verifier) Work() int64 { return v.done.Load() }
