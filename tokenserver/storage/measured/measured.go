// Package measured measures the calls to a storage.Store: how long they take, how many are in
// progress, and how they fail. A call of a request that is traced is a span of its trace.
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

// New returns a Store that passes calls on to next.
func New(next storage.Store, now func() time.Time, registerer prometheus.Registerer) (*Store, error) {
	m, err := newMetrics(now, registerer)
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
func (s *Store) CreateGrant(ctx context.Context, g storage.Grant) (created storage.Grant, err error) {
	ctx, c := s.metrics.begin(ctx, createGrant)
	created, err = s.next.CreateGrant(ctx, g)
	c.end(ctx, err)
	return created, err
}

// UpdateGrant implements storage.Store.
func (s *Store) UpdateGrant(ctx context.Context, g storage.Grant) (updated storage.Grant, err error) {
	ctx, c := s.metrics.begin(ctx, updateGrant)
	updated, err = s.next.UpdateGrant(ctx, g)
	c.end(ctx, err)
	return updated, err
}

// Rotate implements storage.Rotator. It is measured as UpdateGrant, if the other Store is a Rotator.
func (s *Store) Rotate(ctx context.Context, r storage.Rotation) (before, after storage.Grant, basis storage.Basis, err error) {
	next, ok := s.next.(storage.Rotator)
	if !ok {
		return storage.Grant{}, storage.Grant{}, storage.Basis{}, errors.ErrUnsupported
	}
	ctx, c := s.metrics.begin(ctx, updateGrant)
	before, after, basis, err = next.Rotate(ctx, r)
	c.end(ctx, err)
	return before, after, basis, err
}

// GetConsent implements storage.Store.
func (s *Store) GetConsent(ctx context.Context, userUID, clientUID string) (consent storage.Consent, err error) {
	ctx, c := s.metrics.begin(ctx, getConsent)
	consent, err = s.next.GetConsent(ctx, userUID, clientUID)
	c.end(ctx, err)
	return consent, err
}

// PutConsent implements storage.Store.
func (s *Store) PutConsent(ctx context.Context, consent storage.Consent) (put storage.Consent, err error) {
	ctx, c := s.metrics.begin(ctx, putConsent)
	put, err = s.next.PutConsent(ctx, consent)
	c.end(ctx, err)
	return put, err
}

// SetMark implements storage.Store.
func (s *Store) SetMark(ctx context.Context, m storage.Mark) error {
	ctx, c := s.metrics.begin(ctx, setMark)
	err := s.next.SetMark(ctx, m)
	c.end(ctx, err)
	return err
}

// CreateMark implements storage.Store.
func (s *Store) CreateMark(ctx context.Context, m storage.Mark) error {
	ctx, c := s.metrics.begin(ctx, createMark)
	err := s.next.CreateMark(ctx, m)
	c.end(ctx, err)
	return err
}

// CountMarks implements storage.Store.
func (s *Store) CountMarks(ctx context.Context, kind storage.MarkKind, userUID string, limit int) (n int, err error) {
	ctx, c := s.metrics.begin(ctx, countMarks)
	n, err = s.next.CountMarks(ctx, kind, userUID, limit)
	c.end(ctx, err)
	return n, err
}

// CreateIdentity implements storage.Store.
func (s *Store) CreateIdentity(ctx context.Context, i storage.Identity, maxOfProvider int) (created storage.Identity, err error) {
	ctx, c := s.metrics.begin(ctx, createIdentity)
	created, err = s.next.CreateIdentity(ctx, i, maxOfProvider)
	c.end(ctx, err)
	return created, err
}

// UpdateIdentity implements storage.Store.
func (s *Store) UpdateIdentity(ctx context.Context, i storage.Identity) (updated storage.Identity, err error) {
	ctx, c := s.metrics.begin(ctx, updateIdentity)
	updated, err = s.next.UpdateIdentity(ctx, i)
	c.end(ctx, err)
	return updated, err
}

// CountIdentities implements storage.Store.
func (s *Store) CountIdentities(ctx context.Context, providerUID string) (n int, err error) {
	ctx, c := s.metrics.begin(ctx, countIdentities)
	n, err = s.next.CountIdentities(ctx, providerUID)
	c.end(ctx, err)
	return n, err
}

// Sweep implements storage.Store.
func (s *Store) Sweep(ctx context.Context, now time.Time) (n int, err error) {
	ctx, c := s.metrics.begin(ctx, sweep)
	n, err = s.next.Sweep(ctx, now)
	c.end(ctx, err)
	return n, err
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
func (r reader) GetGrant(ctx context.Context, id string) (g storage.Grant, err error) {
	ctx, c := r.metrics.begin(ctx, r.operations.getGrant)
	g, err = r.next.GetGrant(ctx, id)
	c.end(ctx, err)
	return g, err
}

// GetGrantWithBasis is measured as GetGrant. It returns no Basis if the other reader does not read
// one together with the grant.
func (r reader) GetGrantWithBasis(ctx context.Context, id string) (g storage.Grant, basis *storage.Basis, err error) {
	together, ok := r.next.(storage.BasisReader)
	if !ok {
		g, err = r.GetGrant(ctx, id)
		return g, nil, err
	}
	ctx, c := r.metrics.begin(ctx, r.operations.getGrant)
	g, basis, err = together.GetGrantWithBasis(ctx, id)
	c.end(ctx, err)
	return g, basis, err
}

// HasConsent implements storage.Reader.
func (r reader) HasConsent(ctx context.Context, userUID, clientUID, consentUID string) (has bool, err error) {
	ctx, c := r.metrics.begin(ctx, r.operations.hasConsent)
	has, err = r.next.HasConsent(ctx, userUID, clientUID, consentUID)
	c.end(ctx, err)
	return has, err
}

// GetIdentity implements storage.Reader.
func (r reader) GetIdentity(ctx context.Context, subject string) (i storage.Identity, err error) {
	ctx, c := r.metrics.begin(ctx, r.operations.getIdentity)
	i, err = r.next.GetIdentity(ctx, subject)
	c.end(ctx, err)
	return i, err
}

// IsMarked implements storage.Reader.
func (r reader) IsMarked(ctx context.Context, kind storage.MarkKind, id string) (is bool, err error) {
	ctx, c := r.metrics.begin(ctx, r.operations.isMarked)
	is, err = r.next.IsMarked(ctx, kind, id)
	c.end(ctx, err)
	return is, err
}
