// Package policy says what follows from the facts: whether a server's rules allow a client or a resource server, and which scopes and
// audiences a client may have. It is pure. The manager asks it for the conditions that people read, the token server for every decision,
// so both say the same.
//
// policy.go holds the decisions, match.go the patterns of rules.
package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/redirecturi"
)

// Denial is why one rule does not allow what is asked.
type Denial struct {
	// Rule is the name of the rule.
	Rule string
	// Message names the field at fault and the value, for the owner of the object.
	Message string
}

// Decision is the answer to a client or resource server that asks to be accepted.
type Decision struct {
	Accepted bool
	// Rule that allows everything; empty if none does.
	Rule string
	// Denials has one entry a rule that admits the namespace, or one that says that none does.
	Denials []Denial
	// AccessTokenLifetime is in force for an accepted client.
	AccessTokenLifetime documents.Seconds
}

// Client decides whether the rules of s allow c: one rule must allow everything. Labels are those of the client's namespace, nil if it is
// not known. The first rule that allows everything decides, so the order of rules is the order of precedence.
func Client(s documents.Server, labels map[string]string, c documents.Client) Decision {
	if slices.Contains(c.Scopes, oauth.ScopeOpenID) && !slices.Contains(s.Algorithms, c.IDTokenAlg) {
		return Decision{Denials: []Denial{{Message: fmt.Sprintf("idTokenSignedResponseAlg: the server does not sign with %q, but with %s",
			c.IDTokenAlg, strings.Join(s.Algorithms, ", "))}}}
	}
	var d Decision
	for _, rule := range s.AllowedClients {
		if !admits(rule.Namespaces, c.Namespace, labels) {
			continue
		}
		if message := clientDenied(s, rule, c); message != "" {
			d.Denials = append(d.Denials, Denial{Rule: rule.Name, Message: message})
			continue
		}
		return Decision{Accepted: true, Rule: rule.Name, AccessTokenLifetime: accessTokenLifetime(s, rule, c)}
	}
	if len(d.Denials) == 0 {
		d.Denials = []Denial{{Message: noRule("clients", c.Namespace, s.AllowedClients,
			func(r documents.ClientRule) (string, documents.Namespaces) { return r.Name, r.Namespaces })}}
	}
	return d
}

// clientDenied says what of c the rule does not allow; empty: nothing.
func clientDenied(s documents.Server, rule documents.ClientRule, c documents.Client) string {
	for _, grant := range c.GrantTypes {
		if !slices.Contains(rule.GrantTypes, grant) {
			return fmt.Sprintf("grantTypes: %q is not allowed", grant)
		}
	}
	if !allowsClientID(rule.ClientIDs, c.Namespace, c.ID) {
		return clientIDDenied(rule, c)
	}
	for _, scope := range c.Scopes {
		if !matchesPrefix(rule.Scopes, scope) {
			return fmt.Sprintf("scopes: %q is not allowed", scope)
		}
	}
	for _, claim := range c.IDTokenClaims {
		// The client is told it whatever scope it asks for, so the rule has to allow the scope that
		// it would else need.
		if scope := oauth.ScopeOfClaim(claim); !matchesPrefix(rule.Scopes, scope) {
			return fmt.Sprintf("idTokenClaims: %q is not allowed, since it belongs to the scope %q, which scopes of the rule do not allow", claim, scope)
		}
	}
	for _, uri := range c.RedirectURIs {
		if message := redirectDenied(rule, c, "redirectURIs", uri); message != "" {
			return message
		}
	}
	for _, uri := range c.PostLogoutRedirectURIs {
		if message := redirectDenied(rule, c, "postLogoutRedirectURIs", uri); message != "" {
			return message
		}
	}
	if !slices.Contains(rule.Consent, c.Consent) {
		return fmt.Sprintf("consent: %q is not allowed", c.Consent)
	}
	if longest := longestLifetime(s, rule); c.AccessTokenLifetime > longest {
		return fmt.Sprintf("accessTokenLifetime: %s is longer than the %s that is allowed", c.AccessTokenLifetime.Duration(), longest.Duration())
	}
	return ""
}

