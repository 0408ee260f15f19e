package controllers

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/keyring"
	"github.com/oauth-operator/oauth-operator/controllers/names"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

type serverReconciler struct {
	*operator
	// dsnSources holds which version of a Secret was seen to have a DSN, by the server's name, so
	// that it is read only when it changes.
	dsnSources sync.Map
	// issuerKeys holds the keys that were read from ConfigMaps, by the server's name and the
	// reference, so that they are read only when they change.
	issuerKeys sync.Map
	// countInterval is the least time between two changes of what a status says of the clients, and
	// countWritten holds when it was changed last, by the server's name: a thousand clients that
	// are created one after the other do not cause a thousand writes.
	countInterval time.Duration
	countWritten  sync.Map
	// applied has the appliedVersions of a server's objects, by their name.
	applied sync.Map
	// image is the image from which token servers run, variables are environment variables that
	// they get.
	image     string
	variables []corev1.EnvVar
	// apiServer is how the manager reaches the API server.
	apiServer *rest.Config
}

// serverPass is what the steps of a pass find out about one AuthorizationServer.
type serverPass struct {
	failed      *failure
	server      *v1alpha1.AuthorizationServer
	entry       *internalv1alpha1.Entry // the Entry with the document in force, from acceptIssuer and writeDocument
	ring        keyring.Ring            // from ensureKeys
	lost        []string                // from ensureKeys
	replicas    []replica
	use         clientUse // of the clients
	requeueAt   time.Time
	accepted    condition
	resolved    condition
	caBundle    condition // from writeDocument; not set if there is none, or it is in force
	noProvider  condition // from resolveIdentityProviders; not set if all exist that rules name
	keysProblem condition // not set if the keys are as they should be
	rotation    condition // from ensureKeys
	pending     []keyring.PendingRotation
	deployed    condition // from ensureWorkload
	podCount    int32     // from ensureWorkload

	issuerKeys        map[string][]documents.JWK // from readIssuerKeys, by the name of the workload issuer
	issuerKeysProblem condition                  // from readIssuerKeys; not set if all could be read
	// configMapErr is why a ConfigMap could not be read. The document is written all the same, with
	// what the ConfigMap said before.
	configMapErr error
}

// Reconcile decides whether an AuthorizationServer has its issuer, keeps the keys and the identity
// of its token server, and writes its document.
func (r *serverReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var server v1alpha1.AuthorizationServer
	if exists, err := r.getUndeleted(ctx, request.NamespacedName, &server); err != nil {
		return ctrl.Result{}, err
	} else if !exists {
		r.dsnSources.Delete(request.NamespacedName)
		r.issuerKeys.Delete(request.NamespacedName)
		r.countWritten.Delete(request.NamespacedName)
		r.counted.forget(request.NamespacedName)
		r.applied.Delete(client.ObjectKey{Namespace: request.Namespace, Name: workload.ServiceAccountName(request.Name)})
		return r.reconcileDeleted(ctx, compile.KindServer, request.NamespacedName)
	}
	s := &serverPass{server: &server, use: useIn(&server.Status), podCount: server.Status.Replicas}
	s.failed = runSteps(withCause(ctx, &server), s, []step[*serverPass]{
		{conditionType: v1alpha1.ConditionAccepted, run: r.acceptIssuer},
		{conditionType: v1alpha1.ConditionAvailable, run: r.ensureKeys},
		{conditionType: v1alpha1.ConditionAvailable, run: r.writeDocument, runAfterFailure: true}, // a rule that is tightened is in force though keys cannot be written
		{conditionType: v1alpha1.ConditionResolvedRefs, run: func(context.Context, *serverPass) error { return s.configMapErr }},
		{conditionType: v1alpha1.ConditionResolvedRefs, run: r.resolveTLS},
		{conditionType: v1alpha1.ConditionResolvedRefs, run: r.resolveStorage},
		{conditionType: v1alpha1.ConditionResolvedRefs, run: r.resolveCABundle},
		{conditionType: v1alpha1.ConditionResolvedRefs, run: r.resolveIssuerKeys},
		{conditionType: v1alpha1.ConditionResolvedRefs, run: r.resolveIdentityProviders},
		{conditionType: v1alpha1.ConditionDeployed, run: r.removeUpstreams},
		{conditionType: v1alpha1.ConditionDeployed, run: r.ensureWorkload},
		{conditionType: v1alpha1.ConditionAvailable, run: r.readReplicas, runAfterFailure: true},
	})
	return r.finishReconcile(&server, s.failed, &s.requeueAt, func() error {
		return r.writeStatus(ctx, s.server, func() (due time.Time) {
			r.fillStatus(s)
			return due
		})
	})
}

