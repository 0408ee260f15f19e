package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/names"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// maxProviders is how many IdentityProviders a server has at most.
const maxProviders = 32

type identityProviderReconciler struct{ *operator }

// identityProviderPass is what the steps of a pass find out about one IdentityProvider.
type identityProviderPass struct {
	provider   *v1alpha1.IdentityProvider
	failed     *failure
	server     *resolvedServer
	document   documents.IdentityProvider
	stored     documents.IdentityProvider // the document in force; zero: none
	entry      *internalv1alpha1.Entry    // of the name, with the document
	realmEntry *internalv1alpha1.Entry    // nil if the provider does not have the realm
	replicas   []replica
	requeueAt  time.Time
	accepted   condition
	resolved   condition
	beside     string // from findOthers: what there is to know of other providers, after a message
	// resolveErr is why what the spec refers to could not be read or copied. The document is written
	// all the same: it may be that the provider is suspended.
	resolveErr error
}

// Reconcile gives an IdentityProvider its realm, copies its credential to where token servers read
// it, and writes its document.
func (r *identityProviderReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var provider v1alpha1.IdentityProvider
	if exists, err := r.getUndeleted(ctx, request.NamespacedName, &provider); err != nil {
		return ctrl.Result{}, err
	} else if !exists {
		return r.reconcileDeleted(ctx, compile.KindIdentityProvider, request.NamespacedName)
	}
	s := &identityProviderPass{provider: &provider}
	s.failed = runSteps(withCause(ctx, &provider), s, []step[*identityProviderPass]{
		{conditionType: v1alpha1.ConditionAccepted, run: r.readEntries},
		{conditionType: v1alpha1.ConditionAccepted, run: r.accept},
		{conditionType: v1alpha1.ConditionAccepted, run: r.reserveRealm},
		{conditionType: v1alpha1.ConditionResolvedRefs, run: r.resolveReferences},
		{conditionType: v1alpha1.ConditionAccepted, run: r.writeDocument},
		{conditionType: v1alpha1.ConditionResolvedRefs, run: func(context.Context, *identityProviderPass) error { return s.resolveErr }},
		{conditionType: v1alpha1.ConditionProgrammed, run: r.readReplicas, runAfterFailure: true},
	})
	return r.finishReconcile(&provider, s.failed, &s.requeueAt, func() error {
		return r.writeStatus(ctx, s.provider, func() time.Time { return r.fillStatus(s) })
	})
}

// readEntries reads the server and what is in force of the provider.
func (r *identityProviderReconciler) readEntries(ctx context.Context, s *identityProviderPass) (err error) {
	if err := r.entries.DeleteOrphaned(ctx, compile.OwnerOf(s.provider)); err != nil {
		return err
	}
	s.server, s.accepted, err = r.resolveServer(ctx, names.ServerOf(s.provider), s.provider.Namespace, false)
	if err != nil || s.server == nil {
		return err
	}
	if s.entry, err = r.entries.Get(ctx, s.server.object, s.name()); err != nil {
		return err
	}
	if s.entry != nil && s.entry.Spec.Owner.UID == s.provider.UID {
		s.stored, err = decodeEntry[documents.IdentityProvider](s.entry)
		if asVersionSkew(err) != nil {
			return err
		}
	}
	s.realmEntry, err = r.entries.Get(ctx, s.server.object, s.realm())
	if s.realmEntry != nil && s.realmEntry.Spec.Owner.UID != s.provider.UID {
		s.realmEntry = nil
	}
	return err
}

func (s *identityProviderPass) name() compile.Name {
	return compile.Name{Space: internalv1alpha1.SpaceIdentityProvider, Value: s.provider.Name}
}

func (s *identityProviderPass) realm() compile.Name {
	return compile.IdentityProviderNames(s.provider).Requested[0]
}

