package controllers

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/names"
)

// Indexes of the cache, besides those of package names. They find the objects that are reconciled
// when another one changes, without a walk over all objects.
const (
	indexUID          = "uid"          // OAuthClients and IdentityProviders by their UID
	indexServer       = "server"       // objects by the AuthorizationServer to which they refer, "<namespace>/<name>"
	indexUnprogrammed = "unprogrammed" // the same, but only objects that token servers do not serve yet
	indexScope        = "scope"        // OAuthClients by a scope that they register, as names.Key
	indexSecret       = "secret"       // objects by a Secret to which they refer, "<namespace>/<name>"
	indexIntrospector = "introspector" // ResourceServers by a client that may introspect, "<namespace>/<name>"
	indexIssuer       = "issuer"       // AuthorizationServers by their issuer
	indexServerUID    = "serverUID"    // Replicas, Usages and AuthorizationServers by the UID of the server
	indexConfigMap    = "configMap"    // objects by a ConfigMap to which they refer, "<namespace>/<name>"
	indexClientUID    = "clientUID"    // Secrets and ConfigMaps by the UID of the OAuthClient to which they belong
	indexUsed         = "used"         // Usages by the UIDs of the clients whose credentials were used
)

func scopeKey(server client.ObjectKey, scope string) string {
	return names.Key(server, compile.Name{Space: internalv1alpha1.SpaceScope, Value: scope})
}

// Kinds of which the cache holds metadata.
const (
	secretKind    = "Secret"
	configMapKind = "ConfigMap"
)

// secretMetadata returns an empty object of the kind by which Secrets are cached.
func secretMetadata() *metav1.PartialObjectMetadata { return metadataOf(secretKind) }

// configMapMetadata returns an empty object of the kind by which ConfigMaps are cached.
func configMapMetadata() *metav1.PartialObjectMetadata { return metadataOf(configMapKind) }

func metadataOf(kind string) *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
	return m
}

func metadataListOf(kind string) *metav1.PartialObjectMetadataList {
	l := &metav1.PartialObjectMetadataList{}
	l.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind + "List"))
	return l
}

type index struct {
	object client.Object
	field  string
	values client.IndexerFunc
}

// indexed returns an index whose values are computed from objects of one kind.
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
	all = append(all, identityIndexes()...)
	all = append(all, resourceServerIndexes()...)
	all = append(all, identityProviderIndexes()...)
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
		indexed(&v1alpha1.AuthorizationServer{}, indexConfigMap, configMapsOfServer),
	}
}

