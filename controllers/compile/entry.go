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

// Claim is one name that an object asks for.
type Name struct {
	Space internalv1alpha1.Space
	Value string
}

// EntryName is the name of the Entry by which a name is claimed at a server. Two claims of one name are one object, so the API server decides
// who was first.
func EntryName(server types.UID, claim Name) string {
	h := sha256.New()
	for _, part := range []string{string(server), string(claim.Space), claim.Value} {
		_, _ = io.WriteString(h, part) // a hash never fails
		h.Write([]byte{0})             // and no part has this byte, so the parts cannot run into one another
	}
	return "e-" + hex.EncodeToString(h.Sum(nil))
}

// Entry is the claim of a name for an owner, with the document that is served for it; without one, format and document are empty.
func NewEntry(server *v1alpha1.AuthorizationServer, claim Name, owner internalv1alpha1.Owner, format, document string) *internalv1alpha1.Entry {
	return &internalv1alpha1.Entry{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: server.Namespace,
			Name:      EntryName(server.UID, claim),
			Labels:    map[string]string{internalv1alpha1.ServerUIDLabel: string(server.UID)},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: "AuthorizationServer", Name: server.Name, UID: server.UID,
			}},
		},
		Spec: internalv1alpha1.EntrySpec{
			ServerUID: server.UID, Space: claim.Space, Value: claim.Value, Owner: owner, Format: format, Document: document,
		},
	}
}

// Owner that Entries name for an object.
func Owner(kind string, object metav1.Object) internalv1alpha1.Owner {
	return internalv1alpha1.Owner{Kind: kind, Namespace: object.GetNamespace(), Name: object.GetName(), UID: object.GetUID()}
}

// Namespace is the document of a namespace: its labels, which rules select by.
func Namespace(ns *corev1.Namespace) documents.Namespace {
	return documents.Namespace{Name: ns.Name, Labels: ns.Labels}
}
