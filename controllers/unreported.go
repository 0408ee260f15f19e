package controllers

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// unreportedAnnotation on the Entry of an AuthorizationServer is until when credentials may have been
// used by token servers that are gone and have not told (RFC 3339). The Usages of these are deleted.
const unreportedAnnotation = "internal.oauth-operator.dev/unreported-until"

// unreportedStep is how much later a time must be than the one in the annotation to be written.
const unreportedStep = 10 * time.Minute

// observeUses returns what is known of the uses of a client's credentials, if one of them ends when
// it is not used any more, or soon.
func (r *clientReconciler) observeUses(ctx context.Context, s *clientPass) (uses credentialUses, err error) {
	if findByState(s.document.Credentials, documents.CredentialRetiring) == nil {
		return uses, nil
	}
	listed, err := r.listUses(ctx, s.server.object, s.client.UID)
	if err != nil {
		return uses, err
	}
	uses.last = map[string]time.Time{}
	add := func(id string, hour time.Time) { uses.last[id] = latest(uses.last[id], hour.Add(time.Hour)) }
	for _, use := range listed {
		if use.RefusedMethod == "" {
			add(use.ID, r.hourOf(use))
		}
	}
	for _, known := range s.client.Status.Credentials {
		if known.LastUsed != nil {
			add(known.ID, known.LastUsed.Time)
		}
		if at := r.usageReports.retiringUse(known.ID); !at.IsZero() {
			add(known.ID, at)
		}
	}
	uses.possible, err = r.unreportedUntil(ctx, s.server)
	return uses, err
}

// unreportedUntil returns until when credentials of a server's clients may have been used without a
// Usage that says so: now, if a token server may be running that has not told lately. One of an
// older version is such a one.
func (op *operator) unreportedUntil(ctx context.Context, server *resolvedServer) (until time.Time, err error) {
	if server.entry != nil {
		until, _ = time.Parse(time.RFC3339, server.entry.Annotations[unreportedAnnotation])
	}
	live, err := op.liveReplicas(ctx, server.object)
	if err != nil {
		return until, err
	}
	usages, err := op.listUsages(ctx, client.InNamespace(server.object.Namespace), client.MatchingFields{indexServerUID: string(server.object.UID)})
	if err != nil {
		return until, err
	}
	now, isLive, reports := op.now(), map[string]bool{}, map[string]bool{}
	for i := range live {
		isLive[live[i].Name] = true
	}
	for i := range usages {
		spec := &usages[i].Spec
		switch {
		case spec.IncompleteUntil == nil, !spec.Ended && !isLive[usages[i].Name]:
			until = now
		default:
			reports[usages[i].Name] = true
			until = latest(until, earliest(spec.IncompleteUntil.Time, now))
		}
	}
	for name := range isLive {
		if !reports[name] {
			until = now
		}
	}
	return until, nil
}

// rememberUnreported writes onto the Entry of a server that a process is gone that did not tell of
// its last uses, before its Usage is deleted.
func (op *operator) rememberUnreported(ctx context.Context, server *v1alpha1.AuthorizationServer, usage *internalv1alpha1.Usage) error {
	if usage.Spec.Ended {
		return nil
	}
	e, err := op.entries.Get(ctx, server, compile.IssuerName(server))
	if err != nil || e == nil || e.Spec.Owner.UID != server.UID {
		return err
	}
	now := op.now().UTC()
	if known, err := time.Parse(time.RFC3339, e.Annotations[unreportedAnnotation]); err == nil && now.Sub(known) < unreportedStep {
		return nil
	}
	marked := e.DeepCopy()
	metav1.SetMetaDataAnnotation(&marked.ObjectMeta, unreportedAnnotation, now.Format(time.RFC3339))
	if err := op.Update(ctx, marked); err != nil {
		return fmt.Errorf("marking the Entry of an AuthorizationServer: %w", err)
	}
	return nil
}
