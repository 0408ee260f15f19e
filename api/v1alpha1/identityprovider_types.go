package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// ProviderType is how users sign in at an identity provider.
// +kubebuilder:validation:Enum=OIDC;LDAP
type ProviderType string

const (
	// ProviderOIDC is OpenID Connect.
	ProviderOIDC ProviderType = "OIDC"
	// ProviderLDAP is a bind at a directory.
	ProviderLDAP ProviderType = "LDAP"
)

// ProviderClients are the clients to which users of a provider may sign in.
// +kubebuilder:validation:Enum=Listed;All
type ProviderClients string

const (
	// ProviderClientsListed are those whose rule names the provider.
	ProviderClientsListed ProviderClients = "Listed"
	// ProviderClientsAll are those too whose rule names no providers.
	ProviderClientsAll ProviderClients = "All"
)

// IdentityProviderSpec describes where users sign in who are no OAuthUsers.
//
// +kubebuilder:validation:XValidation:rule=`(self.type == 'OIDC') == has(self.oidc) && (self.type == 'LDAP') == has(self.ldap)`,message="type OIDC goes with oidc, and type LDAP with ldap: set the one that type names, and only that"
// +kubebuilder:validation:XValidation:rule=`self.type != 'LDAP' || has(self.realm)`,message="realm is required with type LDAP: a URL that names the directory and stays the same when it moves"
// +kubebuilder:validation:XValidation:rule=`has(self.realm) == has(oldSelf.realm) && (!has(self.realm) || self.realm == oldSelf.realm)`,fieldPath=".realm",message="realm is immutable, and can be neither added nor removed: the subjects of the users are derived from it"
type IdentityProviderSpec struct {
	// serverRef names the AuthorizationServer, in the same namespace. Immutable.
	// +kubebuilder:validation:XValidation:rule=`self == oldSelf`,message="serverRef is immutable: delete the object and create it again to move it to another AuthorizationServer"
	ServerRef LocalServerReference `json:"serverRef"`

	// displayName on the login page. Default: the name of the object.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule=`!self.matches('[\\x{00}-\\x{1f}\\x{7f}-\\x{9f}\\x{200e}\\x{200f}\\x{2028}-\\x{202e}\\x{2066}-\\x{2069}]')`,message="displayName must not contain control characters, line breaks or characters that change the direction of text"
	// +optional
	DisplayName string `json:"displayName,omitempty"`

	// clients to which the users may sign in: Listed, only those whose rule names the provider in
	// identityProviders; or All, those too whose rule names no providers.
	Clients ProviderClients `json:"clients"`

	// type is OIDC or LDAP. Immutable.
	// +kubebuilder:validation:XValidation:rule=`self == oldSelf`,message="type is immutable: create another IdentityProvider"
	Type ProviderType `json:"type"`

	// realm is the URL from which subjects are derived; no two providers of a server have the same.
	// Default: oidc.issuer. Immutable.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[a-z][a-z0-9+.-]*://[!-~]+$')`,message="realm is a URL of printable ASCII characters, such as https://login.acme.example or ldaps://ldap.acme.example"
	// +optional
	Realm string `json:"realm,omitempty"`

	// oidc is the OpenID provider.
	// +optional
	OIDC *OIDCProviderSettings `json:"oidc,omitempty"`

	// ldap is the directory.
	// +optional
	LDAP *LDAPProviderSettings `json:"ldap,omitempty"`

	// caBundle are the certificates that the servers of this provider have as their root. They
	// replace the public ones.
	// +optional
	CABundle *CABundle `json:"caBundle,omitempty"`

	// allow is a CEL expression over upstream that says whether a user may sign in; "true" admits
	// all users of the provider.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Allow string `json:"allow"`

	// claims are CEL expressions over upstream, by the name of the claim. Nothing else is said about
	// a user.
	// +kubebuilder:validation:MaxProperties=32
	// +optional
	Claims map[string]Expression `json:"claims,omitempty"`

	// examples of what the provider could say, and what must come of it. While one does not come out
	// so, the provider is not accepted.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	// +optional
	Examples []MappingExample `json:"examples,omitempty"`

	// maxIdentities is how many users of the provider are known at a time; further ones are refused.
	// Default: 10000.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	// +optional
	MaxIdentities int32 `json:"maxIdentities,omitempty"`

	// suspended has token servers refuse the users within a second: they cannot sign in, and
	// sessions and tokens are of no use. It deletes nothing.
	// +optional
	Suspended bool `json:"suspended,omitempty"`

	// tokensNotBefore voids the sign-ins at the provider in that second or before, and what was
	// issued by them. Default: nothing is void.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$') && timestamp(self) >= timestamp('1970-01-01T00:00:00Z')`,message="tokensNotBefore must be a time since 1970 in UTC, such as 2026-11-01T00:00:00Z"
	// +optional
	TokensNotBefore *metav1.Time `json:"tokensNotBefore,omitempty"`
}

// Expression is in the Common Expression Language.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=4096
type Expression string

