// Package explain says whether the token requests of an OAuthClient would succeed, by grant type and
// by scope, and if not, which field of which object says so. It asks the code that decides: package
// compile, by which the manager makes documents of objects, and the packages policy and registry, by
// which token servers answer requests from documents. It is pure: objects in, an answer out.
//
//	explain.go     Explain, and the answer
//	acceptance.go  whether the server accepts the client
//	scopes.go      which scopes it may have
//	named.go       the Secrets and the ConfigMap that it names
//	users.go       which users may sign in
//	served.go      the registry of a token server that has these objects
//	ends.go        what will end soon
//	text.go        the answer for people
//
// What the caller may not read is not in Objects. Then the conditions of the client say what the
// manager, which may read everything, has found out.
package explain

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/policy"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// Objects are what is known about a client.
type Objects struct {
	Client *v1alpha1.OAuthClient
	// Applied is whether the client is in the cluster as it is here, so that its status is about it.
	Applied bool
	// Unchecked is why the API server has not checked a client that is not applied; empty if it has.
	Unchecked string
	// ClientIDTakenBy is another object of the server that has the client id; empty if none is known.
	// It is for a client that is not applied: the conditions of one that is say so.
	ClientIDTakenBy string
	// Server is nil if it is not known. ServerMissing is whether it is known not to exist.
	Server        *v1alpha1.AuthorizationServer
	ServerMissing bool
	// Namespaces are the labels of those namespaces that are known.
	Namespaces map[string]map[string]string
	// ResourceServers of the server, as far as they are known. AllResourceServers is whether there
	// are no others.
	ResourceServers    []v1alpha1.ResourceServer
	AllResourceServers bool
	// IdentityProviders of the server, as ResourceServers are.
	IdentityProviders    []v1alpha1.IdentityProvider
	AllIdentityProviders bool
	// Secrets and ConfigMaps are those that a client which is not applied names, by their names: nil
	// if there is none. What is not in them is not known. LivingClients are the OAuthClients that may
	// exist of those to which they belong. The conditions of a client that is applied say what is
	// wrong with them.
	Secrets       map[string]*corev1.Secret
	ConfigMaps    map[string]*corev1.ConfigMap
	LivingClients map[types.UID]bool
	// Now is the time of the answer.
	Now time.Time
}

// Query is what is asked. The zero Query asks about every grant type and scope that the client
// lists.
type Query struct {
	GrantType string
	Scopes    []string
}

// Outcome of a request. Unknown means that the caller may not read what decides, or that token
// servers do not serve the latest change yet.
type Outcome string

// Outcomes.
const (
	Yes     Outcome = "Yes"
	No      Outcome = "No"
	Unknown Outcome = "Unknown"
)

// and returns the outcome of two things that both have to succeed.
func (o Outcome) and(other Outcome) Outcome {
	switch {
	case o == No || other == No:
		return No
	case o == Unknown || other == Unknown:
		return Unknown
	}
	return Yes
}

// or returns the outcome of two things of which one has to succeed.
func (o Outcome) or(other Outcome) Outcome {
	switch {
	case o == Yes || other == Yes:
		return Yes
	case o == Unknown || other == Unknown:
		return Unknown
	}
	return No
}

// Reason is why a request does not succeed, or why that is not known.
type Reason struct {
	// Object is the object that says so, such as "OAuthClient shop/billing".
	Object string `json:"object"`
	// Field is the path of the field in the object: "spec.suspended".
	Field string `json:"field"`
	// Message says what to change.
	Message string `json:"message"`
}

// Answer is what Explain finds out. Its JSON is documented in docs/kubectl-oauth.md, and stable.
type Answer struct {
	Client   string `json:"client"`
	ClientID string `json:"clientID"`
	Server   string `json:"server"`
	// Issuer and Rule are empty if the server is not known, Rule also if no rule accepts the client.
	Issuer string `json:"issuer,omitempty"`
	Rule   string `json:"rule,omitempty"`
	// Succeeds is No if one of the grant types or scopes does not.
	Succeeds Outcome `json:"succeeds"`
	// Reasons are about every request of the client.
	Reasons    []Reason          `json:"reasons,omitempty"`
	GrantTypes []GrantTypeAnswer `json:"grantTypes"`
	Scopes     []ScopeAnswer     `json:"scopes,omitempty"`
	// Users says who may sign in. Nil if no users do, or if the rule is not known.
	Users *UsersAnswer `json:"users,omitempty"`
	// EndsSoon is what works and will end.
	EndsSoon []End `json:"endsSoon,omitempty"`
	// Notes are what is worth knowing and stops nothing.
	Notes []string `json:"notes,omitempty"`
}

// GrantTypeAnswer is about the requests with one grant type.
type GrantTypeAnswer struct {
	GrantType string   `json:"grantType"`
	Succeeds  Outcome  `json:"succeeds"`
	Reasons   []Reason `json:"reasons,omitempty"`
	// Scopes and Audience are what a token has for the scopes of the query, or by default. Empty if
	// the request does not succeed or that is not known.
	Scopes   []string `json:"scopes,omitempty"`
	Audience []string `json:"audience,omitempty"`
	// AccessTokenLifetime is a duration such as "5m0s".
	AccessTokenLifetime string `json:"accessTokenLifetime,omitempty"`
}

