package registry

// Use is a request that presented a credential of a client.
type CredentialUse struct {
	ClientUID    string
	CredentialID string
	// Retiring: the credential was replaced, and its end depends on whether it is still in use.
	Retiring bool
	// RefusedMethod is the authentication method of a request that was refused, since the credential
	// was right and the client is registered for another method. Empty if it was accepted.
	RefusedMethod string
}
