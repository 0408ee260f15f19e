package compile

import (
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// Defaults of an AuthorizationServer, as the comments of its fields document them.
const (
	defaultAccessTokenLifetime       = 5 * time.Minute
	defaultAuthorizationCodeLifetime = time.Minute
	defaultRefreshIdleLifetime       = 720 * time.Hour
	defaultRefreshAbsoluteLifetime   = 2160 * time.Hour
	defaultReuseGracePeriod          = time.Minute
	defaultSessionIdleLifetime       = 8 * time.Hour
	defaultSessionAbsoluteLifetime   = 24 * time.Hour
	defaultRotationInterval          = 2160 * time.Hour
)

// defaultRule is the name of the rule of a server that has none. Conditions quote it.
const defaultRule = "default"

// Server returns the document of an AuthorizationServer with some keys. It leaves out algorithms
// without an Active key that is not revoked: the server cannot sign with them.
func Server(as *v1alpha1.AuthorizationServer, keys []documents.Key) (documents.Server, Findings) {
	spec := &as.Spec
	doc := documents.Server{
		UID:                       string(as.UID),
		Namespace:                 as.Namespace,
		Name:                      as.Name,
		Issuer:                    spec.Issuer,
		AccessTokenLifetime:       seconds(nil, defaultAccessTokenLifetime),
		AuthorizationCodeLifetime: seconds(nil, defaultAuthorizationCodeLifetime),
		RefreshToken:              refreshToken(nil),
		Storage:                   string(Storage(as)),
		TrustedProxies:            texts(spec.TrustedProxies),
		WorkloadIssuers:           workloadIssuers(as),
		Keys:                      slices.Clone(keys),
		TokensNotBefore:           unixSeconds(spec.TokensNotBefore),
		Fetch:                     fetchRules(spec.Fetch),
	}
	var findings, more Findings
	doc.AllowedClients, findings = clientRules(as)
	doc.AllowedResourceServers, more = resourceServerRules(as)
	findings = append(findings, more...)
	if tokens := spec.Tokens; tokens != nil {
		doc.AccessTokenLifetime = seconds(tokens.AccessTokenLifetime, defaultAccessTokenLifetime)
		doc.AuthorizationCodeLifetime = seconds(tokens.AuthorizationCodeLifetime, defaultAuthorizationCodeLifetime)
		doc.RefreshToken = refreshToken(tokens.RefreshToken)
	}
	sessions := spec.Sessions
	if sessions == nil {
		sessions = &v1alpha1.SessionSettings{}
	}
	doc.SessionAbsoluteLifetime = seconds(sessions.AbsoluteLifetime, defaultSessionAbsoluteLifetime)
	doc.SessionIdleLifetime = min(seconds(sessions.IdleLifetime, defaultSessionIdleLifetime), doc.SessionAbsoluteLifetime)
	if spec.Signing != nil {
		doc.RevokedKeys = slices.Sorted(slices.Values(spec.Signing.RevokedKeys))
	}
	for _, algorithm := range Algorithms(as) {
		if slices.ContainsFunc(keys, func(k documents.Key) bool {
			return k.Algorithm == algorithm && k.Phase == documents.KeyActive && !slices.Contains(doc.RevokedKeys, k.KID)
		}) {
			doc.Algorithms = append(doc.Algorithms, algorithm)
		}
	}
	return doc, append(findings, tooLarge(doc)...)
}

// Storage returns the type of the server's storage.
func Storage(as *v1alpha1.AuthorizationServer) v1alpha1.StorageType {
	if as.Spec.Storage == nil {
		return v1alpha1.StorageKubernetes
	}
	return as.Spec.Storage.Type
}

// DSN returns where the DSN of the server's database is, or nil if it has no database.
func DSN(as *v1alpha1.AuthorizationServer) *v1alpha1.SecretKeyReference {
	if as.Spec.Storage == nil || as.Spec.Storage.PostgreSQL == nil {
		return nil
	}
	return &as.Spec.Storage.PostgreSQL.SecretRef
}

// Algorithms returns the algorithms for which the server has keys. The first signs access tokens.
func Algorithms(as *v1alpha1.AuthorizationServer) []string {
	if as.Spec.Signing == nil || len(as.Spec.Signing.Algorithms) == 0 {
		return []string{string(v1alpha1.AlgorithmES256), string(v1alpha1.AlgorithmRS256)}
	}
	return texts(as.Spec.Signing.Algorithms)
}

// Rotation returns when the server's keys are replaced: the interval and the revision of the spec.
func Rotation(as *v1alpha1.AuthorizationServer) (interval time.Duration, revision int64) {
	if as.Spec.Signing == nil || as.Spec.Signing.Rotation == nil {
		return defaultRotationInterval, 0
	}
	rotation := as.Spec.Signing.Rotation
	return seconds(rotation.Interval, defaultRotationInterval).Duration(), rotation.Revision
}

// LongestToken returns the longest lifetime of a token that is signed now.
func LongestToken(doc documents.Server) time.Duration {
	longest := doc.AccessTokenLifetime
	for _, rule := range doc.AllowedClients {
		longest = max(longest, rule.MaxAccessTokenLifetime)
	}
	return longest.Duration()
}

// flowLifetime is how long a user may take to log in. The authorization request is sealed
// meanwhile.
const flowLifetime = 30 * time.Minute

// LongestSealed returns the longest lifetime of a value that is sealed now: a refresh token, a
// session, a code, the id of an access token, or an authorization request in the URL of a page.
func LongestSealed(doc documents.Server) time.Duration {
	longest := max(doc.RefreshToken.AbsoluteLifetime, doc.SessionAbsoluteLifetime, doc.AuthorizationCodeLifetime)
	return max(longest.Duration(), LongestToken(doc), flowLifetime)
}

// Endpoints returns the URLs of the endpoints of an issuer.
func Endpoints(issuer string) v1alpha1.ServerEndpoints {
	return v1alpha1.ServerEndpoints{
		Authorization: issuer + oauth.PathAuthorize,
		Token:         issuer + oauth.PathToken,
		JWKS:          issuer + oauth.PathJWKS,
		Discovery:     issuer + oauth.PathOpenIDConfiguration,
	}
}

func refreshToken(settings *v1alpha1.RefreshTokenSettings) documents.RefreshToken {
	if settings == nil {
		settings = &v1alpha1.RefreshTokenSettings{}
	}
	absolute := seconds(settings.AbsoluteLifetime, defaultRefreshAbsoluteLifetime)
	return documents.RefreshToken{
		IdleLifetime:            min(seconds(settings.IdleLifetime, defaultRefreshIdleLifetime), absolute),
		AbsoluteLifetime:        absolute,
		ReuseGracePeriod:        seconds(settings.ReuseGracePeriod, defaultReuseGracePeriod),
		RotatePublicClientsOnly: settings.Rotation != v1alpha1.RotateAlways,
	}
}

func clientRules(as *v1alpha1.AuthorizationServer) ([]documents.ClientRule, Findings) {
	rules := as.Spec.AllowedClients
	if len(rules) == 0 {
		rules = []v1alpha1.ClientRule{{Name: defaultRule}}
	}
	var compiled []documents.ClientRule
	var findings Findings
	for i, rule := range rules {
		namespaces, found := namespaces(rule.Namespaces, as.Namespace, "spec.allowedClients["+strconv.Itoa(i)+"].namespaces")
		findings = append(findings, found...)
		compiled = append(compiled, documents.ClientRule{
			Name:       rule.Name,
			Namespaces: namespaces,
			GrantTypes: orDefault(texts(rule.GrantTypes), string(v1alpha1.GrantTypeAuthorizationCode),
				string(v1alpha1.GrantTypeClientCredentials), string(v1alpha1.GrantTypeRefreshToken)),
			ClientIDs:              rule.ClientIDs,
			Scopes:                 orDefault(rule.Scopes, documents.Any),
			RedirectHosts:          orDefault(rule.RedirectHosts, documents.Any),
			RedirectSchemes:        rule.RedirectSchemes,
			Consent:                orDefault(texts(rule.Consent), documents.ConsentRequired),
			MaxAccessTokenLifetime: seconds(rule.MaxAccessTokenLifetime, 0),

			TokenEndpointAuthMethods: authMethods(rule.TokenEndpointAuthMethods),
			LegacyUntil:              unixSeconds(rule.LegacyUntil),
			WorkloadIssuers:          rule.WorkloadIssuers,
			IdentityProviders:        rule.IdentityProviders,
			Groups:                   rule.Groups,
		})
	}
	return compiled, findings
}

func resourceServerRules(as *v1alpha1.AuthorizationServer) ([]documents.ResourceServerRule, Findings) {
	rules := as.Spec.AllowedResourceServers
	if len(rules) == 0 {
		rules = []v1alpha1.ResourceServerRule{{Name: defaultRule}}
	}
	var compiled []documents.ResourceServerRule
	var findings Findings
	for i, rule := range rules {
		namespaces, found := namespaces(rule.Namespaces, as.Namespace, "spec.allowedResourceServers["+strconv.Itoa(i)+"].namespaces")
		findings = append(findings, found...)
		compiled = append(compiled, documents.ResourceServerRule{
			Name:        rule.Name,
			Namespaces:  namespaces,
			Identifiers: orDefault(rule.Identifiers, documents.Any),
			Scopes:      orDefault(rule.Scopes, documents.Any),
		})
	}
	return compiled, findings
}

// seconds returns a duration in seconds, or its default if it is nil.
func seconds(d *metav1.Duration, otherwise time.Duration) documents.Seconds {
	if d != nil {
		otherwise = d.Duration
	}
	return documents.Seconds(otherwise / time.Second)
}

// unixSeconds returns a time in Unix seconds, and nil as 0.
func unixSeconds(t *metav1.Time) int64 {
	if t == nil {
		return 0
	}
	return t.Unix()
}

// authMethods returns the authentication methods of a rule; empty: any, which the first format of
// documents can say.
func authMethods(patterns []v1alpha1.AuthMethodPattern) []string {
	if slices.Contains(patterns, v1alpha1.AuthMethodAny) {
		return nil
	}
	return texts(patterns)
}

func orDefault(list []string, otherwise ...string) []string {
	if len(list) == 0 {
		return otherwise
	}
	return list
}

func texts[S ~string](values []S) []string {
	var list []string
	for _, value := range values {
		list = append(list, string(value))
	}
	return list
}
