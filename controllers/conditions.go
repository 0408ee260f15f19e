package controllers

import (
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
)

// condition is what a condition of an object says. The zero condition is not set: no step has
// determined it.
type condition struct {
	status  metav1.ConditionStatus
	reason  string
	message string
	// stalled is whether nothing but a change of the object itself can help.
	stalled bool
}

func trueCondition(reason, message string) condition {
	return condition{status: metav1.ConditionTrue, reason: reason, message: message}
}

func falseCondition(reason, format string, args ...any) condition {
	return condition{status: metav1.ConditionFalse, reason: reason, message: fmt.Sprintf(format, args...)}
}

func pendingCondition(format string, args ...any) condition {
	return condition{status: metav1.ConditionUnknown, reason: v1alpha1.ReasonPending, message: fmt.Sprintf(format, args...)}
}

// invalidCondition is for an object that is invalid whatever other objects say.
func invalidCondition(format string, args ...any) condition {
	c := falseCondition(v1alpha1.ReasonInvalid, format, args...)
	c.stalled = true
	return c
}

func problemCondition(p compile.Problem) condition {
	switch p.Reason {
	case "":
		return condition{}
	case v1alpha1.ReasonPending:
		return pendingCondition("%s", p.Message)
	}
	return falseCondition(p.Reason, "%s", p.Message)
}

func (c condition) isTrue() bool { return c.status == metav1.ConditionTrue }

func (c condition) isSet() bool { return c.status != "" }

// typedCondition is a condition with its type.
type typedCondition struct {
	conditionType string
	condition     condition
}

// readyCondition is True if all conditions are, else it says what the first says that is not.
func readyCondition(conditions []typedCondition, message string) condition {
	for _, c := range conditions {
		if !c.condition.isTrue() {
			return c.condition
		}
	}
	return trueCondition(v1alpha1.ReasonReady, message)
}

// conditionList collects the conditions of an object at the end of a pass.
type conditionList struct {
	object     client.Object
	before     []metav1.Condition
	failure    *failure
	conditions []typedCondition
	// statusDue is when the status is written. Zero: now.
	statusDue time.Time
}

func newConditionList(object client.Object, failed *failure) *conditionList {
	return &conditionList{object: object, before: slices.Clone(conditionsOf(object)), failure: failed}
}

// add adds what the steps found, or what failure.typedCondition says instead.
func (l *conditionList) add(conditionType string, found condition, pending string) {
	l.conditions = append(l.conditions, l.failure.typedCondition(conditionType, found, l.before, l.object.GetGeneration(), pending))
}

// isAllTrue reports whether no step failed, and all conditions that were added are True.
func (l *conditionList) isAllTrue() bool {
	return l.failure == nil && !slices.ContainsFunc(l.conditions, func(c typedCondition) bool { return !c.condition.isTrue() })
}

// ready returns what the condition Ready says about the conditions that were added.
func (l *conditionList) ready(message string) condition {
	return l.failure.readyCondition(l.conditions, message)
}

// write replaces the conditions of the object.
func (l *conditionList) write(conditions *[]metav1.Condition, now time.Time) {
	setConditions(conditions, l.object.GetGeneration(), now, l.conditions)
}

// maxMessage is the longest message of a condition in bytes. The schema allows 32,768 characters,
// more than anyone reads.
const maxMessage = 8 << 10

// maxConditions is how many conditions the schema allows.
const maxConditions = 16

// setConditions replaces conditions by the new ones, in their order. It adds the condition Stalled
// (of kstatus, by which tools tell an object that will never be ready from one that is not ready
// yet) if one of them is stalled. Conditions of the operator that are not among them are removed;
// those of other controllers stay, as far as there is room. The time of a condition changes with
// its status only.
func setConditions(conditions *[]metav1.Condition, generation int64, now time.Time, next []typedCondition) {
	for _, c := range next {
		if c.condition.stalled {
			next = append(slices.Clone(next), typedCondition{v1alpha1.ConditionStalled, trueCondition(c.condition.reason, c.condition.message)})
			break
		}
	}
	others := maxConditions - len(next)
	*conditions = slices.DeleteFunc(*conditions, func(c metav1.Condition) bool {
		if slices.ContainsFunc(next, func(n typedCondition) bool { return n.conditionType == c.Type }) {
			return false
		}
		if c.Type == v1alpha1.ConditionLegacyGrant || c.Type == v1alpha1.ConditionStalled || c.Type == v1alpha1.ConditionProgrammed {
			return true
		}
		others--
		return others < 0
	})
	for _, c := range next {
		meta.SetStatusCondition(conditions, metav1.Condition{
			Type: c.conditionType, Status: c.condition.status, Reason: c.condition.reason, Message: truncate(c.condition.message, maxMessage),
			ObservedGeneration: generation, LastTransitionTime: metav1.NewTime(now.UTC().Truncate(time.Second)),
		})
	}
}

// truncate cuts a text that is longer than limit bytes, between two characters.
func truncate(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	end := limit - len("...")
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "..."
}

// hasCondition reports whether a condition has a status for a generation.
func hasCondition(conditions []metav1.Condition, conditionType string, status metav1.ConditionStatus, generation int64) bool {
	c := meta.FindStatusCondition(conditions, conditionType)
	return c != nil && c.Status == status && c.ObservedGeneration == generation
}

// hasNewTrue reports whether one of the conditions is True that was not when the status was last
// written.
func hasNewTrue(before []metav1.Condition, conditions []typedCondition) bool {
	return slices.ContainsFunc(conditions, func(c typedCondition) bool {
		return c.condition.isTrue() && !meta.IsStatusConditionTrue(before, c.conditionType)
	})
}
