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
// are of different versions: what the object asks for cannot be said to all of them.
type versionSkew struct {
	condition condition // of the condition Programmed
	// until is when the token server that is waited for is dead, unless it changes; zero for none.
	until time.Time
}

// Error is what the condition says.
func (h *versionSkew) Error() string { return h.condition.message }

// asVersionSkew is the versionSkew in err; nil if there is none.
func asVersionSkew(err error) *versionSkew {
	var h *versionSkew
	if errors.As(err, &h) {
		return h
	}
	return nil
}

// pendingUpgrade reports whether err is that token servers cannot read the document yet.
func isUpgradePending(err error) bool {
	h := asVersionSkew(err)
	return h != nil && h.condition.reason == v1alpha1.ReasonUpgradePending
}

// checkFormat refuses to write a document where token servers or the manager would take it for
// something wider than it is. What this manager cannot read may hold constraints of which it does
// not know. And a format that is new to an Entry must be read by every live replica: one that does
// not read it would go on without the object, or with the last document that it knows.
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

// holdMeanwhile writes a document in the format that the Entry has: what may change in it while the
// one that the object asks for has to wait.
func (op *operator) ensureDocumentInOldFormat(ctx context.Context, current *internalv1alpha1.Entry, document any) (*internalv1alpha1.Entry, error) {
	text, err := documents.Encode(document)
	if err != nil {
		return nil, err
	}
	want := current.DeepCopy()
	want.Spec.Document = text
	return op.ensureEntry(ctx, want, current)
}

// tooNew reports whether an Entry has a document of a format that this manager does not know.
func isTooNew(e *internalv1alpha1.Entry) bool {
	return e.Spec.Format != "" && !documents.Reads(e.Spec.Format)
}

func managerTooOldCondition(e *internalv1alpha1.Entry) condition {
	return falseCondition(v1alpha1.ReasonManagerTooOld,
		"a newer manager wrote a document of format %s, which this one does not read: upgrade the manager; until then the document stays as it is", e.Spec.Format)
}
