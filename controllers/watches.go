package controllers

import (
	"context"
	"reflect"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// countDelay gathers a burst of accepted clients into one count for the server's status.
const countDelay = time.Second

// maxRetry is how long a step that failed again and again waits before it is tried once more. When the API server is back after an hour, nobody has
// to wait another.
const maxRetry = 30 * time.Second

// controller are the options of each controller. There is no limit over all objects: one that fails is retried less and less often, and hinders no
// other.
func (o Options) controller() controller.Options {
	return controller.Options{
		MaxConcurrentReconciles: o.Workers,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[ctrl.Request](5*time.Millisecond, maxRetry),
	}
}

func setUpServers(mgr ctrl.Manager, op *operator, o Options) error {
	return ctrl.NewControllerManagedBy(mgr).Named("authorizationserver").
		WithOptions(o.controller()).
		For(&v1alpha1.AuthorizationServer{}).
		Owns(&corev1.ServiceAccount{}).
		Owns(&rbacv1.RoleBinding{}).
		Owns(&appsv1.Deployment{}).
		Owns(&corev1.Service{}).
		Owns(&policyv1.PodDisruptionBudget{}).
		Watches(&corev1.Pod{}, op.wakes(serverOfPod)).
		Watches(&v1alpha1.AuthorizationServer{}, op.wakes(op.serversOfIssuer), onChange(existence)).
		Watches(&internalv1alpha1.Entry{}, op.wakes(ownerOfKind(kindServer)), onNews()).
		Watches(&internalv1alpha1.Replica{}, op.wakes(op.serversOfReplica)).
		Watches(secretMetadata(), op.wakes(op.byIndex(&v1alpha1.AuthorizationServerList{}, indexSecret))).
		Watches(&v1alpha1.OAuthClient{}, counts{}).
		Complete(&serverReconciler{operator: op, countInterval: o.CountInterval, image: o.TokenServerImage, variables: o.TokenServerVariables})
}

func setUpClients(mgr ctrl.Manager, op *operator, o Options) error {
	list := func() client.ObjectList { return &v1alpha1.OAuthClientList{} }
	b := ctrl.NewControllerManagedBy(mgr).Named("oauthclient").
		WithOptions(o.controller()).
		For(&v1alpha1.OAuthClient{}).
		Watches(&v1alpha1.AuthorizationServer{}, op.wakes(op.byServer(list)), onChange(serverVerdict)).
		Watches(&internalv1alpha1.Entry{}, op.wakes(ownerOfKind(kindClient)), onNews()).
		Watches(&internalv1alpha1.Entry{}, op.wakes(op.byName(list)), onDelete()).
		Watches(&internalv1alpha1.Entry{}, op.wakes(op.clientsOfRules), onChange(rules)).
		Watches(&internalv1alpha1.Entry{}, op.wakes(op.clientsOfScopes)).
		Watches(&internalv1alpha1.Replica{}, op.wakes(op.byReplica(list)), onChange(op.progress)).
		Watches(&internalv1alpha1.Replica{}, op.wakes(op.ownersOfRejected(kindClient)), onChange(rejections)).
		Watches(&internalv1alpha1.Usage{}, op.onUses()).
		Watches(secretMetadata(), op.wakes(op.byIndex(list(), indexSecret)))
	return op.watchClaimants(b, list).Complete(&clientReconciler{operator: op, pending: &pendingSecrets{}})
}

func setUpUsers(mgr ctrl.Manager, op *operator, o Options) error {
	list := func() client.ObjectList { return &v1alpha1.OAuthUserList{} }
	b := ctrl.NewControllerManagedBy(mgr).Named("oauthuser").
		WithOptions(o.controller()).
		For(&v1alpha1.OAuthUser{}).
		Watches(&v1alpha1.AuthorizationServer{}, op.wakes(op.byServer(list)), onChange(serverVerdict)).
		Watches(&internalv1alpha1.Entry{}, op.wakes(ownerOfKind(kindUser)), onNews()).
		Watches(&internalv1alpha1.Entry{}, op.wakes(op.byName(list)), onDelete()).
		Watches(&internalv1alpha1.Entry{}, op.wakes(op.byServerEntry(list)), onChange(existence)).
		Watches(&internalv1alpha1.Replica{}, op.wakes(op.byReplica(list)), onChange(op.progress)).
		Watches(&internalv1alpha1.Replica{}, op.wakes(op.ownersOfRejected(kindUser)), onChange(rejections)).
		Watches(secretMetadata(), op.wakes(op.byIndex(list(), indexSecret)))
	return op.watchClaimants(b, list).Complete(&userReconciler{op})
}

func setUpResourceServers(mgr ctrl.Manager, op *operator, o Options) error {
	list := func() client.ObjectList { return &v1alpha1.ResourceServerList{} }
	b := ctrl.NewControllerManagedBy(mgr).Named("resourceserver").
		WithOptions(o.controller()).
		For(&v1alpha1.ResourceServer{}).
		Watches(&v1alpha1.AuthorizationServer{}, op.wakes(op.byServer(list)), onChange(serverVerdict)).
		Watches(&internalv1alpha1.Entry{}, op.wakes(ownerOfKind(kindResourceServer)), onNews()).
		Watches(&internalv1alpha1.Entry{}, op.wakes(op.byName(list)), onDelete()).
		Watches(&internalv1alpha1.Entry{}, op.wakes(op.byServerEntry(list)), onChange(rules)).
		Watches(&internalv1alpha1.Entry{}, op.wakes(op.resourceServersOfNamespace)).
		Watches(&v1alpha1.OAuthClient{}, op.wakes(op.byIndex(list(), indexIntrospector)), onChange(specOfClient)).
		Watches(&internalv1alpha1.Replica{}, op.wakes(op.byReplica(list)), onChange(op.progress)).
		Watches(&internalv1alpha1.Replica{}, op.wakes(op.ownersOfRejected(kindResourceServer)), onChange(rejections))
	return op.watchClaimants(b, list).Complete(&resourceServerReconciler{op})
}

func setUpNamespaces(mgr ctrl.Manager, op *operator, o Options) error {
	return ctrl.NewControllerManagedBy(mgr).Named("namespace").
		WithOptions(o.controller()).
		For(&corev1.Namespace{}).
		Watches(&internalv1alpha1.Entry{}, op.wakes(ownerOfKind(kindNamespace)), onNews()).
		Complete(&namespaceReconciler{op})
}

// wakeFunc names the objects that a change concerns.
type wakeFunc func(ctx context.Context, changed client.Object) []client.ObjectKey

func (op *operator) wakes(f wakeFunc) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, changed client.Object) []ctrl.Request {
		var requests []ctrl.Request
		for _, key := range f(ctx, changed) {
			requests = append(requests, ctrl.Request{NamespacedName: key})
		}
		return requests
	})
}

