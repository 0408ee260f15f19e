package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/cluster"
	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/issuer"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
)

// credentialSource is where credentials come from that are in no Secret.
type credentialSource struct {
	serviceAccount string // "[namespace/]name"
	assertionFile  string
}

// readCredentials returns how a client authenticates, and its issuer.
func (t *tokenCommand) readCredentials(ctx context.Context, c *cluster.Cluster, object *v1alpha1.OAuthClient) (issuer.Credentials, string, error) {
	credentials := issuer.Credentials{ClientID: compile.ClientID(object), Method: string(object.Spec.TokenEndpointAuthMethod)}
	var secret map[string][]byte
	var err error
	if object.Spec.TokenEndpointAuthMethod.UsesSecret() && t.source.assertionFile == "" {
		if credentials.Secret, secret, err = readSecret(ctx, c, object); err != nil {
			return credentials, "", err
		}
	}
	address, err := findIssuer(ctx, c, object, t.issuer, secret)
	if err != nil {
		return credentials, "", err
	}
	switch method := object.Spec.TokenEndpointAuthMethod; {
	case t.source.assertionFile != "":
		content, err := readFile(t.options, t.source.assertionFile)
		if err != nil {
			return credentials, "", fmt.Errorf("reading the client assertion: %w", err)
		}
		credentials.Assertion = strings.TrimSpace(string(content))
	case method == v1alpha1.AuthMethodWorkloadIdentity:
		account, err := t.source.findServiceAccount(object)
		if err != nil {
			return credentials, "", err
		}
		if credentials.Assertion, err = c.RequestToken(ctx, account.Namespace, account.Name, address); err != nil {
			return credentials, "", fmt.Errorf("the client authenticates by a token of the ServiceAccount %s: %w", account, err)
		}
	case !object.Spec.TokenEndpointAuthMethod.UsesSecret() && method != v1alpha1.AuthMethodNone:
		return credentials, "", fmt.Errorf("only the client itself has the key for %s: give an assertion that it has signed with --client-assertion-file", method)
	}
	return credentials, address, nil
}

// findServiceAccount returns the ServiceAccount that is the client: the one that is given, or the
// only one that the client lists.
func (s credentialSource) findServiceAccount(object *v1alpha1.OAuthClient) (client.ObjectKey, error) {
	var listed []client.ObjectKey
	for _, identity := range object.Spec.WorkloadIdentities {
		if account := identity.ServiceAccount; account != nil {
			key := client.ObjectKey{Namespace: account.Namespace, Name: account.Name}
			if key.Namespace == "" {
				key.Namespace = object.Namespace
			}
			listed = append(listed, key)
		}
	}
	name := "OAuthClient " + object.Namespace + "/" + object.Name
	if s.serviceAccount != "" {
		for _, key := range listed {
			if s.serviceAccount == key.String() || s.serviceAccount == key.Name && key.Namespace == object.Namespace {
				return key, nil
			}
		}
		return client.ObjectKey{}, fmt.Errorf("%s does not list the ServiceAccount %s in spec.workloadIdentities, but %v", name, s.serviceAccount, listed)
	}
	switch len(listed) {
	case 0:
		return client.ObjectKey{}, fmt.Errorf("%s lists no ServiceAccount in spec.workloadIdentities: give a token of its workload with --client-assertion-file", name)
	case 1:
		return listed[0], nil
	}
	return client.ObjectKey{}, usageError("%s lists several ServiceAccounts in spec.workloadIdentities: choose one of %v with --service-account", name, listed)
}

// readSecret returns the client secret, and the content of the Secret that it is in.
func readSecret(ctx context.Context, c *cluster.Cluster, object *v1alpha1.OAuthClient) (string, map[string][]byte, error) {
	name, key := object.Status.SecretName, compile.SecretKeyClientSecret
	if source := object.Spec.Secret; name == "" && source != nil && source.FromSecret != nil {
		name, key = source.FromSecret.Name, source.FromSecret.Key
	}
	if name == "" {
		return "", nil, fmt.Errorf("OAuthClient %s/%s has no Secret yet: kubectl oauth explain client/%s says why", object.Namespace, object.Name, object.Name)
	}
	var secret corev1.Secret
	if err := c.Get(ctx, &secret, object.Namespace, name); err != nil {
		return "", nil, fmt.Errorf("the client authenticates with its Secret: %w", err)
	}
	if len(secret.Data[key]) == 0 {
		return "", nil, fmt.Errorf("the Secret %s/%s has no key %s", object.Namespace, name, key)
	}
	return string(secret.Data[key]), secret.Data, nil
}

// findIssuer returns the issuer of a client: the one that is given, or that of its
// AuthorizationServer. Who may not read that finds it in the client's Secret or ConfigMap.
func findIssuer(ctx context.Context, c *cluster.Cluster, object *v1alpha1.OAuthClient, given string, secret map[string][]byte) (string, error) {
	if given != "" {
		return given, issuer.CheckURL(given)
	}
	key := serverKey(object)
	server := &v1alpha1.AuthorizationServer{}
	err := c.Get(ctx, server, key.Namespace, key.Name)
	found := server.Spec.Issuer
	if errors.As(err, new(*cluster.MissingRight)) {
		found = writtenIssuer(ctx, c, object, secret)
	}
	if found == "" {
		return "", fmt.Errorf("finding the issuer, which --issuer may name: %w", err)
	}
	return found, issuer.CheckURL(found)
}

// writtenIssuer returns the issuer that the operator wrote into the client's Secret or ConfigMap;
// empty if there is none. One that spec.secret.target.data or spec.configMap.data puts there instead
// is not used: else who may write the OAuthClient, and read no Secret, could have another user's
// client secret sent to any address.
func writtenIssuer(ctx context.Context, c *cluster.Cluster, object *v1alpha1.OAuthClient, secret map[string][]byte) string {
	replaced := false
	if target := compile.SecretTarget(object); target != nil {
		_, replaced = target.Data[compile.SecretKeyIssuer]
	}
	if found := string(secret[compile.SecretKeyIssuer]); found != "" && !replaced {
		return found
	}
	target := object.Spec.ConfigMap
	if target == nil {
		return ""
	}
	var configMap corev1.ConfigMap
	_, replaced = target.Data[compile.SecretKeyIssuer]
	if replaced || c.Get(ctx, &configMap, object.Namespace, target.Name) != nil {
		return ""
	}
	return configMap.Data[compile.SecretKeyIssuer]
}
