package controllers

import (
	"context"
	"errors"
	"strings"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/names"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/policy"
)

type resourceServerReconciler struct{ *operator }

// resourceServerPass is what the steps of a pass find out about one ResourceServer.
type resourceServerPass struct {
	api          *v1alpha1.ResourceServer
	failed       *failure
	server       *resolvedServer
	document     documents.ResourceServer  // with all scopes for which it asks
	entry        *internalv1alpha1.Entry   // the Entry of the identifier, which may be another object's
	scopeEntries []*internalv1alpha1.Entry // the Entries of the scopes that it has
	takenScopes  []string                  // the scopes that another ResourceServer has
	replicas     []replica
	requeueAt    time.Time

	denial   string // why policy refuses it; empty if policy allows it
	accepted condition
	resolved condition
}

// Reconcile gives a ResourceServer its identifier and scopes, and writes its document.
func (r *resourceServerReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var api v1alpha1.ResourceServer
	if exists, err := r.getUndeleted(ctx, request.NamespacedName, &api); err != nil {
		return ctrl.Result{}, err
	} else if !exists {
		return r.reconcileDeleted(ctx, compile.KindResourceServer, request.NamespacedName)
	}
	s := &resourceServerPass{api: &api}
	s.failed = runSteps(withCause(ctx, &api), s, []step[*resourceServerPass]{
		{conditionType: v1alpha1.ConditionAccepted, run: r.accept},
		{conditionType: v1alpha1.ConditionAccepted, run: r.reserveScopes},
		{conditionType: v1alpha1.ConditionAccepted, run: r.writeDocument},
		{conditionType: v1alpha1.ConditionResolvedRefs, run: r.checkReferences, runAfterFailure: true},
		{conditionType: v1alpha1.ConditionProgrammed, run: r.readReplicas, runAfterFailure: true},
	})
	return r.finishReconcile(&api, s.failed, &s.requeueAt, func() error {
		return r.writeStatus(ctx, s.api, func() time.Time { return r.fillStatus(s) })
	})
}

// accept compiles the document, asks policy, and decides whether the ResourceServer has the
// identifier. While it is invalid, the document that was written before stays in force.
func (r *resourceServerReconciler) accept(ctx context.Context, s *resourceServerPass) (err error) {
	if err := r.entries.DeleteOrphaned(ctx, compile.OwnerOf(s.api)); err != nil {
		return err
	}
	s.server, s.accepted, err = r.resolveServer(ctx, names.ServerOf(s.api), s.api.Namespace, true)
	if err != nil || s.accepted.isSet() {
		return err
	}
	var findings compile.Findings
	if s.document, findings = compile.ResourceServer(s.api); len(findings) > 0 {
		s.accepted = invalidCondition("%s (what was served before stays in force until this is corrected)", findings)
		return nil
	}
	if s.entry, err = r.entries.GetConfirmed(ctx, s.server.object, s.name()); err != nil {
		return err
	}
	if d := policy.EvaluateResourceServer(s.server.document, s.server.namespaceLabels, s.document); !d.Accepted {
		s.denial = notAllowed(d).message
		return nil // it keeps the names that it has, and gets no others
	}
	taken, err := r.entries.IsTaken(ctx, s.server.withNames(), s.name(), s.api, s.entry)
	if err != nil {
		return err
	}
	if taken {
		s.accepted = falseCondition(v1alpha1.ReasonIdentifierTaken,
			"spec.identifier: another object of the server has the name %q: delete this ResourceServer and create it with another identifier, which is immutable",
			s.document.Identifier)
		return r.entries.DeleteOthers(ctx, s.owner()) // the scopes too: a ResourceServer that is not served has no names
	}
	return nil
}

func (s *resourceServerPass) name() compile.Name {
	return compile.IdentifierName(s.document.Identifier)
}

func (s *resourceServerPass) owner() internalv1alpha1.Owner {
	return compile.OwnerOf(s.api)
}

// hasIdentifier reports whether the ResourceServer owns the Entry of its identifier.
func (s *resourceServerPass) hasIdentifier() bool {
	return s.entry != nil && s.entry.Spec.Owner.UID == s.api.UID
}