// find is a look into an index.
func (op *operator) find(ctx context.Context, list client.ObjectList, options ...client.ListOption) []client.ObjectKey {
	list = list.DeepCopyObject().(client.ObjectList) //nolint:forcetypeassert // a copy has the type of what it copies
	if err := op.List(ctx, list, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "reading the cache")
		return nil
	}
	items, err := meta.ExtractList(list)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "reading the cache")
		return nil
	}
	var keys []client.ObjectKey
	for _, item := range items {
		if object, ok := item.(client.Object); ok {
			keys = append(keys, client.ObjectKeyFromObject(object))
		}
	}
	return keys
}

// byIndex finds objects whose index holds "<namespace>/<name>" of what changed.
func (op *operator) byIndex(list client.ObjectList, field string) wakeFunc {
	return func(ctx context.Context, changed client.Object) []client.ObjectKey {
		return op.find(ctx, list, client.MatchingFields{field: keyText(client.ObjectKeyFromObject(changed))})
	}
}

// byServer finds the objects of the AuthorizationServer that changed.
func (op *operator) byServer(list func() client.ObjectList) wakeFunc {
	return op.byIndex(list(), indexServer)
}

// byServerEntry finds the objects of a server whose document changed.
func (op *operator) byServerEntry(list func() client.ObjectList) wakeFunc {
	return func(ctx context.Context, changed client.Object) []client.ObjectKey {
		e, ok := changed.(*internalv1alpha1.Entry)
		if !ok || documents.Kind(e.Spec.Format) != documents.KindServer {
			return nil
		}
		return op.find(ctx, list(), client.MatchingFields{indexServer: keyText(serverOfEntry(e))})
	}
}