func clientIDDenied(rule documents.ClientRule, c documents.Client) string {
	if matchesPrefix(rule.ClientIDs, c.ID) {
		label, _, _ := strings.Cut(c.ID, ".")
		return fmt.Sprintf("clientID: %q is not allowed, since ids that begin with %q belong to a namespace of that name; a pattern in clientIDs of the rule has to begin with %q to allow it",
			c.ID, label+".", label+".")
	}
	return fmt.Sprintf("clientID: %q is not allowed, only ids that begin with %q are, and those that clientIDs of the rule lists",
		c.ID, c.Namespace+".")
}

func redirectDenied(rule documents.ClientRule, c documents.Client, field, uri string) string {
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

// longestLifetime is how long the rule lets access tokens of its clients live.
func longestLifetime(s documents.Server, rule documents.ClientRule) documents.Seconds {
	if rule.MaxAccessTokenLifetime > 0 {
		return rule.MaxAccessTokenLifetime
	}
	return s.AccessTokenLifetime
}

// accessTokenLifetime is what c asks for, or the server's, and never longer than the rule allows.
func accessTokenLifetime(s documents.Server, rule documents.ClientRule, c documents.Client) documents.Seconds {
	lifetime := s.AccessTokenLifetime
	if c.AccessTokenLifetime > 0 {
		lifetime = c.AccessTokenLifetime
	}
	return min(lifetime, longestLifetime(s, rule))
}

// ResourceServer decides whether the rules of s allow rs, as Client does.
func ResourceServer(s documents.Server, labels map[string]string, rs documents.ResourceServer) Decision {
	var d Decision
	for _, rule := range s.AllowedResourceServers {
		if !admits(rule.Namespaces, rs.Namespace, labels) {
			continue
		}
		if message := resourceServerDenied(rule, rs); message != "" {
			d.Denials = append(d.Denials, Denial{Rule: rule.Name, Message: message})
			continue
		}
		return Decision{Accepted: true, Rule: rule.Name}
	}
	if len(d.Denials) == 0 {
		d.Denials = []Denial{{Message: noRule("resource servers", rs.Namespace, s.AllowedResourceServers,
			func(r documents.ResourceServerRule) (string, documents.Namespaces) { return r.Name, r.Namespaces })}}
	}
	return d
}

// noRule says that no rule is for a namespace, and by which labels of namespaces the rules select.
// The name of a rule and its labels are all that is told of an object in another namespace.
func noRule[R any](what, namespace string, rules []R, parts func(R) (string, documents.Namespaces)) string {
	var selectors []string
	for _, r := range rules {
		name, namespaces := parts(r)
		if namespaces.Selector == nil {
			continue
		}
		if labels := describe(*namespaces.Selector); labels != "" {
			selectors = append(selectors, fmt.Sprintf("rule %q selects namespaces by the labels %s", name, labels))
		}
	}
	message := fmt.Sprintf("no rule of the server allows %s from namespace %q", what, namespace)
	if len(selectors) == 0 {
		return message
	}
	return message + ": " + strings.Join(selectors, "; ")
}

func resourceServerDenied(rule documents.ResourceServerRule, rs documents.ResourceServer) string {
	if !matchesIdentifier(rule.Identifiers, rs.Identifier) {
		return fmt.Sprintf("identifier: %q is not allowed", rs.Identifier)
	}
	for _, scope := range rs.Scopes {
		if !matchesPrefix(rule.Scopes, scope.Name) {
			return fmt.Sprintf("scopes: %q is not allowed", scope.Name)
		}
	}
	return ""
}

// AllowsClient says whether rs lets clients of a namespace have a scope of its own; with scope "", whether they may name it as a resource
// (RFC 8707) at all. One rule must allow it, and another may allow another scope. Labels as for Client.
func AllowsClient(rs documents.ResourceServer, clientNamespace string, labels map[string]string, scope string) bool {
	return slices.ContainsFunc(rs.AllowedClients, func(rule documents.ResourceClientRule) bool {
		return admits(rule.Namespaces, clientNamespace, labels) && (scope == "" || matchesPrefix(rule.Scopes, scope))
	})
}