// ScopeAnswer is about one scope.
type ScopeAnswer struct {
	Scope    string  `json:"scope"`
	Succeeds Outcome `json:"succeeds"`
	// ResourceServer is the object that declares the scope. Empty for a built-in scope, and if it is
	// not known.
	ResourceServer string   `json:"resourceServer,omitempty"`
	Reasons        []Reason `json:"reasons,omitempty"`
}

// explanation is an Answer that is being made.
type explanation struct {
	Objects
	query  Query
	answer Answer
	// decision is what the rules of the server say. Zero if they are not all known.
	decision policy.Decision
	// nextRule is the rule that accepts the client when the present one ends a grant type.
	nextRule policy.RuleChange
	// served is the client as a token server has it. Nil if the objects that decide are not all
	// known, or if it is refused.
	served *registry.Client
}

// Explain answers a query.
func Explain(o Objects, q Query) Answer {
	e := &explanation{Objects: o, query: q}
	server := serverOf(o.Client)
	e.answer = Answer{
		Client: e.clientName(), ClientID: compile.ClientID(o.Client), Succeeds: Yes,
		Server: "AuthorizationServer " + server.Namespace + "/" + server.Name,
	}
	if o.Server != nil {
		e.answer.Issuer = o.Server.Spec.Issuer
	}
	outcome := e.checkAcceptance().and(e.checkOperation())
	e.answer.Users = e.checkUsers()
	e.served = e.serve()
	for _, scope := range e.scopes() {
		e.answer.Scopes = append(e.answer.Scopes, e.checkScope(scope))
	}
	for _, grant := range e.grantTypes() {
		e.answer.GrantTypes = append(e.answer.GrantTypes, e.checkGrantType(grant, outcome))
	}
	if outcome != No {
		e.answer.EndsSoon = e.endsSoon()
	}
	for _, g := range e.answer.GrantTypes {
		e.answer.Succeeds = e.answer.Succeeds.and(g.Succeeds)
	}
	for _, s := range e.answer.Scopes {
		e.answer.Succeeds = e.answer.Succeeds.and(s.Succeeds)
	}
	return e.answer
}

// grantTypes returns the grant type of the query, or those that the client lists.
func (e *explanation) grantTypes() []string {
	if e.query.GrantType != "" {
		return []string{e.query.GrantType}
	}
	var grants []string
	for _, grant := range e.Client.Spec.GrantTypes {
		grants = append(grants, string(grant))
	}
	return grants
}

// scopes returns the scopes of the query, or those that the client lists.
func (e *explanation) scopes() []string {
	if len(e.query.Scopes) > 0 {
		return e.query.Scopes
	}
	return e.Client.Spec.Scopes
}

// checkGrantType answers about one grant type. client is whether the client is served at all.
func (e *explanation) checkGrantType(grant string, client Outcome) GrantTypeAnswer {
	a := GrantTypeAnswer{GrantType: grant, Succeeds: client}
	if !slices.Contains(e.Client.Spec.GrantTypes, v1alpha1.GrantType(grant)) {
		a.Succeeds = No
		a.Reasons = append(a.Reasons, e.clientReason("spec.grantTypes", "does not list "+grant))
	}
	if e.hasEnded(grant) {
		a.Succeeds = No
		object, field := e.legacyUntilField()
		a.Reasons = append(a.Reasons, Reason{Object: object, Field: field, Message: fmt.Sprintf("ended %s on %s", grant, e.legacyUntil().Format(time.RFC3339))})
	}
	users, reasons := e.checkGrantUsers(grant)
	a.Succeeds, a.Reasons = a.Succeeds.and(users), append(a.Reasons, reasons...)
	if a.Succeeds != Yes || e.served == nil {
		return a
	}
	var unavailable []string
	if grant == oauth.GrantClientCredentials {
		unavailable = oauth.BuiltInScopes
	}
	scopes, err := e.served.ResolveScopes(e.query.Scopes, false, unavailable...)
	if err != nil {
		a.Succeeds = No // checkScope says why
		return a
	}
	audience, scopes, err := e.served.ResolveAudience(scopes, nil)
	if err == nil {
		a.Scopes, a.Audience, a.AccessTokenLifetime = scopes, audience, e.served.AccessTokenLifetime.String()
	}
	return a
}

func (e *explanation) clientName() string {
	return "OAuthClient " + e.Client.Namespace + "/" + e.Client.Name
}

func (e *explanation) clientReason(field, message string) Reason {
	return Reason{Object: e.clientName(), Field: field, Message: message}
}

// serverOf returns the reference of a client to its server, with the namespace.
func serverOf(c *v1alpha1.OAuthClient) v1alpha1.ServerReference {
	return withNamespace(c.Spec.ServerRef, c.Namespace)
}

func withNamespace(ref v1alpha1.ServerReference, own string) v1alpha1.ServerReference {
	if ref.Namespace == "" {
		ref.Namespace = own
	}
	return ref
}

// currentCondition returns a condition of an object if it is about the generation that was read;
// nil otherwise.
func currentCondition(object metav1.Object, conditions []metav1.Condition, conditionType string) *metav1.Condition {
	c := meta.FindStatusCondition(conditions, conditionType)
	if c == nil || c.ObservedGeneration != object.GetGeneration() {
		return nil
	}
	return c
}
