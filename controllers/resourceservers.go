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
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/policy"
)

type resourceServerReconciler struct{ *operator }

// resourceServerScope is what the steps find out about one ResourceServer.
type resourceServerScope struct {
	api       *v1alpha1.ResourceServer
	failed    *failure
	server    *resolvedServer
	document  documents.ResourceServer  // all that it asks for; serve cuts the scopes to those that it holds
	entry     *internalv1alpha1.Entry   // of the identifier, with the document
	claims    []*internalv1alpha1.Entry // of the scopes that it has
	lost      []string                  // the scopes that another has
	replicas  []replica
	requeueAt time.Time

	refused  string // by policy: why
	accepted condition
	resolved condition
}

// Reconcile serves a ResourceServer: its identifier and its scopes are its own, its document is current.
func (r *resourceServerReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var api v1alpha1.ResourceServer
	if err := r.Get(ctx, request.NamespacedName, &api); err != nil {
		if client.IgnoreNotFound(err) != nil {
			return ctrl.Result{}, err
		}
		return r.done(kindResourceServer, request.NamespacedName, r.forget(ctx, kindResourceServer, request.NamespacedName))
	}
	if !api.DeletionTimestamp.IsZero() {
		return r.done(kindResourceServer, request.NamespacedName, r.forget(ctx, kindResourceServer, request.NamespacedName))
	}
	s := &resourceServerScope{api: &api}
	s.failed = runSteps(withCause(ctx, &api), s, []step[*resourceServerScope]{
		{conditionType: v1alpha1.ConditionAccepted, run: r.forgetNamesakes},
		{conditionType: v1alpha1.ConditionAccepted, run: r.accept},
		{conditionType: v1alpha1.ConditionAccepted, run: r.claimScopes},
		{conditionType: v1alpha1.ConditionAccepted, run: r.serve},
		{conditionType: v1alpha1.ConditionResolvedRefs, run: r.resolve, runAfterFailure: true},
		{conditionType: v1alpha1.ConditionProgrammed, run: r.observe, runAfterFailure: true},
	})
	return r.finish(&api, kindResourceServer, s.failed, &s.requeueAt, func() error { return r.writeStatus(ctx, s) })
}

// forgetNamesakes removes what is served for objects that had this one's name before it.
func (r *resourceServerReconciler) forgetNamesakes(ctx context.Context, s *resourceServerScope) error {
	return r.forgetFormer(ctx, compile.Owner(kindResourceServer, s.api))
}

// accept compiles the ResourceServer and asks policy. A mistake leaves in force what was served before.
func (r *resourceServerReconciler) accept(ctx context.Context, s *resourceServerScope) (err error) {
	s.server, s.accepted, err = r.resolveServer(ctx, serverOfResourceServer(s.api), s.api.Namespace, "spec.serverRef", true)
	if err != nil || s.accepted.isSet() {
		return err
	}
	var findings compile.Findings
	if s.document, findings = compile.ResourceServer(s.api); len(findings) > 0 {
		s.accepted = invalidCondition("%s (what was served before stays in force until this is corrected)", findings)
		return nil
	}
	if s.entry, err = r.getEntryConfirmed(ctx, s.server.object, s.name()); err != nil {
		return err
	}
	if d := policy.EvaluateResourceServer(s.server.document, s.server.namespaceLabels, s.document); !d.Accepted {
		s.refused = denial(d) + " (ask for less, or have the server's owner allow it in spec.allowedResourceServers)"
		return nil // one that holds its names keeps them, and one that does not gets none
	}
	taken, err := r.isTaken(ctx, s.server, s.name(), s.api, s.entry)
	if err != nil {
		return err
	}
	if taken {
		s.accepted = falseCondition(v1alpha1.ReasonIdentifierTaken,
			"spec.identifier: another object of the server has the name %q: delete this ResourceServer and create it with another identifier, which is immutable",
			s.document.Identifier)
		return r.deleteOtherEntries(ctx, s.owner()) // the scopes too: who is not served holds no names
	}
	return nil
}

func (s *resourceServerScope) name() compile.Name {
	return compile.IdentifierName(s.document.Identifier)
}

