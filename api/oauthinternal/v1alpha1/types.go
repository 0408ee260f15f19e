// Package v1alpha1 holds the internal kinds by which the manager and the token servers communicate.
// People do not write them. All objects live in the namespace of an AuthorizationServer and are
// owned by it.
//
//   - An Entry assigns a name to its owner, and for most owners holds the document that token servers
//     serve. The manager writes Entries.
//   - A Replica is what one token server process reports of itself.
//   - A Usage is when one token server process last accepted which credentials.
//   - A Mark is a revocation, or the use of what is good once, that token servers remember until it expires.
//
// The API group is internal.oauth-operator.dev. The directory has another name because Go restricts
// imports of a directory named internal.
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

// ServerUIDLabel is on every Entry, Replica, Usage and Mark and holds the UID of the
// AuthorizationServer. Token servers select their Entries and Marks by it.
const ServerUIDLabel = "internal.oauth-operator.dev/server-uid"

// Space is a set of names in which each name has one owner.
// +kubebuilder:validation:Enum=identity;username;scope;namespace;identityprovider;realm;identityspec
type Space string

const (
	// SpaceIdentity holds client ids, subjects, resource identifiers and the issuer: the values of
	// `sub`, `client_id` and `aud` in tokens.
	SpaceIdentity Space = "identity"
	// SpaceUsername holds normalized usernames.
	SpaceUsername Space = "username"
	// SpaceScope holds the scopes that ResourceServers declare.
	SpaceScope Space = "scope"
	// SpaceNamespace holds namespaces; each is owned by the Namespace of that name.
	SpaceNamespace Space = "namespace"
	// SpaceIdentityProvider holds the names of IdentityProviders.
	SpaceIdentityProvider Space = "identityprovider"
	// SpaceRealm holds the realms from which the subjects of their users are derived.
	SpaceRealm Space = "realm"
	// SpaceIdentitySpec holds the subjects of users from identity providers about whom the owner of
	// the server has said something; each is owned by the OAuthIdentity of that subject.
	SpaceIdentitySpec Space = "identityspec"
)

// Owner is the object that owns the name of an Entry.
type Owner struct {
	// kind of the owner: AuthorizationServer, OAuthClient, OAuthUser, OAuthIdentity, ResourceServer,
	// IdentityProvider or Namespace.
	// +kubebuilder:validation:Enum=AuthorizationServer;OAuthClient;OAuthUser;OAuthIdentity;ResourceServer;IdentityProvider;Namespace
	Kind string `json:"kind"`
	// namespace of the owner. Empty for a Namespace.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// name of the owner.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// uid of the owner. An object that is created again has another UID and does not own the name.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	UID types.UID `json:"uid"`
}

// EntrySpec is a name, its owner, and the document that token servers serve for it.
//
// One writer owns it as a whole, so the API server records one field owner for it and not one for
// each field, which would take more memory there than the Entry itself.
// +structType=atomic
type EntrySpec struct {
	// serverUID is the UID of the AuthorizationServer that the entry belongs to.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	ServerUID types.UID `json:"serverUID"`
	// space that the name is in.
	Space Space `json:"space"`
	// value is the name.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Value string `json:"value"`
	// owner of the name.
	Owner Owner `json:"owner"`
	// format is the kind and the version of the document, such as "client/v1". Empty if there is no
	// document.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Format string `json:"format,omitempty"`
	// document is JSON in that format (package tokenserver/documents). It holds facts and hashes,
	// and no usable secret.
	// +kubebuilder:validation:MaxLength=1048576
	// +optional
	Document string `json:"document,omitempty"`
}

// Entry assigns a name to its owner and holds the document that the token servers of one
// AuthorizationServer serve. The object's own name is a hash of the AuthorizationServer's UID, the
// space and the value, so the API server lets only one owner have the name.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:labels="oauth-operator.dev/uninstall=keep"
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

// RejectedEntry is an Entry that a token server cannot serve.
type RejectedEntry struct {
	// name of the Entry.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// resourceVersion of the Entry that was rejected.
	// +kubebuilder:validation:MaxLength=128
	ResourceVersion string `json:"resourceVersion"`
	// reason is the error.
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason"`
}

// ReplicaSpec is what one token server process reports of itself.
type ReplicaSpec struct {
	// serverUID is the UID of the AuthorizationServer that the process serves.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	ServerUID types.UID `json:"serverUID"`
	// renewTime is when the process last wrote the object, by its own clock. It is informative: the
	// manager counts a replica as live for 30 seconds after it observed a change of the object.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	RenewTime metav1.MicroTime `json:"renewTime"`
	// appliedResourceVersion is the resource version up to which the process serves every change of
	// the Entries. Empty before the first list.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	AppliedResourceVersion string `json:"appliedResourceVersion,omitempty"`
	// ready is true if the process has read all Entries, holds every Active key and listens on its
	// port.
	// +optional
	Ready bool `json:"ready,omitempty"`
	// problem is what keeps the process from being ready.
	// +kubebuilder:validation:MaxLength=4096
	// +optional
	Problem string `json:"problem,omitempty"`
	// version of the program, such as 1.2.3. Only people read it: what a process can do, formats say.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	Version string `json:"version,omitempty"`
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
	// upstreams are the credentials for identity providers that the process holds, by the names of
	// their files.
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=253
	// +listType=set
	// +optional
	Upstreams []string `json:"upstreams,omitempty"`
	// rejected are the Entries that the process cannot serve; at most 64 of them.
	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=name
	// +optional
	Rejected []RejectedEntry `json:"rejected,omitempty"`
	// keySetProblems are the clients whose key set the process could not fetch when it last tried; at
	// most 64 of them.
	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=clientUID
	// +optional
	KeySetProblems []KeySetProblem `json:"keySetProblems,omitempty"`
	// identityProviderProblems are the identity providers at which users could not sign in when the
	// process last asked them; at most 64 of them.
	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=providerUID
	// +optional
	IdentityProviderProblems []IdentityProviderProblem `json:"identityProviderProblems,omitempty"`
}

