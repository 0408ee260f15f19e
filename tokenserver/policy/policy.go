// Package policy evaluates the rules of servers and resource servers: which clients and resource
// servers a server accepts, which grant types it allows, and which scopes a resource server allows
// a client. The manager evaluates them for conditions, the token server for each decision, so both
// say the same. What follows for a request, package registry decides.
//
//	policy.go    the decisions
//	users.go     which users may sign in to a client
//	workloads.go those about clients that authenticate by workload identities
//	legacy.go    the grant types that a rule ends at a time
//	patterns.go  the patterns in rules: client ids, scopes, hosts, schemes, identifiers
//	selector.go  the namespaces of rules
//
// All functions are pure: time is a parameter.
package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/redirecturi"
)

// Fields of the server that have rules.
const (
	fieldAllowedClients         = "allowedClients"
	fieldAllowedResourceServers = "allowedResourceServers"
)

// Denial is the reason why a rule does not accept an object.
type Denial struct {
	// Rule is the name of the rule; empty if the reason is none of the rules.
	Rule string
	// ServerField is the field of the server that would have to allow it, such as "allowedClients";
	// empty if nothing of the server can.
	ServerField string
	// Message names the field and the value, for the owner of the object.
	Message string
}

// Decision says whether a server accepts a client or a resource server.
type Decision struct {
	Accepted bool
	// Rule is the name of the rule that accepts the object; empty if none does.
	Rule string
	// Denials has an entry for each rule that includes the namespace, or one that says that none
	// does.
	Denials []Denial
	// Users are the lists of that rule about who may sign in to an accepted client.
	Users UserLists
	// AccessTokenLifetime is that of an accepted client.
	AccessTokenLifetime documents.Seconds
	// LegacyUntil is when the rule ends the LegacyGrants of an accepted client, in Unix time; zero:
	// it does not, or the client has none.
	LegacyUntil int64
	// EndedGrants are those of the grant types of an accepted client that the rule has ended.
	EndedGrants []string
}

// EvaluateClient decides whether the rules of s accept c at now. The first rule that allows all of c
// does. If there is none, the first does that would but for its legacyUntil, and the Decision has
// the grant types that it has ended: so time alone refuses no client. labels are those of the
// client's namespace, nil if they are not known.
func EvaluateClient(s documents.Server, labels map[string]string, c documents.Client, now time.Time) Decision {
	if slices.Contains(c.Scopes, oauth.ScopeOpenID) && !slices.Contains(s.Algorithms, c.IDTokenAlg) {
		return Decision{Denials: []Denial{{ServerField: "signing.algorithms", Message: fmt.Sprintf("idTokenSignedResponseAlg: the server does not sign with %q, but with %s",
			c.IDTokenAlg, strings.Join(s.Algorithms, ", "))}}}
	}
	if denial := cmp.Or(checkNoIdentity(c), checkNoIssuer(s, c), checkWorkloadIdentities(s, c)); denial.Message != "" {
		return Decision{Denials: []Denial{denial}}
	}
	var d Decision
	var ended *documents.ClientRule // the first that allows all of c but what it has ended
	for i, rule := range s.AllowedClients {
		if !includesNamespace(rule.Namespaces, c.Namespace, labels) {
			continue
		}
		switch message := checkClient(s, rule, c); {
		case message != "":
			d.Denials = append(d.Denials, Denial{Rule: rule.Name, ServerField: fieldAllowedClients, Message: message})
		case !hasEnded(rule, now) || len(LegacyGrants(c.GrantTypes)) == 0:
			return acceptClient(s, rule, c, now)
		case ended == nil:
			ended = &s.AllowedClients[i]
		}
	}
	if ended != nil {
		return acceptClient(s, *ended, c, now)
	}
	if len(d.Denials) == 0 {
		d.Denials = []Denial{{ServerField: fieldAllowedClients, Message: describeNoRule("clients", c.Namespace, s.AllowedClients,
			func(r documents.ClientRule) (string, documents.Namespaces) { return r.Name, r.Namespaces })}}
	}
	return d
}

// checkNoIdentity returns why the id of c could be the subject of a user; the zero Denial if it could
// not. The API server refuses such an id, but not in an object from before it did.
func checkNoIdentity(c documents.Client) Denial {
	if !strings.HasPrefix(c.ID, oauth.IdentityPrefix) {
		return Denial{}
	}
	return Denial{Message: fmt.Sprintf("clientID: %q begins with %s, as only the subjects of users from identity providers do; delete the client and create it with another id, which is immutable",
		c.ID, oauth.IdentityPrefix)}
}

