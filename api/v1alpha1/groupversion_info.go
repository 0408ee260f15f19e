// Package v1alpha1 holds the kinds that people write, AuthorizationServer, OAuthClient, ResourceServer and OAuthUser, and those that token
// servers write for people to read and delete, OAuthGrant and OAuthConsent.
//
// Each kind has a file of its own; shared_types.go and strings.go hold what several of them are made of; conditions.go names the condition
// types and reasons that every controller uses. What one object alone can decide is refused by the API server (the CEL rules beside the
// fields); what needs a second object becomes a condition. Optional fields have no schema default: an omitted field means the default that
// its comment documents, applied where the object is compiled.
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
		&OAuthGrant{}, &OAuthGrantList{},
		&OAuthConsent{}, &OAuthConsentList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
})
