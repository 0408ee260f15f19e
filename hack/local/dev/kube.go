package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

func newClient(c *rest.Config) (client.Client, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	return client.New(c, client.Options{Scheme: scheme})
}

// registration is what a workload knows of its client: from the object, its server and the Secret
// that the operator has written.
type registration struct {
	object       v1alpha1.OAuthClient
	issuer       string
	clientID     string
	clientSecret string // empty for a public client

	username string
	password string // empty where the user is not a local one with a password in a Secret
}

func register(ctx context.Context, kube client.Client, namespace, name, username string) (*registration, error) {
	r := &registration{username: username}
	if err := kube.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &r.object); err != nil {
		return nil, err
	}
	ref := client.ObjectKey{Namespace: r.object.Spec.ServerRef.Namespace, Name: r.object.Spec.ServerRef.Name}
	if ref.Namespace == "" {
		ref.Namespace = namespace
	}
	var server v1alpha1.AuthorizationServer
	if err := kube.Get(ctx, ref, &server); err != nil {
		return nil, err
	}
	r.issuer, r.clientID = server.Spec.Issuer, r.object.Status.ClientID
	if r.clientID == "" {
		return nil, fmt.Errorf("OAuthClient %s/%s has no client id yet: kubectl oauth explain client/%s -n %s says why", namespace, name, name, namespace)
	}
	var err error
	if r.password, err = passwordOf(ctx, kube, ref, username); err != nil {
		return nil, err
	}
	r.clientSecret, err = clientSecretOf(ctx, kube, &r.object)
	return r, err
}

// clientSecretOf reads the secret of a client from where the operator has written it, or from where
// the operator has it from. Empty for a public client.
func clientSecretOf(ctx context.Context, kube client.Client, c *v1alpha1.OAuthClient) (string, error) {
	switch method := c.Spec.TokenEndpointAuthMethod; {
	case method == v1alpha1.AuthMethodNone:
		return "", nil
	case !method.UsesSecret():
		return "", fmt.Errorf("OAuthClient %s/%s authenticates by %s, without a secret: kubectl oauth token client/%s -n %s gets its tokens",
			c.Namespace, c.Name, method, c.Name, c.Namespace)
	}
	name, key := c.Status.SecretName, "client_secret"
	if source := c.Spec.Secret; name == "" && source != nil && source.FromSecret != nil {
		name, key = source.FromSecret.Name, source.FromSecret.Key
	}
	if name == "" {
		return "", fmt.Errorf("OAuthClient %s/%s has no Secret yet: kubectl oauth explain client/%s -n %s says why", c.Namespace, c.Name, c.Name, c.Namespace)
	}
	var secret corev1.Secret
	if err := kube.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: name}, &secret); err != nil {
		return "", err
	}
	return string(secret.Data[key]), nil
}

// passwordOf reads the password of a local user of the server from its Secret. Empty if there is no
// such user or Secret.
func passwordOf(ctx context.Context, kube client.Client, server client.ObjectKey, username string) (string, error) {
	var users v1alpha1.OAuthUserList
	if err := kube.List(ctx, &users, client.InNamespace(server.Namespace)); err != nil {
		return "", err
	}
	for _, u := range users.Items {
		ref := u.Spec.PasswordSecretRef
		if u.Spec.ServerRef.Name != server.Name || u.Spec.Username != username || ref == nil {
			continue
		}
		var secret corev1.Secret
		if err := kube.Get(ctx, client.ObjectKey{Namespace: u.Namespace, Name: ref.Name}, &secret); err != nil {
			return "", client.IgnoreNotFound(err)
		}
		return string(secret.Data[ref.Key]), nil
	}
	return "", nil
}