// acceptIssuer refuses a server whose issuer an older one has, and one that is invalid. Of two
// servers that were created within one second, the one with the lower UID is the older.
func (r *serverReconciler) acceptIssuer(ctx context.Context, s *serverPass) error {
	var others v1alpha1.AuthorizationServerList
	if err := r.List(ctx, &others, client.MatchingFields{indexIssuer: s.server.Spec.Issuer}); err != nil {
		return err
	}
	for i := range others.Items {
		if names.CompareAge(&others.Items[i], s.server) < 0 {
			s.accepted = falseCondition(v1alpha1.ReasonIssuerTaken,
				"spec.issuer: an older AuthorizationServer has the issuer %q: delete this AuthorizationServer and create it with another issuer, which is immutable",
				s.server.Spec.Issuer)
		}
	}
	var err error
	if s.entry, err = r.entries.GetConfirmed(ctx, s.server, compile.IssuerName(s.server)); err != nil {
		return err
	}
	if s.accepted.isSet() {
		s.entry = nil
		return r.entries.DeleteOthers(ctx, compile.OwnerOf(s.server))
	}
	if s.accepted, err = r.checkSpec(s); err != nil {
		return err
	}
	if s.entry != nil && isTooNew(s.entry) {
		return &versionSkew{condition: managerTooOldCondition(s.entry)}
	}
	return nil
}

// checkSpec returns the condition Accepted of a server that has its issuer.
func (r *serverReconciler) checkSpec(s *serverPass) (condition, error) {
	if _, findings := compile.Server(s.server, nil); len(findings) > 0 {
		return invalidCondition("%s (what was served before stays in force until this is corrected, but for spec.signing.revokedKeys and spec.tokensNotBefore)", findings), nil
	}
	if refused, err := r.checkKubernetesIssuer(s); err != nil || refused.isSet() {
		return refused, err
	}
	return trueCondition(v1alpha1.ReasonAccepted, "the issuer is this server's"), nil
}

// isServed reports whether the server is accepted, or has a document that stays in force while its
// spec has a mistake.
func (s *serverPass) isServed() bool {
	return s.accepted.isTrue() || s.entry != nil && s.entry.Spec.Owner.UID == s.server.UID
}

// ensureKeys generates, rotates and revokes keys, whatever mistake the rest of the spec has. A lost key
// is not replaced: all that was signed with it would silently become invalid, and restoring the Secret
// would come too late.
func (r *serverReconciler) ensureKeys(ctx context.Context, s *serverPass) (err error) {
	if !s.isServed() {
		return nil
	}
	defer func() {
		if err != nil { // the document keeps the keys that it lists
			s.keysProblem = pendingCondition("the keys are not known")
		}
	}()
	doc, _ := compile.Server(s.server, nil)
	known := listKnownKeys(s)
	state, err := r.readKeys(ctx, s.server, known, doc.RevokedKeys)
	var foreign *foreignKeySecretError
	switch name := keySecretKey(s.server).Name; {
	case errors.As(err, &foreign):
		s.keysProblem = falseCondition(v1alpha1.ReasonSecretExists, "Secret %q %s", name, foreign.problem)
		return nil
	case errors.Is(err, keyring.ErrInvalid):
		s.keysProblem = falseCondition(v1alpha1.ReasonKeysLost, "Secret %q: the annotation %s is missing or not valid: restore the Secret from a backup, or delete it and list the lost keys in spec.signing.revokedKeys", name, ringAnnotation)
		return nil
	case err != nil:
		return err
	}
	s.ring, s.lost = state.ring, state.lost
	if len(state.lost) > 0 {
		return nil
	}
	if s.replicas, err = r.confirmLiveReplicas(ctx, s.server); err != nil {
		return err
	}
	interval, revision := compile.Rotation(s.server)
	files := newKeyFiles{}
	in := keyring.Input{
		Algorithms: compile.Algorithms(s.server), Revoked: doc.RevokedKeys, Interval: interval, Revision: revision,
		TokenLifetime: compile.LongestToken(doc), SealedLifetime: compile.LongestSealed(doc), Served: known,
		HasReplicas: len(s.replicas) > 0, IsHeld: isHeldByAll(s.replicas), Now: r.now(),
	}
	next, wake, err := state.ring.Advance(in, files.generator(r.random))
	if err != nil {
		return err
	}
	if err := r.writeKeys(ctx, s.server, state, next, files); err != nil {
		return err
	}
	s.ring, s.requeueAt, s.pending = next, wake, next.PendingRotations(in)
	s.rotation = keysCurrentCondition(s.pending, revision)
	return nil
}

