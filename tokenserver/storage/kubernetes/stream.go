package kubernetes

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/kubeclient"
)

// grantDecoder decodes OAuthGrants. Each write of a grant comes back by the watch, so it reads no more
// than the cache needs.
var grantDecoder = kubeclient.NewDecoder(v1alpha1.GroupVersion.WithKind("OAuthGrant"), toWatchedGrant)

// grantMetadata is what the cache needs of the metadata of an OAuthGrant. The annotations are those of
// a bookmark.
type grantMetadata struct {
	Name              string            `json:"name"`
	UID               types.UID         `json:"uid"`
	ResourceVersion   string            `json:"resourceVersion"`
	CreationTimestamp metav1.Time       `json:"creationTimestamp"`
	DeletionTimestamp *metav1.Time      `json:"deletionTimestamp"`
	Annotations       map[string]string `json:"annotations"`
}

func toWatchedGrant(m *grantMetadata, spec *v1alpha1.OAuthGrantSpec) runtime.Object {
	o := &v1alpha1.OAuthGrant{Spec: *spec}
	o.Name, o.UID, o.ResourceVersion, o.Annotations = m.Name, m.UID, m.ResourceVersion, m.Annotations
	o.CreationTimestamp, o.DeletionTimestamp = m.CreationTimestamp, m.DeletionTimestamp
	return o
}