// acceptClient returns the decision about a client that a rule accepts.
func acceptClient(s documents.Server, rule documents.ClientRule, c documents.Client, now time.Time) Decision {
	d := Decision{
		Accepted: true, Rule: rule.Name, Users: UserLists{rule.IdentityProviders, rule.Groups}, AccessTokenLifetime: accessTokenLifetime(s, rule, c),
	}
	if legacy := LegacyGrants(c.GrantTypes); len(legacy) > 0 {
		d.LegacyUntil = rule.LegacyUntil
		if hasEnded(rule, now) {
			d.EndedGrants = legacy
		}
	}
	return d
}

// checkClient returns what a rule does not allow about c, whatever the time is; empty if it allows
// all.
func checkClient(s documents.Server, rule documents.ClientRule, c documents.Client) string {
	for _, grant := range c.GrantTypes {
		if !slices.Contains(rule.GrantTypes, grant) {
			return fmt.Sprintf("grantTypes: %q is not allowed", grant)
		}
	}
	if !allowsClientID(rule.ClientIDs, c.Namespace, c.ID) {
		return describeClientID(rule, c)
	}
	if !allowsAuthMethod(rule, c.AuthMethod) {
		return fmt.Sprintf("tokenEndpointAuthMethod: %q is not allowed, only %s", c.AuthMethod, strings.Join(rule.TokenEndpointAuthMethods, ", "))
	}
	for _, scope := range c.Scopes {
		if !matchesPattern(rule.Scopes, scope) {
			return fmt.Sprintf("scopes: %q is not allowed", scope)
		}
	}
	for _, claim := range c.IDTokenClaims {
		// The client gets the claim whatever scope it asks for, so the rule must allow the scope
		// that it would otherwise need.
		if scope := oauth.ScopeOfClaim(claim); !matchesPattern(rule.Scopes, scope) {
			return fmt.Sprintf("idTokenClaims: %q is not allowed, since it belongs to the scope %q, which scopes of the rule do not allow", claim, scope)
		}
	}
	for _, uri := range c.RedirectURIs {
		if message := checkRedirect(rule, c, "redirectURIs", uri); message != "" {
			return message
		}
	}
	for _, uri := range c.PostLogoutRedirectURIs {
		if message := checkRedirect(rule, c, "postLogoutRedirectURIs", uri); message != "" {
			return message
		}
	}
	if !slices.Contains(rule.Consent, c.Consent) {
		return fmt.Sprintf("consent: %q is not allowed", c.Consent)
	}
	if longest := maxAccessTokenLifetime(s, rule); c.AccessTokenLifetime > longest {
		return fmt.Sprintf("accessTokenLifetime: %s is longer than the %s that is allowed", c.AccessTokenLifetime.Duration(), longest.Duration())
	}
	return checkWorkloadIssuers(s, rule, c)
}

// describeClientID returns why a rule does not allow the id of c.
func describeClientID(rule documents.ClientRule, c documents.Client) string {
	if matchesPattern(rule.ClientIDs, c.ID) {
		label, _, _ := strings.Cut(c.ID, ".")
		return fmt.Sprintf("clientID: %q is not allowed, since ids that begin with %q belong to a namespace of that name; a pattern in clientIDs of the rule has to begin with %q to allow it",
			c.ID, label+".", label+".")
	}
	return fmt.Sprintf("clientID: %q is not allowed, only ids that begin with %q are, and those that clientIDs of the rule lists",
		c.ID, c.Namespace+".")
}

// checkRedirect returns why a rule does not allow a redirect URI of c; empty if it does.
func checkRedirect(rule documents.ClientRule, c documents.Client, field, uri string) string {
	switch kind, name := redirecturi.Classify(uri); kind {
	case redirecturi.Loopback:
		return ""
	case redirecturi.Web:
		if matchesHost(rule.RedirectHosts, name) {
			return ""
		}
		return fmt.Sprintf("%s: the host of %q is not allowed", field, uri)
	case redirecturi.PrivateUse:
		if allowsScheme(rule.RedirectSchemes, name, c) {
			return ""
		}
		if slices.Contains(rule.RedirectSchemes, name) {
			return fmt.Sprintf("%s: the scheme of %q has no dot, so it is for public clients only, with PKCE and consent and without the implicit grant", field, uri)
		}
		return fmt.Sprintf("%s: the scheme of %q is not allowed by redirectSchemes of the rule", field, uri)
	default:
		return fmt.Sprintf("%s: %q is neither https, nor loopback, nor of a private-use scheme such as com.example.app", field, uri)
	}
}

