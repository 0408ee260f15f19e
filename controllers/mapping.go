package controllers

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/names"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// mapFunc maps an object that changed to the objects that are to be reconciled for it.
type mapFunc func(ctx context.Context, changed client.Object) []client.ObjectKey

// enqueueRequestsFor enqueues the objects to which f maps a changed one. It ignores what existed when
// the manager started: a controller reconciles each object of its own kind then, after it has seen
// all others.
func enqueueRequestsFor(f mapFunc) handler.EventHandler {
	return afterStart{handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, changed client.Object) []ctrl.Request {
		var requests []ctrl.Request
		for _, key := range f(ctx, changed) {
			requests = append(requests, ctrl.Request{NamespacedName: key})
		}
		return requests
	})}
}

// afterStart is a handler that ignores what existed when the manager started.
type afterStart struct{ handler.EventHandler }

// Create implements handler.EventHandler.
func (h afterStart) Create(ctx context.Context, e event.CreateEvent, q requestQueue) {
	if !e.IsInInitialList {
		h.EventHandler.Create(ctx, e, q)
	}
}

// listKeys returns the keys of the objects in the cache that the options select. list is an empty
// list of their kind.
func (op *operator) listKeys(ctx context.Context, list client.ObjectList, options ...client.ListOption) []client.ObjectKey {
	list = list.DeepCopyObject().(client.ObjectList) //nolint:forcetypeassert // a copy has the type of what it copies
	if err := op.List(ctx, list, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot read the cache")
		return nil
	}
	items, err := meta.ExtractList(list)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot read the cache")
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

// mapByIndex maps an object to those of which an index has its "<namespace>/<name>".
func (op *operator) mapByIndex(list client.ObjectList, field string) mapFunc {
	return func(ctx context.Context, changed client.Object) []client.ObjectKey {
		return op.listKeys(ctx, list, client.MatchingFields{field: client.ObjectKeyFromObject(changed).String()})
	}
}

// mapServerEntry maps the Entry with a server's document to the objects of the server.
func (op *operator) mapServerEntry(list client.ObjectList) mapFunc {
	return func(ctx context.Context, changed client.Object) []client.ObjectKey {
		e, ok := changed.(*internalv1alpha1.Entry)
		if !ok || documents.Kind(e.Spec.Format) != documents.KindServer {
			return nil
		}
		return op.listKeys(ctx, list, client.MatchingFields{indexServer: serverOfEntry(e).String()})
	}
}

// mapReplica maps a Replica to the objects of its server that are not programmed yet.
func (op *operator) mapReplica(list client.ObjectList) mapFunc {
	return func(ctx context.Context, changed client.Object) []client.ObjectKey {
		var keys []client.ObjectKey
		for _, server := range op.mapReplicaToServer(ctx, changed) {
			keys = append(keys, op.listKeys(ctx, list, client.MatchingFields{indexUnprogrammed: server.String()})...)
		}
		return keys
	}
}

// mapReplicaToRejected maps a Replica to the objects of a kind of which it cannot read a document.
// They may be programmed.
func (op *operator) mapReplicaToRejected(kind string) mapFunc {
	return func(ctx context.Context, changed client.Object) []client.ObjectKey {
		replica, ok := changed.(*internalv1alpha1.Replica)
		if !ok {
			return nil
		}
		var keys []client.ObjectKey
		for _, rejected := range replica.Spec.Rejected {
			var e internalv1alpha1.Entry
			if op.Get(ctx, client.ObjectKey{Namespace: replica.Namespace, Name: rejected.Name}, &e) != nil {
				continue // its owner is reconciled when the Entry is seen
			}
			keys = append(keys, mapEntryToOwner(kind)(ctx, &e)...)
		}
		return keys
	}
}

// serverOfEntry returns the key of the AuthorizationServer that serves an Entry.
func serverOfEntry(e *internalv1alpha1.Entry) client.ObjectKey {
	for _, ref := range e.OwnerReferences {
		if ref.UID == e.Spec.ServerUID {
			return client.ObjectKey{Namespace: e.Namespace, Name: ref.Name}
		}
	}
	return client.ObjectKey{}
}

// mapEntryToOwner maps an Entry to its owner, if that is of a kind.
func mapEntryToOwner(kind string) mapFunc {
	return func(_ context.Context, changed client.Object) []client.ObjectKey {
		e, ok := changed.(*internalv1alpha1.Entry)
		if !ok || e.Spec.Owner.Kind != kind {
			return nil
		}
		return []client.ObjectKey{{Namespace: e.Spec.Owner.Namespace, Name: e.Spec.Owner.Name}}
	}
}

// mapPodToServer maps a Pod to the server whose token server it runs.
func mapPodToServer(_ context.Context, pod client.Object) []client.ObjectKey {
	name := workload.ServerOf(pod.GetLabels())
	if name == "" {
		return nil
	}
	return []client.ObjectKey{{Namespace: pod.GetNamespace(), Name: name}}
}

// mapServerToSameIssuer maps a server to those with its issuer: of two that were created within one
// second, the one that is seen later may be the older.
func (op *operator) mapServerToSameIssuer(ctx context.Context, changed client.Object) []client.ObjectKey {
	server, ok := changed.(*v1alpha1.AuthorizationServer)
	if !ok {
		return nil
	}
	return op.listKeys(ctx, &v1alpha1.AuthorizationServerList{}, client.MatchingFields{indexIssuer: server.Spec.Issuer})
}

// mapToServer maps an object to its AuthorizationServer.
func mapToServer(_ context.Context, changed client.Object) []client.ObjectKey {
	return []client.ObjectKey{names.ServerOf(changed)}
}

// mapProviderToOthers maps an IdentityProvider to all of its server: each of them removes the
// credential of one that is gone, may be accepted since there is one less, and says which others it
// may be taken for.
func (op *operator) mapProviderToOthers(ctx context.Context, changed client.Object) []client.ObjectKey {
	return op.listKeys(ctx, &v1alpha1.IdentityProviderList{}, client.MatchingFields{indexServer: names.ServerOf(changed).String()})
}

// mapServerToProvidersOfItsSecrets maps an AuthorizationServer to the IdentityProviders, of whatever
// server, that name its certificate or its DSN: neither is copied for them.
func (op *operator) mapServerToProvidersOfItsSecrets(ctx context.Context, changed client.Object) []client.ObjectKey {
	server, ok := changed.(*v1alpha1.AuthorizationServer)
	if !ok {
		return nil
	}
	var keys []client.ObjectKey
	for _, secret := range secretsOfServer(server) {
		keys = append(keys, op.listKeys(ctx, &v1alpha1.IdentityProviderList{}, client.MatchingFields{indexSecret: secret})...)
	}
	return keys
}

// mapReplicaToProviderProblems maps a Replica to the IdentityProviders that it says are away.
func (op *operator) mapReplicaToProviderProblems(ctx context.Context, changed client.Object) []client.ObjectKey {
	replica, ok := changed.(*internalv1alpha1.Replica)
	if !ok {
		return nil
	}
	var keys []client.ObjectKey
	for _, problem := range replica.Spec.IdentityProviderProblems {
		keys = append(keys, op.listKeys(ctx, &v1alpha1.IdentityProviderList{}, client.InNamespace(replica.Namespace), client.MatchingFields{indexUID: string(problem.ProviderUID)})...)
	}
	return keys
}

// mapReplicaToServer maps a Replica to its server, which is in the same namespace.
func (op *operator) mapReplicaToServer(ctx context.Context, changed client.Object) []client.ObjectKey {
	replica, ok := changed.(*internalv1alpha1.Replica)
	if !ok {
		return nil
	}
	return op.listKeys(ctx, &v1alpha1.AuthorizationServerList{}, client.InNamespace(replica.Namespace),
		client.MatchingFields{indexServerUID: string(replica.Spec.ServerUID)})
}

// mapPolicyToClients maps the Entry of a server to the clients of the server, the Entry of a namespace
// to those of them that are in the namespace, and the Entry of an IdentityProvider to those to which
// no user may be able to sign in without it.
func (op *operator) mapPolicyToClients(ctx context.Context, changed client.Object) []client.ObjectKey {
	e, ok := changed.(*internalv1alpha1.Entry)
	if !ok {
		return nil
	}
	ofServer := client.MatchingFields{indexServer: serverOfEntry(e).String()}
	switch documents.Kind(e.Spec.Format) {
	case documents.KindServer:
		return op.listKeys(ctx, &v1alpha1.OAuthClientList{}, ofServer)
	case documents.KindNamespace:
		return op.listKeys(ctx, &v1alpha1.OAuthClientList{}, ofServer, client.InNamespace(e.Spec.Value))
	case documents.KindIdentityProvider:
		if op.decidesAboutClients(ctx, e) {
			return op.listKeys(ctx, &v1alpha1.OAuthClientList{}, ofServer)
		}
	}
	return nil
}

// decidesAboutClients reports whether there may be clients to which no users can sign in but those
// of an IdentityProvider and others like it: a rule of the server names it, and no OAuthUsers.
func (op *operator) decidesAboutClients(ctx context.Context, provider *internalv1alpha1.Entry) bool {
	var server v1alpha1.AuthorizationServer
	if op.Get(ctx, serverOfEntry(provider), &server) != nil {
		return false // its clients are reconciled when it is seen
	}
	return slices.ContainsFunc(server.Spec.AllowedClients, func(rule v1alpha1.ClientRule) bool {
		return slices.Contains(rule.IdentityProviders, v1alpha1.RuleName(provider.Spec.Value)) && !slices.Contains(rule.IdentityProviders, documents.LocalProvider)
	})
}

// mapScopesToClients maps the Entry of a scope, of a ResourceServer or of its namespace to the
// clients that register one of the scopes.
func (op *operator) mapScopesToClients(ctx context.Context, changed client.Object) []client.ObjectKey {
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
		if err := op.List(ctx, &list, client.InNamespace(e.Spec.Value), client.MatchingFields{indexServer: server.String()}); err != nil {
			return nil
		}
		for i := range list.Items {
			doc, _ := compile.ResourceServer(&list.Items[i])
			scopes = append(scopes, scopeNames(doc)...)
		}
	}
	var keys []client.ObjectKey
	for _, scope := range scopes {
		keys = append(keys, op.listKeys(ctx, &v1alpha1.OAuthClientList{}, client.MatchingFields{indexScope: scopeKey(server, scope)})...)
	}
	return keys
}