// listKnownKeys returns the keys in the document in force, or in the status if there is none.
func listKnownKeys(s *serverPass) []documents.Key {
	if s.entry != nil {
		if doc, err := decodeEntry[documents.Server](s.entry); err == nil {
			return doc.Keys
		}
	}
	var known []documents.Key
	for _, k := range s.server.Status.Keys {
		known = append(known, documents.Key{KID: k.KID, Algorithm: k.Algorithm, Phase: string(k.Phase)})
	}
	return known
}

func isHeldByAll(live []replica) func(kid string) bool {
	return func(kid string) bool {
		return len(live) > 0 && !slices.ContainsFunc(live, func(r replica) bool { return !slices.Contains(r.Spec.Keys, kid) })
	}
}

// hasKeys reports whether ensureKeys knows all keys.
func (s *serverPass) hasKeys() bool {
	return len(s.ring.Keys) > 0 && len(s.lost) == 0 && !s.keysProblem.isSet()
}

// writeDocument writes the server's document into the Entry of the issuer. While the spec has a
// mistake, the document that was written before stays in force, but for what narrowDocument writes.
func (r *serverReconciler) writeDocument(ctx context.Context, s *serverPass) error {
	if !s.isServed() || s.keysProblem.isSet() && s.entry == nil {
		return nil
	}
	keys := s.ring.Documents()
	if !s.hasKeys() {
		keys = listKnownKeys(s) // so that they are the same when the Secret is restored; the rest of the document is current
	}
	doc, _ := compile.Server(s.server, keys)
	if !s.accepted.isTrue() {
		return r.narrowDocument(ctx, s, doc)
	}
	s.configMapErr = cmp.Or(r.addCABundle(ctx, s, &doc), r.readIssuerKeys(ctx, s))
	addIssuerKeys(s, &doc)
	owner := compile.OwnerOf(s.server)
	e, err := r.entries.EnsureDocument(ctx, s.server, compile.IssuerName(s.server), owner, doc, s.entry)
	if errors.Is(err, names.ErrTaken) { // only by an Entry that a user wrote
		s.accepted = falseCondition(v1alpha1.ReasonIssuerTaken,
			"spec.issuer: another object of the server has the name %q: delete this AuthorizationServer and create it with another issuer, which is immutable",
			s.server.Spec.Issuer)
		return nil
	}
	if isUpgradePending(err) {
		err = cmp.Or(r.narrowDocument(ctx, s, doc), err)
	}
	if err != nil {
		return err
	}
	s.entry = e
	return r.entries.DeleteOthers(ctx, owner, s.entry)
}

// narrowDocument writes into the document in force the keys and the tokensNotBefore of the new one, if
// the rest has to wait until a mistake in the spec is corrected, or the token servers are upgraded: a
// revoked key, and what was issued before that time, are void at once. It returns an error if that
// failed, which is more urgent than the upgrade.
func (r *serverReconciler) narrowDocument(ctx context.Context, s *serverPass, doc documents.Server) error {
	if s.entry == nil {
		return nil
	}
	old, err := decodeEntry[documents.Server](s.entry)
	if err != nil {
		return err
	}
	narrowed := replaceKeys(old, doc)
	narrowed.TokensNotBefore = narrowedNotBefore(old.TokensNotBefore, doc.TokensNotBefore, r.now())
	name, owner := compile.IssuerName(s.server), compile.OwnerOf(s.server)
	e, err := r.entries.EnsureDocument(ctx, s.server, name, owner, narrowed, s.entry)
	if isUpgradePending(err) { // the keys do not wait for token servers that know of tokensNotBefore
		pending := err
		if e, err = r.replaceDocument(ctx, s.entry, replaceKeys(old, doc)); err == nil {
			s.entry = e
			return pending
		}
	}
	if err == nil {
		s.entry = e
	}
	return err
}

