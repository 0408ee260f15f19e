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

// narrowedNotBefore returns what a document says in which only a narrower tokensNotBefore may be
// written, in Unix seconds; 0 is none. Of the time before and the one that is asked for it is the later
// one that has come: one in the future voids nothing until then.
func narrowedNotBefore(before, asked int64, now time.Time) int64 {
	hasCome := func(at int64) bool { return at <= now.Unix() }
	if before == 0 || asked != 0 && hasCome(asked) && (asked > before || !hasCome(before)) {
		return asked
	}
	return before
}
