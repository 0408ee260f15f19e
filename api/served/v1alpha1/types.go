// Package v1alpha1 holds the internal kinds by which the manager and the token servers speak to one
// another. Nobody writes them by hand.
//
// An Entry is one fact that the manager states and a token server serves: a claimed name and, for
// most, a document about its owner. A Replica is what one token server process says of itself, a
// Usage when it last accepted which credentials. A Mark is something that token servers remember for
// a while. All live in the namespace of the AuthorizationServer and are owned by it.
//
// +kubebuilder:object:generate=true
// +groupName=internal.oauth-operator.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// GroupVersion is the API group and version of every kind in this package.
var GroupVersion = schema.GroupVersion{Group: "internal.oauth-operator.dev", Version: "v1alpha1"}

// AddToScheme registers the kinds of this package.
var AddToScheme = schemeBuilder.AddToScheme

var schemeBuilder = runtime.NewSchemeBuilder(func(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &Entry{}, &EntryList{}, &Replica{}, &ReplicaList{}, &Usage{}, &UsageList{}, &Mark{}, &MarkList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
})

// ServerUIDLabel is on every Entry, Replica, Usage and Mark and holds the UID of the AuthorizationServer; a token server selects its Entries by it.
const ServerUIDLabel = "internal.oauth-operator.dev/server-uid"

// Space is a set of names in which each name has one owner.
// +kubebuilder:validation:Enum=identity;username;scope;namespace
type Space string

const (
	// SpaceIdentity holds client ids, subjects, resource identifiers and the issuer: what `sub`, `client_id` and `aud` can say.
	SpaceIdentity Space = "identity"
	// SpaceUsername holds normalised usernames.
	SpaceUsername Space = "username"
	// SpaceScope holds the scopes that ResourceServers declare.
	SpaceScope Space = "scope"
	// SpaceNamespace holds namespaces; each is owned by the Namespace of that name.
	SpaceNamespace Space = "namespace"
)

// Owner is the object that an Entry speaks for.
type Owner struct {
	// kind: AuthorizationServer, OAuthClient, OAuthUser, ResourceServer or Namespace.
	// +kubebuilder:validation:Enum=AuthorizationServer;OAuthClient;OAuthUser;ResourceServer;Namespace
	Kind string `json:"kind"`
	// namespace of the owner; empty for a Namespace.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// name of the owner.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// uid of the owner. An object that is created again has another UID and inherits nothing.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	UID types.UID `json:"uid"`
}

// EntrySpec is one claimed name and what is served for it.
type EntrySpec struct {
	// serverUID is the UID of the AuthorizationServer that the entry belongs to.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	ServerUID types.UID `json:"serverUID"`
	// space in which the name is claimed.
	Space Space `json:"space"`
	// value is the claimed name.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Value string `json:"value"`
	// owner of the name.
	Owner Owner `json:"owner"`
	// format names the kind and version of the document, for example "client/v1". Empty for a claim without a document.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Format string `json:"format,omitempty"`
	// document is JSON in the given format. It holds facts and hashes, never a usable secret.
	// +kubebuilder:validation:MaxLength=1048576
	// +optional
	Document string `json:"document,omitempty"`
}

// Entry is one fact that the manager states and the token servers of one AuthorizationServer serve. Its name is a hash of the server's
// UID, the space and the value, so the API server decides who claimed a name first.
//
// +kubebuilder:object:root=true
// +kubebuilder:printcolumn:name="Space",type=string,JSONPath=`.spec.space`
// +kubebuilder:printcolumn:name="Value",type=string,JSONPath=`.spec.value`
// +kubebuilder:printcolumn:name="Kind",type=string,JSONPath=`.spec.owner.kind`
// +kubebuilder:printcolumn:name="Owner namespace",type=string,JSONPath=`.spec.owner.namespace`
// +kubebuilder:printcolumn:name="Owner",type=string,JSONPath=`.spec.owner.name`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Format",type=string,JSONPath=`.spec.format`,priority=1
type Entry struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec EntrySpec `json:"spec"`
}

// EntryList is a list of Entries.
//
// +kubebuilder:object:root=true
type EntryList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Entry `json:"items"`
}

// RejectedEntry is an Entry that a replica cannot read.
type RejectedEntry struct {
	// name of the Entry.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// resourceVersion of the Entry that was rejected.
	// +kubebuilder:validation:MaxLength=128
	ResourceVersion string `json:"resourceVersion"`
	// reason says why.
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason"`
}

