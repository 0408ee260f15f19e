package main

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/cluster"
	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/explain"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
)

// readNamed reads the Secrets and the ConfigMap that a client which is not applied names, those in
// the manifest before those in the cluster.
func (g *gatherer) readNamed(ctx context.Context, o *explain.Objects) error {
	o.Secrets, o.ConfigMaps, o.LivingClients = map[string]*corev1.Secret{}, map[string]*corev1.ConfigMap{}, map[types.UID]bool{}
	isKnown, err := g.readUID(ctx, o.Client)
	if err != nil {
		return err
	}
	var names []string
	for _, key := range []*compile.SecretKey{compile.FromSecretKey(o.Client), compile.JWKSSecretKey(o.Client)} {
		if key != nil {
			names = append(names, key.Ref.Name)
		}
	}
	target := compile.SecretTarget(o.Client)
	if target != nil {
		names = append(names, target.Name)
	}
	for _, name := range names {
		secret, err := readOne(ctx, g, &corev1.Secret{}, g.manifest.secrets, o.Client.Namespace, name)
		switch {
		case g.note(err):
			continue
		case err != nil:
			return err
		case secret != nil && target != nil && name == target.Name:
			if !isKnown {
				continue // it may be the client's own
			}
			if err := g.readOwners(ctx, o, secret); err != nil {
				return err
			}
		}
		o.Secrets[name] = secret
	}
	if o.Client.Spec.ConfigMap == nil {
		return nil
	}
	m, err := readOne(ctx, g, &corev1.ConfigMap{}, g.manifest.configMaps, o.Client.Namespace, o.Client.Spec.ConfigMap.Name)
	if g.note(err) || err == nil && m != nil && !isKnown {
		return nil
	}
	o.ConfigMaps[o.Client.Spec.ConfigMap.Name] = m
	if err != nil || m == nil {
		return err
	}
	return g.readOwners(ctx, o, m)
}

// readUID gives the client the UID of the one that it replaces, if there is one, so that what that
// owns is its own. It reports whether that is known.
func (g *gatherer) readUID(ctx context.Context, c *v1alpha1.OAuthClient) (bool, error) {
	var applied v1alpha1.OAuthClient
	err := g.cluster.Get(ctx, &applied, c.Namespace, c.Name)
	switch {
	case err == nil:
		c.UID = applied.UID
	case g.note(err):
		return false, nil
	case !errors.Is(err, cluster.ErrNotFound):
		return false, err
	}
	return true, nil
}

// readOne reads an object of the manifest or else of the cluster; nil if there is none.
func readOne[T client.Object](ctx context.Context, g *gatherer, into T, manifest []T, namespace, name string) (found T, err error) {
	for _, object := range manifest {
		if object.GetNamespace() == namespace && object.GetName() == name {
			return object, nil
		}
	}
	err = g.cluster.Get(ctx, into, namespace, name)
	if errors.Is(err, cluster.ErrNotFound) {
		return found, nil
	}
	return into, err
}

// readOwners notes which of the OAuthClients to which an object belongs exist, or may: who may not
// read them is not told that one is gone.
func (g *gatherer) readOwners(ctx context.Context, o *explain.Objects, m metav1.Object) error {
	owners, _ := compile.OtherOwners(o.Client, m)
	for _, owner := range owners {
		var c v1alpha1.OAuthClient
		err := g.cluster.Get(ctx, &c, owner.Namespace, owner.Name)
		switch {
		case err == nil:
			o.LivingClients[owner.UID] = c.UID == owner.UID
		case g.note(err):
			o.LivingClients[owner.UID] = true
		case !errors.Is(err, cluster.ErrNotFound):
			return err
		}
	}
	return nil
}
