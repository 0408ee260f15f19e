// Package metadata serves what clients and APIs read before they talk to the server: the discovery
// document and the JWK Set; and the page at the issuer's address, which links to them.
//
//	metadata.go     discovery document and JWK Set
//	authmethods.go  how clients authenticate
//	page.go         the page
//
// OpenID Connect Discovery and RFC 8414 share one discovery document. It contains what the server's
// rules allow: a grant type that none allows is not advertised. It does not depend on the request.
package metadata

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/policy"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// MaxAge is how long the JWK Set may be cached, in seconds. A key is published at least twice as
// long before it signs.
const MaxAge = 300

// Document is the metadata of a server (RFC 8414 section 2, OpenID Connect Discovery 1.0 section
// 3). Empty lists are omitted (RFC 8414 section 3.2).
type Document struct {
	Issuer                string `json:"issuer"`
	AuthorizationEndpoint string `json:"authorization_endpoint"`
	TokenEndpoint         string `json:"token_endpoint"`
	UserInfoEndpoint      string `json:"userinfo_endpoint"`
	JWKSURI               string `json:"jwks_uri"`
	IntrospectionEndpoint string `json:"introspection_endpoint"`
	RevocationEndpoint    string `json:"revocation_endpoint"`
	// EndSessionEndpoint is that of OpenID Connect RP-Initiated Logout 1.0 section 2.1; empty if no
	// user can log in.
	EndSessionEndpoint string `json:"end_session_endpoint,omitempty"`

	Scopes            []string `json:"scopes_supported,omitempty"`
	ResponseTypes     []string `json:"response_types_supported,omitempty"`
	ResponseModes     []string `json:"response_modes_supported,omitempty"`
	GrantTypes        []string `json:"grant_types_supported,omitempty"`
	SubjectTypes      []string `json:"subject_types_supported,omitempty"`
	IDTokenAlgorithms []string `json:"id_token_signing_alg_values_supported,omitempty"`
	ClaimTypes        []string `json:"claim_types_supported,omitempty"`
	Claims            []string `json:"claims_supported,omitempty"`
	ACRValues         []string `json:"acr_values_supported,omitempty"`
	Prompts           []string `json:"prompt_values_supported,omitempty"`
	CodeChallenge     []string `json:"code_challenge_methods_supported,omitempty"`
	TokenAuthMethods  []string `json:"token_endpoint_auth_methods_supported,omitempty"`
	IntrospectionAuth []string `json:"introspection_endpoint_auth_methods_supported,omitempty"`
	RevocationAuth    []string `json:"revocation_endpoint_auth_methods_supported,omitempty"`

	TokenAuthAlgorithms         []string `json:"token_endpoint_auth_signing_alg_values_supported,omitempty"`
	IntrospectionAuthAlgorithms []string `json:"introspection_endpoint_auth_signing_alg_values_supported,omitempty"`
	RevocationAuthAlgorithms    []string `json:"revocation_endpoint_auth_signing_alg_values_supported,omitempty"`

	IssuerParameter     bool `json:"authorization_response_iss_parameter_supported"`
	ClaimsParameter     bool `json:"claims_parameter_supported"`
	RequestParameter    bool `json:"request_parameter_supported"`
	RequestURIParameter bool `json:"request_uri_parameter_supported"` // the default is true
}

// Describe returns the metadata of a server with the given scopes, as they are at now.
func Describe(s documents.Server, scopes []string, now time.Time) Document {
	grants := grantTypes(s, now)
	code, implicit := slices.Contains(grants, oauth.GrantAuthorizationCode), slices.Contains(grants, oauth.GrantImplicit)
	d := Document{
		Issuer:                s.Issuer,
		AuthorizationEndpoint: s.Issuer + oauth.PathAuthorize,
		TokenEndpoint:         s.Issuer + oauth.PathToken,
		UserInfoEndpoint:      s.Issuer + oauth.PathUserInfo,
		JWKSURI:               s.Issuer + oauth.PathJWKS,
		IntrospectionEndpoint: s.Issuer + oauth.PathIntrospect,
		RevocationEndpoint:    s.Issuer + oauth.PathRevoke,

		Scopes:            scopes,
		GrantTypes:        grants,
		SubjectTypes:      []string{"public"},
		IDTokenAlgorithms: s.Algorithms,
		ClaimTypes:        []string{"normal"},
		Claims:            claims(),

		IssuerParameter: true,
		ClaimsParameter: true,
	}
	d.addAuthMethods(s)
	if code {
		d.ResponseTypes = append(d.ResponseTypes, oauth.ResponseTypeCode)
		d.ResponseModes = append(d.ResponseModes, oauth.ResponseModeQuery)
		d.CodeChallenge = []string{oauth.ChallengeS256}
	}
	if implicit {
		d.ResponseTypes = append(d.ResponseTypes, oauth.ResponseTypeToken, oauth.ResponseTypeIDToken, oauth.ResponseTypeIDTokenToken)
	}
	if policy.AllowsGrantTypes(s, now, oauth.GrantAuthorizationCode, oauth.GrantImplicit) {
		d.ResponseTypes = append(d.ResponseTypes, oauth.ResponseTypeCodeToken, oauth.ResponseTypeCodeIDToken, oauth.ResponseTypeCodeIDTokenToken)
	}
	if code || implicit || slices.Contains(grants, oauth.GrantPassword) {
		d.ACRValues = mint.ACRValues
	}
	if code || implicit {
		d.EndSessionEndpoint = s.Issuer + oauth.PathLogout
		d.ResponseModes = append(d.ResponseModes, oauth.ResponseModeFragment, oauth.ResponseModeFormPost)
		d.Prompts = []string{oauth.PromptNone, oauth.PromptLogin, oauth.PromptConsent, oauth.PromptSelectAccount}
	}
	return d
}

