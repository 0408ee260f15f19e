package compile

import (
	"slices"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/policy"
)

// ClientID returns the client id for which an OAuthClient asks.
func ClientID(c *v1alpha1.OAuthClient) string {
	if c.Spec.ClientID != "" {
		return c.Spec.ClientID
	}
	return c.Namespace + "." + c.Name
}

// Client returns the document of an OAuthClient with some credentials.
func Client(c *v1alpha1.OAuthClient, credentials []documents.Credential) documents.Client {
	spec := &c.Spec
	doc := documents.Client{
		UID:                    string(c.UID),
		Namespace:              c.Namespace,
		Name:                   c.Name,
		ID:                     ClientID(c),
		DisplayName:            spec.DisplayName,
		GrantTypes:             texts(spec.GrantTypes),
		AuthMethod:             string(spec.TokenEndpointAuthMethod),
		RedirectURIs:           spec.RedirectURIs,
		PostLogoutRedirectURIs: spec.PostLogoutRedirectURIs,
		Scopes:                 spec.Scopes,
		PKCE:                   documents.PKCERequired,
		Consent:                documents.ConsentRequired,
		Credentials:            credentials,
		IDTokenAlg:             string(v1alpha1.AlgorithmRS256),
		IDTokenClaims:          spec.IDTokenClaims,
		AccessTokenLifetime:    seconds(spec.AccessTokenLifetime, 0),
		Suspended:              spec.Suspended,
		TokensNotBefore:        unixSeconds(spec.TokensNotBefore),
		WorkloadIdentities:     workloadIdentities(c),
		JWKSURI:                spec.JWKSURI,
	}
	doc.JWKS, _ = ClientKeys(c)
	if doc.DisplayName == "" {
		doc.DisplayName = doc.ID
	}
	if spec.PKCE != "" {
		doc.PKCE = string(spec.PKCE)
	}
	if spec.Consent != "" {
		doc.Consent = string(spec.Consent)
	}
	if spec.IDTokenSignedResponseAlg != "" {
		doc.IDTokenAlg = string(spec.IDTokenSignedResponseAlg)
	}
	return doc
}

// LegacyGrants returns the grant types of c that RFC 9700 advises against.
func LegacyGrants(c *v1alpha1.OAuthClient) []string {
	return policy.LegacyGrants(texts(c.Spec.GrantTypes))
}

// Keys of the Secret that a workload mounts. They do not change after a release.
const (
	SecretKeyClientID              = "client_id"
	SecretKeyClientSecret          = "client_secret"
	SecretKeyIssuer                = "issuer"
	SecretKeyTokenEndpoint         = "token_endpoint"
	SecretKeyAuthorizationEndpoint = "authorization_endpoint"
	SecretKeyJWKSURI               = "jwks_uri"
)

// SecretContent returns the data of a client's Secret except the client secret.
func SecretContent(doc documents.Client, issuer string) map[string]string {
	endpoints := Endpoints(issuer)
	content := map[string]string{
		SecretKeyClientID:      doc.ID,
		SecretKeyIssuer:        issuer,
		SecretKeyTokenEndpoint: endpoints.Token,
	}
	if slices.Contains(doc.GrantTypes, string(v1alpha1.GrantTypeAuthorizationCode)) ||
		slices.Contains(doc.GrantTypes, string(v1alpha1.GrantTypeImplicit)) {
		content[SecretKeyAuthorizationEndpoint] = endpoints.Authorization
	}
	if slices.Contains(doc.Scopes, oauth.ScopeOpenID) {
		content[SecretKeyJWKSURI] = endpoints.JWKS
	}
	return content
}

// SecretTarget returns the Secret that the operator writes for c, or nil if it writes none.
func SecretTarget(c *v1alpha1.OAuthClient) *v1alpha1.SecretTarget {
	if !c.Spec.TokenEndpointAuthMethod.UsesSecret() {
		return nil
	}
	if c.Spec.Secret == nil {
		return &v1alpha1.SecretTarget{Name: c.Name + "-oauth"}
	}
	if c.Spec.Secret.Target == nil && c.Spec.Secret.Source == v1alpha1.SecretGenerate {
		return &v1alpha1.SecretTarget{Name: c.Name + "-oauth"}
	}
	return c.Spec.Secret.Target
}