// replaceKeys returns the old document of a server with the keys of the new one.
func replaceKeys(old, doc documents.Server) documents.Server {
	old.Keys, old.RevokedKeys, old.Algorithms = doc.Keys, doc.RevokedKeys, doc.Algorithms
	return old
}

// resolveTLS looks for the Secret that spec.tls names. The token server reports whether it holds a
// certificate.
func (r *serverReconciler) resolveTLS(ctx context.Context, s *serverPass) error {
	s.resolved = trueCondition(v1alpha1.ReasonResolvedRefs, "everything that the server names exists")
	if s.server.Spec.TLS == nil {
		return nil
	}
	name := s.server.Spec.TLS.SecretName
	metadata := secretMetadata()
	err := r.Get(ctx, client.ObjectKey{Namespace: s.server.Namespace, Name: name}, metadata)
	if apierrors.IsNotFound(err) {
		s.resolved = falseCondition(v1alpha1.ReasonSecretNotFound, "spec.tls.secretName: there is no Secret %q in namespace %q", name, s.server.Namespace)
		return nil
	}
	if own := compile.DescribeOperatorSecret(metadata); err == nil && own != "" {
		s.resolved = falseCondition(v1alpha1.ReasonInvalid, "spec.tls.secretName: Secret %q %s: name one that was made for this", name, own)
	}
	return err
}

// resolveStorage looks for the Secret and the key that spec.storage names. The token server reports
// whether it holds a DSN that works.
func (r *serverReconciler) resolveStorage(ctx context.Context, s *serverPass) error {
	ref := compile.DSN(s.server)
	if ref == nil || !s.resolved.isTrue() {
		return nil
	}
	name := client.ObjectKeyFromObject(s.server)
	known, _ := r.dsnSources.Load(name)
	source, _ := known.(secretVersion)
	source, _, refusal, err := r.readSecretKey(ctx,
		compile.SecretKey{Namespace: s.server.Namespace, Ref: *ref, Field: "spec.storage.postgreSQL.secretRef"}, ref.Key, source)
	switch {
	case err != nil:
		return err
	case refusal.isSet():
		s.resolved = refusal
		r.dsnSources.Delete(name)
	default:
		r.dsnSources.Store(name, source)
	}
	return nil
}

// resolveIdentityProviders looks for the IdentityProviders that rules name. One that is missing is no
// obstacle to others and to other rules, so it is kept apart from what s.resolved says.
func (r *serverReconciler) resolveIdentityProviders(ctx context.Context, s *serverPass) error {
	for i, rule := range s.server.Spec.AllowedClients {
		for _, name := range rule.IdentityProviders {
			if name == documents.LocalProvider {
				continue
			}
			var provider v1alpha1.IdentityProvider
			err := r.Get(ctx, client.ObjectKey{Namespace: s.server.Namespace, Name: name}, &provider)
			if client.IgnoreNotFound(err) != nil {
				return err
			}
			if err != nil || provider.Spec.ServerRef.Name != s.server.Name {
				s.noProvider = falseCondition(v1alpha1.ReasonIdentityProviderNotFound,
					"spec.allowedClients[%d].identityProviders: there is no IdentityProvider %q of this AuthorizationServer in namespace %q: create it, or correct the name",
					i, name, s.server.Namespace)
				return nil
			}
		}
	}
	return nil
}

// readReplicas reads which token servers run, deletes dead Replicas, and counts the clients.
func (r *serverReconciler) readReplicas(ctx context.Context, s *serverPass) error {
	due, err := r.deleteDeadReplicas(ctx, s.server)
	if err != nil {
		return err
	}
	s.requeueAt = earliest(s.requeueAt, due)
	if s.replicas, err = r.confirmLiveReplicas(ctx, s.server); err != nil {
		return err
	}
	for i := range s.replicas {
		s.requeueAt = earliest(s.requeueAt, s.replicas[i].until)
	}
	return r.updateUse(ctx, s)
}

func secretsOfServer(s *v1alpha1.AuthorizationServer) []string {
	keys := []string{keySecretKey(s).String()}
	for _, name := range workload.MountedSecrets(s) {
		keys = append(keys, s.Namespace+"/"+name)
	}
	return keys
}
