package compile

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// defaultOverlap is the default of spec.secret.rotation.overlap.
const defaultOverlap = 24 * time.Hour

// Overlap returns how long what an OAuthClient authenticated with before stays good after it was
// replaced.
func Overlap(c *v1alpha1.OAuthClient) time.Duration { return SecretRotationOf(c).Overlap }

// SecretRotation is spec.secret.rotation with the defaults.
type SecretRotation struct {
	// Interval between scheduled rotations; zero: there are none.
	Interval time.Duration
	Overlap  time.Duration
	Revision int64
}

// SecretRotationOf returns when the client secret of an OAuthClient is replaced.
func SecretRotationOf(c *v1alpha1.OAuthClient) SecretRotation {
	var spec v1alpha1.SecretRotation
	if c.Spec.Secret != nil && c.Spec.Secret.Rotation != nil {
		spec = *c.Spec.Secret.Rotation
	}
	return SecretRotation{Interval: durationOf(spec.Interval, 0), Overlap: durationOf(spec.Overlap, defaultOverlap), Revision: spec.Revision}
}

func durationOf(d *metav1.Duration, otherwise time.Duration) time.Duration {
	if d == nil {
		return otherwise
	}
	return d.Duration
}
