package cluster

import (
	"k8s.io/apimachinery/pkg/runtime"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/kubeclient"
)

// entryDecoder decodes Entries, of which it reads what a token server needs.
var entryDecoder = kubeclient.NewDecoder(internalv1alpha1.GroupVersion.WithKind("Entry"), toEntry)

// entryMetadata is what a token server needs of the metadata of an Entry.
type entryMetadata struct {
	Name            string            `json:"name"`
	ResourceVersion string            `json:"resourceVersion"`
	Annotations     map[string]string `json:"annotations"`
}

func toEntry(m *entryMetadata, spec *internalv1alpha1.EntrySpec) runtime.Object {
	e := &internalv1alpha1.Entry{Spec: *spec}
	e.Name, e.ResourceVersion, e.Annotations = m.Name, m.ResourceVersion, m.Annotations
	return e
}
