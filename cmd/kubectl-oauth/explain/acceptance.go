package explain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/policy"
)

// checkAcceptance says whether the server accepts the client: by its rules if they are known, else
// by what the manager says.
func (e *explanation) checkAcceptance() Outcome {
	if e.ServerMissing {
		return e.refuse(e.clientReason("spec.serverRef", "there is no "+e.answer.Server+": create it, or create the client again with another serverRef"))
	}
	if e.ClientIDTakenBy != "" {
		return e.refuse(e.clientReason("spec.clientID", fmt.Sprintf("%s has the name %q: choose another clientID, which is immutable", e.ClientIDTakenBy, e.answer.ClientID)))
	}
	if !e.canEvaluate() {
		return e.byCondition(v1alpha1.ConditionAccepted)
	}
	server := e.serverDocument()
	client := compile.Client(e.Client, nil)
	decision := policy.EvaluateClient(server, e.Namespaces[e.Client.Namespace], client, e.Now)
	e.decision, e.answer.Rule = decision, decision.Rule
	var last policy.RuleChange
	if last, e.nextRule = policy.RuleChanges(server, e.Namespaces[e.Client.Namespace], client, decision); last.To != "" {
		e.answer.Notes = append(e.answer.Notes, fmt.Sprintf("since %s, when rule %q ended %s, %s",
			timeOf(last.At).Format(time.RFC3339), last.From, strings.Join(compile.LegacyGrants(e.Client), " and "), last.Describe()))
	}
	if !decision.Accepted {
		for _, denial := range decision.Denials {
			e.refuse(e.deniedBy(denial))
		}
		return No
	}
	// The rules say nothing about names, which have one owner.
	accepted := e.condition(v1alpha1.ConditionAccepted)
	if accepted == nil || accepted.Status != metav1.ConditionFalse {
		return Yes
	}
	if accepted.Reason == v1alpha1.ReasonNotAllowedByServer {
		e.answer.Notes = append(e.answer.Notes, "the rules allow the client, and the manager has not said so yet")
		return Yes
	}
	return e.refuse(e.conditionReason(*accepted))
}

// deniedBy returns the reason of a denial: the field of the server that does not allow it, or the
// field of the client if nothing in the server can.
func (e *explanation) deniedBy(d policy.Denial) Reason {
	if d.ServerField == "" {
		field, message, _ := strings.Cut(d.Message, ": ")
		return e.clientReason("spec."+field, message)
	}
	field := "spec." + d.ServerField
	if d.Rule != "" {
		field += "[" + d.Rule + "]"
	}
	return Reason{Object: e.answer.Server, Field: field, Message: d.Message}
}

// canEvaluate reports whether all that the rules of the server look at is known.
func (e *explanation) canEvaluate() bool {
	if e.Server == nil {
		return false
	}
	_, known := e.Namespaces[e.Client.Namespace]
	return known || !slices.ContainsFunc(e.Server.Spec.AllowedClients, func(r v1alpha1.ClientRule) bool { return selects(r.Namespaces) })
}

// selects reports whether a rule looks at the labels of namespaces.
func selects(n *v1alpha1.RuleNamespaces) bool {
	return n != nil && n.From == v1alpha1.NamespacesSelector
}

// checkOperation says whether all else that a request needs is there: what is switched off, and what
// the manager and the token servers report.
func (e *explanation) checkOperation() Outcome {
	outcome := Yes
	if e.Client.Spec.Suspended {
		outcome = e.refuse(e.clientReason("spec.suspended", "is true: kubectl oauth resume client/"+e.Client.Name))
	}
	if e.Server != nil {
		for _, conditionType := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionAvailable} {
			if c := currentCondition(e.Server, e.Server.Status.Conditions, conditionType); c != nil && c.Status == metav1.ConditionFalse {
				outcome = e.refuse(Reason{Object: e.answer.Server, Field: conditionField(*c), Message: c.Reason + ": " + c.Message})
			}
		}
	}
	if !e.Applied {
		e.answer.Notes = append(e.answer.Notes, "the client is not applied as it is here: what is said holds once it is, and its condition Ready is True")
		if e.Unchecked != "" {
			e.answer.Reasons = append(e.answer.Reasons, e.clientReason("spec", "the API server has not checked the manifest, and may refuse it: "+e.Unchecked))
			outcome = outcome.and(Unknown)
		}
		return outcome.and(e.checkNamed())
	}
	accepted := e.condition(v1alpha1.ConditionAccepted)
	if accepted != nil && accepted.Status != metav1.ConditionTrue {
		if c := e.condition(v1alpha1.ConditionCredentialsReady); c != nil && c.Status == metav1.ConditionFalse {
			outcome = e.refuse(e.conditionReason(*c))
		}
		return outcome // what is Unknown waits for it, and says so
	}
	outcome = outcome.and(e.byCondition(v1alpha1.ConditionCredentialsReady))
	programmed := e.byCondition(v1alpha1.ConditionProgrammed)
	if programmed == No {
		programmed = Unknown // token servers answer by what was before
	}
	return outcome.and(programmed)
}

// byCondition says what a condition of the client says.
func (e *explanation) byCondition(conditionType string) Outcome {
	c := e.condition(conditionType)
	switch {
	case !e.Applied:
		e.answer.Reasons = append(e.answer.Reasons, Reason{Object: e.answer.Server, Field: "spec.allowedClients",
			Message: "you may not read all that the rules look at, and the client is not applied, so that no condition says what they decide"})
		return Unknown
	case c == nil:
		e.answer.Reasons = append(e.answer.Reasons, e.clientReason("status.conditions["+conditionType+"]",
			fmt.Sprintf("the manager has not reported on generation %d yet: is it running?", e.Client.Generation)))
		return Unknown
	case c.Status == metav1.ConditionTrue:
		return Yes
	case c.Status == metav1.ConditionFalse:
		return e.refuse(e.conditionReason(*c))
	}
	e.answer.Reasons = append(e.answer.Reasons, e.conditionReason(*c))
	return Unknown
}

// condition returns a condition of the client; nil if there is none about what was read.
func (e *explanation) condition(conditionType string) *metav1.Condition {
	if !e.Applied {
		return nil
	}
	return currentCondition(e.Client, e.Client.Status.Conditions, conditionType)
}

func (e *explanation) conditionReason(c metav1.Condition) Reason {
	return e.clientReason(conditionField(c), c.Reason+": "+c.Message)
}

func conditionField(c metav1.Condition) string { return "status.conditions[" + c.Type + "]" }

// refuse adds a reason for which no request of the client succeeds.
func (e *explanation) refuse(r Reason) Outcome {
	e.answer.Reasons = append(e.answer.Reasons, r)
	return No
}

// serverDocument returns the document of the server. One that is not applied yet has no keys: it
// counts as one that has those that it asks for.
func (e *explanation) serverDocument() documents.Server {
	var keys []documents.Key
	for _, key := range e.Server.Status.Keys {
		keys = append(keys, documents.Key{KID: key.KID, Algorithm: key.Algorithm, Phase: string(key.Phase)})
	}
	if len(keys) == 0 {
		for _, algorithm := range compile.Algorithms(e.Server) {
			keys = append(keys, documents.Key{KID: algorithm, Algorithm: algorithm, Phase: documents.KeyActive})
		}
	}
	document, _ := compile.Server(e.Server, keys) // what the findings are about is not applied by the manager, and in the conditions
	return document
}
