package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// RetireWhen is what ends a credential that a scheduled rotation has replaced.
// +kubebuilder:validation:Enum=Elapsed;Unused
type RetireWhen string

const (
	// RetireElapsed ends it overlap after it was replaced.
	RetireElapsed RetireWhen = "Elapsed"
	// RetireUnused ends it when it has not been used for overlap and two hours, and maxOverlap after
	// it was replaced at the latest.
	RetireUnused RetireWhen = "Unused"
)

// SecretRotation is when a client secret is replaced, and how long the one before stays good.
//
// +kubebuilder:validation:XValidation:rule=`!has(self.interval) || !self.interval.matches('^([0-9]{1,5}(h|m|s)){1,3}$') || (has(self.overlap) && !self.overlap.matches('^([0-9]{1,5}(h|m|s)){1,3}$')) || (has(self.overlap) ? duration(self.overlap) : duration('24h')) < duration(self.interval)`,fieldPath=".overlap",message="overlap, whose default is 24h, must be shorter than interval: shorten overlap or raise interval"
// +kubebuilder:validation:XValidation:rule=`!has(self.retireWhen) || self.retireWhen != 'Unused' || has(self.interval)`,fieldPath=".retireWhen",message="retireWhen: Unused is for scheduled rotations: set interval too, or leave out retireWhen"
// +kubebuilder:validation:XValidation:rule=`!has(self.maxOverlap) || (has(self.retireWhen) && self.retireWhen == 'Unused')`,fieldPath=".maxOverlap",message="maxOverlap goes with retireWhen: Unused only: remove maxOverlap, or set retireWhen to Unused"
// +kubebuilder:validation:XValidation:rule=`!has(self.retireWhen) || self.retireWhen != 'Unused' || (has(self.overlap) && !self.overlap.matches('^([0-9]{1,5}(h|m|s)){1,3}$')) || (has(self.maxOverlap) && !self.maxOverlap.matches('^([0-9]{1,5}(h|m|s)){1,3}$')) || (has(self.overlap) ? duration(self.overlap) : duration('24h')) <= (has(self.maxOverlap) ? duration(self.maxOverlap) : duration('168h'))`,fieldPath=".maxOverlap",message="maxOverlap, whose default is 168h, must not be shorter than overlap: raise maxOverlap or shorten overlap"
type SecretRotation struct {
	// interval between scheduled rotations, each in the last tenth of the interval. Default: no
	// scheduled rotation.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:XValidation:rule=`self.matches('^([0-9]{1,5}(h|m|s)){1,3}$') && duration(self) >= duration('1h') && duration(self) <= duration('8760h')`,message="interval must be a duration from 1h to 8760h in whole h, m and s, such as 720h"
	// +optional
	Interval *metav1.Duration `json:"interval,omitempty"`

	// overlap is how long the secret before stays good after the Secret holds the new one; shorter
	// than interval. Default: 24h.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:XValidation:rule=`self.matches('^([0-9]{1,5}(h|m|s)){1,3}$') && duration(self) >= duration('5m') && duration(self) <= duration('2160h')`,message="overlap must be a duration from 5m to 2160h in whole h, m and s, such as 24h"
	// +optional
	Overlap *metav1.Duration `json:"overlap,omitempty"`

	// revision is raised to rotate now; lowering it does nothing. Default: 0.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	// +optional
	Revision int64 `json:"revision,omitempty"`

	// retireWhen is Elapsed, or Unused: a secret that a scheduled rotation has replaced ends when it
	// has not been used for overlap and two hours, and at the latest after maxOverlap. Default:
	// Elapsed.
	// +optional
	RetireWhen RetireWhen `json:"retireWhen,omitempty"`

	// maxOverlap is how long a secret that was replaced stays good at most with retireWhen: Unused.
	// Default: 168h.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:XValidation:rule=`self.matches('^([0-9]{1,5}(h|m|s)){1,3}$') && duration(self) >= duration('5m') && duration(self) <= duration('2160h')`,message="maxOverlap must be a duration from 5m to 2160h in whole h, m and s, such as 168h"
	// +optional
	MaxOverlap *metav1.Duration `json:"maxOverlap,omitempty"`
}
