package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// LDAPProviderSettings describe a directory.
//
// +kubebuilder:validation:XValidation:rule=`self.url.startsWith('ldaps://') ? !(has(self.startTLS) && self.startTLS) : (has(self.startTLS) && self.startTLS) || self.url.matches('^ldap://(127[.][0-9.]+|\\[::1\\])(:[0-9]+)?$')`,message="url must be ldaps://, or ldap:// with startTLS: true; without either only a loopback host is allowed"
type LDAPProviderSettings struct {
	// url of the directory: ldaps://host, or ldap://host with startTLS; a port may follow.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule=`self.matches('^ldaps?://([a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\\.?|\\[[0-9a-f:.]+\\])(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?$')`,message="url is ldaps:// or ldap:// and a lower-case host, and a port up to 65535 if it is not the usual one, without a path"
	URL string `json:"url"`
	// startTLS encrypts a connection to ldap:// before anything else is sent.
	// +optional
	StartTLS bool `json:"startTLS,omitempty"`
	// bind is the account that searches.
	Bind LDAPBind `json:"bind"`
	// users says how the entry of a user is found.
	Users LDAPUserSearch `json:"users"`
	// groups says how the groups of a user are found. Default: none are looked for.
	// +optional
	Groups *LDAPGroupSearch `json:"groups,omitempty"`
	// throttle bounds the wrong passwords that are tried for one entry.
	// +optional
	Throttle *LDAPThrottle `json:"throttle,omitempty"`
}

// LDAPBind is the account that searches.
type LDAPBind struct {
	// dn of the account.
	DN LDAPName `json:"dn"`
	// passwordSecretRef names the Secret, in the same namespace, and the key with its password.
	PasswordSecretRef SecretKeyReference `json:"passwordSecretRef"`
}

// LDAPName is a distinguished name.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=1024
type LDAPName = string

// LDAPFilter is a search filter (RFC 4515), with variables in place of assertion values.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=2048
type LDAPFilter = string

// LDAPAttribute is the name of an attribute.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=128
// +kubebuilder:validation:Pattern=`^[A-Za-z][A-Za-z0-9;-]*$`
type LDAPAttribute = string

// LDAPUserSearch says how the entry of a user is found.
type LDAPUserSearch struct {
	// baseDN under which users are.
	BaseDN LDAPName `json:"baseDN"`
	// filter that matches one entry, with $(username).
	// +kubebuilder:validation:XValidation:rule=`self.contains('$(username)')`,message="filter must contain $(username), such as (uid=$(username))"
	Filter LDAPFilter `json:"filter"`
	// attributes to read.
	// +kubebuilder:validation:MaxItems=32
	// +listType=set
	// +optional
	Attributes []LDAPAttribute `json:"attributes,omitempty"`
	// subjectAttribute identifies the entry for ever, whatever it is renamed to. Immutable.
	// +kubebuilder:validation:Enum=entryUUID;objectGUID;ipaUniqueID;nsUniqueId
	// +kubebuilder:validation:XValidation:rule=`self == oldSelf`,message="subjectAttribute is immutable: the subjects of the users are derived from it"
	SubjectAttribute string `json:"subjectAttribute"`
	// accountFilter is another filter that the entry must match, such as one without disabled accounts.
	// +optional
	AccountFilter LDAPFilter `json:"accountFilter,omitempty"`
	// passwordChangedAttribute changes with the password, such as pwdChangedTime or pwdLastSet.
	// +optional
	PasswordChangedAttribute LDAPAttribute `json:"passwordChangedAttribute,omitempty"`
}

// LDAPGroupSearch says how the groups of a user are found.
type LDAPGroupSearch struct {
	// baseDN under which groups are.
	BaseDN LDAPName `json:"baseDN"`
	// scope of the search. Default: Subtree.
	// +kubebuilder:validation:Enum=OneLevel;Subtree
	// +optional
	Scope string `json:"scope,omitempty"`
	// filter with $(dn), or $(attr.x) for an attribute x of the entry of the user.
	Filter LDAPFilter `json:"filter"`
	// nameAttribute is the attribute that is the name of the group, or dn. Default: cn.
	// +optional
	NameAttribute LDAPAttribute `json:"nameAttribute,omitempty"`
}

// LDAPThrottle bounds wrong passwords; set it below the directory's own lock-out.
type LDAPThrottle struct {
	// failures within window after which no password is tried. Default: 4.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	// +optional
	Failures int32 `json:"failures,omitempty"`
	// window in which failures count. Default: 30m.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:XValidation:rule=`self.matches('^([0-9]{1,5}(h|m|s)){1,3}$') && duration(self) >= duration('1m') && duration(self) <= duration('24h')`,message="window must be a duration from 1m to 24h in whole h, m and s, such as 30m"
	// +optional
	Window *metav1.Duration `json:"window,omitempty"`
}