// grantTypes returns the grant types that some rule of s allows at now, in a fixed order.
func grantTypes(s documents.Server, now time.Time) []string {
	all := []string{oauth.GrantAuthorizationCode, oauth.GrantImplicit, oauth.GrantPassword, oauth.GrantClientCredentials, oauth.GrantRefreshToken}
	return slices.DeleteFunc(all, func(grant string) bool { return !policy.AllowsGrantTypes(s, now, grant) })
}

// claims returns the claims of ID tokens and UserInfo responses: those that the protocol sets, and
// those that scopes request.
func claims() []string {
	return append([]string{"iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "at_hash", "c_hash", oauth.ClaimIdentityProvider}, mint.SupportedClaims()...)
}

// Handler serves the discovery document, the JWK Set and the page.
type Handler struct {
	Registry *registry.Registry
	Keys     *keys.Set
	Now      func() time.Time

	cached atomic.Pointer[encodedDocument]
}

// encodedDocument is the discovery document as JSON, and the revision of the registry it was made
// from.
type encodedDocument struct {
	revision registry.Revision
	body     []byte
}

// Discovery answers with the discovery document.
func (h *Handler) Discovery(w http.ResponseWriter, _ *http.Request) error {
	body, err := h.discovery()
	if err != nil {
		return err
	}
	return writePublic(w, "application/json", body)
}

// JWKS answers with the JWK Set (RFC 7517 section 5). While there are no keys it answers with 503,
// since clients would cache an empty set.
func (h *Handler) JWKS(w http.ResponseWriter, _ *http.Request) error {
	if h.Keys.Ring().PublishedCount() == 0 {
		return web.NotReady()
	}
	return writePublic(w, "application/jwk-set+json", h.Keys.JWKS())
}

func (h *Handler) discovery() ([]byte, error) {
	revision := h.Registry.RulesRevision()
	if last := h.cached.Load(); last != nil && last.revision == revision {
		return last.body, nil
	}
	server, ok := h.Registry.Server()
	if !ok {
		return nil, web.NotReady()
	}
	body, err := json.Marshal(Describe(server, h.Registry.Scopes(), h.Now()))
	if err != nil {
		return nil, fmt.Errorf("encoding the discovery document: %w", err)
	}
	h.cached.Store(&encodedDocument{revision, body})
	return body, nil
}

// cachePublic is the Cache-Control of what may be cached. The responses share it.
var cachePublic = []string{fmt.Sprintf("public, max-age=%d", MaxAge)}

// writePublic answers with a body that may be cached.
func writePublic(w http.ResponseWriter, contentType string, body []byte) error {
	w.Header()["Cache-Control"] = cachePublic
	return web.Bytes(w, http.StatusOK, contentType, body)
}

// DiscoveryPaths returns the paths of an issuer's discovery document, from the root of the host:
// OpenID Connect Discovery section 4.1 puts the well-known part after the issuer's path, RFC 8414
// section 3.1 before it. Many clients look for that of RFC 8414 after it too.
func DiscoveryPaths(issuerPath string) []string {
	paths := []string{issuerPath + oauth.PathOpenIDConfiguration, issuerPath + oauth.PathServerMetadata}
	if issuerPath != "" {
		paths = append(paths, oauth.PathServerMetadata+issuerPath)
	}
	return slices.Clip(paths)
}

// IssuerPath returns the path of an issuer identifier; empty if it has none.
func IssuerPath(issuer string) string {
	_, rest, _ := strings.Cut(issuer, "://")
	slash := strings.IndexByte(rest, '/')
	if slash < 0 {
		return ""
	}
	return strings.TrimSuffix(rest[slash:], "/")
}
