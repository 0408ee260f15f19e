package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// SecretRotation is when a client secret is replaced, and how long the one before stays good.
//
// +kubebuilder:validation:XValidation:rule=`!has(self.interval) || !self.interval.matches('^([0-9]{1,5}(h|m|s)){1,3}$') || (has(self.overlap) && !self.overlap.matches('^([0-9]{1,5}(h|m|s)){1,3}$')) || (has(self.overlap) ? duration(self.overlap) : duration('24h')) < duration(self.interval)`,fieldPath=".overlap",message="overlap, whose default is 24h, must be shorter than interval: shorten overlap or raise interval"
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
}
