// Package controllers reconciles the kinds that users write, one reconciler for each kind. Each
// reads top to bottom: get the object, run the steps, write the status. Data flows one way, from
// these objects to the documents in Entries, which token servers read.
//
//	controllers.go       what the reconcilers share, and the RBAC rules of the manager
//	setup.go             the options, and what each controller watches
//	mapping.go           which objects are reconciled when another one changes
//	mapping_names.go     the same, for objects that ask for one name
//	predicates.go        which events matter
//	indexes.go           the indexes by which objects are found in the cache
//	cache.go             what the cache holds
//	namespaced.go        a manager that works in some namespaces only
//	informers.go         how informers come back after an outage of the API server
//
//	servers.go           AuthorizationServer: the issuer, the keys, the document, the workload
//	issuerkeys.go        the keys of workload issuers that are in ConfigMaps
//	cabundle.go          the certificates that token servers trust in the network of a server
//	configmapkey.go      reads a key of a ConfigMap to which a server refers
//	clientuse.go         how many clients of a server authenticate how, and list which legacy grant
//	apiserver.go         whether the tokens of the cluster's ServiceAccounts can be a server's credentials
//	keysecret.go         the Secret with the keys of a server; package keyring decides what is in it
//	workload.go          the objects that the token servers of a server need
//	deployed.go          what the Deployment and its Pods say of themselves
//	clients.go           OAuthClient: the client id, the document, the credentials
//	clientsecret.go      reads what there is of a client's credentials, and writes what is planned
//	credentialplan.go    plans the credentials of a client (pure)
//	credentials.go       client secrets and their hashes
//	rotation.go          why and when a client secret is replaced (pure)
//	retirement.go        when one that was replaced ends (pure)
//	revocation.go        client secrets that are never good again
//	rotationevents.go    events about client secrets
//	authmethod.go        the authentication method that a client had before
//	clientkeys.go        the public keys of a client that signs its assertions
//	legacygrant.go       the condition about grant types that RFC 9700 advises against
//	tokensnotbefore.go   what Ready says of a tokensNotBefore in the future
//	pendingsecrets.go    client secrets that are not in a Secret yet
//	secrettarget.go      the Secret that a workload mounts
//	secretrepair.go      how often an edit of it by another program is undone
//	configmap.go         the ConfigMap of a client
//	superseded.go        what a client has under names that it does not use any more
//	adoption.go          which Secrets and ConfigMaps are a client's, and which may become one
//	secretkey.go         reads a key of a Secret to which an object refers
//	secretversion.go     which version of which Secret was read
//	usage.go             when credentials were used last
//	unreported.go        what is known of the uses of credentials, and until when some are untold
//	users.go             OAuthUser: the subject, the username, the password
//	identities.go        OAuthIdentity: what the owner of a server says about a user from elsewhere
//	resourceservers.go   ResourceServer: the identifier and the scopes
//	identityproviders.go IdentityProvider: the realm, the document
//	identityproviders_refs.go  the credential and the certificates that an IdentityProvider names
//	upstreamsecret.go    the Secret with the credentials for the identity providers of a server
//	namespaces.go        the labels of namespaces
//	references.go        the server and the scopes to which an object refers
//	formats.go           documents that not every manager and token server can read
//	replicas.go          which token servers run, and which Entries they serve
//	liveness.go          when a Replica was seen to change
//	progress.go          which objects wait for what a Replica has not applied yet
//
//	passes.go            the steps of a pass, what conditions say of a failure, when it is repeated
//	writes.go            writes to the API server, and how often a refused one is repeated
//	conditions.go        conditions of all kinds
//	status.go            how a status is written
//	*_status.go          what the status of a kind says after a pass
//	echoes.go            what the watch brings of a pass's own writes
//	fairqueue.go         the queue of a controller; turns.go is the order in which it hands out objects
//	ends.go              which objects come before others, since what they allow ends
//	events.go            events about conditions
//	metrics.go           metrics about objects; metrics_labels.go has the values of their labels
//
// The packages below it: compile makes documents and keyring decides about keys, workload makes the
// objects that token servers need (all three are pure); names decides which object has which name;
// sweep deletes Entries without an owner.
package controllers

import (
	"io"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/names"
)

// The manager has exactly the permissions that the code uses. Secrets and ConfigMaps are cached as
// metadata, and the few whose content is needed are read from the API server. The manager may bind one role,
// and create none. Applying an object that may not exist takes the right to create it; changing
// ownerReferences takes the right to delete, where the API server enforces that. Of Pods it reads why
// they are not ready; there is no right to read their status alone, or the Pods of token servers
// alone. The Lease of the leader is the manager's own, and so is the Pod from which it reads its
// image. What concerns the whole cluster is in config/rbac/manager_cluster_role.yaml.
//
// +kubebuilder:rbac:groups=oauth-operator.dev,resources=authorizationservers;identityproviders;oauthclients;oauthusers;oauthidentities;resourceservers,verbs=get;list;watch
// +kubebuilder:rbac:groups=oauth-operator.dev,resources=authorizationservers/status;identityproviders/status;oauthclients/status;oauthusers/status;oauthidentities/status;resourceservers/status,verbs=patch
// +kubebuilder:rbac:groups=internal.oauth-operator.dev,resources=entries,verbs=get;list;watch;create;update;delete
// +kubebuilder:rbac:groups=internal.oauth-operator.dev,resources=replicas;usages,verbs=list;watch;delete
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch;create;patch;delete
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

// operator is what the reconcilers share.
type operator struct {
	client.Client               // reads from the cache, and writes through writer
	writer        *writer       // Client, with the methods that only it has
	apiReader     client.Reader // reads from the API server
	entries       *names.Entries
	events        events.EventRecorder
	now           func() time.Time
	random        io.Reader
	// completeKeySecrets holds the resourceVersion of each key Secret that was seen to hold all its
	// keys, by its name, so that only a change makes the manager read it again.
	completeKeySecrets sync.Map
	decoded            decodedEntries
	liveness           *livenessTracker
	progress           *progressTracker
	usageReports       *usageReports
	counted            *countedUse
	failures           *failureCounter
	delayedEvents      *delayedEvents
	namespaces         []string // in which the manager works; empty: all
}

// newOperator returns an operator that reads from c, and writes through it as FieldManager.
func newOperator(c client.Client, apiReader client.Reader, recorder events.EventRecorder, o Options) *operator {
	w := newWriter(client.WithFieldOwner(c, FieldManager), o.Now)
	op := &operator{
		Client: w, writer: w, apiReader: apiReader, events: recorder, now: o.Now, random: o.Random,
		liveness: newLivenessTracker(o.Now), progress: newProgressTracker(), usageReports: newUsageReports(o.Now), counted: newCountedUse(),
		failures: newFailureCounter(), delayedEvents: newDelayedEvents(), namespaces: o.Namespaces,
	}
	op.entries = &names.Entries{Client: op, APIReader: apiReader, CheckFormat: op.checkFormat, IsWatched: op.isWatched}
	return op
}
