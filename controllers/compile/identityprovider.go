package compile

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/claimmapping"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/ldapfilter"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// Defaults of an IdentityProvider, as the comments of its fields document them.
const (
	defaultMaxIdentities    = 10_000
	defaultProviderMaxAge   = 24 * time.Hour
	defaultThrottleFailures = 4
	defaultThrottleWindow   = 30 * time.Minute
	defaultGroupName        = "cn"
)

// protocolParameters are the parameters of authentication requests that a specification gives a
// meaning: OAuth 2.0 (RFC 6749), PKCE (RFC 7636), OpenID Connect Core, RFC 8707, 9101, 9396 and 9449.
var protocolParameters = []string{
	"acr_values", "authorization_details", "claims", "claims_locales", "client_id", "code_challenge", "code_challenge_method", "display", "dpop_jkt",
	"id_token_hint", "login_hint", "max_age", "nonce", "prompt", "redirect_uri", "registration", "request", "request_uri", "resource",
	"response_mode", "response_type", "scope", "state", "ui_locales",
}

// parameterPattern is of the names of other parameters. Brackets would make a list of one that the
// token server sets, at providers that know such, and a space is cut off by some.
var parameterPattern = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,64}$`)

// Realm returns the realm for which an IdentityProvider asks.
func Realm(p *v1alpha1.IdentityProvider) string {
	if p.Spec.Realm == "" && p.Spec.OIDC != nil {
		return p.Spec.OIDC.Issuer
	}
	return p.Spec.Realm
}

// DisplayName returns what the login page calls an IdentityProvider.
func DisplayName(p *v1alpha1.IdentityProvider) string { return cmp.Or(p.Spec.DisplayName, p.Name) }

// IdentityProvider returns the document of an IdentityProvider, without its credentials and its
// certificates.
func IdentityProvider(p *v1alpha1.IdentityProvider) (documents.IdentityProvider, Findings) {
	spec := &p.Spec
	doc := documents.IdentityProvider{
		UID: string(p.UID), Namespace: p.Namespace, Name: p.Name, DisplayName: DisplayName(p),
		AllClients: spec.Clients == v1alpha1.ProviderClientsAll, Type: string(spec.Type), Realm: Realm(p),
		Allow: spec.Allow, Claims: plain(spec.Claims), MaxIdentities: cmp.Or(int(spec.MaxIdentities), defaultMaxIdentities),
		Suspended: spec.Suspended, TokensNotBefore: unixSeconds(spec.TokensNotBefore),
	}
	var findings Findings
	if p.Name == documents.LocalProvider {
		findings = append(findings, Finding{"metadata.name", "local stands for OAuthUsers: create it again with another name"})
	}
	var found Findings
	switch {
	case spec.OIDC != nil:
		doc.SubjectAttribute = cmp.Or(spec.OIDC.SubjectClaim, "sub")
		doc.OIDC, found = oidcProvider(spec.OIDC)
	case spec.LDAP != nil:
		doc.SubjectAttribute = spec.LDAP.Users.SubjectAttribute
		doc.LDAP, found = ldapProvider(spec.LDAP)
	}
	_, err := claimmapping.Compile(spec.Allow, doc.Claims)
	return doc, slices.Concat(findings, found, linesOf(err), tooLarge(doc))
}

// IsOwnIssuer reports whether an identity provider is the AuthorizationServer of an issuer itself.
func IsOwnIssuer(doc documents.IdentityProvider, issuer string) bool {
	return doc.OIDC != nil && doc.OIDC.Issuer == issuer
}

// linesOf returns a finding for each line of an error, which begins with a field of the spec.
func linesOf(err error) Findings {
	if err == nil {
		return nil
	}
	var findings Findings
	for line := range strings.SplitSeq(err.Error(), "\n") {
		field, message, _ := strings.Cut(line, " ")
		findings = append(findings, Finding{"spec." + field, message})
	}
	return findings
}

func oidcProvider(o *v1alpha1.OIDCProviderSettings) (*documents.OIDCProvider, Findings) {
	var findings Findings
	for _, name := range slices.Sorted(maps.Keys(o.Parameters)) {
		field := fmt.Sprintf("spec.oidc.parameters[%.64s]", name)
		switch {
		case !parameterPattern.MatchString(name):
			findings = append(findings, Finding{field, "is not the name of a parameter: it has 1 to 64 of the characters A-Z a-z 0-9 . _ ~ -"})
		case slices.Contains(protocolParameters, strings.ToLower(name)): // some providers ignore case
			findings = append(findings, Finding{field, "is a parameter of the protocol, which the token server sets itself: remove it"})
		}
	}
	return &documents.OIDCProvider{
		Issuer: o.Issuer, ClientID: o.ClientID, Scopes: o.Scopes, Parameters: plain(o.Parameters), UserInfo: o.UserInfo == "Always",
		MaxAge: seconds(o.MaxAge, defaultProviderMaxAge),
	}, findings
}

func ldapProvider(l *v1alpha1.LDAPProviderSettings) (*documents.LDAPProvider, Findings) {
	throttle := cmp.Or(l.Throttle, &v1alpha1.LDAPThrottle{})
	doc := &documents.LDAPProvider{
		URL: l.URL, StartTLS: l.StartTLS, BindDN: l.Bind.DN,
		Users: documents.LDAPUsers{
			BaseDN: l.Users.BaseDN, Filter: l.Users.Filter, AccountFilter: l.Users.AccountFilter, Attributes: l.Users.Attributes,
			PasswordChangedAttribute: l.Users.PasswordChangedAttribute,
		},
		ThrottleFailures: cmp.Or(int(throttle.Failures), defaultThrottleFailures),
		ThrottleWindow:   seconds(throttle.Window, defaultThrottleWindow),
	}
	if g := l.Groups; g != nil {
		doc.Groups = documents.LDAPGroups{
			BaseDN: g.BaseDN, OneLevel: g.Scope == "OneLevel", Filter: g.Filter, NameAttribute: cmp.Or(g.NameAttribute, defaultGroupName),
		}
	}
	_, err := ldapfilter.NewProvider(*doc, l.Users.SubjectAttribute)
	return doc, linesOf(err)
}

// MappingExamples returns an error about the first example of an IdentityProvider that does not come
// out as it says. Allow and claims must compile.
func MappingExamples(p *v1alpha1.IdentityProvider) error {
	mapping, err := claimmapping.Compile(p.Spec.Allow, plain(p.Spec.Claims))
	if err != nil {
		return err
	}
	var examples []claimmapping.Example
	for _, e := range p.Spec.Examples {
		example := claimmapping.Example{Name: e.Name, Denied: e.Denied}
		if example.Upstream, err = object(e.Upstream.Raw); err == nil && e.Claims != nil {
			example.Claims, err = object(e.Claims.Raw)
		}
		if err != nil {
			return fmt.Errorf("example %q: %w", e.Name, err)
		}
		examples = append(examples, example)
	}
	return mapping.CheckExamples(examples)
}

// object decodes a JSON object. Numbers keep their digits.
func object(raw []byte) (map[string]any, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var value map[string]any
	return value, decoder.Decode(&value)
}

// plain returns a map of strings with the same values.
func plain[S ~string](values map[string]S) map[string]string {
	var all map[string]string
	for key, value := range values {
		if all == nil {
			all = map[string]string{}
		}
		all[key] = string(value)
	}
	return all
}

// NotAcceptedProvider returns the document of an IdentityProvider that has a mistake: its users
// cannot sign in. Suspending it, and voiding what was issued, work all the same.
func NotAcceptedProvider(p *v1alpha1.IdentityProvider) documents.IdentityProvider {
	return documents.IdentityProvider{
		UID: string(p.UID), Namespace: p.Namespace, Name: p.Name, DisplayName: DisplayName(p), NotAccepted: true,
		Suspended: p.Spec.Suspended, TokensNotBefore: unixSeconds(p.Spec.TokensNotBefore),
	}
}

// ProviderAddress returns the URL of a provider, for messages.
func ProviderAddress(p *v1alpha1.IdentityProvider) string {
	switch {
	case p.Spec.OIDC != nil:
		return p.Spec.OIDC.Issuer
	case p.Spec.LDAP != nil:
		return p.Spec.LDAP.URL
	}
	return p.Spec.Realm
}

// RedirectURI returns what is to be registered at an OpenID provider, for the issuer of the server. A
// directory has none.
func RedirectURI(issuer string, p *v1alpha1.IdentityProvider) string {
	if p.Spec.OIDC == nil {
		return ""
	}
	return issuer + oauth.PathCallback + "/" + p.Name
}
