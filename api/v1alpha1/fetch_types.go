package v1alpha1

// FetchSettings say what token servers may fetch for others, besides what is at public addresses.
// Link-local addresses and those of the metadata services of clouds are never among it.
type FetchSettings struct {
	// allowedNetworks are the private addresses, loopback too, where a workload issuer may be.
	// Default: none.
	// +kubebuilder:validation:MaxItems=32
	// +listType=set
	// +optional
	AllowedNetworks []FetchNetwork `json:"allowedNetworks,omitempty"`

	// jwksHosts are the hosts at private addresses that the jwksURI of a client may name, without
	// a port. Default: none.
	// +kubebuilder:validation:MaxItems=64
	// +listType=set
	// +optional
	JWKSHosts []FetchHost `json:"jwksHosts,omitempty"`

	// caBundle are certificates that servers at private addresses may have as their root. At public
	// addresses only those count that everybody trusts.
	// +optional
	CABundle *CABundle `json:"caBundle,omitempty"`
}

// CABundle says where certificates in PEM are.
type CABundle struct {
	// configMapRef names the ConfigMap, in the server's namespace, and the key in it.
	ConfigMapRef ConfigMapKeyReference `json:"configMapRef"`
}

// ConfigMapKeyReference names one key of a ConfigMap in the namespace of the object that holds the
// reference.
type ConfigMapKeyReference struct {
	// name of the ConfigMap.
	Name ObjectName `json:"name"`

	// key within the ConfigMap's data.
	Key SecretKey `json:"key"`
}

// FetchNetwork is a network in CIDR notation.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=64
// +kubebuilder:validation:XValidation:rule=`isCIDR(self) && cidr(self).masked() == cidr(self)`,message="a network in allowedNetworks is written in CIDR notation with no bits set after the prefix, such as 10.0.0.0/8, 192.0.2.7/32 or 2001:db8::/32"
type FetchNetwork = string

// FetchHost is the name of a host, or an IP address.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:XValidation:rule=`self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*$') || isIP(self)`,message="a host in jwksHosts is a lower-case host name or an IP address, without scheme, port and path, and without *"
type FetchHost = string
