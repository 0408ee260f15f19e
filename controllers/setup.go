package controllers

import (
	"context"
	"io"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/sweep"
)

// Options are the options of the controllers.
type Options struct {
	Now    func() time.Time
	Random io.Reader
	// SweepInterval is the time between two sweeps for Entries without an owner, and SweepWait how
	// long a sweep that would delete many waits first.
	SweepInterval, SweepWait time.Duration
	// CountInterval is the least time between two changes of the number of clients in a server's
	// status.
	CountInterval time.Duration
	// Workers is how many objects of one kind are reconciled at a time.
	Workers int
	// TokenServerImage is the image that token servers run from.
	TokenServerImage string
	// TokenServerVariables are environment variables of token servers.
	TokenServerVariables []corev1.EnvVar
	// Namespaces are the namespaces in which the manager works, as for CacheOptions. Empty: all.
	Namespaces []string
}

// Defaults for Options.
const (
	DefaultSweepInterval = 10 * time.Minute
	DefaultSweepWait     = 10 * time.Minute
	DefaultCountInterval = 10 * time.Second
	DefaultWorkers       = 16
)

// SetUp adds the controllers to a manager whose cache has CacheOptions.
func SetUp(ctx context.Context, mgr ctrl.Manager, o Options) error {
	op := newOperator(mgr.GetClient(), mgr.GetAPIReader(), mgr.GetEventRecorder(FieldManager), o)
	if err := addIndexes(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	// Indexes create the informers of their kinds, and these kinds have none: the controller that
	// starts first may read what only another one watches.
	for _, kind := range []client.Object{
		&corev1.Namespace{}, &corev1.ServiceAccount{}, &rbacv1.RoleBinding{},
		&appsv1.Deployment{}, &corev1.Service{}, &policyv1.PodDisruptionBudget{}, &corev1.Pod{},
	} {
		if _, err := mgr.GetCache().GetInformer(ctx, kind, cache.BlockUntilSynced(false)); err != nil {
			return err
		}
	}
	if err := op.liveness.watch(ctx, mgr.GetCache(), &internalv1alpha1.Replica{}, &internalv1alpha1.Usage{}); err != nil {
		return err
	}
	for _, setUp := range []func(ctrl.Manager, *operator, Options) error{
		setUpServers, setUpClients, setUpUsers, setUpIdentities, setUpResourceServers, setUpIdentityProviders, setUpNamespaces,
	} {
		if err := setUp(mgr, op, o); err != nil {
			return err
		}
	}
	if err := registerMetrics(op); err != nil {
		return err
	}
	return mgr.Add(&sweep.Sweeper{
		Entries: op.entries, Cache: op, Events: op.events, Now: o.Now, Interval: o.SweepInterval, Wait: o.SweepWait,
	})
}

// countDelay is how long a server waits after a client was accepted until it counts its clients, so
// that it counts a burst of them once.
const countDelay = time.Second

// maxRetry is the longest time until a pass that failed is repeated: when the API server is back
// after an hour, the objects do not wait another.
const maxRetry = 30 * time.Second

// controller returns the options of each controller. There is no rate limit over all objects: an
// object whose passes fail is tried less and less often, and delays no other.
func (o Options) controller() controller.Options {
	return controller.Options{
		MaxConcurrentReconciles: o.Workers,
		NewQueue:                newFairQueue,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[ctrl.Request](5*time.Millisecond, maxRetry),
	}
}

func setUpServers(mgr ctrl.Manager, op *operator, o Options) error {
	return watchesOf(mgr, ctrl.NewControllerManagedBy(mgr).Named("authorizationserver").
		WithOptions(o.controller()).
		For(&v1alpha1.AuthorizationServer{}).
		Owns(&corev1.ServiceAccount{}).
		Owns(&rbacv1.RoleBinding{}).
		Owns(&appsv1.Deployment{}).
		Owns(&corev1.Service{}).
		Owns(&policyv1.PodDisruptionBudget{})).
		Watches(&corev1.Pod{}, enqueueRequestsFor(mapPodToServer)).
		Watches(&v1alpha1.AuthorizationServer{}, enqueueRequestsFor(op.mapServerToSameIssuer), onCreateOrDelete()).
		Watches(&internalv1alpha1.Entry{}, enqueueRequestsFor(mapEntryToOwner(compile.KindServer)), onRealChange()).
		Watches(&internalv1alpha1.Replica{}, enqueueRequestsFor(op.mapReplicaToServer), onUpdateIf(op.differInReport)).
		Watches(secretMetadata(), enqueueRequestsFor(op.mapByIndex(&v1alpha1.AuthorizationServerList{}, indexSecret))).
		Watches(configMapMetadata(), enqueueRequestsFor(op.mapByIndex(&v1alpha1.AuthorizationServerList{}, indexConfigMap))).
		Watches(&v1alpha1.OAuthClient{}, op.enqueueServerToCount()).
		Watches(&v1alpha1.IdentityProvider{}, enqueueRequestsFor(mapToServer), onCreateOrDelete()).
		Complete(&serverReconciler{operator: op, countInterval: o.CountInterval, image: o.TokenServerImage, variables: o.TokenServerVariables, apiServer: mgr.GetConfig()})
}

func setUpClients(mgr ctrl.Manager, op *operator, o Options) error {
	list := &v1alpha1.OAuthClientList{}
	w := watchesOf(mgr, ctrl.NewControllerManagedBy(mgr).Named("oauthclient").
		WithOptions(o.controller()).
		For(&v1alpha1.OAuthClient{}, builder.WithPredicates(op.onForeignStatus(compile.KindClient)))).
		Watches(&v1alpha1.OAuthClient{}, enqueueEnds()).
		Watches(&v1alpha1.AuthorizationServer{}, enqueueRequestsFor(op.mapByIndex(list, indexServer)), onUpdateIf(differInServerState)).
		Watches(&internalv1alpha1.Entry{}, enqueueRequestsFor(mapEntryToOwner(compile.KindClient)), op.onForeignChange(compile.KindClient)).
		Watches(&internalv1alpha1.Entry{}, enqueueRequestsFor(op.mapPolicyToClients), onUpdateIf(differInPolicy)).
		Watches(&internalv1alpha1.Entry{}, enqueueRequestsFor(op.mapScopesToClients)).
		Watches(&internalv1alpha1.Replica{}, enqueueRequestsFor(op.mapReplica(list)), onUpdateIf(op.differInAbility)).
		Watches(&internalv1alpha1.Replica{}, op.enqueueReached(compile.KindClient), onUpdateIf(differInApplied)).
		Watches(&internalv1alpha1.Replica{}, enqueueRequestsFor(op.mapReplicaToRejected(compile.KindClient)), onUpdateIf(differInRejected)).
		Watches(&internalv1alpha1.Replica{}, enqueueRequestsFor(op.mapReplicaToKeySets), onUpdateIf(differInKeySets)).
		Watches(&internalv1alpha1.Usage{}, op.enqueueUsedClients()).
		Watches(secretMetadata(), op.enqueueReferrers(op.mapByIndex(list, indexSecret))).
		Watches(configMapMetadata(), op.enqueueReferrers(op.mapByIndex(list, indexConfigMap)))
	return op.watchNames(w, list).Complete(&clientReconciler{operator: op, pending: &pendingSecrets{}, configMaps: &seenConfigMaps{}, repaired: &repairedSecrets{}})
}

func setUpUsers(mgr ctrl.Manager, op *operator, o Options) error {
	list := &v1alpha1.OAuthUserList{}
	w := watchesOf(mgr, ctrl.NewControllerManagedBy(mgr).Named("oauthuser").
		WithOptions(o.controller()).
		For(&v1alpha1.OAuthUser{}, builder.WithPredicates(op.onForeignStatus(compile.KindUser)))).
		Watches(&v1alpha1.OAuthUser{}, enqueueEnds()).
		Watches(&v1alpha1.AuthorizationServer{}, enqueueRequestsFor(op.mapByIndex(list, indexServer)), onUpdateIf(differInServerState)).
		Watches(&internalv1alpha1.Entry{}, enqueueRequestsFor(mapEntryToOwner(compile.KindUser)), op.onForeignChange(compile.KindUser)).
		Watches(&internalv1alpha1.Entry{}, enqueueRequestsFor(op.mapServerEntry(list)), onCreateOrDelete()).
		Watches(&internalv1alpha1.Replica{}, enqueueRequestsFor(op.mapReplica(list)), onUpdateIf(op.differInAbility)).
		Watches(&internalv1alpha1.Replica{}, op.enqueueReached(compile.KindUser), onUpdateIf(differInApplied)).
		Watches(&internalv1alpha1.Replica{}, enqueueRequestsFor(op.mapReplicaToRejected(compile.KindUser)), onUpdateIf(differInRejected)).
		Watches(secretMetadata(), enqueueRequestsFor(op.mapByIndex(list, indexSecret)))
	return op.watchNames(w, list).Complete(&userReconciler{op})
}

func setUpIdentities(mgr ctrl.Manager, op *operator, o Options) error {
	list := &v1alpha1.OAuthIdentityList{}
	return watchesOf(mgr, ctrl.NewControllerManagedBy(mgr).Named("oauthidentity").
		WithOptions(o.controller()).
		For(&v1alpha1.OAuthIdentity{})).
		Watches(&v1alpha1.OAuthIdentity{}, enqueueEnds()).
		Watches(&v1alpha1.AuthorizationServer{}, enqueueRequestsFor(op.mapByIndex(list, indexServer)), onUpdateIf(differInServerState)).
		Watches(&internalv1alpha1.Entry{}, enqueueRequestsFor(mapEntryToOwner(compile.KindIdentity)), onRealChange()).
		Watches(&internalv1alpha1.Entry{}, enqueueRequestsFor(op.mapServerEntry(list)), onCreateOrDelete()).
		Watches(&internalv1alpha1.Replica{}, enqueueRequestsFor(op.mapReplica(list)), onUpdateIf(op.differInAbility)).
		Watches(&internalv1alpha1.Replica{}, op.enqueueReached(compile.KindIdentity), onUpdateIf(differInApplied)).
		Watches(&internalv1alpha1.Replica{}, enqueueRequestsFor(op.mapReplicaToRejected(compile.KindIdentity)), onUpdateIf(differInRejected)).
		Complete(&identityReconciler{op})
}

func setUpResourceServers(mgr ctrl.Manager, op *operator, o Options) error {
	list := &v1alpha1.ResourceServerList{}
	w := watchesOf(mgr, ctrl.NewControllerManagedBy(mgr).Named("resourceserver").
		WithOptions(o.controller()).
		For(&v1alpha1.ResourceServer{})).
		Watches(&v1alpha1.AuthorizationServer{}, enqueueRequestsFor(op.mapByIndex(list, indexServer)), onUpdateIf(differInServerState)).
		Watches(&internalv1alpha1.Entry{}, enqueueRequestsFor(mapEntryToOwner(compile.KindResourceServer)), onRealChange()).
		Watches(&internalv1alpha1.Entry{}, enqueueRequestsFor(op.mapServerEntry(list)), onUpdateIf(differInPolicy)).
		Watches(&internalv1alpha1.Entry{}, enqueueRequestsFor(op.mapNamespaceToResourceServers)).
		Watches(&v1alpha1.OAuthClient{}, enqueueRequestsFor(op.mapByIndex(list, indexIntrospector)), onUpdateIf(differInSpec)).
		Watches(&internalv1alpha1.Replica{}, enqueueRequestsFor(op.mapReplica(list)), onUpdateIf(op.differInAbility)).
		Watches(&internalv1alpha1.Replica{}, op.enqueueReached(compile.KindResourceServer), onUpdateIf(differInApplied)).
		Watches(&internalv1alpha1.Replica{}, enqueueRequestsFor(op.mapReplicaToRejected(compile.KindResourceServer)), onUpdateIf(differInRejected))
	return op.watchNames(w, list).Complete(&resourceServerReconciler{op})
}

func setUpIdentityProviders(mgr ctrl.Manager, op *operator, o Options) error {
	list := &v1alpha1.IdentityProviderList{}
	w := watchesOf(mgr, ctrl.NewControllerManagedBy(mgr).Named("identityprovider").
		WithOptions(o.controller()).
		For(&v1alpha1.IdentityProvider{})).
		Watches(&v1alpha1.IdentityProvider{}, enqueueRequestsFor(op.mapProviderToOthers), onUpdateIf(differInDisplayName)).
		Watches(&v1alpha1.AuthorizationServer{}, enqueueRequestsFor(op.mapByIndex(list, indexServer)), onUpdateIf(differInServer)).
		Watches(&v1alpha1.AuthorizationServer{}, enqueueRequestsFor(op.mapServerToProvidersOfItsSecrets), onUpdateIf(differInServerSpec)).
		Watches(&internalv1alpha1.Entry{}, enqueueRequestsFor(mapEntryToOwner(compile.KindIdentityProvider)), onRealChange()).
		Watches(&internalv1alpha1.Entry{}, enqueueRequestsFor(op.mapServerEntry(list)), onCreateOrDelete()).
		Watches(&internalv1alpha1.Replica{}, enqueueRequestsFor(op.mapReplica(list)), onUpdateIf(op.differInAbility)).
		Watches(&internalv1alpha1.Replica{}, op.enqueueReached(compile.KindIdentityProvider), onUpdateIf(differInApplied)).
		Watches(&internalv1alpha1.Replica{}, enqueueRequestsFor(op.mapReplicaToRejected(compile.KindIdentityProvider)), onUpdateIf(differInRejected)).
		Watches(&internalv1alpha1.Replica{}, enqueueRequestsFor(op.mapReplicaToProviderProblems), onUpdateIf(differInProviderProblems)).
		Watches(secretMetadata(), enqueueRequestsFor(op.mapByIndex(list, indexSecret))).
		Watches(configMapMetadata(), enqueueRequestsFor(op.mapByIndex(list, indexConfigMap)))
	return op.watchNames(w, list).Complete(&identityProviderReconciler{op})
}

func setUpNamespaces(mgr ctrl.Manager, op *operator, o Options) error {
	return watchesOf(mgr, ctrl.NewControllerManagedBy(mgr).Named("namespace").
		WithOptions(o.controller()).
		For(&corev1.Namespace{})).
		Watches(&internalv1alpha1.Entry{}, enqueueRequestsFor(mapEntryToOwner(compile.KindNamespace)), onRealChange()).
		Complete(&namespaceReconciler{op})
}
