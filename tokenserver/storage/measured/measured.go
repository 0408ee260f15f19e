// Package measured measures the calls to a storage.Store: how long they take, how many are in
// progress, and how they fail. A call of a request that is traced is a span of its trace. It also
// bounds how many are in progress, so that a storage that hangs does not take along the requests that
// need no record.
//
//	measured.go  Store, which passes each call on to another Store
//	metrics.go   what is measured of a call
package measured

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oauth-operator/oauth-operator/tokenserver/notbefore"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// Store is a storage.Store that measures the calls to another one.
type Store struct {
	reader
	next storage.Store
	// recent measures the reads of storage.RecentReader.
	recent reader
}

var _ storage.Store = (*Store)(nil)

// New returns a Store that passes calls on to next, of which at most limit are in progress at once.
// One more returns ErrUnavailable at once, and is not passed on.
func New(next storage.Store, limit int, now func() time.Time, registerer prometheus.Registerer) (*Store, error) {
	m, err := newMetrics(limit, now, registerer)
	if err != nil {
		return nil, err
	}
	return &Store{
		reader: reader{next, m, readOperations{getGrant, hasConsent, getIdentity, isMarked}}, next: next,
		recent: reader{storage.RecentReader(next), m, readOperations{recentGetGrant, recentHasConsent, recentGetIdentity, recentIsMarked}},
	}, nil
}

// RecentReader returns the measured reads for storage.RecentReader, which are those of s if the other
// Store has no others.
func (s *Store) RecentReader() storage.Reader {
	if s.recent.next == storage.Reader(s.next) {
		return s
	}
	return s.recent
}

// OnEnd implements storage.Store.
func (s *Store) OnEnd(notify func(ctx context.Context, g storage.Grant)) { s.next.OnEnd(notify) }

// SetNotBefore implements storage.Store.
func (s *Store) SetNotBefore(times func() notbefore.Times) { s.next.SetNotBefore(times) }

// SetIdentitySpecs implements storage.Store.
func (s *Store) SetIdentitySpecs(has func(subject string) bool) { s.next.SetIdentitySpecs(has) }

// CreateGrant implements storage.Store.
func (s *Store) CreateGrant(ctx context.Context, g storage.Grant) (storage.Grant, error) {
	return measure(ctx, s.metrics, createGrant, func(ctx context.Context) (storage.Grant, error) { return s.next.CreateGrant(ctx, g) })
}

// UpdateGrant implements storage.Store.
func (s *Store) UpdateGrant(ctx context.Context, g storage.Grant) (storage.Grant, error) {
	return measure(ctx, s.metrics, updateGrant, func(ctx context.Context) (storage.Grant, error) { return s.next.UpdateGrant(ctx, g) })
}

// Rotate implements storage.Rotator. It is measured as UpdateGrant, if the other Store is a Rotator.
func (s *Store) Rotate(ctx context.Context, r storage.Rotation) (before, after storage.Grant, basis storage.Basis, err error) {
	next, ok := s.next.(storage.Rotator)
	if !ok {
		return storage.Grant{}, storage.Grant{}, storage.Basis{}, errors.ErrUnsupported
	}
	_, err = measure(ctx, s.metrics, updateGrant, func(ctx context.Context) (struct{}, error) {
		before, after, basis, err = next.Rotate(ctx, r)
		return struct{}{}, err
	})
	return before, after, basis, err
}

// GetConsent implements storage.Store.
func (s *Store) GetConsent(ctx context.Context, userUID, clientUID string) (storage.Consent, error) {
	return measure(ctx, s.metrics, getConsent, func(ctx context.Context) (storage.Consent, error) { return s.next.GetConsent(ctx, userUID, clientUID) })
}

// PutConsent implements storage.Store.
func (s *Store) PutConsent(ctx context.Context, consent storage.Consent) (storage.Consent, error) {
	return measure(ctx, s.metrics, putConsent, func(ctx context.Context) (storage.Consent, error) { return s.next.PutConsent(ctx, consent) })
}

// SetMark implements storage.Store.
func (s *Store) SetMark(ctx context.Context, m storage.Mark) error {
	_, err := measure(ctx, s.metrics, setMark, func(ctx context.Context) (struct{}, error) { return struct{}{}, s.next.SetMark(ctx, m) })
	return err
}

