package compile

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// Defaults of spec.secret.rotation.
const (
	defaultOverlap    = 24 * time.Hour
	defaultMaxOverlap = 168 * time.Hour
)

// Overlap returns how long what an OAuthClient authenticated with before stays good after it was
// replaced.
func Overlap(c *v1alpha1.OAuthClient) time.Duration { return SecretRotationOf(c).Overlap }

// SecretRotation is spec.secret.rotation with the defaults.
type SecretRotation struct {
	// Interval between scheduled rotations; zero: there are none.
	Interval time.Duration
	Overlap  time.Duration
	// MaxOverlap is how long a credential that a scheduled rotation has replaced stays good while it
	// is used; zero: no longer than Overlap.
	MaxOverlap time.Duration
	Revision   int64
}

// SecretRotationOf returns when the client secret of an OAuthClient is replaced.
func SecretRotationOf(c *v1alpha1.OAuthClient) SecretRotation {
	var spec v1alpha1.SecretRotation
	if c.Spec.Secret != nil && c.Spec.Secret.Rotation != nil {
		spec = *c.Spec.Secret.Rotation
	}
	r := SecretRotation{Interval: durationOf(spec.Interval, 0), Overlap: durationOf(spec.Overlap, defaultOverlap), Revision: spec.Revision}
	if spec.RetireWhen == v1alpha1.RetireUnused {
		r.MaxOverlap = durationOf(spec.MaxOverlap, defaultMaxOverlap)
	}
	return r
}

func durationOf(d *metav1.Duration, otherwise time.Duration) time.Duration {
	if d == nil {
		return otherwise
	}
	return d.Duration
}
