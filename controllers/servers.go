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
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/keyring"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

type serverReconciler struct {
	*operator
	// dsnSources tells which Secrets were seen to hold a DSN, by the server's name, so that they are read only when they change.
	dsnSources sync.Map
	// countInterval is how often at most a change of the number of clients is written, and counted tells when one was, by the server's name: a
	// thousand clients that are created one after the other are no thousand writes of the server's status.
	countInterval time.Duration
	counted       sync.Map
	// applied has the appliedVersions of a server's objects, by their name.
	applied sync.Map
	// image that token servers run from, and environment variables that they get.
	image     string
	variables []corev1.EnvVar
}

// serverScope is what the steps find out about one AuthorizationServer. Each step leaves its verdict; one that is undecided was not reached.
type serverScope struct {
	failed    *failure
	server    *v1alpha1.AuthorizationServer
	entry     *internalv1alpha1.Entry // the document in force, from decideIssuer and serve
	ring      keyring.Ring            // from keepKeys
	lost      []string                // from keepKeys
	replicas  []replica
	clients   int32
	requeueAt time.Time
	accepted  condition
	resolved  condition
	keys      condition // undecided: the keys are as they should be
	rotation  condition // from keepKeys
	pending   []keyring.PendingRotation
	deployed  condition // from keepWorkload
	podCount  int32     // from keepWorkload
}

// Reconcile serves an AuthorizationServer: its issuer is its own, its token server has an identity and keys, its document is current.
func (r *serverReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var server v1alpha1.AuthorizationServer
	if err := r.Get(ctx, request.NamespacedName, &server); err != nil {
		if client.IgnoreNotFound(err) != nil {
			return ctrl.Result{}, err
		}
		r.dsnSources.Delete(request.NamespacedName)
		r.counted.Delete(request.NamespacedName)
		r.applied.Delete(client.ObjectKey{Namespace: request.Namespace, Name: workload.ServiceAccountName(request.Name)})
		return r.done(kindServer, request.NamespacedName, r.forget(ctx, kindServer, request.NamespacedName))
	}
	if !server.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	s := &serverScope{server: &server, clients: server.Status.Clients, podCount: server.Status.Replicas}
	s.failed = runSteps(withCause(ctx, &server), s, []step[*serverScope]{
		{conditionType: v1alpha1.ConditionAccepted, run: r.decideIssuer},
		{conditionType: v1alpha1.ConditionAvailable, run: r.keepKeys},
		{conditionType: v1alpha1.ConditionAvailable, run: r.serve, runAfterFailure: true}, // a rule that is tightened is in force though keys cannot be written
		{conditionType: v1alpha1.ConditionResolvedRefs, run: r.resolveTLS},
		{conditionType: v1alpha1.ConditionResolvedRefs, run: r.resolveStorage},
		{conditionType: v1alpha1.ConditionDeployed, run: r.keepWorkload},
		{conditionType: v1alpha1.ConditionAvailable, run: r.observe, runAfterFailure: true},
	})
	return r.finish(&server, kindServer, s.failed, &s.requeueAt, func() error { return r.writeStatus(ctx, s) })
}

// after is the result that comes back at a time; the zero time means never.
func after(now, wake time.Time) ctrl.Result {
	if wake.IsZero() {
		return ctrl.Result{}
	}
	return ctrl.Result{RequeueAfter: max(wake.Sub(now), time.Millisecond)}
}