// CreateMark implements storage.Store.
func (s *Store) CreateMark(ctx context.Context, m storage.Mark) error {
	_, err := measure(ctx, s.metrics, createMark, func(ctx context.Context) (struct{}, error) { return struct{}{}, s.next.CreateMark(ctx, m) })
	return err
}

// CountMarks implements storage.Store.
func (s *Store) CountMarks(ctx context.Context, kind storage.MarkKind, userUID string, limit int) (int, error) {
	return measure(ctx, s.metrics, countMarks, func(ctx context.Context) (int, error) { return s.next.CountMarks(ctx, kind, userUID, limit) })
}

// CreateIdentity implements storage.Store.
func (s *Store) CreateIdentity(ctx context.Context, i storage.Identity, maxOfProvider int) (storage.Identity, error) {
	return measure(ctx, s.metrics, createIdentity, func(ctx context.Context) (storage.Identity, error) {
		return s.next.CreateIdentity(ctx, i, maxOfProvider)
	})
}

// UpdateIdentity implements storage.Store.
func (s *Store) UpdateIdentity(ctx context.Context, i storage.Identity) (storage.Identity, error) {
	return measure(ctx, s.metrics, updateIdentity, func(ctx context.Context) (storage.Identity, error) { return s.next.UpdateIdentity(ctx, i) })
}

// CountIdentities implements storage.Store.
func (s *Store) CountIdentities(ctx context.Context, providerUID string) (int, error) {
	return measure(ctx, s.metrics, countIdentities, func(ctx context.Context) (int, error) { return s.next.CountIdentities(ctx, providerUID) })
}

// Sweep implements storage.Store.
func (s *Store) Sweep(ctx context.Context, now time.Time) (int, error) {
	return measure(ctx, s.metrics, sweep, func(ctx context.Context) (int, error) { return s.next.Sweep(ctx, now) })
}

// reader is a storage.Reader that measures the calls to another one.
type reader struct {
	next       storage.Reader
	metrics    *metrics
	operations readOperations
}

// readOperations are what the reads are measured as.
type readOperations struct{ getGrant, hasConsent, getIdentity, isMarked operation }

// GetGrant implements storage.Reader.
func (r reader) GetGrant(ctx context.Context, id string) (storage.Grant, error) {
	return measure(ctx, r.metrics, r.operations.getGrant, func(ctx context.Context) (storage.Grant, error) { return r.next.GetGrant(ctx, id) })
}

// GetGrantWithBasis is measured as GetGrant. It returns no Basis if the other reader does not read
// one together with the grant.
func (r reader) GetGrantWithBasis(ctx context.Context, id string) (g storage.Grant, basis *storage.Basis, err error) {
	together, ok := r.next.(storage.BasisReader)
	if !ok {
		g, err = r.GetGrant(ctx, id)
		return g, nil, err
	}
	ctx, c, err := r.metrics.begin(ctx, r.operations.getGrant)
	if err == nil {
		g, basis, err = together.GetGrantWithBasis(ctx, id)
	}
	c.end(ctx, err)
	return g, basis, err
}

// HasConsent implements storage.Reader.
func (r reader) HasConsent(ctx context.Context, userUID, clientUID, consentUID string) (bool, error) {
	return measure(ctx, r.metrics, r.operations.hasConsent, func(ctx context.Context) (bool, error) { return r.next.HasConsent(ctx, userUID, clientUID, consentUID) })
}

// GetIdentity implements storage.Reader.
func (r reader) GetIdentity(ctx context.Context, subject string) (storage.Identity, error) {
	return measure(ctx, r.metrics, r.operations.getIdentity, func(ctx context.Context) (storage.Identity, error) { return r.next.GetIdentity(ctx, subject) })
}

// IsMarked implements storage.Reader.
func (r reader) IsMarked(ctx context.Context, kind storage.MarkKind, id string) (bool, error) {
	return measure(ctx, r.metrics, r.operations.isMarked, func(ctx context.Context) (bool, error) { return r.next.IsMarked(ctx, kind, id) })
}
