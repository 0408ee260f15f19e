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
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// action is what the manager's events say it was doing.
const action = "Reconcile"

// maxNote is the longest note that the API server takes in an event.
const maxNote = 1024

// announce tells as events what is news in the conditions: what went wrong, when it is all well
// again, and the use of a legacy grant type. A wait is no news, and Ready says nothing that another
// condition does not say, except that all hold.
//
// While an object is new, that what it needs is not there yet is held back: objects that are
// applied together get there in any order.
func (op *operator) announce(object client.Object, before, after []metav1.Condition) {
	recorder := op.events
	for _, c := range after {
		old := meta.FindStatusCondition(before, c.Type)
		changed := old == nil || old.Status != c.Status || old.Reason != c.Reason || old.Message != c.Message
		switch {
		case !changed:
		case c.Type == v1alpha1.ConditionKeysCurrent:
			if c.Status == metav1.ConditionFalse || old != nil && old.Status == metav1.ConditionFalse {
				note(recorder, object, corev1.EventTypeNormal, c) // asked for, and no fault
			}
		case c.Type == v1alpha1.ConditionLegacyGrant:
			note(recorder, object, corev1.EventTypeWarning, c)
		case c.Type == v1alpha1.ConditionReady && c.Status == metav1.ConditionTrue:
			note(recorder, object, corev1.EventTypeNormal, c)
		case c.Status == metav1.ConditionFalse && c.Reason != v1alpha1.ReasonPending && !repeats(c, after):
			if awaits(c.Reason) && op.now().Before(settled(object)) {
				op.heldBack.add(object, c.Type)
				continue
			}
			note(recorder, object, corev1.EventTypeWarning, c)
		}
	}
}

// repeats says whether c only sums up what another condition says.
func repeats(c metav1.Condition, all []metav1.Condition) bool {
	return c.Type == v1alpha1.ConditionReady && slices.ContainsFunc(all, func(other metav1.Condition) bool {
		return other.Type != c.Type && other.Status == c.Status && other.Reason == c.Reason && other.Message == c.Message
	})
}

func note(recorder events.EventRecorder, object client.Object, kind string, c metav1.Condition) {
	recorder.Eventf(object, nil, kind, c.Reason, action, "%s", shorten(c.Message, maxNote))
}

// settling is how long an object is new.
const settling = 30 * time.Second

func settled(object client.Object) time.Time { return object.GetCreationTimestamp().Add(settling) }

// awaits reports whether a reason is that another object is not there or not ready, or that a token
// server is starting.
func awaits(reason string) bool {
	switch reason {
	case v1alpha1.ReasonServerNotFound, v1alpha1.ReasonServerNotAccepted, v1alpha1.ReasonNoReplica, v1alpha1.ReasonReplicaProblem,
		v1alpha1.ReasonUnknownScope, v1alpha1.ReasonSecretNotFound, v1alpha1.ReasonClientNotFound:
		return true
	}
	return false
}

// heldBack are the types of conditions that are not announced yet, by object.
type heldBack struct {
	mu sync.Mutex
	of map[types.UID]held
}

type held struct {
	conditions []string
	due        time.Time
}

func newHeldBack() *heldBack { return &heldBack{of: map[types.UID]held{}} }

func (h *heldBack) add(object client.Object, condition string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	due := settled(object)
	maps.DeleteFunc(h.of, func(_ types.UID, other held) bool { return due.Sub(other.due) > time.Hour }) // of objects that were deleted
	of := h.of[object.GetUID()]
	if !slices.Contains(of.conditions, condition) {
		h.of[object.GetUID()] = held{append(of.conditions, condition), due}
	}
}

// take is what was held back, which is nothing then.
func (h *heldBack) take(object client.Object) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	of := h.of[object.GetUID()]
	delete(h.of, object.GetUID())
	return of.conditions
}

// announceHeldBack tells what was held back of an object that is new no more, if it still holds;
// until then it says when it will.
func (op *operator) announceHeldBack(object client.Object) (due time.Time) {
	held := op.heldBack.take(object)
	due = settled(object)
	if op.now().Before(due) {
		for _, condition := range held {
			op.heldBack.add(object, condition)
		}
		if len(held) == 0 {
			return time.Time{}
		}
		return due
	}
	for _, condition := range held {
		if c := meta.FindStatusCondition(conditionsOf(object), condition); c != nil && c.Status == metav1.ConditionFalse && awaits(c.Reason) {
			note(op.events, object, corev1.EventTypeWarning, *c)
		}
	}
	return time.Time{}
}
