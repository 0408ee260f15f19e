package v1alpha1

// ClientKeys are the public keys with which a client signs its assertions.
type ClientKeys struct {
	// keys are the public keys, at most 8, each with a kid of its own. While the client replaces a
	// key, both are here.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +listType=map
	// +listMapKey=kid
	Keys []JWK `json:"keys"`
}

// JWK is a public key that verifies signatures (RFC 7517, RFC 7518 section 6, RFC 8037): an RSA key
// of 2048 to 4096 bits, an EC key on P-256, P-384 or P-521, or an Ed25519 key.
//
// The members d and k are known only to be refused: a private key that is sent to the API server by
// mistake would otherwise be left out silently, and its owner would not know that it is not private
// any more.
//
// +kubebuilder:validation:XValidation:rule=`!has(self.d) && !has(self.k)`,message="a key must be public, and this one has the member d or k of a private or symmetric key: list the public key only, and make a new key, since others may have read this one"
// +kubebuilder:validation:XValidation:rule=`self.kty != 'RSA' || (has(self.n) && has(self.e) && !has(self.crv) && !has(self.x) && !has(self.y))`,message="an RSA key has the members n and e, and none of crv, x and y; in YAML the name \"n\" needs quotes, or it means false"
// +kubebuilder:validation:XValidation:rule=`self.kty != 'EC' || (has(self.crv) && self.crv in ['P-256', 'P-384', 'P-521'] && has(self.x) && has(self.y) && !has(self.n) && !has(self.e))`,message="an EC key has the members crv (P-256, P-384 or P-521), x and y, and none of n and e; in YAML the name \"y\" needs quotes, or it means true"
// +kubebuilder:validation:XValidation:rule=`self.kty != 'OKP' || (has(self.crv) && self.crv == 'Ed25519' && has(self.x) && !has(self.y) && !has(self.n) && !has(self.e))`,message="an OKP key has the members crv (Ed25519) and x, and none of y, n and e"
// +kubebuilder:validation:XValidation:rule=`!has(self.alg) || (self.kty == 'RSA' && self.alg in ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']) || (self.kty == 'EC' && has(self.crv) && [['P-256', 'ES256'], ['P-384', 'ES384'], ['P-521', 'ES512']].exists(p, p == [self.crv, self.alg])) || (self.kty == 'OKP' && self.alg in ['EdDSA', 'Ed25519'])`,fieldPath=".alg",message="alg must fit the key: RS256, RS384, RS512, PS256, PS384 or PS512 for RSA; ES256 for P-256, ES384 for P-384, ES512 for P-521; EdDSA for Ed25519"
// +kubebuilder:validation:XValidation:rule=`self.kty != 'RSA' || !has(self.n) || (self.n.size() >= 342 && self.n.size() <= 683)`,fieldPath=".n",message="an RSA key must have 2048 to 4096 bits"
type JWK struct {
	// kty is the kind of key: RSA, EC or OKP.
	// +kubebuilder:validation:Enum=RSA;EC;OKP
	KeyType string `json:"kty"`

	// kid names the key. The header of an assertion names it too, or no key.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	KeyID string `json:"kid"`

	// alg is the algorithm that the key signs with. Default: RS256 for RSA keys, that of the curve
	// for others.
	// +kubebuilder:validation:MaxLength=16
	// +optional
	Algorithm string `json:"alg,omitempty"`

	// use is sig, as in most key sets.
	// +kubebuilder:validation:Enum=sig
	// +optional
	Use string `json:"use,omitempty"`

	// crv is the curve of an EC or OKP key.
	// +kubebuilder:validation:MaxLength=16
	// +optional
	Curve string `json:"crv,omitempty"`

	// x is the first coordinate of an EC key, or the public key of Ed25519.
	// +optional
	X JWKValue `json:"x,omitempty"`

	// y is the second coordinate of an EC key. In YAML its name needs quotes: y alone means true.
	// +optional
	Y JWKValue `json:"y,omitempty"`

	// n is the modulus of an RSA key. In YAML its name needs quotes: n alone means false.
	// +optional
	N JWKValue `json:"n,omitempty"`

	// e is the exponent of an RSA key, AQAB as a rule.
	// +optional
	E JWKValue `json:"e,omitempty"`

	// d must be left out: only private keys have it.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	D string `json:"d,omitempty"`

	// k must be left out: only symmetric keys have it.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	K string `json:"k,omitempty"`
}

// JWKValue is a member of a key in base64url without padding.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=1024
// +kubebuilder:validation:XValidation:rule=`self.matches('^[A-Za-z0-9_-]+$')`,message="a member of a key is in base64url without padding (RFC 7518 section 2): it has the characters A-Z a-z 0-9 - _ only, and no = at its end"
type JWKValue = string

// JWKSURI is the address of a key set.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=2048
// +kubebuilder:validation:XValidation:rule=`self.startsWith('https://') && isURL(self) && self.matches('^https://([A-Za-z0-9.-]+|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?([/?]|$)') && !self.contains('#')`,message="jwksURI must be an https URL with a host, and without user name and fragment, such as https://app.example.com/jwks.json"
type JWKSURI = string
