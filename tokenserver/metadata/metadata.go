// Package metadata is what clients and APIs read before they talk to the server: the discovery
// document and the JWK Set; and the page that leads people to them.
//
// There is one discovery document, for OpenID Connect Discovery and RFC 8414 alike. Everything in it follows from what is served: a grant type
// that no rule allows is not advertised, and what is advertised works. Nothing of the request changes it.
package metadata

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// MaxAge is how long the JWK Set may be cached, in seconds. A new key is published for at least twice as long before it signs.
const MaxAge = 300

// Document is the metadata of a server (RFC 8414 section 2, OpenID Connect Discovery 1.0 section 3). Empty lists are left out (RFC 8414 section
// 3.2).
type Document struct {
	Issuer                string `json:"issuer"`
	AuthorizationEndpoint string `json:"authorization_endpoint"`
	TokenEndpoint         string `json:"token_endpoint"`
	UserInfoEndpoint      string `json:"userinfo_endpoint"`
	JWKSURI               string `json:"jwks_uri"`
	IntrospectionEndpoint string `json:"introspection_endpoint"`
	RevocationEndpoint    string `json:"revocation_endpoint"`
	// EndSessionEndpoint is of OpenID Connect RP-Initiated Logout 1.0 section 2.1; as people log in, so they log out.
	EndSessionEndpoint string `json:"end_session_endpoint,omitempty"`

	Scopes              []string `json:"scopes_supported,omitempty"`
	ResponseTypes       []string `json:"response_types_supported,omitempty"`
	ResponseModes       []string `json:"response_modes_supported,omitempty"`
	GrantTypes          []string `json:"grant_types_supported,omitempty"`
	SubjectTypes        []string `json:"subject_types_supported,omitempty"`
	IDTokenAlgorithms   []string `json:"id_token_signing_alg_values_supported,omitempty"`
	ClaimTypes          []string `json:"claim_types_supported,omitempty"`
	Claims              []string `json:"claims_supported,omitempty"`
	ACRValues           []string `json:"acr_values_supported,omitempty"`
	Prompts             []string `json:"prompt_values_supported,omitempty"`
	CodeChallenge       []string `json:"code_challenge_methods_supported,omitempty"`
	TokenAuthMethods    []string `json:"token_endpoint_auth_methods_supported,omitempty"`
	IntrospectionAuth   []string `json:"introspection_endpoint_auth_methods_supported,omitempty"`
	RevocationAuth      []string `json:"revocation_endpoint_auth_methods_supported,omitempty"`
	IssuerParameter     bool     `json:"authorization_response_iss_parameter_supported"`
	ClaimsParameter     bool     `json:"claims_parameter_supported"`
	RequestParameter    bool     `json:"request_parameter_supported"`
	RequestURIParameter bool     `json:"request_uri_parameter_supported"` // the default is true
}

// Describe says what follows from a server's document, and the scopes that exist.
func Describe(s documents.Server, scopes []string) Document {
	grants := grantTypes(s)
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
		TokenAuthMethods:  []string{oauth.AuthMethodSecretBasic, oauth.AuthMethodSecretPost, oauth.AuthMethodNone},
		IntrospectionAuth: []string{oauth.AuthMethodSecretBasic, oauth.AuthMethodSecretPost},
		RevocationAuth:    []string{oauth.AuthMethodSecretBasic, oauth.AuthMethodSecretPost, oauth.AuthMethodNone},

		IssuerParameter: true,
		ClaimsParameter: true,
	}
	if code {
		d.ResponseTypes = append(d.ResponseTypes, oauth.ResponseTypeCode)
		d.ResponseModes = append(d.ResponseModes, oauth.ResponseModeQuery)
		d.CodeChallenge = []string{oauth.ChallengeS256}
	}
	if implicit {
		d.ResponseTypes = append(d.ResponseTypes, oauth.ResponseTypeToken, oauth.ResponseTypeIDToken, oauth.ResponseTypeIDTokenToken)
	}
	if hybrid(s) {
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

// grantTypes that some rule allows, in a fixed order.
func grantTypes(s documents.Server) []string {
	var grants []string
	for _, grant := range []string{
		oauth.GrantAuthorizationCode, oauth.GrantImplicit, oauth.GrantPassword, oauth.GrantClientCredentials, oauth.GrantRefreshToken,
	} {
		if slices.ContainsFunc(s.AllowedClients, func(r documents.ClientRule) bool { return slices.Contains(r.GrantTypes, grant) }) {
			grants = append(grants, grant)
		}
	}
	return grants
}

// hybrid says whether one rule allows what the hybrid response types need together.
func hybrid(s documents.Server) bool {
	return slices.ContainsFunc(s.AllowedClients, func(r documents.ClientRule) bool {
		return slices.Contains(r.GrantTypes, oauth.GrantAuthorizationCode) && slices.Contains(r.GrantTypes, oauth.GrantImplicit)
	})
}

// claims that ID tokens and the userinfo answer can have: what the protocol sets, and what scopes stand for.
func claims() []string {
	return append([]string{"iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "at_hash", "c_hash"}, mint.SupportedClaims()...)
}

// Handler answers with the discovery document and the JWK Set. The documents are public: any origin may read them.
type Handler struct {
	Registry *registry.Registry
	Keys     *keys.Set

	written atomic.Pointer[written]
}

// written is a discovery document as JSON, and the epoch of the registry that it follows from.
type written struct {
	epoch uint64
	body  []byte
}

// Discovery answers with the discovery document.
func (h *Handler) Discovery(w http.ResponseWriter, _ *http.Request) error {
	body, err := h.discovery()
	if err != nil {
		return err
	}
	return public(w, "application/json", body)
}

// JWKS answers with the JWK Set (RFC 7517 section 5). An empty one would be cached and be wrong for as long, so there is none while there are
// no keys.
func (h *Handler) JWKS(w http.ResponseWriter, _ *http.Request) error {
	if h.Keys.Ring().Published() == 0 {
		return web.NotReady()
	}
	return public(w, "application/jwk-set+json", h.Keys.JWKS())
}

func (h *Handler) discovery() ([]byte, error) {
	epoch := h.Registry.Epoch()
	if last := h.written.Load(); last != nil && last.epoch == epoch {
		return last.body, nil
	}
	server, ok := h.Registry.Server()
	if !ok {
		return nil, web.NotReady()
	}
	body, err := json.Marshal(Describe(server, h.Registry.Scopes()))
	if err != nil {
		return nil, fmt.Errorf("encode the discovery document: %w", err)
	}
	h.written.Store(&written{epoch, body})
	return body, nil
}

func public(w http.ResponseWriter, contentType string, body []byte) error {
	w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d", MaxAge))
	return web.Bytes(w, http.StatusOK, contentType, body)
}

// DiscoveryPaths returns the paths, from the root of the host, at which an issuer's discovery document is: OpenID Connect puts the well-known part
// after the issuer's path (Discovery section 4.1), RFC 8414 section 3.1 before it; many clients look for the latter after it too.
func DiscoveryPaths(issuerPath string) []string {
	locations := []string{issuerPath + oauth.PathOpenIDConfiguration, issuerPath + oauth.PathServerMetadata}
	if issuerPath != "" {
		locations = append(locations, oauth.PathServerMetadata+issuerPath)
	}
	return slices.Clip(locations)
}

// IssuerPath is the path of an issuer identifier; empty for one that is a host alone.
func IssuerPath(issuer string) string {
	_, rest, _ := strings.Cut(issuer, "://")
	slash := strings.IndexByte(rest, '/')
	if slash < 0 {
		return ""
	}
	return strings.TrimSuffix(rest[slash:], "/")
}
