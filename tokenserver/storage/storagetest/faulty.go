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
	for _, method := range []string{"CreateGrant", "UpdateGrant", "PutConsent", "DeleteConsent", "Mark"} {
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

// Grant implements storage.Store.
func (f *Faulty) Grant(ctx context.Context, id string) (storage.Grant, error) {
	return read(f, "Grant", func() (storage.Grant, error) { return f.Store.Grant(ctx, id) })
}

// UpdateGrant implements storage.Store.
func (f *Faulty) UpdateGrant(ctx context.Context, g storage.Grant) (storage.Grant, error) {
	return write(f, "UpdateGrant", func() (storage.Grant, error) { return f.Store.UpdateGrant(ctx, g) })
}

// GrantsOf implements storage.Store.
func (f *Faulty) GrantsOf(ctx context.Context, userUID, clientUID string) ([]storage.Grant, error) {
	return read(f, "GrantsOf", func() ([]storage.Grant, error) { return f.Store.GrantsOf(ctx, userUID, clientUID) })
}

// Consent implements storage.Store.
func (f *Faulty) Consent(ctx context.Context, userUID, clientUID string) (storage.Consent, error) {
	return read(f, "Consent", func() (storage.Consent, error) { return f.Store.Consent(ctx, userUID, clientUID) })
}

// Consented implements storage.Store.
func (f *Faulty) Consented(ctx context.Context, userUID, clientUID, consentUID string) (bool, error) {
	return read(f, "Consented", func() (bool, error) { return f.Store.Consented(ctx, userUID, clientUID, consentUID) })
}

// PutConsent implements storage.Store.
func (f *Faulty) PutConsent(ctx context.Context, c storage.Consent) (storage.Consent, error) {
	return write(f, "PutConsent", func() (storage.Consent, error) { return f.Store.PutConsent(ctx, c) })
}

// DeleteConsent implements storage.Store.
func (f *Faulty) DeleteConsent(ctx context.Context, userUID, clientUID string) error {
	_, err := write(f, "DeleteConsent", func() (struct{}, error) { return struct{}{}, f.Store.DeleteConsent(ctx, userUID, clientUID) })
	return err
}

// Mark implements storage.Store.
func (f *Faulty) Mark(ctx context.Context, m storage.Mark) error {
	_, err := write(f, "Mark", func() (struct{}, error) { return struct{}{}, f.Store.Mark(ctx, m) })
	return err
}

// Marked implements storage.Store.
func (f *Faulty) Marked(ctx context.Context, kind storage.MarkKind, id string) (bool, error) {
	return read(f, "Marked", func() (bool, error) { return f.Store.Marked(ctx, kind, id) })
}

// MarksOf implements storage.Store.
func (f *Faulty) MarksOf(ctx context.Context, kind storage.MarkKind, userUID string, limit int) (int, error) {
	return read(f, "MarksOf", func() (int, error) { return f.Store.MarksOf(ctx, kind, userUID, limit) })
}

// OnEnd implements storage.Store.
func (f *Faulty) OnEnd(tell func(context.Context, storage.Grant)) { f.Store.OnEnd(tell) }

// Sweep implements storage.Store.
func (f *Faulty) Sweep(ctx context.Context, now time.Time) (int, error) {
	return write(f, "Sweep", func() (int, error) { return f.Store.Sweep(ctx, now) })
}
