package v1alpha1

import "maps"

// DeletionPolicy is what becomes of a Secret when its OAuthClient is deleted.
// +kubebuilder:validation:Enum=Delete;Retain
type DeletionPolicy string

const (
	// DeletionPolicyDelete deletes the Secret with the client.
	DeletionPolicyDelete DeletionPolicy = "Delete"
	// DeletionPolicyRetain keeps the Secret, for a client of the same name that is created later.
	DeletionPolicyRetain DeletionPolicy = "Retain"
)

// DataText is the text under a key, with references such as $(client_id).
// +kubebuilder:validation:MaxLength=65536
type DataText = string

// ConfigMapTarget is the ConfigMap with what an application needs and is not secret.
//
// +kubebuilder:object:generate=false
type ConfigMapTarget struct {
	// name of the ConfigMap, in the client's namespace; not kube-root-ca.crt.
	// +kubebuilder:validation:XValidation:rule=`self != 'kube-root-ca.crt'`,message="configMap.name must not be kube-root-ca.crt: the ConfigMap of this name belongs to Kubernetes"
	Name ObjectName `json:"name"`

	// data are further keys, as in secret.target.data, but without $(client_secret). Default: none.
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule=`self.all(k, k.matches('^[-._a-zA-Z0-9]{1,253}$') && k != '.' && !k.startsWith('..'))`,message="a key in configMap.data has 1 to 253 of the characters A-Z a-z 0-9 - _ . and does not begin with .."
	// +kubebuilder:validation:XValidation:rule=`!('client_secret' in self)`,message="configMap.data must not have the key client_secret: a ConfigMap holds nothing that is secret"
	// +kubebuilder:validation:XValidation:rule=`self.all(k, !self[k].replace('$$(', '-').contains('$(client_secret'))`,message="configMap.data must not refer to $(client_secret): use secret.target.data"
	// +kubebuilder:validation:XValidation:rule=`self.map(k, self[k].size()).sum() <= 65536`,message="the texts in configMap.data may have 65536 characters together"
	// +optional
	Data map[string]DataText `json:"data,omitempty"`
}

// DeepCopyInto copies t into out. It is written by hand, because the generator knows no maps of
// aliases.
func (t *ConfigMapTarget) DeepCopyInto(out *ConfigMapTarget) {
	*out = *t
	out.Data = maps.Clone(t.Data)
}

// DeepCopy returns a copy of t.
func (t *ConfigMapTarget) DeepCopy() *ConfigMapTarget {
	if t == nil {
		return nil
	}
	out := new(ConfigMapTarget)
	t.DeepCopyInto(out)
	return out
}