// accept compiles the document, and looks for mistakes.
func (r *identityProviderReconciler) accept(ctx context.Context, s *identityProviderPass) error {
	if s.accepted.isSet() {
		return nil
	}
	var findings compile.Findings
	s.document, findings = compile.IdentityProvider(s.provider)
	if len(findings) > 0 {
		s.accepted = invalidCondition("%s", findings)
		return nil
	}
	if wrong := compile.MappingExamples(s.provider); wrong != nil {
		s.accepted = falseCondition(v1alpha1.ReasonExampleFailed, "spec.examples: %s", wrong)
		s.accepted.stalled = true
		return nil
	}
	if compile.IsOwnIssuer(s.document, s.server.document.Issuer) {
		s.accepted = invalidCondition("spec.oidc.issuer: is the issuer of the AuthorizationServer itself: create the object again with that of the provider where the users are; it is immutable")
		return nil
	}
	older, err := r.findOthers(ctx, s)
	if err == nil && older >= maxProviders {
		s.accepted = falseCondition(v1alpha1.ReasonTooManyProviders,
			"spec.serverRef: the AuthorizationServer %q has %d older IdentityProviders already, which are the most that it can have: delete one", s.server.object.Name, older)
	}
	return err
}

// findOthers returns how many of the IdentityProviders of a provider's server are older than it. It
// notes those that its users cannot tell from it, and those that get its users when it is deleted.
func (r *identityProviderReconciler) findOthers(ctx context.Context, s *identityProviderPass) (older int, err error) {
	all, err := r.listProviders(ctx, names.ServerOf(s.provider))
	for i := range all {
		other := &all[i]
		if other.UID == s.provider.UID {
			continue
		}
		if names.CompareAge(other, s.provider) < 0 {
			older++
		}
		if compile.DisplayName(other) == s.document.DisplayName {
			s.beside += fmt.Sprintf("; but spec.displayName %q is also that of IdentityProvider %q: the login page has two buttons that look alike", s.document.DisplayName, other.Name)
		}
		if compile.Realm(other) == s.document.Realm {
			s.beside += fmt.Sprintf("; but IdentityProvider %q has the same spec.realm: when this one is deleted, that one says who these users are", other.Name)
		}
	}
	return older, err
}

// listProviders returns the IdentityProviders of a server that are not being deleted. They belong to
// the cache: the caller must not change them.
func (op *operator) listProviders(ctx context.Context, server client.ObjectKey) ([]v1alpha1.IdentityProvider, error) {
	var list v1alpha1.IdentityProviderList
	if err := op.List(ctx, &list, client.MatchingFields{indexServer: server.String()}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	var all []v1alpha1.IdentityProvider
	for i := range list.Items {
		if list.Items[i].DeletionTimestamp.IsZero() {
			all = append(all, list.Items[i])
		}
	}
	return all, nil
}

// reserveRealm reserves the realm, from which the subjects of the users are derived. Its Entry has
// no document: that is in the Entry of the name.
func (r *identityProviderReconciler) reserveRealm(ctx context.Context, s *identityProviderPass) error {
	if s.accepted.isSet() {
		return nil
	}
	var err error
	s.realmEntry, err = r.entries.Reserve(ctx, s.server.withNames(), s.realm(), s.provider)
	if errors.Is(err, names.ErrTaken) {
		s.accepted = falseCondition(v1alpha1.ReasonRealmTaken,
			"spec.realm: another IdentityProvider of the server has the realm %q, so their users would have the same subjects: when the other one is deleted, this one gets the realm, and says who its users are; if it is not to, create it with another realm, which is immutable",
			s.document.Realm)
		return nil
	}
	if err == nil {
		s.accepted = trueCondition(v1alpha1.ReasonAccepted, "the server accepts the provider")
	}
	return err
}

// writeDocument writes the document of the provider into the Entry of its name. One that is not
// accepted, or whose certificates are not known, has a document that says so: what it was before is
// not kept, since the edit may be a tightening.
func (r *identityProviderReconciler) writeDocument(ctx context.Context, s *identityProviderPass) error {
	if s.server == nil {
		return nil
	}
	document := s.document
	if !s.accepted.isTrue() || s.lacksCABundle() {
		document = compile.NotAcceptedProvider(s.provider)
	}
	owner := compile.OwnerOf(s.provider)
	e, err := r.entries.EnsureDocument(ctx, s.server.object, s.name(), owner, document, s.entry)
	if err != nil {
		return err
	}
	s.entry = e
	return r.entries.DeleteOthers(ctx, owner, s.entry, s.realmEntry)
}

// readReplicas reads which token servers run.
func (r *identityProviderReconciler) readReplicas(ctx context.Context, s *identityProviderPass) (err error) {
	if s.server != nil {
		s.replicas, err = r.liveReplicas(ctx, s.server.object)
	}
	return err
}