// earliest returns the earlier of two times, of which the zero time means never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// decideIssuer refuses a server whose issuer an older one has, and one that is not valid. The older is the one that was created first; of two
// created within one second, the one with the lower UID.
func (r *serverReconciler) decideIssuer(ctx context.Context, s *serverScope) error {
	var others v1alpha1.AuthorizationServerList
	if err := r.List(ctx, &others, client.MatchingFields{indexIssuer: s.server.Spec.Issuer}); err != nil {
		return err
	}
	for i := range others.Items {
		if byAge(&others.Items[i], s.server) < 0 {
			s.accepted = falseCondition(v1alpha1.ReasonIssuerTaken,
				"spec.issuer: an older AuthorizationServer has the issuer %q: delete this AuthorizationServer and create it with another issuer, which is immutable",
				s.server.Spec.Issuer)
		}
	}
	var err error
	if s.entry, err = r.getEntryConfirmed(ctx, s.server, issuerName(s.server)); err != nil {
		return err
	}
	if s.accepted.isSet() {
		s.entry = nil
		return r.deleteOtherEntries(ctx, compile.Owner(kindServer, s.server))
	}
	if _, findings := compile.Server(s.server, nil); len(findings) > 0 {
		s.accepted = invalidCondition("%s (what was served before stays in force until this is corrected)", findings)
		return nil
	}
	s.accepted = trueCondition(v1alpha1.ReasonAccepted, "the issuer is this server's")
	if s.entry != nil && isTooNew(s.entry) {
		return &versionSkew{condition: managerTooOldCondition(s.entry)}
	}
	return nil
}

// keepKeys makes, rotates and revokes keys. What was lost is not made again: everything signed with it would silently become invalid, and
// a restored Secret would come too late.
func (r *serverReconciler) keepKeys(ctx context.Context, s *serverScope) (err error) {
	if !s.accepted.isTrue() {
		return nil
	}
	defer func() {
		if err != nil { // the document goes on to list those that it lists
			s.keys = pendingCondition("the keys are not known")
		}
	}()
	doc, _ := compile.Server(s.server, nil)
	known := knownKeys(s)
	state, err := r.readKeys(ctx, s.server, known, doc.RevokedKeys)
	var foreign *foreignKeySecretError
	switch name := keySecretKey(s.server).Name; {
	case errors.As(err, &foreign):
		s.keys = falseCondition(v1alpha1.ReasonSecretExists, "Secret %q %s", name, foreign.problem)
		return nil
	case errors.Is(err, keyring.ErrInvalid):
		s.keys = falseCondition(v1alpha1.ReasonKeysLost, "Secret %q: the annotation %s is missing or not valid: restore the Secret from a backup, or delete it and list the lost keys in spec.signing.revokedKeys", name, ringAnnotation)
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
		HasReplicas: len(s.replicas) > 0, IsHeld: heldByAll(s.replicas), Now: r.now(),
	}
	next, wake, err := state.ring.Advance(in, files.generator(r.random))
	if err != nil {
		return err
	}
	if err := r.writeKeys(ctx, s.server, state, next, files); err != nil {
		return err
	}
	s.ring, s.requeueAt, s.pending = next, wake, next.PendingRotations(in)
	s.rotation = rotation(s.pending, revision)
	return nil
}

