package controllers

import (
	"context"
	"errors"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// action is what the manager's events say it was doing.
const action = "Reconcile"

// maxNote is the longest note that the API server takes in an event.
const maxNote = 1024

// announce tells as events what is news in the conditions: what went wrong, when it is all well again, and the use of a legacy grant type. A
// wait is no news, and Ready says nothing that another condition does not say, except that all hold.
func announce(recorder events.EventRecorder, object client.Object, before, after []metav1.Condition) {
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

const again = " (it is tried again)"

// finish writes the status, unless a step failed: conditions of half a pass would say what nobody found out. Then what was written before
// stands, its observedGeneration tells that it is older, and an event tells why, unless it is nobody's fault.
func (op *operator) finish(object client.Object, failed error, write func() error) error {
	if failed == nil {
		return write()
	}
	if !passing(failed) {
		op.events.Eventf(object, nil, corev1.EventTypeWarning, "Failed", action, "%s", shorten(failed.Error(), maxNote-len(again))+again)
	}
	return failed
}

// passing says whether an error only means that somebody else was faster, that the manager is being stopped, or that the namespace is.
func passing(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) ||
		errors.Is(err, context.Canceled) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}
