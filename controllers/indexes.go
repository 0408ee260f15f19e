package controllers

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
)

// Indexes of the cache. A change wakes those it concerns by a look into one of them, never by a walk over all.
const (
	indexUID          = "uid"          // objects by their UID
	indexServer       = "server"       // objects by the server they name, "<namespace>/<name>"
	indexUnprogrammed = "unprogrammed" // the same, but only those that token servers do not serve yet
	indexName         = "name"         // objects by a name that they ask for, "<namespace>/<name of the server> <space> <value>"
	indexScope        = "scope"        // clients by a scope that they register, written as indexName
	indexSecret       = "secret"       // objects by a Secret that they name, "<namespace>/<name>"
	indexIntrospector = "introspector" // resource servers by a client that may introspect, "<namespace>/<name>"
	indexIssuer       = "issuer"       // servers by their issuer
	indexOwner        = "owner"        // Entries by their owner, see ownerKey; Secrets by the UID of the OAuthClient whose they are
	indexServerUID    = "serverUID"    // Replicas, Usages and servers by the UID of the server
	indexUsed         = "used"         // Usages by the UIDs of the clients of which they speak
)

func ownerKey(owner internalv1alpha1.Owner) string {
	return owner.Kind + " " + owner.Namespace + "/" + owner.Name
}

func keyText(key client.ObjectKey) string { return key.Namespace + "/" + key.Name }

func nameKey(server client.ObjectKey, name compile.Name) string {
	return keyText(server) + " " + string(name.Space) + " " + name.Value
}

func nameKeys(object client.Object) []string {
	server, names := namesOf(object)
	var keys []string
	for _, name := range names.Requested {
		keys = append(keys, nameKey(server, name))
	}
	return keys
}

func scopeKey(server client.ObjectKey, scope string) string {
	return nameKey(server, compile.Name{Space: internalv1alpha1.SpaceScope, Value: scope})
}

// serverKey of a reference in an object of a namespace.
func serverKey(ref v1alpha1.ServerReference, own string) client.ObjectKey {
	if ref.Namespace != "" {
		own = ref.Namespace
	}
	return client.ObjectKey{Namespace: own, Name: ref.Name}
}

func serverOfClient(c *v1alpha1.OAuthClient) client.ObjectKey {
	return serverKey(c.Spec.ServerRef, c.Namespace)
}

func serverOfUser(u *v1alpha1.OAuthUser) client.ObjectKey {
	return client.ObjectKey{Namespace: u.Namespace, Name: u.Spec.ServerRef.Name}
}

func serverOfResourceServer(rs *v1alpha1.ResourceServer) client.ObjectKey {
	return serverKey(rs.Spec.ServerRef, rs.Namespace)
}

// secretMetadata is the kind by which Secrets are cached.
func secretMetadata() *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	return m
}

func secretMetadataList() *metav1.PartialObjectMetadataList {
	l := &metav1.PartialObjectMetadataList{}
	l.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	return l
}

type index struct {
	object client.Object
	field  string
	values client.IndexerFunc
}

// indexed adapts a function on one kind.
func indexed[T client.Object](object T, field string, values func(T) []string) index {
	return index{object, field, func(o client.Object) []string {
		typed, ok := o.(T)
		if !ok {
			return nil
		}
		return values(typed)
	}}
}

func addIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	var all []index
	all = append(all, serverIndexes()...)
	all = append(all, clientIndexes()...)
	all = append(all, userIndexes()...)
	all = append(all, resourceServerIndexes()...)
	all = append(all, otherIndexes()...)
	for _, i := range all {
		if err := indexer.IndexField(ctx, i.object, i.field, i.values); err != nil {
			return err
		}
	}
	return nil
}

func serverIndexes() []index {
	return []index{
		indexed(&v1alpha1.AuthorizationServer{}, indexServerUID, func(s *v1alpha1.AuthorizationServer) []string { return []string{string(s.UID)} }),
		indexed(&v1alpha1.AuthorizationServer{}, indexIssuer, func(s *v1alpha1.AuthorizationServer) []string { return []string{s.Spec.Issuer} }),
		indexed(&v1alpha1.AuthorizationServer{}, indexSecret, secretsOfServer),
	}
}

