package documents

// JWK is a public key (RFC 7517 section 4, RFC 7518 section 6, RFC 8037 section 2). It has no
// private member.
type JWK struct {
	KeyType   string `json:"kty"`
	KeyID     string `json:"kid,omitempty"`
	Algorithm string `json:"alg,omitempty"`
	Curve     string `json:"crv,omitempty"`
	X         string `json:"x,omitempty"`
	Y         string `json:"y,omitempty"`
	N         string `json:"n,omitempty"`
	E         string `json:"e,omitempty"`
}

// Fetch says which key sets the server may fetch from private addresses.
type Fetch struct {
	// AllowedNetworks are the private addresses where a workload issuer may be, in CIDR notation.
	AllowedNetworks []string `json:"allowedNetworks,omitempty"`
	// JWKSHosts are the hosts at private addresses that the JWKSURI of a client may name, in lower
	// case and without a port.
	JWKSHosts []string `json:"jwksHosts,omitempty"`
	// CABundle are certificates in PEM, which servers at private addresses may have as their root
	// besides the public ones.
	CABundle string `json:"caBundle,omitempty"`
	// CABundleSource is the version of the ConfigMap that the manager took CABundle from:
	// "<uid>/<resourceVersion>".
	CABundleSource string `json:"caBundleSource,omitempty"`
}
