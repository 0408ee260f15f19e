package explain

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/policy"
)

// checkScope answers about one scope: whether the client may have it when it is served at all.
func (e *explanation) checkScope(scope string) ScopeAnswer {
	a := ScopeAnswer{Scope: scope, Succeeds: Yes}
	if rs := e.declarerOf(scope); rs != nil {
		a.ResourceServer = resourceServerName(rs)
	}
	switch {
	case !slices.Contains(e.Client.Spec.Scopes, scope):
		a.Succeeds = No
		a.Reasons = []Reason{e.clientReason("spec.scopes", fmt.Sprintf("does not list %q", scope))}
	case oauth.IsBuiltInScope(scope) || e.served != nil && e.served.MayHaveScope(scope):
	case e.knowsScope(scope):
		if reason := e.findProblem(scope); reason != nil {
			a.Succeeds, a.Reasons = No, []Reason{*reason}
		}
	default:
		a.Succeeds, a.Reasons = e.scopeByCondition(scope)
	}
	return a
}

// declarerOf returns the ResourceServer that has a scope, or else one that declares it; nil if
// none is known.
func (e *explanation) declarerOf(scope string) *v1alpha1.ResourceServer {
	if holder := e.holderOf(scope); holder != nil {
		return holder
	}
	for i := range e.ResourceServers {
		rs := &e.ResourceServers[i]
		if slices.ContainsFunc(rs.Spec.Scopes, func(s v1alpha1.ResourceScope) bool { return s.Name == scope }) {
			return rs
		}
	}
	return nil
}

// knowsScope reports whether all that decides about a scope is known: the ResourceServer that
// declares it, and what its rules look at.
func (e *explanation) knowsScope(scope string) bool {
	rs := e.declarerOf(scope)
	if rs == nil {
		return e.AllResourceServers
	}
	_, known := e.Namespaces[e.Client.Namespace]
	return known || !slices.ContainsFunc(rs.Spec.AllowedClients, func(r v1alpha1.ResourceClientRule) bool { return selects(r.Namespaces) })
}

// findProblem says why the client may not have a scope that it lists; nil if it may, once the server
// accepts the client.
func (e *explanation) findProblem(scope string) *Reason {
	rs := e.declarerOf(scope)
	if rs == nil {
		reason := e.clientReason("spec.scopes", fmt.Sprintf("no ResourceServer of the %s declares %q", e.answer.Server, scope))
		return &reason
	}
	object := resourceServerName(rs)
	for _, conditionType := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionResolvedRefs} {
		c := currentCondition(rs, rs.Status.Conditions, conditionType)
		if c != nil && c.Status == metav1.ConditionFalse && !slices.Contains(e.heldScopes(rs), scope) {
			return &Reason{Object: object, Field: conditionField(*c), Message: c.Reason + ": " + c.Message}
		}
	}
	document, findings := compile.ResourceServer(rs)
	if len(findings) > 0 {
		return &Reason{Object: object, Field: findings[0].Field, Message: findings[0].Message}
	}
	if labels, known := e.Namespaces[rs.Namespace]; known && e.Server != nil {
		if decision := policy.EvaluateResourceServer(e.serverDocument(), labels, document); !decision.Accepted {
			denial := decision.Denials[0]
			return &Reason{Object: e.answer.Server, Field: "spec.allowedResourceServers", Message: denial.Message}
		}
	}
	if !policy.AllowsScope(document, e.Client.Namespace, e.Namespaces[e.Client.Namespace], scope) {
		return &Reason{Object: object, Field: "spec.allowedClients", Message: fmt.Sprintf("no rule allows clients of namespace %q the scope %q", e.Client.Namespace, scope)}
	}
	return nil
}

// scopeByCondition says what the client's condition ResolvedRefs says about a scope. It quotes each
// scope that is left out.
func (e *explanation) scopeByCondition(scope string) (Outcome, []Reason) {
	c := e.condition(v1alpha1.ConditionResolvedRefs)
	switch {
	case c == nil || c.Status == metav1.ConditionUnknown:
		return Unknown, []Reason{e.clientReason("spec.scopes", fmt.Sprintf("you may not read the ResourceServer that declares %q, and no condition of the client says more", scope))}
	case c.Status == metav1.ConditionTrue:
		return Yes, nil
	case strings.Contains(c.Message, strconv.Quote(scope)):
		return No, []Reason{e.conditionReason(*c)}
	case c.Reason == v1alpha1.ReasonUnknownScope: // which lists all that are left out
		return Yes, nil
	}
	return Unknown, []Reason{e.conditionReason(*c)}
}

func resourceServerName(rs *v1alpha1.ResourceServer) string {
	return "ResourceServer " + rs.Namespace + "/" + rs.Name
}