func clientIndexes() []index {
	type object = v1alpha1.OAuthClient
	return []index{
		indexed(&object{}, indexUID, func(c *object) []string { return []string{string(c.UID)} }),
		indexed(&object{}, indexServer, func(c *object) []string { return []string{names.ServerOf(c).String()} }),
		indexed(&object{}, indexUnprogrammed, func(c *object) []string {
			return unprogrammedKeys(names.ServerOf(c), c.Status.Conditions, c.Generation)
		}),
		indexed(&object{}, names.IndexName, func(c *object) []string { return names.Keys(c) }),
		indexed(&object{}, indexScope, func(c *object) []string {
			var keys []string
			for _, scope := range c.Spec.Scopes {
				keys = append(keys, scopeKey(names.ServerOf(c), scope))
			}
			return keys
		}),
		indexed(&object{}, indexSecret, secretsOfClient),
		indexed(&object{}, indexConfigMap, func(c *object) []string {
			if c.Spec.ConfigMap == nil {
				return nil
			}
			return []string{c.Namespace + "/" + c.Spec.ConfigMap.Name}
		}),
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
	if c.Spec.JWKSSecretRef != nil {
		keys = append(keys, c.Namespace+"/"+c.Spec.JWKSSecretRef.Name)
	}
	return keys
}

func userIndexes() []index {
	type object = v1alpha1.OAuthUser
	return []index{
		indexed(&object{}, indexServer, func(u *object) []string { return []string{names.ServerOf(u).String()} }),
		indexed(&object{}, indexUnprogrammed, func(u *object) []string {
			return unprogrammedKeys(names.ServerOf(u), u.Status.Conditions, u.Generation)
		}),
		indexed(&object{}, names.IndexName, func(u *object) []string { return names.Keys(u) }),
		indexed(&object{}, indexSecret, func(u *object) []string {
			if ref := passwordRef(u); ref != nil {
				return []string{u.Namespace + "/" + ref.Name}
			}
			return nil
		}),
	}
}

// identityIndexes are of the OAuthIdentities whose spec says something: few of many.
func identityIndexes() []index {
	type object = v1alpha1.OAuthIdentity
	return []index{
		indexed(&object{}, indexServer, func(o *object) []string {
			if !o.Spec.SaysSomething() {
				return nil
			}
			return []string{names.ServerOf(o).String()}
		}),
		indexed(&object{}, indexUnprogrammed, func(o *object) []string {
			if !o.Spec.SaysSomething() {
				return nil
			}
			return unprogrammedKeys(names.ServerOf(o), o.Status.Conditions, o.Generation)
		}),
	}
}

func resourceServerIndexes() []index {
	type object = v1alpha1.ResourceServer
	return []index{
		indexed(&object{}, indexServer, func(rs *object) []string { return []string{names.ServerOf(rs).String()} }),
		indexed(&object{}, indexUnprogrammed, func(rs *object) []string {
			return unprogrammedKeys(names.ServerOf(rs), rs.Status.Conditions, rs.Generation)
		}),
		indexed(&object{}, names.IndexName, func(rs *object) []string { return names.Keys(rs) }),
		indexed(&object{}, indexIntrospector, func(rs *object) []string {
			var keys []string
			for _, ref := range rs.Spec.IntrospectionClients {
				keys = append(keys, names.ResolveReference(v1alpha1.ServerReference(ref), rs.Namespace).String())
			}
			return keys
		}),
	}
}

func identityProviderIndexes() []index {
	type object = v1alpha1.IdentityProvider
	return []index{
		indexed(&object{}, indexUID, func(p *object) []string { return []string{string(p.UID)} }),
		indexed(&object{}, indexServer, func(p *object) []string { return []string{names.ServerOf(p).String()} }),
		indexed(&object{}, indexUnprogrammed, func(p *object) []string {
			return unprogrammedKeys(names.ServerOf(p), p.Status.Conditions, p.Generation)
		}),
		indexed(&object{}, names.IndexName, func(p *object) []string { return names.Keys(p) }),
		indexed(&object{}, indexSecret, secretsOfProvider),
		indexed(&object{}, indexConfigMap, configMapsOfProvider),
	}
}

func otherIndexes() []index {
	return []index{
		indexed(&internalv1alpha1.Entry{}, names.IndexOwner, func(e *internalv1alpha1.Entry) []string { return []string{names.OwnerKey(e.Spec.Owner)} }),
		indexed(&internalv1alpha1.Replica{}, indexServerUID, func(r *internalv1alpha1.Replica) []string { return []string{string(r.Spec.ServerUID)} }),
		indexed(&internalv1alpha1.Usage{}, indexServerUID, func(u *internalv1alpha1.Usage) []string { return []string{string(u.Spec.ServerUID)} }),
		indexed(&internalv1alpha1.Usage{}, indexUsed, clientUIDsIn),
		indexed(secretMetadata(), indexClientUID, uidOfClient),
		indexed(configMapMetadata(), indexClientUID, uidOfClient),
	}
}

// uidOfClient returns the UID of the OAuthClient to which a Secret or ConfigMap belongs, if any.
func uidOfClient(m *metav1.PartialObjectMetadata) []string {
	if owner := compile.OAuthClientOf(m); owner != nil {
		return []string{string(owner.UID)}
	}
	return nil
}
