// Package oauth has the vocabulary of OAuth 2.0 and OpenID Connect, for the controllers and for each
// endpoint.
//
//	oauth.go       grant types, response types and other registered values
//	paths.go       the paths of the endpoints
//	errors.go      error codes, their HTTP statuses, and the Error that endpoints answer with
//	form.go        the parameters of a query or a form (RFC 6749 sections 3.1 and 3.2)
//	scope.go       the syntax of scopes, and the built-in scopes
//	resource.go    resource identifiers (RFC 8707)
//	claims.go      which scope requests which claim about a user, and the claims that the protocol sets
//	claimtypes.go  the types of the claims about a user
//
// It imports no other package of this project.
package oauth

// Grant types, as a client registers them and, but for implicit, as the token endpoint's grant_type (RFC 7591 section 2).
const (
	GrantAuthorizationCode = "authorization_code"
	GrantImplicit          = "implicit"
	GrantPassword          = "password"
	GrantClientCredentials = "client_credentials"
	GrantRefreshToken      = "refresh_token"
)

// Response types (RFC 6749 section 3.1.1, OAuth 2.0 Multiple Response Type Encoding Practices). The words of a combined one may come in any
// order; these spell them in the order in which they are published.
const (
	ResponseTypeCode             = "code"
	ResponseTypeToken            = "token"
	ResponseTypeIDToken          = "id_token"
	ResponseTypeIDTokenToken     = "id_token token"
	ResponseTypeCodeToken        = "code token"
	ResponseTypeCodeIDToken      = "code id_token"
	ResponseTypeCodeIDTokenToken = "code id_token token"
)

// Response modes (OAuth 2.0 Multiple Response Type Encoding Practices section 2.1, OAuth 2.0 Form Post Response Mode).
const (
	ResponseModeQuery    = "query"
	ResponseModeFragment = "fragment"
	ResponseModeFormPost = "form_post"
)

// Client authentication methods (RFC 7591 section 2).
const (
	AuthMethodSecretBasic = "client_secret_basic"
	AuthMethodSecretPost  = "client_secret_post"
	AuthMethodNone        = "none"
)

// Code challenge methods (RFC 7636 section 4.3). The plain one is known only to be refused.
const (
	ChallengeS256  = "S256"
	ChallengePlain = "plain"
)

// Token types: of an access token in use (RFC 6750), and as a hint (RFC 7009 section 2.1).
const (
	TokenTypeBearer       = "Bearer"
	TokenTypeAccessToken  = "access_token"
	TokenTypeRefreshToken = "refresh_token"
)

// Types that the header of a signed token names (RFC 9068 section 2.1, RFC 7519 section 5.1).
const (
	TypeAccessToken = "at+jwt"
	TypeIDToken     = "JWT"
)

// Values of prompt (OpenID Connect Core section 3.1.2.1).
const (
	PromptNone          = "none"
	PromptLogin         = "login"
	PromptConsent       = "consent"
	PromptSelectAccount = "select_account"
)

// Authentication method references (RFC 8176).
const AMRPassword = "pwd"

// Authentication context class references (OpenID Connect Core section 2), of SAML 2.0, which
// clients of OpenID Connect ask for too.
const ACRPassword = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"