// OIDCProviderSettings describe an OpenID provider.
//
// +kubebuilder:validation:XValidation:rule=`(has(self.subjectClaim) ? self.subjectClaim : 'sub') == (has(oldSelf.subjectClaim) ? oldSelf.subjectClaim : 'sub')`,fieldPath=".subjectClaim",message="subjectClaim is immutable: the subjects of the users are derived from it"
type OIDCProviderSettings struct {
	// issuer of the provider, as its discovery document and its ID tokens have it. Immutable.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule=`self == oldSelf`,message="issuer is immutable: create another IdentityProvider, with the realm of this one if the users are the same"
	// +kubebuilder:validation:XValidation:rule=`isURL(self) && url(self).getHostname() != '' && self.matches('^https://[!-~]+$') && !self.contains('?') && !self.contains('#') && !self.contains('@')`,message="issuer is an https URL without query, fragment and user name, such as https://login.acme.example"
	// +kubebuilder:validation:XValidation:rule=`self.matches('^https://([^/:\\[]+|\\[[^\\]]*\\])(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?(/|$)')`,message="the port of issuer, if it has one, is from 1 to 65535"
	// +kubebuilder:validation:XValidation:rule=`!self.contains('/.well-known/')`,message="issuer is without /.well-known/openid-configuration, which is added"
	Issuer string `json:"issuer"`
	// clientID that the provider has given to this server.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[ -~]+$')`,message="clientID has printable ASCII characters only (RFC 6749 appendix A.1): remove others, such as a line break at its end"
	ClientID string `json:"clientID"`
	// clientSecretRef names the Secret, in the same namespace, and the key with the client secret.
	ClientSecretRef SecretKeyReference `json:"clientSecretRef"`
	// subjectClaim of ID tokens identifies the user: sub, or oid of Entra ID. Default: sub. Immutable.
	// +kubebuilder:validation:Enum=sub;oid
	// +optional
	SubjectClaim string `json:"subjectClaim,omitempty"`
	// scopes to ask for, beside openid.
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule=`!('openid' in self) && !('offline_access' in self)`,message="scopes must not contain openid, which is always asked for, or offline_access: no token of the provider is kept"
	// +listType=set
	// +optional
	Scopes []Scope `json:"scopes,omitempty"`
	// parameters to send along with each authentication request, such as hd.
	// +kubebuilder:validation:MaxProperties=16
	// +optional
	Parameters map[string]ParameterValue `json:"parameters,omitempty"`
	// userInfo says whether the claims of the UserInfo endpoint are read as well. Default: Never.
	// +kubebuilder:validation:Enum=Never;Always
	// +optional
	UserInfo string `json:"userInfo,omitempty"`
	// maxAge is how long after signing in the session and refresh tokens still work. Default: 24h.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:XValidation:rule=`self.matches('^([0-9]{1,5}(h|m|s)){1,3}$') && duration(self) >= duration('1m') && duration(self) <= duration('168h')`,message="maxAge must be a duration from 1m to 168h in whole h, m and s, such as 24h"
	// +optional
	MaxAge *metav1.Duration `json:"maxAge,omitempty"`
}

// ParameterValue is the value of a parameter of a request.
// +kubebuilder:validation:MaxLength=512
type ParameterValue string

// MappingExample is a user who does not exist.
//
// +kubebuilder:validation:XValidation:rule=`has(self.claims) != (has(self.denied) && self.denied)`,message="an example has either claims or denied: true"
type MappingExample struct {
	// name of the example; conditions quote it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Name string `json:"name"`
	// upstream is what the provider says.
	// +kubebuilder:validation:MaxProperties=128
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Type=object
	Upstream runtime.RawExtension `json:"upstream"`
	// claims are all that must come of it.
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Type=object
	// +optional
	Claims *runtime.RawExtension `json:"claims,omitempty"`
	// denied is whether the user must be refused.
	// +optional
	Denied bool `json:"denied,omitempty"`
}

// IdentityProviderStatus is what the manager reports.
type IdentityProviderStatus struct {
	// observedGeneration is the generation of the spec that the conditions are about.
	// +kubebuilder:validation:Minimum=0
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// realm that the provider has. It keeps it while the server does not exist or its Entries are lost.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Realm string `json:"realm,omitempty"`
	// redirectURI to register at an OpenID provider.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	RedirectURI string `json:"redirectURI,omitempty"`
	// conditions: Accepted, ResolvedRefs, Programmed, Available and Ready.
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule=`self.all(c, c.lastTransitionTime >= timestamp('1970-01-01T00:00:00Z'))`,message="lastTransitionTime must be a time as in RFC 3339, since 1970"
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// IdentityProvider is where users sign in who are no OAuthUsers, in the namespace of its
// AuthorizationServer.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:labels="oauth-operator.dev/uninstall=keep"
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=oauth,shortName=idp
// +kubebuilder:validation:XValidation:rule=`self.metadata.name != 'local'`,message="metadata.name local stands for OAuthUsers: choose another"
// +kubebuilder:validation:XValidation:rule=`self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && self.metadata.name.size() <= 63`,message="metadata.name has at most 63 of the characters a-z 0-9 and -: it is part of the redirect URI"
// +kubebuilder:printcolumn:name="Type",type=string,JSONPath=`.spec.type`
// +kubebuilder:printcolumn:name="Clients",type=string,JSONPath=`.spec.clients`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Server",type=string,JSONPath=`.spec.serverRef.name`,priority=1
// +kubebuilder:printcolumn:name="Suspended",type=boolean,JSONPath=`.spec.suspended`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
type IdentityProvider struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is where users sign in, and what becomes of what is said about them there.
	Spec IdentityProviderSpec `json:"spec"`
	// status is what the manager reports.
	// +kubebuilder:default={conditions: {{type: "Accepted", status: "Unknown", reason: "Pending", message: "The manager has not processed the object yet. If this does not change, check that the manager is running.", lastTransitionTime: "1970-01-01T00:00:00Z"}, {type: "Ready", status: "Unknown", reason: "Pending", message: "The manager has not processed the object yet. If this does not change, check that the manager is running.", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	// +optional
	Status IdentityProviderStatus `json:"status,omitempty"`
}

// IdentityProviderList is a list of IdentityProviders.
//
// +kubebuilder:object:root=true
type IdentityProviderList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []IdentityProvider `json:"items"`
}
