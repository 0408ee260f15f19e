package keyring

import (
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// PublishedFor is how long a signing key is in the JWKS before it signs: twice the max-age with
// which verifiers may cache the JWKS, 300 s.
const PublishedFor = 10 * time.Minute

// retireMargin is how much longer a key retires than what was made with it lives. Token servers
// learn a little later that it retires, and the clock of the manager that removes it may be five
// minutes ahead of the clock of the one that retired it.
const retireMargin = 6 * time.Minute

// Key is what is known of one key. Times are in UTC and whole seconds.
type Key struct {
	KID       string `json:"kid"`
	Algorithm string `json:"algorithm"`
	Phase     string `json:"phase"`
	// Since is when it entered the phase.
	Since time.Time `json:"since"`
	// Held is since when all live replicas hold a Published key: from then on it is in every JWKS
	// that a verifier can get. It is zero if one lacks it.
	Held time.Time `json:"held,omitzero"`
	// Revision is the spec.signing.rotation.revision for which it became Active.
	Revision int64 `json:"revision,omitempty"`
	// Lifetime is the longest that something made with it can have.
	Lifetime documents.Seconds `json:"lifetime,omitempty"`
	// Until is when a Retiring key is removed.
	Until time.Time `json:"until,omitzero"`
}

// updateHeld sets since when all live replicas hold a Published key. A replica that lacks it
// answers with a JWKS without it, so the time starts anew then.
func (k *Key) updateHeld(in Input) {
	switch {
	case in.HasReplicas && !in.IsHeld(k.KID):
		k.Held = time.Time{}
	case in.HasReplicas && k.Held.IsZero():
		k.Held = in.Now
	}
}

// usableFrom returns when all verifiers can have a Published key; the zero time if not all replicas
// hold it. Only replicas use sealing keys.
func (k *Key) usableFrom() time.Time {
	if k.Held.IsZero() || k.Algorithm == documents.AlgorithmSealing {
		return k.Held
	}
	return k.Held.Add(PublishedFor)
}

// retire makes a key Retiring from now on.
func (k *Key) retire(in Input) {
	k.Phase, k.Since = documents.KeyRetiring, in.Now
	k.extendUntil(in)
}

// extendUntil keeps a Retiring key until the last of what was made with it has expired. If the
// settings are changed to longer lifetimes meanwhile, those count: they apply to existing sessions
// too.
func (k *Key) extendUntil(in Input) {
	k.Lifetime = max(k.Lifetime, in.lifetimeOf(k.Algorithm))
	if until := k.Since.Add(k.Lifetime.Duration() + retireMargin); until.After(k.Until) {
		k.Until = until
	}
}
