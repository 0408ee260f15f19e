package kubernetes

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// RecentReader returns a reader of the caches for storage.RecentReader. While a watch is broken, it
// asks the API server; if that cannot be reached either, what the caches hold is used for
// storage.MaxRecentLag.
func (s *Store) RecentReader() storage.Reader { return recentReader{s} }

type recentReader struct{ *Store }

// GetGrant implements storage.Reader. A grant that is not in the cache is read from the API server,
// since another replica may have just created it.
func (r recentReader) GetGrant(ctx context.Context, id string) (storage.Grant, error) {
	name := r.grantName(id)
	if r.wasDeleted(name) {
		return storage.Grant{}, storage.ErrNotFound
	}
	cached, ok := r.grants.get(name)
	if ok && (cached.IsEnded() || r.isFresh()) {
		return cached, nil
	}
	g, err := r.Store.GetGrant(ctx, id)
	if errors.Is(err, storage.ErrUnavailable) && ok && r.isRecent() {
		return cached, nil
	}
	return g, err
}

// HasConsent implements storage.Reader. A consent that is not in the cache, or has another UID
// there, is read from the API server, since another replica may have just created it.
func (r recentReader) HasConsent(ctx context.Context, userUID, clientUID, consentUID string) (bool, error) {
	cached := r.consents.has(pair{userUID, clientUID}, types.UID(consentUID))
	if cached && r.isFresh() {
		return true, nil
	}
	consented, err := r.Store.HasConsent(ctx, userUID, clientUID, consentUID)
	if errors.Is(err, storage.ErrUnavailable) && cached && r.isRecent() {
		return true, nil
	}
	return consented, err
}

// GetIdentity implements storage.Reader. An identity that is not in the cache is read from the API
// server, since another replica may have just created it.
func (r recentReader) GetIdentity(ctx context.Context, subject string) (storage.Identity, error) {
	cached, ok := r.identities.get(v1alpha1.OAuthIdentityName(subject))
	if ok && r.isFresh() {
		return readIdentity(cached)
	}
	i, err := r.Store.GetIdentity(ctx, subject)
	if errors.Is(err, storage.ErrUnavailable) && ok && r.isRecent() {
		return readIdentity(cached)
	}
	return i, err
}

// IsMarked implements storage.Reader. A mark that is not in the cache is taken to be missing while
// the watch is known to work.
func (r recentReader) IsMarked(ctx context.Context, kind storage.MarkKind, id string) (bool, error) {
	if r.marks.has(r.markName(kind, id), r.config.Now()) {
		return true, nil
	}
	if r.isFresh() {
		return false, nil
	}
	marked, err := r.Store.IsMarked(ctx, kind, id)
	if errors.Is(err, storage.ErrUnavailable) && r.isRecent() {
		return false, nil
	}
	return marked, err
}
