package compile

import (
	"crypto/sha256"
	"encoding/hex"
	"io"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// Kinds of owners of Entries, as Kubernetes spells them. The kinds of their documents, such as
// documents.KindClient, are others.
const (
	KindServer           = "AuthorizationServer"
	KindClient           = "OAuthClient"
	KindUser             = "OAuthUser"
	KindIdentity         = "OAuthIdentity"
	KindResourceServer   = "ResourceServer"
	KindIdentityProvider = "IdentityProvider"
	KindNamespace        = "Namespace"
)

// Name is a name that an object asks for at its server.
type Name struct {
	Space internalv1alpha1.Space
	Value string
}

// EntryName returns the metadata.name of the Entry of a name at a server. All Entries of one name
// have it, so that the API server creates one of them.
func EntryName(server types.UID, name Name) string {
	h := sha256.New()
	for _, part := range []string{string(server), string(name.Space), name.Value} {
		_, _ = io.WriteString(h, part) // a hash never fails
		h.Write([]byte{0})             // no part has this byte, so the parts cannot run into one another
	}
	return "e-" + hex.EncodeToString(h.Sum(nil))
}

// NewEntry returns the Entry of a name with the document of its owner, or without a document if
// that is nil.
func NewEntry(server *v1alpha1.AuthorizationServer, name Name, owner internalv1alpha1.Owner, document any) (*internalv1alpha1.Entry, error) {
	e := &internalv1alpha1.Entry{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: server.Namespace,
			Name:      EntryName(server.UID, name),
			Labels:    map[string]string{internalv1alpha1.ServerUIDLabel: string(server.UID)},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: KindServer, Name: server.Name, UID: server.UID,
			}},
		},
		Spec: internalv1alpha1.EntrySpec{ServerUID: server.UID, Space: name.Space, Value: name.Value, Owner: owner},
	}
	if document == nil {
		return e, nil
	}
	var err error
	e.Spec.Format = documents.Format(document)
	e.Spec.Document, err = documents.Encode(document)
	return e, err
}

// OwnerOf returns an object as the owner of its Entries.
func OwnerOf(object metav1.Object) internalv1alpha1.Owner {
	owner := internalv1alpha1.Owner{Namespace: object.GetNamespace(), Name: object.GetName(), UID: object.GetUID()}
	switch object.(type) {
	case *v1alpha1.AuthorizationServer:
		owner.Kind = KindServer
	case *v1alpha1.OAuthClient:
		owner.Kind = KindClient
	case *v1alpha1.OAuthUser:
		owner.Kind = KindUser
	case *v1alpha1.OAuthIdentity:
		owner.Kind = KindIdentity
	case *v1alpha1.ResourceServer:
		owner.Kind = KindResourceServer
	case *v1alpha1.IdentityProvider:
		owner.Kind = KindIdentityProvider
	case *corev1.Namespace:
		owner.Kind = KindNamespace
	}
	return owner
}

// IssuerName returns the name of a server's issuer, by which its own document is found.
func IssuerName(server *v1alpha1.AuthorizationServer) Name {
	return Name{internalv1alpha1.SpaceIdentity, server.Spec.Issuer}
}

// KnownLabels returns an empty map for a namespace without labels: policy takes nil for labels that
// are not known.
func KnownLabels(labels map[string]string) map[string]string {
	if labels == nil {
		return map[string]string{}
	}
	return labels
}

// Namespace returns the document of a namespace: its labels, by which rules select it.
func Namespace(ns *corev1.Namespace) documents.Namespace {
	return documents.Namespace{Name: ns.Name, Labels: ns.Labels}
}