func scopeNames(doc documents.ResourceServer) []string {
	var list []string
	for _, scope := range doc.Scopes {
		list = append(list, scope.Name)
	}
	return list
}

// mapNamespaceToResourceServers maps the Entry of a namespace to the ResourceServers in it.
func (op *operator) mapNamespaceToResourceServers(ctx context.Context, changed client.Object) []client.ObjectKey {
	e, ok := changed.(*internalv1alpha1.Entry)
	if !ok || documents.Kind(e.Spec.Format) != documents.KindNamespace {
		return nil
	}
	return op.listKeys(ctx, &v1alpha1.ResourceServerList{}, client.InNamespace(e.Spec.Value),
		client.MatchingFields{indexServer: serverOfEntry(e).String()})
}

// addFirst adds a request before those that are added without a priority.
func addFirst(q requestQueue, request ctrl.Request) { addWithPriority(q, firstPriority, request) }

// addWithPriority adds a request with a priority. A handler that names none has the one of
// controller-runtime, which is low for what existed when the manager started.
func addWithPriority(q requestQueue, priority int, request ctrl.Request) {
	if prioritized, ok := q.(priorityqueue.PriorityQueue[ctrl.Request]); ok {
		prioritized.AddWithOpts(priorityqueue.AddOpts{Priority: &priority}, request)
		return
	}
	q.Add(request)
}

type requestQueue = workqueue.TypedRateLimitingInterface[ctrl.Request]

// enqueueServerToCount returns a handler that enqueues the server of a client countDelay after what
// the server counts of the client has changed.
func (op *operator) enqueueServerToCount() handler.EventHandler {
	enqueue := func(c *v1alpha1.OAuthClient, q requestQueue) {
		server := names.ServerOf(c)
		op.counted.change(server)
		q.AddAfter(ctrl.Request{NamespacedName: server}, countDelay)
	}
	enqueueIfAccepted := func(object client.Object, q requestQueue) {
		if c, ok := object.(*v1alpha1.OAuthClient); ok && isAccepted(c) {
			enqueue(c, q)
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q requestQueue) { enqueueIfAccepted(e.Object, q) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q requestQueue) {
			before, ok := e.ObjectOld.(*v1alpha1.OAuthClient)
			after, is := e.ObjectNew.(*v1alpha1.OAuthClient)
			if ok && is && differInUse(before, after) {
				enqueue(after, q)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q requestQueue) { enqueueIfAccepted(e.Object, q) },
	}
}
