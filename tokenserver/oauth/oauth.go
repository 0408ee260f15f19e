// Package oauth has the vocabulary of OAuth 2.0 and OpenID Connect, for the controllers and for
// each endpoint.
//
//	oauth.go       grant types, response types and other registered values
//	paths.go       the paths of the endpoints
//	errors.go      error codes, their HTTP statuses, and the Error that endpoints answer with
//	form.go        the parameters of a query or a form (RFC 6749 sections 3.1 and 3.2)
//	scope.go       the syntax of scopes, and the built-in scopes
//	resource.go    resource identifiers (RFC 8707)
//	claims.go      the claims that scopes request, and those that the protocol sets
//	claimtypes.go  the types of the claims about a user
//
// It imports no other package of this project.
package oauth

// IdentityPrefix is what the subject of each user from an identity provider begins with, and no
// client id and no subject of an OAuthUser: all of them are the sub of tokens of one issuer.
const IdentityPrefix = "~"

// Grant types that a client may register (RFC 7591 section 2). All but implicit are values of
// grant_type at the token endpoint.
const (
	GrantAuthorizationCode = "authorization_code"
	GrantImplicit          = "implicit"
	GrantPassword          = "password"
	GrantClientCredentials = "client_credentials"
	GrantRefreshToken      = "refresh_token"
)

// Response types (RFC 6749 section 3.1.1, OAuth 2.0 Multiple Response Type Encoding Practices). A
// request may have the words of a combined one in any order; discovery documents have this order.
const (
	ResponseTypeCode             = "code"
	ResponseTypeToken            = "token"
	ResponseTypeIDToken          = "id_token"
	ResponseTypeIDTokenToken     = "id_token token"
	ResponseTypeCodeToken        = "code token"
	ResponseTypeCodeIDToken      = "code id_token"
	ResponseTypeCodeIDTokenToken = "code id_token token"
)

// Response modes (OAuth 2.0 Multiple Response Type Encoding Practices section 2.1, OAuth 2.0 Form
// Post Response Mode).
const (
	ResponseModeQuery    = "query"
	ResponseModeFragment = "fragment"
	ResponseModeFormPost = "form_post"
)

// Client authentication methods (RFC 7591 section 2).
const (
	AuthMethodSecretBasic = "client_secret_basic"
	AuthMethodSecretPost  = "client_secret_post"
	AuthMethodPrivateKey  = "private_key_jwt"
	AuthMethodNone        = "none"
	// AuthMethodWorkloadIdentity is a value of this project: private_key_jwt (OpenID Connect Core
	// section 9) where not the client but its platform has signed the assertion.
	AuthMethodWorkloadIdentity = "WorkloadIdentity"
)

// AssertionTypeJWT is the client_assertion_type of JWTs (RFC 7523 section 2.2).
const AssertionTypeJWT = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// Code challenge methods (RFC 7636 section 4.3). The server refuses plain.
const (
	ChallengeS256  = "S256"
	ChallengePlain = "plain"
)

// Token types: the token_type of access tokens (RFC 6750), and values of token_type_hint (RFC 7009
// section 2.1).
const (
	TokenTypeBearer       = "Bearer"
	TokenTypeAccessToken  = "access_token"
	TokenTypeRefreshToken = "refresh_token"
)

// Values of typ in the header of a signed token (RFC 9068 section 2.1, RFC 7519 section 5.1).
const (
	TypeAccessToken = "at+jwt"
	TypeIDToken     = "JWT"
	// TypeClientAssertion is that of JWTs with which clients authenticate (draft-ietf-oauth-rfc7523bis).
	TypeClientAssertion = "client-authentication+jwt"
)

// Values of prompt (OpenID Connect Core section 3.1.2.1).
const (
	PromptNone          = "none"
	PromptLogin         = "login"
	PromptConsent       = "consent"
	PromptSelectAccount = "select_account"
)

// AMRPassword is the authentication method reference of a password (RFC 8176).
const AMRPassword = "pwd"

// ACRPassword is the authentication context class reference (OpenID Connect Core section 2) of a
// password over TLS. It is one of SAML 2.0, which clients of OpenID Connect ask for too.
const ACRPassword = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"