// maxAccessTokenLifetime returns the longest lifetime of access tokens that a rule allows.
func maxAccessTokenLifetime(s documents.Server, rule documents.ClientRule) documents.Seconds {
	if rule.MaxAccessTokenLifetime > 0 {
		return rule.MaxAccessTokenLifetime
	}
	return s.AccessTokenLifetime
}

// accessTokenLifetime returns the lifetime that c asks for, otherwise the server's, but not more
// than the rule allows.
func accessTokenLifetime(s documents.Server, rule documents.ClientRule, c documents.Client) documents.Seconds {
	lifetime := s.AccessTokenLifetime
	if c.AccessTokenLifetime > 0 {
		lifetime = c.AccessTokenLifetime
	}
	return min(lifetime, maxAccessTokenLifetime(s, rule))
}

// EvaluateResourceServer decides whether the rules of s accept rs, as EvaluateClient does.
func EvaluateResourceServer(s documents.Server, labels map[string]string, rs documents.ResourceServer) Decision {
	var d Decision
	for _, rule := range s.AllowedResourceServers {
		if !includesNamespace(rule.Namespaces, rs.Namespace, labels) {
			continue
		}
		if message := checkResourceServer(rule, rs); message != "" {
			d.Denials = append(d.Denials, Denial{Rule: rule.Name, ServerField: fieldAllowedResourceServers, Message: message})
			continue
		}
		return Decision{Accepted: true, Rule: rule.Name}
	}
	if len(d.Denials) == 0 {
		d.Denials = []Denial{{ServerField: fieldAllowedResourceServers, Message: describeNoRule("resource servers", rs.Namespace, s.AllowedResourceServers,
			func(r documents.ResourceServerRule) (string, documents.Namespaces) { return r.Name, r.Namespaces })}}
	}
	return d
}

// describeNoRule returns a message that no rule includes a namespace, and by which labels rules
// select namespaces. It reveals no more than that of the server, which may be in another namespace.
func describeNoRule[R any](what, namespace string, rules []R, parts func(R) (string, documents.Namespaces)) string {
	var selectors []string
	for _, r := range rules {
		name, namespaces := parts(r)
		if namespaces.Selector == nil {
			continue
		}
		if labels := formatSelector(*namespaces.Selector); labels != "" {
			selectors = append(selectors, fmt.Sprintf("rule %q selects namespaces by the labels %s", name, labels))
		}
	}
	message := fmt.Sprintf("no rule of the server allows %s from namespace %q", what, namespace)
	if len(selectors) == 0 {
		return message
	}
	return message + ": " + strings.Join(selectors, "; ")
}

// checkResourceServer returns what a rule does not allow about rs; empty if it allows all.
func checkResourceServer(rule documents.ResourceServerRule, rs documents.ResourceServer) string {
	if !matchesIdentifier(rule.Identifiers, rs.Identifier) {
		return fmt.Sprintf("identifier: %q is not allowed", rs.Identifier)
	}
	for _, scope := range rs.Scopes {
		if !matchesPattern(rule.Scopes, scope.Name) {
			return fmt.Sprintf("scopes: %q is not allowed", scope.Name)
		}
	}
	return ""
}

// AllowsResource reports whether rs allows clients of a namespace to name it as a resource (RFC
// 8707). labels are those of the namespace, nil if they are not known.
func AllowsResource(rs documents.ResourceServer, namespace string, labels map[string]string) bool {
	return slices.ContainsFunc(rs.AllowedClients, func(rule documents.ResourceClientRule) bool {
		return includesNamespace(rule.Namespaces, namespace, labels)
	})
}

// AllowsScope reports whether rs allows clients of a namespace one of its scopes. One rule must;
// other rules may allow other scopes. labels are as for AllowsResource.
func AllowsScope(rs documents.ResourceServer, namespace string, labels map[string]string, scope string) bool {
	return slices.ContainsFunc(rs.AllowedClients, func(rule documents.ResourceClientRule) bool {
		return includesNamespace(rule.Namespaces, namespace, labels) && matchesPattern(rule.Scopes, scope)
	})
}

// AllowsGrantTypes reports whether one rule of s allows clients all of the grant types at now.
func AllowsGrantTypes(s documents.Server, now time.Time, grantTypes ...string) bool {
	return slices.ContainsFunc(s.AllowedClients, func(rule documents.ClientRule) bool {
		return !slices.ContainsFunc(grantTypes, func(grant string) bool {
			return !slices.Contains(rule.GrantTypes, grant) || isLegacyGrant(grant) && hasEnded(rule, now)
		})
	})
}
