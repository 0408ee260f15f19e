package controllers

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// withTokensNotBefore adds to the message of the condition Ready what a tokensNotBefore in the
// future will do, and returns when it does; the zero time if it has come or there is none.
func withTokensNotBefore(message string, t *metav1.Time, now time.Time) (string, time.Time) {
	if t == nil || !now.Before(t.Time) {
		return message, time.Time{}
	}
	return message + "; spec.tokensNotBefore is in the future: it voids nothing now, and at " + t.UTC().Format(time.RFC3339) +
		" all that was issued until then", t.Time
}
