// Package controllers keeps the cluster as the kinds say: one reconciler a kind, each of which reads top to bottom (get the object, do the
// steps in order, write its status). Documents flow one way, from the objects that people write to the Entries that token servers read.
//
//	controllers.go        what the reconcilers share; how they are set up
//	servers.go            AuthorizationServer: the issuer, the workload, the keys, the server's document
//	keysecret.go          the Secret that holds the keys of a server
//	clients.go            OAuthClient: the client id and the document
//	credentialplan.go     which credentials a client has, and what its Secret holds (pure)
//	clientsecret.go       what the plan is made from, and how it is executed
//	credentials.go        hashes of client secrets; which secrets are strong enough
//	pendingsecrets.go     generated secrets that no Secret holds yet
//	users.go              OAuthUser: the names, the password's hash
//	resourceservers.go    ResourceServer: the identifier and the scopes
//	namespaces.go         the labels of namespaces
//	namespaced.go         a manager that works in some namespaces only
//	*_status.go           conditions, computed from what the steps found, without a client
//	status.go             how a status is written, and what of it is told
//	failures.go           the steps of a pass, what conditions say of one that fails, and when it is tried again
//	writes.go             how often the API server is asked again for what it has refused
//	conditions.go         what the conditions of all kinds have in common
//	announce.go           the events that tell of them
//	claims.go             Entries: claimed, kept current, released
//	owners.go             who owns a name
//	facts.go              the documents in force, read back from the Entries: policy is decided on what token servers see
//	informers.go          how the manager comes back after an outage of the API server
//	replicas.go           what token servers say of themselves; when an object is programmed
//	sightings.go          when the manager saw them change: whether they are live
//	usage.go              when credentials were last used
//	workload.go           the objects that run token servers; names that others have
//	deployed.go           how far their Deployment is, and what its Pods say
//	secrettarget.go       the Secret that a workload mounts: looked up, written, deleted
//	adoption.go           which Secrets are a client's, and which a client may adopt
//	secretkey.go          reading one key of a Secret that a user wrote
//	secretversion.go      which version of a Secret was read or written
//	sweep.go              documents without an owner
//	indexes.go, watches.go  which object wakes which
//	metrics.go
//
// Package compile makes the documents, package workload the token server's objects, and package
// keyring decides which keys there are; all three are pure.
package controllers

import (
	"context"
	"io"
	"maps"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
)

// What the manager may do: what the code calls, and nothing else. Secrets are cached as metadata only, and the few that are needed are read
// from the API server; of roles the manager may bind exactly one, and create none. Applying an object that may not exist takes the right to
// create it; changing ownerReferences takes the right to delete, where the API server enforces that. Of Pods it reads why they are not ready; a
// right to read their status alone, or those of token servers alone, does not exist. The leader's Lease is the manager's own, and so is the Pod that it reads its image from.
// What concerns the whole cluster is in config/rbac/manager_cluster_role.yaml.
//
// +kubebuilder:rbac:groups=oauth-operator.dev,resources=authorizationservers;oauthclients;oauthusers;resourceservers,verbs=get;list;watch
// +kubebuilder:rbac:groups=oauth-operator.dev,resources=authorizationservers/status;oauthclients/status;oauthusers/status;resourceservers/status,verbs=patch
// +kubebuilder:rbac:groups=internal.oauth-operator.dev,resources=entries,verbs=get;list;watch;create;update;delete
// +kubebuilder:rbac:groups=internal.oauth-operator.dev,resources=replicas;usages,verbs=list;watch;delete
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups="",resources=serviceaccounts,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=apps,resources=deployments,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=services,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=pods,verbs=list;watch
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=rolebindings,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=clusterroles,verbs=bind,resourceNames=oauth-operator-tokenserver
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch,namespace=oauth-operator-system
// +kubebuilder:rbac:groups="",resources=pods,verbs=get,namespace=oauth-operator-system
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=create,namespace=oauth-operator-system
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=get;update,resourceNames=oauth-operator-manager,namespace=oauth-operator-system

// FieldManager is the name under which the manager owns fields.
const FieldManager = "oauth-operator"

// Scheme knows all kinds that the manager reads and writes.
func Scheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	utilruntime.Must(internalv1alpha1.AddToScheme(scheme))
	return scheme
}

// CacheOptions keep the manager's memory to what it needs: of ServiceAccounts and RoleBindings its own, of everything no managedFields, and
// nothing that no controller watches. So of Secrets there are the metadata only: to read a whole one from the cache is an error. Of the metadata
// there is what the manager reads, since kubectl apply leaves the content of a Secret in one of its annotations.
func CacheOptions() cache.Options {
	ours := labels.SelectorFromSet(labels.Set{workload.ManagedByLabel: workload.ManagedBy})
	return cache.Options{
		NewInformer:                 newInformer,
		DefaultTransform:            cache.TransformStripManagedFields(),
		ReaderFailOnMissingInformer: true,
		ByObject: map[client.Object]cache.ByObject{
			secretMetadata():                {Transform: ourMetadata},
			&corev1.ServiceAccount{}:        {Label: ours},
			&rbacv1.RoleBinding{}:           {Label: ours},
			&appsv1.Deployment{}:            {Label: ours},
			&corev1.Service{}:               {Label: ours},
			&policyv1.PodDisruptionBudget{}: {Label: ours},
			&corev1.Pod{}:                   {Label: ours, Transform: statusOfPod},
		},
	}
}