// byName finds the objects that want a name which another had.
func (op *operator) byName(list func() client.ObjectList) wakeFunc {
	return func(ctx context.Context, changed client.Object) []client.ObjectKey {
		e, ok := changed.(*internalv1alpha1.Entry)
		if !ok || e.Spec.Space == internalv1alpha1.SpaceNamespace {
			return nil
		}
		name := compile.Name{Space: e.Spec.Space, Value: e.Spec.Value}
		return op.find(ctx, list(), client.MatchingFields{indexName: nameKey(serverOfEntry(e), name)})
	}
}

// watchClaimants wakes the objects of a kind when another object that asks for one of their names
// is gone, or asks for, holds or may have something else, or loses a name that it needs: where a
// name has no Entry, they wait for the objects that come before them.
func (op *operator) watchClaimants(b *builder.Builder, list func() client.ObjectList) *builder.Builder {
	for _, kind := range claimantKinds() {
		b = b.Watches(kind, op.wakes(op.waitingBehind(list)), builder.WithPredicates(predicate.Funcs{
			CreateFunc: func(event.CreateEvent) bool { return false }, // the youngest is before no other
			UpdateFunc: func(e event.UpdateEvent) bool { return otherStanding(e.ObjectOld, e.ObjectNew) },
		}))
	}
	return b.Watches(&internalv1alpha1.Entry{}, op.wakes(op.waitingBehindLosers(list)), onNewOwner())
}

// waitingBehind finds the objects that wait for a name for which the one that changed asks too.
func (op *operator) waitingBehind(list func() client.ObjectList) wakeFunc {
	return func(ctx context.Context, changed client.Object) []client.ObjectKey {
		server, names := namesOf(changed)
		return op.waitingFor(ctx, list, server, names.Requested)
	}
}

// waitingBehindLosers finds the objects that wait behind one that lost a name, since another object
// has got the Entry: an object that lacks a name that it needs does not keep its other names from
// them. A client has no other name, and a ResourceServer needs none but its identifier.
func (op *operator) waitingBehindLosers(list func() client.ObjectList) wakeFunc {
	return func(ctx context.Context, changed client.Object) []client.ObjectKey {
		e, ok := changed.(*internalv1alpha1.Entry)
		if !ok || e.Spec.Space != internalv1alpha1.SpaceIdentity && e.Spec.Space != internalv1alpha1.SpaceUsername {
			return nil
		}
		lost, server := compile.Name{Space: e.Spec.Space, Value: e.Spec.Value}, serverOfEntry(e)
		var others []compile.Name
		for _, losers := range []client.ObjectList{&v1alpha1.OAuthUserList{}, &v1alpha1.ResourceServerList{}} {
			if err := op.List(ctx, losers, client.MatchingFields{indexName: nameKey(server, lost)}, client.UnsafeDisableDeepCopy); err != nil {
				ctrl.LoggerFrom(ctx).Error(err, "reading the cache")
				return nil
			}
			_ = meta.EachListItem(losers, func(item runtime.Object) error { // which returns what the function does
				if loser, ok := item.(client.Object); ok && loser.GetUID() != e.Spec.Owner.UID {
					_, names := namesOf(loser)
					others = append(others, slices.DeleteFunc(names.Requested, func(name compile.Name) bool { return name == lost })...)
				}
				return nil
			})
		}
		return op.waitingFor(ctx, list, server, others)
	}
}

