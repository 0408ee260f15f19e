package registry

// CredentialUse is a request that presented a credential of a client.
type CredentialUse struct {
	ClientUID    string
	CredentialID string
	// Retiring is true of a credential that was replaced, and that ends when it is no longer used.
	Retiring bool
	// RefusedMethod is the authentication method of a request that was refused because the client
	// is registered for another method, although the credential was right. It is empty if the
	// request was accepted.
	RefusedMethod string
}