func (s *resourceServerScope) owner() internalv1alpha1.Owner {
	return compile.Owner(kindResourceServer, s.api)
}

// held says whether the identifier is the ResourceServer's already.
func (s *resourceServerScope) held() bool {
	return s.entry != nil && s.entry.Spec.Owner.UID == s.api.UID
}

// claimScopes claims the scopes. A ResourceServer that policy refuses keeps the names that it has, and gets no others.
func (r *resourceServerReconciler) claimScopes(ctx context.Context, s *resourceServerScope) error {
	if s.accepted.isSet() {
		return nil
	}
	for _, scope := range s.document.Scopes {
		claim := compile.Name{Space: internalv1alpha1.SpaceScope, Value: scope.Name}
		var held *internalv1alpha1.Entry
		var err error
		if s.refused != "" {
			held, err = r.getEntry(ctx, s.server.object, claim)
		} else {
			held, err = r.reserveName(ctx, s.server, claim, kindResourceServer, s.api)
		}
		switch {
		case errors.Is(err, errTaken), err == nil && held != nil && held.Spec.Owner.UID != s.api.UID:
			s.lost = append(s.lost, scope.Name)
		case err != nil:
			return err
		case held != nil:
			s.claims = append(s.claims, held)
		}
	}
	return nil
}

// serve writes the document. That of a ResourceServer which policy refuses holds all that it asks for, so that token servers refuse it too.
func (r *resourceServerReconciler) serve(ctx context.Context, s *resourceServerScope) error {
	switch {
	case s.accepted.isSet():
		return nil
	case s.refused != "" && !s.held():
		s.accepted = falseCondition(v1alpha1.ReasonNotAllowedByServer, "%s", s.refused)
		return r.deleteOtherEntries(ctx, s.owner())
	}
	document := s.document
	if s.refused == "" {
		document = compile.WithScopes(document, values(s.claims))
	}
	text, err := documents.Encode(document)
	if err != nil {
		return err
	}
	want := compile.NewEntry(s.server.object, s.name(), s.owner(), documents.Format(document), text)
	e, err := r.ensureEntry(ctx, want, s.entry)
	if err != nil && asVersionSkew(err) == nil {
		return err
	}
	if s.refused != "" {
		s.accepted = falseCondition(v1alpha1.ReasonNotAllowedByServer, "%s", s.refused)
	} else {
		s.accepted = trueCondition(v1alpha1.ReasonAccepted, "a rule of the server allows it")
	}
	if err != nil {
		return err
	}
	s.entry = e
	return r.deleteOtherEntries(ctx, s.owner(), append([]*internalv1alpha1.Entry{s.entry}, s.claims...)...)
}

func values(entries []*internalv1alpha1.Entry) []string {
	var names []string
	for _, e := range entries {
		names = append(names, e.Spec.Value)
	}
	return names
}

// resolve says which scopes are another's, and looks for the clients that may introspect. What is
// missing keeps nothing else from working.
func (r *resourceServerReconciler) resolve(ctx context.Context, s *resourceServerScope) error {
	if s.server == nil {
		return nil
	}
	var missing, public []string
	for _, ref := range s.api.Spec.IntrospectionClients {
		key := serverKey(v1alpha1.ServerReference(ref), s.api.Namespace)
		var c v1alpha1.OAuthClient
		err := r.Get(ctx, key, &c)
		switch {
		case client.IgnoreNotFound(err) != nil:
			return err
		case err != nil || serverOfClient(&c) != client.ObjectKeyFromObject(s.server.object):
			missing = append(missing, keyText(key))
		case c.Spec.TokenEndpointAuthMethod == v1alpha1.AuthMethodNone:
			public = append(public, keyText(key))
		}
	}
	switch {
	case s.accepted.isTrue() && len(s.lost) > 0:
		s.resolved = falseCondition(v1alpha1.ReasonScopeTaken, "spec.scopes: another ResourceServer of the server has %s: choose other names (left out; the rest works)",
			quoted(s.lost))
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

// observe looks at the token servers.
func (r *resourceServerReconciler) observe(ctx context.Context, s *resourceServerScope) (err error) {
	if s.server != nil {
		s.replicas, err = r.liveReplicas(ctx, s.server.object)
	}
	return err
}
