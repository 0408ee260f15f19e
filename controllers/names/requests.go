package names

import (
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
)

// Indexes of the cache that this package needs.
const (
	IndexName  = "name"  // OAuthClients, OAuthUsers, ResourceServers and IdentityProviders by Keys
	IndexOwner = "owner" // Entries by the OwnerKey of their owner
)

// Key returns the value of IndexName for a name at a server: "<namespace>/<name> <space> <value>".
func Key(server client.ObjectKey, name compile.Name) string {
	return server.String() + " " + string(name.Space) + " " + name.Value
}

// Keys returns the values of IndexName for an object: one for each name for which it asks.
func Keys(object client.Object) []string {
	var keys []string
	for _, name := range Of(object).Requested {
		keys = append(keys, Key(ServerOf(object), name))
	}
	return keys
}

// OwnerKey returns the value of IndexOwner for an owner: "<kind> <namespace>/<name>".
func OwnerKey(owner internalv1alpha1.Owner) string {
	return owner.Kind + " " + owner.Namespace + "/" + owner.Name
}

// RequestingKinds returns an object of each kind that asks for names.
func RequestingKinds() []client.Object {
	return []client.Object{&v1alpha1.OAuthClient{}, &v1alpha1.OAuthUser{}, &v1alpha1.ResourceServer{}, &v1alpha1.IdentityProvider{}}
}

// Of returns the names for which an object asks.
func Of(object client.Object) compile.Names {
	switch o := object.(type) {
	case *v1alpha1.OAuthClient:
		return compile.ClientNames(o)
	case *v1alpha1.OAuthUser:
		return compile.UserNames(o)
	case *v1alpha1.ResourceServer:
		return compile.ResourceServerNames(o)
	case *v1alpha1.IdentityProvider:
		return compile.IdentityProviderNames(o)
	}
	return compile.Names{}
}

// ServerOf returns the key of the AuthorizationServer to which an object refers.
func ServerOf(object client.Object) client.ObjectKey {
	switch o := object.(type) {
	case *v1alpha1.OAuthClient:
		return ResolveReference(o.Spec.ServerRef, o.Namespace)
	case *v1alpha1.OAuthUser:
		return client.ObjectKey{Namespace: o.Namespace, Name: o.Spec.ServerRef.Name}
	case *v1alpha1.OAuthIdentity:
		return client.ObjectKey{Namespace: o.Namespace, Name: o.Spec.ServerRef.Name}
	case *v1alpha1.IdentityProvider:
		return client.ObjectKey{Namespace: o.Namespace, Name: o.Spec.ServerRef.Name}
	case *v1alpha1.ResourceServer:
		return ResolveReference(o.Spec.ServerRef, o.Namespace)
	}
	return client.ObjectKey{}
}

// ResolveReference returns the key of the object to which a reference in a namespace refers.
func ResolveReference(ref v1alpha1.ServerReference, namespace string) client.ObjectKey {
	if ref.Namespace != "" {
		namespace = ref.Namespace
	}
	return client.ObjectKey{Namespace: namespace, Name: ref.Name}
}