// statusOfPod cuts a Pod in the cache down to its identity, its labels and its status.
func statusOfPod(object any) (any, error) {
	if pod, ok := object.(*corev1.Pod); ok {
		pod.ManagedFields, pod.Annotations, pod.Spec = nil, nil, corev1.PodSpec{}
	}
	return object, nil
}

// ourMetadata cuts a Secret in the cache down to its identity, its owners, and the labels and annotations that are ours.
func ourMetadata(object any) (any, error) {
	m, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	m.ManagedFields, m.Finalizers, m.GenerateName = nil, nil, ""
	maps.DeleteFunc(m.Labels, func(key, _ string) bool { return key != workload.ManagedByLabel && key != workload.KeysLabel })
	maps.DeleteFunc(m.Annotations, func(key, _ string) bool {
		prefix, _, _ := strings.Cut(key, "/")
		return prefix != v1alpha1.GroupVersion.Group && !strings.HasSuffix(prefix, "."+v1alpha1.GroupVersion.Group)
	})
	return m, nil
}

// Options of the controllers.
type Options struct {
	Now    func() time.Time
	Random io.Reader
	// SweepInterval is how often documents without an owner are looked for, SweepWait how long a sweep that would remove many waits before
	// it goes on.
	SweepInterval, SweepWait time.Duration
	// CountInterval is how often at most the number of clients in a server's status is brought up to date.
	CountInterval time.Duration
	// Workers that reconcile objects of one kind at a time.
	Workers int
	// TokenServerImage is the image that token servers run from.
	TokenServerImage string
	// TokenServerVariables are environment variables of token servers.
	TokenServerVariables []corev1.EnvVar
	// Namespaces that the manager works in, as CacheOptionsFor has them; none: all.
	Namespaces []string
}

// Defaults of Options.
const (
	DefaultSweepInterval = 10 * time.Minute
	DefaultSweepWait     = 10 * time.Minute
	DefaultCountInterval = 10 * time.Second
	DefaultWorkers       = 4
)

// operator is what the reconcilers share: the cluster, the clock and randomness.
type operator struct {
	client.Client               // reads from the cache, and writes by writer
	writer        *writer       // the same, for what only it can do
	apiReader     client.Reader // reads from the API server
	events        events.EventRecorder
	now           func() time.Time
	random        io.Reader
	// completeKeySecrets holds the resourceVersion of each key Secret that was seen to hold all its
	// keys, by its name, so that only a change makes the manager read it again.
	completeKeySecrets sync.Map
	seen               *sightings
	telling            *telling
	setbacks           *setbacks
	heldBack           *heldBack
	namespaces         []string
}

// SetUp adds everything to a manager whose cache has CacheOptions.
func SetUp(ctx context.Context, mgr ctrl.Manager, o Options) error {
	w := newWriter(mgr.GetClient(), o.Now)
	op := &operator{
		Client: w, writer: w, apiReader: mgr.GetAPIReader(), events: mgr.GetEventRecorder(FieldManager),
		now: o.Now, random: o.Random, seen: newSightings(o.Now), telling: newTelling(o.Now),
		setbacks: newSetbacks(), heldBack: newHeldBack(), namespaces: o.Namespaces,
	}
	if err := addIndexes(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	// Indexes make the cache of their kinds, and these have none: whoever starts first may read what only another one watches.
	for _, kind := range []client.Object{
		&corev1.Namespace{}, &corev1.ServiceAccount{}, &rbacv1.RoleBinding{},
		&appsv1.Deployment{}, &corev1.Service{}, &policyv1.PodDisruptionBudget{}, &corev1.Pod{},
	} {
		if _, err := mgr.GetCache().GetInformer(ctx, kind, cache.BlockUntilSynced(false)); err != nil {
			return err
		}
	}
	if err := op.seen.follow(ctx, mgr.GetCache(), &internalv1alpha1.Replica{}, &internalv1alpha1.Usage{}); err != nil {
		return err
	}
	for _, setUp := range []func(ctrl.Manager, *operator, Options) error{
		setUpServers, setUpClients, setUpUsers, setUpResourceServers, setUpNamespaces,
	} {
		if err := setUp(mgr, op, o); err != nil {
			return err
		}
	}
	if err := registerMetrics(op); err != nil {
		return err
	}
	return mgr.Add(&Sweeper{operator: op, Interval: o.SweepInterval, Wait: o.SweepWait})
}