// waitingFor finds the objects that ask for a name that has no Entry. The objects that want a name
// that has one wait for nothing but its end: thousands may want it, and each of them may change.
func (op *operator) waitingFor(ctx context.Context, list func() client.ObjectList, key client.ObjectKey, names []compile.Name) []client.ObjectKey {
	var server v1alpha1.AuthorizationServer
	if err := op.Get(ctx, key, &server); err != nil {
		return nil // all wait for the server
	}
	var keys []client.ObjectKey
	for _, name := range names {
		if e, err := op.getEntry(ctx, &server, name); err == nil && e == nil {
			keys = append(keys, op.find(ctx, list(), client.MatchingFields{indexName: nameKey(key, name)})...)
		}
	}
	return keys
}

// otherStanding reports whether an object asks for other names, holds others, or is accepted otherwise than before.
func otherStanding(before, after client.Object) bool {
	if before.GetDeletionTimestamp().IsZero() != after.GetDeletionTimestamp().IsZero() {
		return true
	}
	if otherVerdict(conditionsOf(before), conditionsOf(after)) {
		return true
	}
	_, namesBefore := namesOf(before)
	_, namesAfter := namesOf(after)
	return !reflect.DeepEqual(namesBefore, namesAfter)
}

// byReplica finds the objects that wait for a replica.
func (op *operator) byReplica(list func() client.ObjectList) wakeFunc {
	return func(ctx context.Context, changed client.Object) []client.ObjectKey {
		var keys []client.ObjectKey
		for _, server := range op.serversOfReplica(ctx, changed) {
			keys = append(keys, op.find(ctx, list(), client.MatchingFields{indexUnprogrammed: keyText(server)})...)
		}
		return keys
	}
}

// ownersOfRejected finds the objects of a kind of which a replica cannot read a document: they may have been served before, and wait for nothing.
func (op *operator) ownersOfRejected(kind string) wakeFunc {
	return func(ctx context.Context, changed client.Object) []client.ObjectKey {
		replica, ok := changed.(*internalv1alpha1.Replica)
		if !ok {
			return nil
		}
		var keys []client.ObjectKey
		for _, rejected := range replica.Spec.Rejected {
			var e internalv1alpha1.Entry
			if op.Get(ctx, client.ObjectKey{Namespace: replica.Namespace, Name: rejected.Name}, &e) != nil {
				continue // its owner is woken when it is seen
			}
			keys = append(keys, ownerOfKind(kind)(ctx, &e)...)
		}
		return keys
	}
}

// serverOfEntry is the server that an Entry is read by.
func serverOfEntry(e *internalv1alpha1.Entry) client.ObjectKey {
	for _, ref := range e.OwnerReferences {
		if ref.UID == e.Spec.ServerUID {
			return client.ObjectKey{Namespace: e.Namespace, Name: ref.Name}
		}
	}
	return client.ObjectKey{}
}

// ownerOfKind is the owner of an Entry, if it is of a kind.
func ownerOfKind(kind string) wakeFunc {
	return func(_ context.Context, changed client.Object) []client.ObjectKey {
		e, ok := changed.(*internalv1alpha1.Entry)
		if !ok || e.Spec.Owner.Kind != kind {
			return nil
		}
		return []client.ObjectKey{{Namespace: e.Spec.Owner.Namespace, Name: e.Spec.Owner.Name}}
	}
}

// serverOfPod is the server whose token server a Pod runs.
func serverOfPod(_ context.Context, pod client.Object) []client.ObjectKey {
	name := workload.ServerOf(pod.GetLabels())
	if name == "" {
		return nil
	}
	return []client.ObjectKey{{Namespace: pod.GetNamespace(), Name: name}}
}

// serversOfIssuer finds the servers that want the issuer of one that came or is gone: of two of the same second, the second may be the older.
func (op *operator) serversOfIssuer(ctx context.Context, changed client.Object) []client.ObjectKey {
	server, ok := changed.(*v1alpha1.AuthorizationServer)
	if !ok {
		return nil
	}
	return op.find(ctx, &v1alpha1.AuthorizationServerList{}, client.MatchingFields{indexIssuer: server.Spec.Issuer})
}

