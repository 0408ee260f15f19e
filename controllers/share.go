package controllers

import (
	"maps"
	"reflect"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/sharedstrings"
)

// The objects of the cache say much alike: which server owns an Entry, what the conditions of a
// client are. Each that is decoded has a copy of all that, and there may be a hundred thousand: what
// is below gives them one in common. What the cache holds is not changed in any case.

var cachedStrings sharedstrings.Table

// share gives strings the memory of those that are equal to them.
func share[S ~string](all ...*S) {
	for _, s := range all {
		sharedstrings.Share(&cachedStrings, s)
	}
}

func shareEach[S ~string](list []S) {
	for i := range list {
		share(&list[i])
	}
}

func shareMetadata(o *metav1.ObjectMeta) {
	share(&o.Namespace)
	for i := range o.OwnerReferences {
		share(&o.OwnerReferences[i].APIVersion, &o.OwnerReferences[i].Kind)
	}
}

func shareKind(t *metav1.TypeMeta) { share(&t.APIVersion, &t.Kind) }

func shareConditions(conditions []metav1.Condition) {
	for i := range conditions {
		c := &conditions[i]
		share(&c.Type, &c.Reason, &c.Message)
		share(&c.Status)
	}
}

func shareClient(c *v1alpha1.OAuthClient) {
	shareKind(&c.TypeMeta)
	shareMetadata(&c.ObjectMeta)
	share(&c.Spec.ServerRef.Name, &c.Spec.ServerRef.Namespace)
	shareEach(c.Spec.GrantTypes)
	shareEach(c.Spec.Scopes)
	shareEach(c.Spec.IDTokenClaims)
	share(&c.Spec.TokenEndpointAuthMethod)
	share(&c.Spec.PKCE)
	share(&c.Spec.Consent)
	share(&c.Spec.IDTokenSignedResponseAlg)
	shareConditions(c.Status.Conditions)
	for i := range c.Status.Credentials {
		share(&c.Status.Credentials[i].State)
	}
	if c.Status.Authentication != nil {
		share(&c.Status.Authentication.Method)
	}
}

// sharedByServer is the metadata that the Entries of each AuthorizationServer have alike.
type sharedByServer struct {
	mu    sync.Mutex
	alike map[types.UID]metav1.ObjectMeta
}

// maxServersShared is of how many servers sharedByServer knows the metadata, which may be gone.
const maxServersShared = 1000

// shareEntry leaves the elements of the Entry's ownerReferences as they are: they may be in common with
// Entries that others read.
func (s *sharedByServer) shareEntry(e *internalv1alpha1.Entry) {
	shareKind(&e.TypeMeta)
	share(&e.Namespace)
	share(&e.Spec.ServerUID)
	share(&e.Spec.Space)
	share(&e.Spec.Format, &e.Spec.Owner.Kind, &e.Spec.Owner.Namespace)
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.alike[e.Spec.ServerUID]
	if !ok {
		if len(s.alike) >= maxServersShared {
			clear(s.alike)
		}
		known = metav1.ObjectMeta{Labels: e.Labels, OwnerReferences: slices.Clone(e.OwnerReferences)}
		shareMetadata(&known)
		s.alike[e.Spec.ServerUID] = known
	}
	if maps.Equal(known.Labels, e.Labels) {
		e.Labels = known.Labels
	}
	if reflect.DeepEqual(known.OwnerReferences, e.OwnerReferences) {
		e.OwnerReferences = known.OwnerReferences
	}
}