// ReplicaSpec is what one token server process says of itself.
type ReplicaSpec struct {
	// serverUID is the UID of the AuthorizationServer that is served.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	ServerUID types.UID `json:"serverUID"`
	// renewTime is when the process last wrote, by its own clock; for people. Whether a replica is live
	// follows from the object's changes: the manager counts 30 seconds from when it saw the last one.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	RenewTime metav1.MicroTime `json:"renewTime"`
	// appliedResourceVersion is the version up to which every change of the Entries is served. Empty before the first sync.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	AppliedResourceVersion string `json:"appliedResourceVersion,omitempty"`
	// ready: the first sync is done, every Active key is held and the port is open.
	// +optional
	Ready bool `json:"ready,omitempty"`
	// problem says what keeps the replica from being ready.
	// +kubebuilder:validation:MaxLength=4096
	// +optional
	Problem string `json:"problem,omitempty"`
	// formats of documents that the process reads.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	// +listType=set
	// +optional
	Formats []string `json:"formats,omitempty"`
	// keys that the process holds, by kid.
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=128
	// +listType=set
	// +optional
	Keys []string `json:"keys,omitempty"`
	// rejected are the Entries that the process cannot read; at most 64 of them.
	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=name
	// +optional
	Rejected []RejectedEntry `json:"rejected,omitempty"`
}

// Replica is one token server process.
//
// +kubebuilder:object:root=true
// +kubebuilder:printcolumn:name="Ready",type=boolean,JSONPath=`.spec.ready`
// +kubebuilder:printcolumn:name="Renewed",type=date,JSONPath=`.spec.renewTime`
// +kubebuilder:printcolumn:name="Problem",type=string,JSONPath=`.spec.problem`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Applied",type=string,JSONPath=`.spec.appliedResourceVersion`,priority=1
type Replica struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ReplicaSpec `json:"spec"`
}

// ReplicaList is a list of Replicas.
//
// +kubebuilder:object:root=true
type ReplicaList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Replica `json:"items"`
}

// CredentialUse is the last use of a credential.
type CredentialUse struct {
	// owner is the UID of the client.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Owner types.UID `json:"owner"`
	// id of the credential.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	ID string `json:"id"`
	// time is the hour of the last use: its beginning, by the clock of the token server.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:00:00Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be an hour since 1970 in UTC"
	Time metav1.Time `json:"time"`
	// refusedMethod is the token endpoint authentication method by which the right secret came, where
	// that is not the client's: those requests were refused. Empty for uses that were accepted.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	RefusedMethod string `json:"refusedMethod,omitempty"`
}

// MaxUses is how many uses one Usage lists.
const MaxUses = 1000

// UsageSpec is what one token server process says of credentials.
type UsageSpec struct {
	// serverUID is the UID of the AuthorizationServer that is served.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	ServerUID types.UID `json:"serverUID"`
	// uses that are news since the last time that this was written; those for which there was no room
	// come the next time.
	// +kubebuilder:validation:MaxItems=1000
	// +listType=atomic
	// +optional
	Uses []CredentialUse `json:"uses,omitempty"`
}

// Usage says which credentials one token server process accepted lately. It has the name of the
// process's Replica, and outlives it for an hour. It is written once an hour at most, so a client that
// authenticates with a secret causes no other write.
//
// +kubebuilder:object:root=true
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Usage struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec UsageSpec `json:"spec"`
}

// UsageList is a list of Usages.
//
// +kubebuilder:object:root=true
type UsageList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Usage `json:"items"`
}

// MarkSpec says what is marked, and until when.
type MarkSpec struct {
	// serverUID is the UID of the AuthorizationServer whose token servers remember this.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	ServerUID types.UID `json:"serverUID"`
	// kind of what is marked: a token that was revoked, a session that has ended, a grant that was deleted before its code had expired.
	// +kubebuilder:validation:Enum=token;session;grant
	Kind string `json:"kind"`
	// userUID is the UID of the user whose token or session it was; empty if there was none.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	UserUID string `json:"userUID,omitempty"`
	// clientUID is the UID of the client that the token was issued to; empty for a session.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	ClientUID string `json:"clientUID,omitempty"`
	// clientNamespace is the namespace of that client. How many marks a user, a client and a namespace may have is bounded.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	ClientNamespace string `json:"clientNamespace,omitempty"`
	// expiresAt is when the mark means nothing any more; the object is deleted soon after.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	ExpiresAt metav1.MicroTime `json:"expiresAt"`
}

// Mark is something that the token servers of one AuthorizationServer remember for a while. Its name is a hash of the server's UID, the kind
// and what is marked.
//
// +kubebuilder:object:root=true
// +kubebuilder:printcolumn:name="Kind",type=string,JSONPath=`.spec.kind`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.spec.expiresAt`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Mark struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec MarkSpec `json:"spec"`
}

// MarkList is a list of Marks.
//
// +kubebuilder:object:root=true
type MarkList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Mark `json:"items"`
}
