package oauth

// Paths of the endpoints, relative to the issuer identifier. Discovery documents and the conditions
// of an AuthorizationServer publish them.
const (
	PathAuthorize  = "/authorize"
	PathToken      = "/token"
	PathIntrospect = "/introspect"
	PathRevoke     = "/revoke"
	PathLogout     = "/logout"
	PathUserInfo   = "/userinfo"
	PathJWKS       = "/jwks"
	// PathCallback is where identity providers send users back to: PathCallback/<name>.
	PathCallback = "/callback"
	// PathOpenIDConfiguration is the well-known path of OpenID Connect Discovery section 4.
	PathOpenIDConfiguration = "/.well-known/openid-configuration"
	// PathServerMetadata is the well-known path of RFC 8414 section 3.
	PathServerMetadata = "/.well-known/oauth-authorization-server"
)
