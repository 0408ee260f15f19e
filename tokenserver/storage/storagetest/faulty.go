package storagetest

import (
	"context"
	"reflect"
	"sync"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/notbefore"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// Fault is what goes wrong with one call.
type Fault int

const (
	// None is no fault.
	None Fault = iota
	// Unavailable makes a call do nothing and return ErrUnavailable.
	Unavailable
	// LostRequest makes a write do nothing and return ErrAmbiguous. It makes a read unavailable.
	LostRequest
	// LostAnswer makes a write happen and return ErrAmbiguous. It makes a read unavailable.
	LostAnswer
)

// Faulty is a store whose calls fail on request. It also counts them.
type Faulty struct {
	Store storage.Store

	mu     sync.Mutex
	queued map[string][]Fault // by method
	always Fault
	calls  map[string]int // by method
}

var _ storage.Store = (*Faulty)(nil)

// Fail queues a fault for each of the next calls of a method of storage.Store. It panics if there
// is no such method.
func (f *Faulty) Fail(method string, faults ...Fault) {
	checkMethod(method)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.queued == nil {
		f.queued = map[string][]Fault{}
	}
	f.queued[method] = append(f.queued[method], faults...)
}

// FailAll sets the fault of all calls for which none is queued.
func (f *Faulty) FailAll(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.always = fault
}

// Calls returns how often a method was called, including the calls that failed. It panics if there
// is no such method.
func (f *Faulty) Calls(method string) int {
	checkMethod(method)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[method]
}

// Writes returns how often methods that write were called.
func (f *Faulty) Writes() int {
	return f.Calls("CreateGrant") + f.Calls("UpdateGrant") + f.Calls("PutConsent") + f.Calls("CreateIdentity") + f.Calls("UpdateIdentity") +
		f.Calls("SetMark") + f.Calls("CreateMark")
}

func checkMethod(method string) {
	if _, ok := reflect.TypeFor[storage.Store]().MethodByName(method); !ok {
		panic("storage.Store has no method " + method)
	}
}

// nextFault counts a call of the method, and returns its fault.
func (f *Faulty) nextFault(method string) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.calls == nil {
		f.calls = map[string]int{}
	}
	f.calls[method]++
	queued := f.queued[method]
	if len(queued) == 0 {
		return f.always
	}
	f.queued[method] = queued[1:]
	return queued[0]
}

func callRead[T any](f *Faulty, method string, call func() (T, error)) (T, error) {
	if f.nextFault(method) != None {
		var zero T
		return zero, storage.ErrUnavailable
	}
	return call()
}

func callWrite[T any](f *Faulty, method string, call func() (T, error)) (T, error) {
	var zero T
	switch f.nextFault(method) {
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
	return callWrite(f, "CreateGrant", func() (storage.Grant, error) { return f.Store.CreateGrant(ctx, g) })
}

// GetGrant implements storage.Store.
func (f *Faulty) GetGrant(ctx context.Context, id string) (storage.Grant, error) {
	return callRead(f, "GetGrant", func() (storage.Grant, error) { return f.Store.GetGrant(ctx, id) })
}

// UpdateGrant implements storage.Store.
func (f *Faulty) UpdateGrant(ctx context.Context, g storage.Grant) (storage.Grant, error) {
	return callWrite(f, "UpdateGrant", func() (storage.Grant, error) { return f.Store.UpdateGrant(ctx, g) })
}

// GetConsent implements storage.Store.
func (f *Faulty) GetConsent(ctx context.Context, userUID, clientUID string) (storage.Consent, error) {
	return callRead(f, "GetConsent", func() (storage.Consent, error) { return f.Store.GetConsent(ctx, userUID, clientUID) })
}

// HasConsent implements storage.Store.
func (f *Faulty) HasConsent(ctx context.Context, userUID, clientUID, consentUID string) (bool, error) {
	return callRead(f, "HasConsent", func() (bool, error) { return f.Store.HasConsent(ctx, userUID, clientUID, consentUID) })
}

// PutConsent implements storage.Store.
func (f *Faulty) PutConsent(ctx context.Context, c storage.Consent) (storage.Consent, error) {
	return callWrite(f, "PutConsent", func() (storage.Consent, error) { return f.Store.PutConsent(ctx, c) })
}

// GetIdentity implements storage.Store.
func (f *Faulty) GetIdentity(ctx context.Context, subject string) (storage.Identity, error) {
	return callRead(f, "GetIdentity", func() (storage.Identity, error) { return f.Store.GetIdentity(ctx, subject) })
}

// CreateIdentity implements storage.Store.
func (f *Faulty) CreateIdentity(ctx context.Context, i storage.Identity, maxOfProvider int) (storage.Identity, error) {
	return callWrite(f, "CreateIdentity", func() (storage.Identity, error) { return f.Store.CreateIdentity(ctx, i, maxOfProvider) })
}

// UpdateIdentity implements storage.Store.
func (f *Faulty) UpdateIdentity(ctx context.Context, i storage.Identity) (storage.Identity, error) {
	return callWrite(f, "UpdateIdentity", func() (storage.Identity, error) { return f.Store.UpdateIdentity(ctx, i) })
}

// CountIdentities implements storage.Store.
func (f *Faulty) CountIdentities(ctx context.Context, providerUID string) (int, error) {
	return callRead(f, "CountIdentities", func() (int, error) { return f.Store.CountIdentities(ctx, providerUID) })
}

// SetIdentitySpecs implements storage.Store.
func (f *Faulty) SetIdentitySpecs(has func(subject string) bool) { f.Store.SetIdentitySpecs(has) }

// SetMark implements storage.Store.
func (f *Faulty) SetMark(ctx context.Context, m storage.Mark) error {
	_, err := callWrite(f, "SetMark", func() (struct{}, error) { return struct{}{}, f.Store.SetMark(ctx, m) })
	return err
}

// CreateMark implements storage.Store.
func (f *Faulty) CreateMark(ctx context.Context, m storage.Mark) error {
	_, err := callWrite(f, "CreateMark", func() (struct{}, error) { return struct{}{}, f.Store.CreateMark(ctx, m) })
	return err
}

// IsMarked implements storage.Store.
func (f *Faulty) IsMarked(ctx context.Context, kind storage.MarkKind, id string) (bool, error) {
	return callRead(f, "IsMarked", func() (bool, error) { return f.Store.IsMarked(ctx, kind, id) })
}

// CountMarks implements storage.Store.
func (f *Faulty) CountMarks(ctx context.Context, kind storage.MarkKind, userUID string, limit int) (int, error) {
	return callRead(f, "CountMarks", func() (int, error) { return f.Store.CountMarks(ctx, kind, userUID, limit) })
}

// OnEnd implements storage.Store.
func (f *Faulty) OnEnd(notify func(context.Context, storage.Grant)) { f.Store.OnEnd(notify) }

// SetNotBefore implements storage.Store.
func (f *Faulty) SetNotBefore(times func() notbefore.Times) { f.Store.SetNotBefore(times) }

// Sweep implements storage.Store.
func (f *Faulty) Sweep(ctx context.Context, now time.Time) (int, error) {
	return callWrite(f, "Sweep", func() (int, error) { return f.Store.Sweep(ctx, now) })
}
