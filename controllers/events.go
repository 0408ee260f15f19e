package controllers

import (
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// eventAction is the action of the manager's events.
const eventAction = "Reconcile"

// maxNote is the longest note of an event that the API server accepts, in bytes.
const maxNote = 1024

// recordConditionEvents records events about the conditions that changed: a condition that turned
// False, an object that became Ready after that, and the use of a legacy grant type. There is no event
// about a pending condition, nor about Ready where it repeats another condition.
//
// While an object is new, an event that says that another object is missing is delayed: objects
// that are applied together appear in any order.
func (op *operator) recordConditionEvents(object client.Object, before, after []metav1.Condition) {
	for _, c := range after {
		old := meta.FindStatusCondition(before, c.Type)
		changed := old == nil || old.Status != c.Status || old.Reason != c.Reason || old.Message != c.Message
		switch {
		case !changed:
		case c.Type == v1alpha1.ConditionKeysCurrent:
			if c.Status == metav1.ConditionFalse || old != nil && old.Status == metav1.ConditionFalse {
				op.recordEvent(object, corev1.EventTypeNormal, c) // a rotation was asked for, and is no fault
			}
		case c.Type == v1alpha1.ConditionLegacyGrant:
			op.recordEvent(object, corev1.EventTypeWarning, c)
		case c.Type == v1alpha1.ConditionReady && c.Status == metav1.ConditionTrue:
			if old != nil && old.Reason != v1alpha1.ReasonPending { // what another event said is over
				op.recordEvent(object, corev1.EventTypeNormal, c)
			}
		case c.Status == metav1.ConditionFalse && c.Reason != v1alpha1.ReasonPending && !repeatsAnother(c, after):
			if awaitsAnother(c.Reason) && op.now().Before(newUntil(object)) {
				op.delayedEvents.add(object, c.Type)
				continue
			}
			op.recordEvent(object, corev1.EventTypeWarning, c)
		}
	}
}

// repeatsAnother reports whether c is Ready and says what another condition says.
func repeatsAnother(c metav1.Condition, all []metav1.Condition) bool {
	return c.Type == v1alpha1.ConditionReady && slices.ContainsFunc(all, func(other metav1.Condition) bool {
		return other.Type != c.Type && other.Status == c.Status && other.Reason == c.Reason && other.Message == c.Message
	})
}

func (op *operator) recordEvent(object client.Object, eventType string, c metav1.Condition) {
	op.events.Eventf(object, nil, eventType, c.Reason, eventAction, "%s", truncate(c.Message, maxNote))
}

// newFor is how long an object is new.
const newFor = 30 * time.Second

func newUntil(object client.Object) time.Time { return object.GetCreationTimestamp().Add(newFor) }

// awaitsAnother reports whether a reason is that another object does not exist or is not ready, or
// that a token server is starting.
func awaitsAnother(reason string) bool {
	switch reason {
	case v1alpha1.ReasonServerNotFound, v1alpha1.ReasonServerNotAccepted, v1alpha1.ReasonNoReplica, v1alpha1.ReasonReplicaProblem,
		v1alpha1.ReasonUnknownScope, v1alpha1.ReasonSecretNotFound, v1alpha1.ReasonConfigMapNotFound, v1alpha1.ReasonClientNotFound,
		v1alpha1.ReasonIdentityProviderNotFound, v1alpha1.ReasonNoIdentityProvider:
		return true
	}
	return false
}

// delayedEvents holds the types of the conditions about which there is no event yet, by object.
type delayedEvents struct {
	mu        sync.Mutex
	byObject  map[types.UID]delayedEvent
	nextPurge time.Time
}

type delayedEvent struct {
	conditionTypes []string
	due            time.Time
}

func newDelayedEvents() *delayedEvents {
	return &delayedEvents{byObject: map[types.UID]delayedEvent{}}
}

func (d *delayedEvents) add(object client.Object, conditionType string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	due := newUntil(object)
	if due.After(d.nextPurge) {
		maps.DeleteFunc(d.byObject, func(_ types.UID, other delayedEvent) bool { return due.Sub(other.due) > time.Hour }) // of objects that were deleted
		d.nextPurge = due.Add(time.Minute)
	}
	delayed := d.byObject[object.GetUID()]
	if !slices.Contains(delayed.conditionTypes, conditionType) {
		d.byObject[object.GetUID()] = delayedEvent{append(delayed.conditionTypes, conditionType), due}
	}
}

// remove removes the condition types of an object and returns them.
func (d *delayedEvents) remove(object client.Object) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	delayed := d.byObject[object.GetUID()]
	delete(d.byObject, object.GetUID())
	return delayed.conditionTypes
}

// recordDelayedEvents records the delayed events of an object that is not new any more, if their
// conditions are still False. If it is new, it returns when the events are due.
func (op *operator) recordDelayedEvents(object client.Object) (due time.Time) {
	delayed := op.delayedEvents.remove(object)
	due = newUntil(object)
	if op.now().Before(due) {
		for _, conditionType := range delayed {
			op.delayedEvents.add(object, conditionType)
		}
		if len(delayed) == 0 {
			return time.Time{}
		}
		return due
	}
	for _, conditionType := range delayed {
		c := meta.FindStatusCondition(conditionsOf(object), conditionType)
		if c != nil && c.Status == metav1.ConditionFalse && awaitsAnother(c.Reason) {
			op.recordEvent(object, corev1.EventTypeWarning, *c)
		}
	}
	return time.Time{}
}
