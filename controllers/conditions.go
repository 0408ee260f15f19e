package controllers

import (
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// verdict is what one condition says. The zero verdict is "not looked at", which becomes Unknown.
type condition struct {
	status  metav1.ConditionStatus
	reason  string
	message string
	// stalled: nothing but an edit of the object itself can help.
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

// invalid is the verdict on an object that is invalid in itself.
func invalidCondition(format string, args ...any) condition {
	v := falseCondition(v1alpha1.ReasonInvalid, format, args...)
	v.stalled = true
	return v
}

func (v condition) isTrue() bool { return v.status == metav1.ConditionTrue }

func (v condition) isSet() bool { return v.status != "" }

// part is one condition of an object.
type typedCondition struct {
	conditionType string
	condition     condition
}

// ready sums the parts up: True if all hold, else what the first that does not hold says.
func readyCondition(parts []typedCondition, message string) condition {
	for _, p := range parts {
		if !p.condition.isTrue() {
			return p.condition
		}
	}
	return trueCondition(v1alpha1.ReasonReady, message)
}

// maxMessage is the longest message of a condition in bytes: the schema admits 32,768 characters, and nobody reads more than this.
const maxMessage = 8 << 10

// maxConditions is how many conditions the schema admits.
const maxConditions = 16

// setConditions writes the parts, in their order. The condition Stalled (of kstatus, by which tools tell an object that will never get ready from one
// that is not ready yet) is there if one of them says so. Conditions of ours that are no part go; those of other controllers stay, as far as there
// is room. The time of a condition changes with its status only.
func setConditions(conditions *[]metav1.Condition, generation int64, now time.Time, parts []typedCondition) {
	for _, p := range parts {
		if p.condition.stalled {
			parts = append(slices.Clone(parts), typedCondition{v1alpha1.ConditionStalled, trueCondition(p.condition.reason, p.condition.message)})
			break
		}
	}
	room := maxConditions - len(parts)
	*conditions = slices.DeleteFunc(*conditions, func(c metav1.Condition) bool {
		if slices.ContainsFunc(parts, func(p typedCondition) bool { return p.conditionType == c.Type }) {
			return false
		}
		if c.Type == v1alpha1.ConditionLegacyGrant || c.Type == v1alpha1.ConditionStalled || c.Type == v1alpha1.ConditionProgrammed {
			return true
		}
		room--
		return room < 0
	})
	for _, p := range parts {
		meta.SetStatusCondition(conditions, metav1.Condition{
			Type: p.conditionType, Status: p.condition.status, Reason: p.condition.reason, Message: brief(p.condition.message),
			ObservedGeneration: generation, LastTransitionTime: metav1.NewTime(now.UTC().Truncate(time.Second)),
		})
	}
}

func brief(message string) string { return shorten(message, maxMessage) }

// shorten cuts a text of more than so many bytes, between two characters.
func shorten(text string, most int) string {
	if len(text) <= most {
		return text
	}
	end := most - len("...")
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "..."
}

// conditionIs says whether a condition has a status, and speaks of this generation.
func conditionIs(conditions []metav1.Condition, name string, status metav1.ConditionStatus, generation int64) bool {
	c := meta.FindStatusCondition(conditions, name)
	return c != nil && c.Status == status && c.ObservedGeneration == generation
}

// becameTrue says whether one of the parts holds now and did not when the status was last written.
func becameTrue(before []metav1.Condition, parts []typedCondition) bool {
	return slices.ContainsFunc(parts, func(p typedCondition) bool {
		return p.condition.isTrue() && !meta.IsStatusConditionTrue(before, p.conditionType)
	})
}

// conditionsOf an object of one of the kinds that people write.
func conditionsOf(object runtime.Object) []metav1.Condition {
	switch object := object.(type) {
	case *v1alpha1.AuthorizationServer:
		return object.Status.Conditions
	case *v1alpha1.OAuthClient:
		return object.Status.Conditions
	case *v1alpha1.OAuthUser:
		return object.Status.Conditions
	case *v1alpha1.ResourceServer:
		return object.Status.Conditions
	}
	return nil
}
