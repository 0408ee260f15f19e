// Package v1alpha1 holds the public kinds: those that people write, AuthorizationServer,
// OAuthClient, ResourceServer and OAuthUser, and those that token servers write for people to read
// and delete, OAuthGrant, OAuthConsent and OAuthIdentity.
//
// Each kind has a file of its own. shared_types.go and strings.go hold the types that several kinds
// share, and conditions.go the condition types and reasons.
//
// The API server refuses what is invalid by itself, by the CEL rules at the fields. What depends on
// a second object becomes a condition. Optional fields have no schema default: the default that the
// comment of a field documents is applied when the object is compiled.
//
// +kubebuilder:object:generate=true
// +groupName=oauth-operator.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the API group and version of every kind in this package.
var GroupVersion = schema.GroupVersion{Group: "oauth-operator.dev", Version: "v1alpha1"}

// AddToScheme registers the kinds of this package.
var AddToScheme = schemeBuilder.AddToScheme

var schemeBuilder = runtime.NewSchemeBuilder(func(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&AuthorizationServer{}, &AuthorizationServerList{},
		&OAuthClient{}, &OAuthClientList{},
		&ResourceServer{}, &ResourceServerList{},
		&OAuthUser{}, &OAuthUserList{},
		&IdentityProvider{}, &IdentityProviderList{},
		&OAuthGrant{}, &OAuthGrantList{},
		&OAuthConsent{}, &OAuthConsentList{},
		&OAuthIdentity{}, &OAuthIdentityList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
})
