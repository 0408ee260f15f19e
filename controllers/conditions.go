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
type verdict struct {
	status  metav1.ConditionStatus
	reason  string
	message string
	// stalled: nothing but an edit of the object itself can help.
	stalled bool
}

func holds(reason, message string) verdict {
	return verdict{status: metav1.ConditionTrue, reason: reason, message: message}
}

func fails(reason, format string, args ...any) verdict {
	return verdict{status: metav1.ConditionFalse, reason: reason, message: fmt.Sprintf(format, args...)}
}

func waits(format string, args ...any) verdict {
	return verdict{status: metav1.ConditionUnknown, reason: v1alpha1.ReasonPending, message: fmt.Sprintf(format, args...)}
}

// invalid is the verdict on an object that is invalid in itself.
func invalid(format string, args ...any) verdict {
	v := fails(v1alpha1.ReasonInvalid, format, args...)
	v.stalled = true
	return v
}

func (v verdict) ok() bool { return v.status == metav1.ConditionTrue }

func (v verdict) decided() bool { return v.status != "" }

// part is one condition of an object.
type part struct {
	condition string
	verdict   verdict
}

// ready sums the parts up: True if all hold, else what the first that does not hold says.
func ready(parts []part, message string) verdict {
	for _, p := range parts {
		if !p.verdict.ok() {
			return p.verdict
		}
	}
	return holds(v1alpha1.ReasonReady, message)
}

// maxMessage is the longest message of a condition in bytes: the schema admits 32,768 characters, and nobody reads more than this.
const maxMessage = 8 << 10

// maxConditions is how many conditions the schema admits.
const maxConditions = 16

// setConditions writes the parts, in their order. The condition Stalled (of kstatus, by which tools tell an object that will never get ready from one
// that is not ready yet) is there if one of them says so. Conditions of ours that are no part go; those of other controllers stay, as far as there
// is room. The time of a condition changes with its status only.
func setConditions(conditions *[]metav1.Condition, generation int64, now time.Time, parts []part) {
	for _, p := range parts {
		if p.verdict.stalled {
			parts = append(slices.Clone(parts), part{v1alpha1.ConditionStalled, holds(p.verdict.reason, p.verdict.message)})
			break
		}
	}
	room := maxConditions - len(parts)
	*conditions = slices.DeleteFunc(*conditions, func(c metav1.Condition) bool {
		if slices.ContainsFunc(parts, func(p part) bool { return p.condition == c.Type }) {
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
			Type: p.condition, Status: p.verdict.status, Reason: p.verdict.reason, Message: brief(p.verdict.message),
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
func becameTrue(before []metav1.Condition, parts []part) bool {
	return slices.ContainsFunc(parts, func(p part) bool {
		return p.verdict.ok() && !meta.IsStatusConditionTrue(before, p.condition)
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