func (op *operator) serversOfReplica(ctx context.Context, changed client.Object) []client.ObjectKey {
	replica, ok := changed.(*internalv1alpha1.Replica)
	if !ok {
		return nil
	}
	return op.find(ctx, &v1alpha1.AuthorizationServerList{}, client.InNamespace(replica.Namespace),
		client.MatchingFields{indexServerUID: string(replica.Spec.ServerUID)})
}

// clientsOfRules finds the clients that a changed rule may concern: all of a server, or those of a namespace.
func (op *operator) clientsOfRules(ctx context.Context, changed client.Object) []client.ObjectKey {
	e, ok := changed.(*internalv1alpha1.Entry)
	if !ok {
		return nil
	}
	ofServer := client.MatchingFields{indexServer: keyText(serverOfEntry(e))}
	switch documents.Kind(e.Spec.Format) {
	case documents.KindServer:
		return op.find(ctx, &v1alpha1.OAuthClientList{}, ofServer)
	case documents.KindNamespace:
		return op.find(ctx, &v1alpha1.OAuthClientList{}, ofServer, client.InNamespace(e.Spec.Value))
	}
	return nil
}

// clientsOfScopes finds the clients that register a scope about which something changed: its claim, the document of its ResourceServer, or
// the namespace of that.
func (op *operator) clientsOfScopes(ctx context.Context, changed client.Object) []client.ObjectKey {
	e, ok := changed.(*internalv1alpha1.Entry)
	if !ok {
		return nil
	}
	server := serverOfEntry(e)
	var scopes []string
	switch {
	case e.Spec.Space == internalv1alpha1.SpaceScope:
		scopes = []string{e.Spec.Value}
	case documents.Kind(e.Spec.Format) == documents.KindResourceServer:
		doc, err := decodeEntry[documents.ResourceServer](e)
		if err != nil {
			return nil
		}
		scopes = scopeNames(doc)
	case documents.Kind(e.Spec.Format) == documents.KindNamespace:
		var list v1alpha1.ResourceServerList
		if err := op.List(ctx, &list, client.InNamespace(e.Spec.Value), client.MatchingFields{indexServer: keyText(server)}); err != nil {
			return nil
		}
		for i := range list.Items {
			doc, _ := compile.ResourceServer(&list.Items[i])
			scopes = append(scopes, scopeNames(doc)...)
		}
	}
	var keys []client.ObjectKey
	for _, scope := range scopes {
		keys = append(keys, op.find(ctx, &v1alpha1.OAuthClientList{}, client.MatchingFields{indexScope: scopeKey(server, scope)})...)
	}
	return keys
}

func scopeNames(doc documents.ResourceServer) []string {
	var names []string
	for _, scope := range doc.Scopes {
		names = append(names, scope.Name)
	}
	return names
}

func (op *operator) resourceServersOfNamespace(ctx context.Context, changed client.Object) []client.ObjectKey {
	e, ok := changed.(*internalv1alpha1.Entry)
	if !ok || documents.Kind(e.Spec.Format) != documents.KindNamespace {
		return nil
	}
	return op.find(ctx, &v1alpha1.ResourceServerList{}, client.InNamespace(e.Spec.Value),
		client.MatchingFields{indexServer: keyText(serverOfEntry(e))})
}

// counts wakes a server a moment after one of its clients was accepted or refused.
type counts struct{}

type requestQueue = workqueue.TypedRateLimitingInterface[ctrl.Request]

// Create implements handler.EventHandler.
func (counts) Create(_ context.Context, e event.CreateEvent, q requestQueue) { countLater(e.Object, q) }

// Update implements handler.EventHandler.
func (counts) Update(_ context.Context, e event.UpdateEvent, q requestQueue) {
	before, ok := e.ObjectOld.(*v1alpha1.OAuthClient)
	if after, is := e.ObjectNew.(*v1alpha1.OAuthClient); ok && is && acceptedNow(before) != acceptedNow(after) {
		countLater(after, q)
	}
}

// Delete implements handler.EventHandler.
func (counts) Delete(_ context.Context, e event.DeleteEvent, q requestQueue) { countLater(e.Object, q) }

