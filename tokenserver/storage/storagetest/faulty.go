package storagetest

import (
	"context"
	"sync"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// Fault is what goes wrong with one call.
type Fault int

const (
	// None: the call works.
	None Fault = iota
	// Unavailable: nothing is done, and the call says so.
	Unavailable
	// LostRequest: nothing is done; of a write the caller learns only that its outcome is unknown.
	LostRequest
	// LostAnswer: a write is done, and the caller learns only that its outcome is unknown.
	LostAnswer
)

// Faulty is a store whose calls go wrong on request: first as queued by Next, then as set by Always.
type Faulty struct {
	Store storage.Store

	mu     sync.Mutex
	queue  []Fault
	always Fault
	calls  map[string]int
}

var _ storage.Store = (*Faulty)(nil)

// Next queues faults, one for each call that follows, reads and writes alike.
func (f *Faulty) Next(faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(f.queue, faults...)
}

// Always sets what happens to calls that no queued fault is for.
func (f *Faulty) Always(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.always = fault
}

// Calls says how often the method was called, also in vain.
func (f *Faulty) Calls(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[method]
}

// Writes says how many calls were made of methods that write.
func (f *Faulty) Writes() int {
	writes := 0
	for _, method := range []string{"CreateGrant", "UpdateGrant", "PutConsent", "SetMark"} {
		writes += f.Calls(method)
	}
	return writes
}

func (f *Faulty) next(method string) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.calls == nil {
		f.calls = map[string]int{}
	}
	f.calls[method]++
	if len(f.queue) == 0 {
		return f.always
	}
	fault := f.queue[0]
	f.queue = f.queue[1:]
	return fault
}

func read[T any](f *Faulty, method string, call func() (T, error)) (T, error) {
	if f.next(method) != None {
		var zero T
		return zero, storage.ErrUnavailable
	}
	return call()
}

func write[T any](f *Faulty, method string, call func() (T, error)) (T, error) {
	var zero T
	switch f.next(method) {
	case Unavailable:
		return zero, storage.ErrUnavailable
	case LostRequest:
		return zero, storage.ErrAmbiguous
	case LostAnswer:
		if _, err := call(); err != nil {
			return zero, err
		}
		return zero, storage.ErrAmbiguous
	default:
		return call()
	}
}

// CreateGrant implements storage.Store.
func (f *Faulty) CreateGrant(ctx context.Context, g storage.Grant) (storage.Grant, error) {
	return write(f, "CreateGrant", func() (storage.Grant, error) { return f.Store.CreateGrant(ctx, g) })
}

// GetGrant implements storage.Store.
func (f *Faulty) GetGrant(ctx context.Context, id string) (storage.Grant, error) {
	return read(f, "GetGrant", func() (storage.Grant, error) { return f.Store.GetGrant(ctx, id) })
}

// UpdateGrant implements storage.Store.
func (f *Faulty) UpdateGrant(ctx context.Context, g storage.Grant) (storage.Grant, error) {
	return write(f, "UpdateGrant", func() (storage.Grant, error) { return f.Store.UpdateGrant(ctx, g) })
}

// ListGrants implements storage.Store.
func (f *Faulty) ListGrants(ctx context.Context, userUID, clientUID string) ([]storage.Grant, error) {
	return read(f, "ListGrants", func() ([]storage.Grant, error) { return f.Store.ListGrants(ctx, userUID, clientUID) })
}

// GetConsent implements storage.Store.
func (f *Faulty) GetConsent(ctx context.Context, userUID, clientUID string) (storage.Consent, error) {
	return read(f, "GetConsent", func() (storage.Consent, error) { return f.Store.GetConsent(ctx, userUID, clientUID) })
}

// HasConsent implements storage.Store.
func (f *Faulty) HasConsent(ctx context.Context, userUID, clientUID, consentUID string) (bool, error) {
	return read(f, "HasConsent", func() (bool, error) { return f.Store.HasConsent(ctx, userUID, clientUID, consentUID) })
}

// PutConsent implements storage.Store.
func (f *Faulty) PutConsent(ctx context.Context, c storage.Consent) (storage.Consent, error) {
	return write(f, "PutConsent", func() (storage.Consent, error) { return f.Store.PutConsent(ctx, c) })
}

// SetMark implements storage.Store.
func (f *Faulty) SetMark(ctx context.Context, m storage.Mark) error {
	_, err := write(f, "SetMark", func() (struct{}, error) { return struct{}{}, f.Store.SetMark(ctx, m) })
	return err
}

// IsMarked implements storage.Store.
func (f *Faulty) IsMarked(ctx context.Context, kind storage.MarkKind, id string) (bool, error) {
	return read(f, "IsMarked", func() (bool, error) { return f.Store.IsMarked(ctx, kind, id) })
}

// CountMarks implements storage.Store.
func (f *Faulty) CountMarks(ctx context.Context, kind storage.MarkKind, userUID string, limit int) (int, error) {
	return read(f, "CountMarks", func() (int, error) { return f.Store.CountMarks(ctx, kind, userUID, limit) })
}

// OnEnd implements storage.Store.
func (f *Faulty) OnEnd(tell func(context.Context, storage.Grant)) { f.Store.OnEnd(tell) }

// Sweep implements storage.Store.
func (f *Faulty) Sweep(ctx context.Context, now time.Time) (int, error) {
	return write(f, "Sweep", func() (int, error) { return f.Store.Sweep(ctx, now) })
}