// IdentityProviderProblem is why users cannot sign in at an identity provider.
type IdentityProviderProblem struct {
	// providerUID is the UID of the IdentityProvider.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	ProviderUID types.UID `json:"providerUID"`
	// reason is Unreachable, Unresolvable, BadCertificate or BadAnswer; or ClientRefused, if the
	// provider does not accept the credential; or BindRefused, SearchRefused or Referral of a directory.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason"`
	// address is that of the provider, if it is not public and spec.fetch of the server does not list
	// it. Empty if that is not the problem.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Address string `json:"address,omitempty"`
}

// KeySetProblem is why the key set at the jwksURI of a client could not be fetched.
type KeySetProblem struct {
	// clientUID is the UID of the OAuthClient.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	ClientUID types.UID `json:"clientUID"`
	// reason is Unreachable, BadCertificate or BadAnswer. It says no more, since the team of the
	// client, which has chosen the address, may know no more of the network of the server.
	// +kubebuilder:validation:Enum=Unreachable;BadCertificate;BadAnswer
	Reason string `json:"reason"`
}

// Replica is what one token server process reports of itself. The process renews it every 10
// seconds.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:labels="oauth-operator.dev/uninstall=keep"
// +kubebuilder:printcolumn:name="Ready",type=boolean,JSONPath=`.spec.ready`
// +kubebuilder:printcolumn:name="Renewed",type=date,JSONPath=`.spec.renewTime`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.spec.version`
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
	// time is the beginning of the hour of the last use, by the clock of the token server.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:00:00Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be an hour since 1970 in UTC"
	Time metav1.Time `json:"time"`
	// refusedMethod is the token endpoint authentication method that the client used, if it is not
	// the one that the client is registered with: the secret was right, and the requests were
	// refused. Empty for uses that were accepted.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	RefusedMethod string `json:"refusedMethod,omitempty"`
}

// MaxUses is the maximum number of uses in a Usage.
const MaxUses = 1000

// UsageSpec is when one token server process last accepted which credentials.
type UsageSpec struct {
	// serverUID is the UID of the AuthorizationServer that the process serves.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	ServerUID types.UID `json:"serverUID"`
	// incompleteUntil is a time before which uses may be missing: a former process of this name was
	// killed, or uses of credentials that were replaced did not fit. 1970, if none may be. Processes
	// of versions that did not know the field leave it out.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	// +optional
	IncompleteUntil *metav1.Time `json:"incompleteUntil,omitempty"`
	// ended is true if the process has ended, and has written all uses.
	// +optional
	Ended bool `json:"ended,omitempty"`
	// uses since the object was last written; those beyond the maximum are in the next write. If
	// there is room, those of the last day follow that were written before.
	// +kubebuilder:validation:MaxItems=1000
	// +listType=atomic
	// +optional
	Uses []CredentialUse `json:"uses,omitempty"`
}

// Usage is when one token server process last accepted which credentials. It has the name of the
// process's Replica and outlives it by an hour. The process writes it when it starts and ends, and
// else at most once an hour. It is the only write that a client which authenticates with a secret causes.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:labels="oauth-operator.dev/uninstall=keep"
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

// MarkSpec is what was revoked, ended or used, and how long token servers remember it. It is atomic,
// since it has one writer.
//
// +structType=atomic
type MarkSpec struct {
	// serverUID is the UID of the AuthorizationServer whose token servers remember it.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	ServerUID types.UID `json:"serverUID"`
	// kind is token for an access token that was revoked, session for a browser session that has
	// ended, grant for an OAuthGrant that was deleted before its code had expired, and assertion for
	// a JWT with which a client has authenticated.
	// +kubebuilder:validation:Enum=token;session;grant;assertion
	Kind string `json:"kind"`
	// userUID is the UID of the user of the token or session. Empty if there was none.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	UserUID string `json:"userUID,omitempty"`
	// clientUID is the UID of the client that the token was issued to, or that has authenticated.
	// Empty for a session.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	ClientUID string `json:"clientUID,omitempty"`
	// clientNamespace is the namespace of that client. The number of Marks of a client and of a
	// namespace is bounded.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	ClientNamespace string `json:"clientNamespace,omitempty"`
	// expiresAt is when token servers forget it. One of them deletes the object soon after.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	ExpiresAt metav1.MicroTime `json:"expiresAt"`
}

// Mark is a revocation, or the use of what is good once, that the token servers of one
// AuthorizationServer remember until it expires. Its name is a hash of the AuthorizationServer's
// UID, the kind, and the id of the token, session, grant or assertion.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:labels="oauth-operator.dev/uninstall=keep"
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