// Generic implements handler.EventHandler.
func (counts) Generic(context.Context, event.GenericEvent, requestQueue) {}

func countLater(object client.Object, q requestQueue) {
	if c, ok := object.(*v1alpha1.OAuthClient); ok && acceptedNow(c) {
		q.AddAfter(ctrl.Request{NamespacedName: serverOfClient(c)}, countDelay)
	}
}

// onDelete lets only deletions pass.
func onDelete() builder.Predicates {
	return builder.WithPredicates(predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(event.UpdateEvent) bool { return false },
	})
}

// onNewOwner lets pass that a name got an Entry, or its Entry another owner. What was there when the
// manager started was in the cache before anything was decided.
func onNewOwner() builder.Predicates {
	return builder.WithPredicates(predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return !e.IsInInitialList },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(*internalv1alpha1.Entry)
			after, is := e.ObjectNew.(*internalv1alpha1.Entry)
			return ok && is && before.Spec.Owner.UID != after.Spec.Owner.UID
		},
		DeleteFunc: func(event.DeleteEvent) bool { return false },
	})
}

// onChange lets creations and deletions pass, and those updates that matter.
func onChange[T client.Object](matters func(before, after T) bool) builder.Predicates {
	return builder.WithPredicates(predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(T)
		after, is := e.ObjectNew.(T)
		return ok && is && matters(before, after)
	}})
}

// onNews lets pass what happens to an object, but not that it was there when the manager started, nor that it is still there: an Entry that
// has no owner then is the Sweeper's, which looks how many there are before it removes any.
func onNews() builder.Predicates {
	return builder.WithPredicates(predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return !e.IsInInitialList },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return e.ObjectOld.GetResourceVersion() != e.ObjectNew.GetResourceVersion()
		},
	})
}

// existence matters, and nothing that changes.
func existence(_, _ client.Object) bool { return false }

// serverVerdict is what a server's conditions say of itself, and whether it is being deleted: its objects quote it.
func serverVerdict(before, after *v1alpha1.AuthorizationServer) bool {
	if before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero() {
		return true
	}
	return otherVerdict(before.Status.Conditions, after.Status.Conditions)
}

// otherVerdict reports whether the condition Accepted has another status or reason than before.
func otherVerdict(before, after []metav1.Condition) bool {
	b, a := meta.FindStatusCondition(before, v1alpha1.ConditionAccepted), meta.FindStatusCondition(after, v1alpha1.ConditionAccepted)
	return (b == nil) != (a == nil) || b != nil && (b.Status != a.Status || b.Reason != a.Reason)
}

// specOfClient matters to the resource servers that name the client.
func specOfClient(before, after *v1alpha1.OAuthClient) bool {
	return before.Generation != after.Generation
}

// rules are what decides about other objects in a document: all of a server's but its keys, and all of any other.
func rules(before, after *internalv1alpha1.Entry) bool {
	if before.Spec.Document == after.Spec.Document {
		return false
	}
	if documents.Kind(after.Spec.Format) != documents.KindServer {
		return true
	}
	b, err := decodeEntry[documents.Server](before)
	if err != nil {
		return true
	}
	a, err := decodeEntry[documents.Server](after)
	b.Keys, a.Keys, b.RevokedKeys, a.RevokedKeys = nil, nil, nil, nil
	return err != nil || !reflect.DeepEqual(a, b)
}

// progress of a replica: a renewal alone tells nothing, unless it was taken for dead.
func (op *operator) progress(before, after *internalv1alpha1.Replica) bool {
	b, a := &before.Spec, &after.Spec
	return op.now().Sub(op.seen.see(after).revived) < liveFor ||
		b.AppliedResourceVersion != a.AppliedResourceVersion || b.Ready != a.Ready || !reflect.DeepEqual(b.Rejected, a.Rejected) ||
		!slices.Equal(b.Formats, a.Formats)
}

// rejections by a replica matter to those whom they concern.
func rejections(before, after *internalv1alpha1.Replica) bool {
	return !reflect.DeepEqual(before.Spec.Rejected, after.Spec.Rejected)
}