func clientIndexes() []index {
	type object = v1alpha1.OAuthClient
	return []index{
		indexed(&object{}, indexUID, func(c *object) []string { return []string{string(c.UID)} }),
		indexed(&object{}, indexServer, func(c *object) []string { return []string{keyText(serverOfClient(c))} }),
		indexed(&object{}, indexUnprogrammed, func(c *object) []string {
			return unprogrammed(serverOfClient(c), c.Status.Conditions, c.Generation)
		}),
		indexed(&object{}, indexName, func(c *object) []string { return nameKeys(c) }),
		indexed(&object{}, indexScope, func(c *object) []string {
			var keys []string
			for _, scope := range c.Spec.Scopes {
				keys = append(keys, scopeKey(serverOfClient(c), scope))
			}
			return keys
		}),
		indexed(&object{}, indexSecret, secretsOfClient),
	}
}

func secretsOfClient(c *v1alpha1.OAuthClient) []string {
	var keys []string
	if target := compile.SecretTarget(c); target != nil {
		keys = append(keys, c.Namespace+"/"+target.Name)
	}
	if c.Spec.Secret != nil && c.Spec.Secret.FromSecret != nil {
		keys = append(keys, c.Namespace+"/"+c.Spec.Secret.FromSecret.Name)
	}
	return keys
}

func userIndexes() []index {
	type object = v1alpha1.OAuthUser
	return []index{
		indexed(&object{}, indexServer, func(u *object) []string { return []string{keyText(serverOfUser(u))} }),
		indexed(&object{}, indexUnprogrammed, func(u *object) []string {
			return unprogrammed(serverOfUser(u), u.Status.Conditions, u.Generation)
		}),
		indexed(&object{}, indexName, func(u *object) []string { return nameKeys(u) }),
		indexed(&object{}, indexSecret, func(u *object) []string {
			if ref := passwordRef(u); ref != nil {
				return []string{u.Namespace + "/" + ref.Name}
			}
			return nil
		}),
	}
}

func resourceServerIndexes() []index {
	type object = v1alpha1.ResourceServer
	return []index{
		indexed(&object{}, indexServer, func(rs *object) []string { return []string{keyText(serverOfResourceServer(rs))} }),
		indexed(&object{}, indexUnprogrammed, func(rs *object) []string {
			return unprogrammed(serverOfResourceServer(rs), rs.Status.Conditions, rs.Generation)
		}),
		indexed(&object{}, indexName, func(rs *object) []string { return nameKeys(rs) }),
		indexed(&object{}, indexIntrospector, func(rs *object) []string {
			var keys []string
			for _, ref := range rs.Spec.IntrospectionClients {
				keys = append(keys, keyText(serverKey(v1alpha1.ServerReference(ref), rs.Namespace)))
			}
			return keys
		}),
	}
}

func otherIndexes() []index {
	return []index{
		indexed(&internalv1alpha1.Entry{}, indexOwner, func(e *internalv1alpha1.Entry) []string { return []string{ownerKey(e.Spec.Owner)} }),
		indexed(&internalv1alpha1.Replica{}, indexServerUID, func(r *internalv1alpha1.Replica) []string { return []string{string(r.Spec.ServerUID)} }),
		indexed(&internalv1alpha1.Usage{}, indexServerUID, func(u *internalv1alpha1.Usage) []string { return []string{string(u.Spec.ServerUID)} }),
		indexed(&internalv1alpha1.Usage{}, indexUsed, clientsIn),
		indexed(secretMetadata(), indexOwner, func(m *metav1.PartialObjectMetadata) []string {
			if owner := oauthClientOf(m); owner != nil {
				return []string{string(owner.UID)}
			}
			return nil
		}),
	}
}