// knownKeys are those that the document in force lists, or the status if there is none.
func knownKeys(s *serverScope) []documents.Key {
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

func heldByAll(live []replica) func(kid string) bool {
	return func(kid string) bool {
		return len(live) > 0 && !slices.ContainsFunc(live, func(r replica) bool { return !slices.Contains(r.Spec.Keys, kid) })
	}
}

// serve writes the server's document.
func (r *serverReconciler) serve(ctx context.Context, s *serverScope) error {
	if !s.accepted.isTrue() || s.keys.isSet() && s.entry == nil {
		return nil
	}
	keys := s.ring.Documents()
	if len(s.lost) > 0 || s.keys.isSet() {
		keys = knownKeys(s) // a restored Secret finds them as they were; all else that the document says is in force
	}
	doc, _ := compile.Server(s.server, keys)
	text, err := documents.Encode(doc)
	if err != nil {
		return err
	}
	owner := compile.Owner(kindServer, s.server)
	e, err := r.ensureEntry(ctx, compile.NewEntry(s.server, issuerName(s.server), owner, documents.Format(doc), text), s.entry)
	if errors.Is(err, errTaken) { // only somebody who writes Entries by hand can do this
		s.accepted = falseCondition(v1alpha1.ReasonIssuerTaken,
			"spec.issuer: another object of the server has the name %q: delete this AuthorizationServer and create it with another issuer, which is immutable",
			s.server.Spec.Issuer)
		return nil
	}
	if isUpgradePending(err) {
		err = cmp.Or(r.serveMeanwhile(ctx, s, doc), err)
	}
	if err != nil {
		return err
	}
	s.entry = e
	return r.deleteOtherEntries(ctx, owner, s.entry)
}

// serveMeanwhile keeps the keys of a server going whose document cannot be replaced yet. An error is
// one that must not wait for the upgrade.
func (r *serverReconciler) serveMeanwhile(ctx context.Context, s *serverScope, doc documents.Server) error {
	if s.entry == nil {
		return nil
	}
	old, err := decodeEntry[documents.Server](s.entry)
	if err != nil {
		return err
	}
	e, err := r.ensureDocumentInOldFormat(ctx, s.entry, meanwhile(old, doc))
	if err == nil {
		s.entry = e
	}
	return err
}

// meanwhile is the old document of a server with the keys of the new one: a key that was revoked is
// worthless at once, whatever else has to wait.
func meanwhile(old, doc documents.Server) documents.Server {
	old.Keys, old.RevokedKeys, old.Algorithms = doc.Keys, doc.RevokedKeys, doc.Algorithms
	return old
}

// resolveTLS looks for the Secret that spec.tls names; whether its content is a certificate is for the token server to say.
func (r *serverReconciler) resolveTLS(ctx context.Context, s *serverScope) error {
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
	if own := describeOperatorSecret(metadata); err == nil && own != "" {
		s.resolved = falseCondition(v1alpha1.ReasonInvalid, "spec.tls.secretName: Secret %q %s: name one that was made for this", name, own)
	}
	return err
}

// resolveStorage looks for the Secret and the key that spec.storage names; whether the DSN in it is a good one is for the token server to say.
func (r *serverReconciler) resolveStorage(ctx context.Context, s *serverScope) error {
	ref := compile.DSN(s.server)
	if ref == nil || !s.resolved.isTrue() {
		return nil
	}
	name := client.ObjectKeyFromObject(s.server)
	known, _ := r.dsnSources.Load(name)
	source, _ := known.(secretVersion)
	source, _, refusal, err := r.readSecretKey(ctx, secretRead{
		namespace: s.server.Namespace, ref: *ref, field: "spec.storage.postgreSQL.secretRef", detail: ref.Key, known: source,
	})
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

// observe looks at the token servers and counts the clients.
func (r *serverReconciler) observe(ctx context.Context, s *serverScope) error {
	due, err := r.buryReplicas(ctx, s.server)
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
	count, err := r.countClients(ctx, s.server)
	if err == nil {
		s.clients = r.countToWrite(s, count)
	}
	return err
}

// countToWrite is the number of clients for the status: the present one, unless the last change of it was written just now.
func (r *serverReconciler) countToWrite(s *serverScope, count int32) int32 {
	name, now := client.ObjectKeyFromObject(s.server), r.now()
	if count == s.server.Status.Clients {
		return count
	}
	if last, ok := r.counted.Load(name); ok {
		if due := last.(time.Time).Add(r.countInterval); now.Before(due) {
			s.requeueAt = earliest(s.requeueAt, due)
			return s.server.Status.Clients
		}
	}
	r.counted.Store(name, now)
	return count
}

// countClients looks at the cache without copying: there may be ten thousand.
func (r *serverReconciler) countClients(ctx context.Context, server *v1alpha1.AuthorizationServer) (int32, error) {
	var list v1alpha1.OAuthClientList
	err := r.List(ctx, &list, client.MatchingFields{indexServer: keyText(client.ObjectKeyFromObject(server))}, client.UnsafeDisableDeepCopy)
	count := int32(0)
	for i := range list.Items {
		if acceptedNow(&list.Items[i]) {
			count++
		}
	}
	return count, err
}

func secretsOfServer(s *v1alpha1.AuthorizationServer) []string {
	keys := []string{keyText(keySecretKey(s))}
	if s.Spec.TLS != nil {
		keys = append(keys, s.Namespace+"/"+s.Spec.TLS.SecretName)
	}
	if ref := compile.DSN(s); ref != nil {
		keys = append(keys, s.Namespace+"/"+ref.Name)
	}
	return keys
}
