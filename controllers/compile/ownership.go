package compile

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// Annotations that name the OAuthClient to which an object without an ownerReference belongs,
// "<name>/<UID>". Such an object is not deleted with the client. AdoptedAnnotation is on one that
// existed before, and RetainedAnnotation on a Secret that the manager has made (deletionPolicy
// Retain).
const (
	AdoptedAnnotation  = "internal.oauth-operator.dev/adopted-by"
	RetainedAnnotation = "internal.oauth-operator.dev/retained-by"
)

// ManagedByLabel and ManagedBy mark every object that the manager makes, so that it needs to watch no
// others of their kind.
const (
	ManagedByLabel = "app.kubernetes.io/managed-by"
	ManagedBy      = "oauth-operator"
)

// Suffixes of the names of Secrets that belong to AuthorizationServers: the keys of the server, and
// the credentials for identity providers. The API server refuses them as targets too.
const (
	SuffixKeys      = "-tokenserver-keys"
	SuffixUpstreams = "-tokenserver-upstreams"
)

// IsReservedName reports whether only the Secret of an AuthorizationServer may have a name.
func IsReservedName(name string) bool {
	return strings.HasSuffix(name, SuffixKeys) || strings.HasSuffix(name, SuffixUpstreams)
}

// OAuthClientOf returns the OAuthClient whose Secret or ConfigMap this is: the operator has made it
// for the client, or the client has adopted it. It returns nil if there is none. An ownerReference
// without "controller" does not count: a user may have a Secret of another program deleted with a
// client.
func OAuthClientOf(m metav1.Object) *internalv1alpha1.Owner {
	if ref := metav1.GetControllerOfNoCopy(m); ref != nil {
		if !IsClientReference(ref) {
			return nil
		}
		return &internalv1alpha1.Owner{Kind: KindClient, Namespace: m.GetNamespace(), Name: ref.Name, UID: ref.UID}
	}
	return AdopterOf(m)
}

// AdopterOf returns the OAuthClient that one of the annotations names, or nil if there is none.
func AdopterOf(m metav1.Object) *internalv1alpha1.Owner {
	for _, key := range []string{AdoptedAnnotation, RetainedAnnotation} {
		if name, uid, found := strings.Cut(m.GetAnnotations()[key], "/"); found {
			return &internalv1alpha1.Owner{Kind: KindClient, Namespace: m.GetNamespace(), Name: name, UID: types.UID(uid)}
		}
	}
	return nil
}

// IsClientReference reports whether an ownerReference names an OAuthClient.
func IsClientReference(ref *metav1.OwnerReference) bool {
	return ref.Kind == KindClient && ref.APIVersion == v1alpha1.GroupVersion.String()
}

// DescribeOperatorSecret says which Secret or ConfigMap of the operator this is, as a predicate of
// it, or returns "" if it is none. No such object is used as a password, certificate, DSN, client
// secret or public key: else the author of an OAuthClient, who need not be permitted to write
// Secrets and ConfigMaps, could choose these.
func DescribeOperatorSecret(m metav1.Object) string {
	switch {
	case IsReservedName(m.GetName()):
		return "belongs to an AuthorizationServer, by its name"
	case OAuthClientOf(m) != nil, AdopterOf(m) != nil, m.GetLabels()[ManagedByLabel] == ManagedBy:
		return "is written by the operator for an OAuthClient"
	}
	return ""
}

// OtherOwners returns what else a Secret or ConfigMap may belong to, because of which a client must
// not adopt it: the OAuthClients that it names, which may not exist any more, and kind and name of
// its controller if that is no OAuthClient.
func OtherOwners(c *v1alpha1.OAuthClient, m metav1.Object) (clients []internalv1alpha1.Owner, controller string) {
	add := func(owner internalv1alpha1.Owner) {
		if owner.UID != c.UID {
			clients = append(clients, owner)
		}
	}
	for _, ref := range m.GetOwnerReferences() {
		switch {
		case IsClientReference(&ref):
			add(internalv1alpha1.Owner{Kind: KindClient, Namespace: c.Namespace, Name: ref.Name, UID: ref.UID})
		case ref.Controller != nil && *ref.Controller:
			return nil, fmt.Sprintf("%s %q", ref.Kind, ref.Name)
		}
	}
	if adopter := AdopterOf(m); adopter != nil {
		add(*adopter)
	}
	return clients, ""
}

// AdoptionProblem returns why a Secret or ConfigMap that is not the client's cannot be written for
// it. other is what else it belongs to, of OtherOwners, or "". There is no problem if a user who may
// write the object has let the client adopt it.
func AdoptionProblem(c *v1alpha1.OAuthClient, kind string, m metav1.Object, other string) Problem {
	reason, advice := v1alpha1.ReasonSecretExists, "choose another name in spec.secret.target.name"
	if kind == "ConfigMap" {
		reason, advice = v1alpha1.ReasonConfigMapExists, "choose another name in spec.configMap.name"
	}
	owner := metav1.GetControllerOf(m)
	mayAdopt := m.GetAnnotations()[v1alpha1.AdoptAnnotation] == c.Name
	switch {
	case owner != nil && IsClientReference(owner) && owner.Name == c.Name && !mayAdopt:
		return newProblem(v1alpha1.ReasonPending, "%s %q belongs to a deleted OAuthClient of this name: the manager waits until Kubernetes has deleted it too", kind, m.GetName())
	case other != "":
		return newProblem(reason, "%s %q exists, and %s owns it: %s", kind, m.GetName(), other, advice)
	case mayAdopt:
		return Problem{}
	}
	return newProblem(reason, "%s %q exists and is not this client's: delete it, or %s, or annotate it with %s=%s to let this client adopt it",
		kind, m.GetName(), advice, v1alpha1.AdoptAnnotation, c.Name)
}

// AdoptedSecretProblem returns why the value that a Secret has for client_secret cannot stay when a
// client adopts it. Without a value there is no problem: the client gets a new one.
func AdoptedSecretProblem(name, value string) Problem {
	if value == "" {
		return Problem{}
	}
	if reason, problem := FindSecretProblem(value); problem != "" {
		return newProblem(reason, "Secret %q: the value of key %q %s", name, SecretKeyClientSecret, problem)
	}
	return Problem{}
}