// reserveScopes reserves the scopes. A ResourceServer that policy refuses keeps those that it has,
// and gets no others.
func (r *resourceServerReconciler) reserveScopes(ctx context.Context, s *resourceServerPass) error {
	if s.accepted.isSet() {
		return nil
	}
	for _, scope := range s.document.Scopes {
		name := compile.Name{Space: internalv1alpha1.SpaceScope, Value: scope.Name}
		var entry *internalv1alpha1.Entry
		var err error
		if s.denial != "" {
			entry, err = r.entries.Get(ctx, s.server.object, name)
		} else {
			entry, err = r.entries.Reserve(ctx, s.server.withNames(), name, s.api)
		}
		switch {
		case errors.Is(err, names.ErrTaken), err == nil && entry != nil && entry.Spec.Owner.UID != s.api.UID:
			s.takenScopes = append(s.takenScopes, scope.Name)
		case err != nil:
			return err
		case entry != nil:
			s.scopeEntries = append(s.scopeEntries, entry)
		}
	}
	return nil
}

// writeDocument writes the document. That of a ResourceServer that policy refuses has all its
// scopes, so that token servers refuse it too.
func (r *resourceServerReconciler) writeDocument(ctx context.Context, s *resourceServerPass) error {
	switch {
	case s.accepted.isSet():
		return nil
	case s.denial != "" && !s.hasIdentifier():
		s.accepted = falseCondition(v1alpha1.ReasonNotAllowedByServer, "%s", s.denial)
		return r.entries.DeleteOthers(ctx, s.owner())
	}
	document := s.document
	if s.denial == "" {
		document = compile.WithScopes(document, valuesOf(s.scopeEntries))
	}
	e, err := r.entries.EnsureDocument(ctx, s.server.object, s.name(), s.owner(), document, s.entry)
	if err != nil && asVersionSkew(err) == nil {
		return err
	}
	if s.denial != "" {
		s.accepted = falseCondition(v1alpha1.ReasonNotAllowedByServer, "%s", s.denial)
	} else {
		s.accepted = trueCondition(v1alpha1.ReasonAccepted, "a rule of the server allows it")
	}
	if err != nil {
		return err
	}
	s.entry = e
	return r.entries.DeleteOthers(ctx, s.owner(), append([]*internalv1alpha1.Entry{s.entry}, s.scopeEntries...)...)
}

func valuesOf(entries []*internalv1alpha1.Entry) []string {
	var names []string
	for _, e := range entries {
		names = append(names, e.Spec.Value)
	}
	return names
}

// checkReferences says which scopes another ResourceServer has, and looks for the clients that may
// introspect. Whatever is missing, the rest works.
func (r *resourceServerReconciler) checkReferences(ctx context.Context, s *resourceServerPass) error {
	if s.server == nil {
		return nil
	}
	var missing, public []string
	for _, ref := range s.api.Spec.IntrospectionClients {
		key := names.ResolveReference(v1alpha1.ServerReference(ref), s.api.Namespace)
		var c v1alpha1.OAuthClient
		err := r.Get(ctx, key, &c)
		switch {
		case client.IgnoreNotFound(err) != nil:
			return err
		case err != nil || names.ServerOf(&c) != client.ObjectKeyFromObject(s.server.object):
			missing = append(missing, key.String())
		case c.Spec.TokenEndpointAuthMethod == v1alpha1.AuthMethodNone:
			public = append(public, key.String())
		}
	}
	switch {
	case s.accepted.isTrue() && len(s.takenScopes) > 0:
		s.resolved = falseCondition(v1alpha1.ReasonScopeTaken, "spec.scopes: another ResourceServer of the server has %s: choose other names (left out; the rest works)",
			quoted(s.takenScopes))
	case len(missing) > 0:
		s.resolved = falseCondition(v1alpha1.ReasonClientNotFound, "spec.introspectionClients: no OAuthClient of this server: %s", strings.Join(missing, ", "))
	case len(public) > 0:
		s.resolved = falseCondition(v1alpha1.ReasonInvalid, "spec.introspectionClients: public clients cannot introspect, since they cannot authenticate: %s",
			strings.Join(public, ", "))
	default:
		s.resolved = trueCondition(v1alpha1.ReasonResolvedRefs, "all clients that may introspect exist")
	}
	return nil
}

// readReplicas reads which token servers run.
func (r *resourceServerReconciler) readReplicas(ctx context.Context, s *resourceServerPass) (err error) {
	if s.server != nil {
		s.replicas, err = r.liveReplicas(ctx, s.server.object)
	}
	return err
}
