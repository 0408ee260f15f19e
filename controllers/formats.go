package controllers

import (
	"context"
	"errors"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// versionSkew is the error that an Entry stays as it is, since the manager and the token servers
// are of different versions, and not all of them can read what the object asks for.
type versionSkew struct {
	condition condition // of the condition Programmed
	// until is when the token server that has to be upgraded stops being live, unless it changes.
	// Zero: no token server has to be upgraded.
	until time.Time
}

// Error returns the message of the condition.
func (skew *versionSkew) Error() string { return skew.condition.message }

// asVersionSkew returns the versionSkew in err, or nil.
func asVersionSkew(err error) *versionSkew {
	var skew *versionSkew
	if errors.As(err, &skew) {
		return skew
	}
	return nil
}

// isUpgradePending reports whether err is that token servers cannot read the document yet.
func isUpgradePending(err error) bool {
	skew := asVersionSkew(err)
	return skew != nil && skew.condition.reason == v1alpha1.ReasonUpgradePending
}

// checkFormat returns a versionSkew if writing want would lift a constraint. A document that this
// manager cannot read may have constraints of which it does not know. And a format that is new to
// an Entry must be read by every live replica: a replica that cannot would go on without the
// object, or with the last document that it has read.
func (op *operator) checkFormat(ctx context.Context, want, current *internalv1alpha1.Entry) error {
	switch {
	case current != nil && isTooNew(current):
		return &versionSkew{condition: managerTooOldCondition(current)}
	case want.Spec.Format == "" || current != nil && current.Spec.Format == want.Spec.Format:
		return nil
	}
	live, err := op.liveReplicas(ctx, &v1alpha1.AuthorizationServer{
		ObjectMeta: metav1.ObjectMeta{Namespace: want.Namespace, UID: want.Spec.ServerUID},
	})
	if err != nil {
		return err
	}
	for _, r := range live {
		if slices.Contains(r.Spec.Formats, want.Spec.Format) {
			continue
		}
		return &versionSkew{until: r.until, condition: falseCondition(v1alpha1.ReasonUpgradePending,
			"token server %s does not read documents of format %s, which this object needs: upgrade it; until then what was served before stays as it is",
			r.Name, want.Spec.Format)}
	}
	return nil
}

// replaceDocument replaces the document of an Entry by another one of the same format.
func (op *operator) replaceDocument(ctx context.Context, current *internalv1alpha1.Entry, document any) (*internalv1alpha1.Entry, error) {
	text, err := documents.Encode(document)
	if err != nil {
		return nil, err
	}
	want := current.DeepCopy()
	want.Spec.Document = text
	return op.entries.Ensure(ctx, want, current)
}

// isTooNew reports whether an Entry has a document of a format that this manager does not know.
func isTooNew(e *internalv1alpha1.Entry) bool {
	return e.Spec.Format != "" && !documents.Reads(e.Spec.Format)
}

func managerTooOldCondition(e *internalv1alpha1.Entry) condition {
	return falseCondition(v1alpha1.ReasonManagerTooOld,
		"a newer manager wrote a document of format %s, which this one does not read: upgrade the manager; until then the document stays as it is", e.Spec.Format)
}
