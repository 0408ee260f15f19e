package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// Paths in the printed commands count from the root of the checkout.
const (
	// setup has a shell find kubectl, its plugin and the cluster.
	setup = "export KUBECONFIG=$PWD/bin/local/kubeconfig PATH=$PWD/bin/local:$PATH"
	dev   = "bin/local/dev"
)

// flow is something to try: what it is called, and a command that does it when it is pasted into a
// shell.
type flow struct {
	title, command string
}

// printFlows prints how to get a token by each of the flows.
func printFlows(ctx context.Context, kube client.Client, p paths, out io.Writer) error {
	var server v1alpha1.AuthorizationServer
	if err := kube.Get(ctx, client.ObjectKey{Namespace: serverNamespace, Name: serverName}, &server); err != nil {
		return err
	}
	var clients v1alpha1.OAuthClientList
	if err := kube.List(ctx, &clients, client.InNamespace(clientNamespace)); err != nil {
		return err
	}
	printLine(out, `
Everything runs. The issuer is %s. Paste these into another terminal, in %s, the first line first.

# kubectl, its plugin and this cluster
%s

# What there is
kubectl get oauth -A

# Would the requests of a client succeed, and if not, why?
%s

Each of these gets a token. Those of %s show the requests that they send and their answers.
`, server.Spec.Issuer, p.root, setup, explainCommand, dev)
	for _, f := range flows(clients.Items) {
		printLine(out, "# %s\n%s\n", f.title, f.command)
	}
	if example := curl(server.Spec.Issuer, clients.Items); example != "" {
		printLine(out, "# A token for a service, with curl and the Secret that the operator wrote\n%s\n", example)
	}
	printLine(out, `The programs' logs are in %s. Ctrl-C stops everything; the data stays for the next run.`, p.logs())
	return nil
}

// explainCommand is for a client of the samples.
const explainCommand = "kubectl oauth explain client/service -n " + clientNamespace

// tokenCommandFor is the plugin's command where it has one, for those are what users have on a
// cluster.
func tokenCommandFor(grant v1alpha1.GrantType, c v1alpha1.OAuthClient) string {
	switch {
	case grant == v1alpha1.GrantTypeClientCredentials:
		return fmt.Sprintf("kubectl oauth token client/%s -n %s", c.Name, c.Namespace)
	case grant == v1alpha1.GrantTypeAuthorizationCode && c.Spec.TokenEndpointAuthMethod == v1alpha1.AuthMethodNone:
		return fmt.Sprintf("kubectl oauth login client/%s -n %s", c.Name, c.Namespace)
	}
	return fmt.Sprintf("%s token %s %s", dev, grant, c.Name)
}

// flows are the clients and what each does to get a token, in the order of the README.
func flows(clients []v1alpha1.OAuthClient) []flow {
	var all []flow
	add := func(grant v1alpha1.GrantType, title func(c v1alpha1.OAuthClient) string) {
		for _, c := range clients {
			if what := title(c); what != "" && slices.Contains(c.Spec.GrantTypes, grant) {
				all = append(all, flow{what, tokenCommandFor(grant, c)})
			}
		}
	}
	always := func(title string) func(v1alpha1.OAuthClient) string {
		return func(v1alpha1.OAuthClient) string { return title }
	}
	add(v1alpha1.GrantTypeAuthorizationCode, func(c v1alpha1.OAuthClient) string {
		if c.Spec.TokenEndpointAuthMethod == v1alpha1.AuthMethodNone {
			return "Authorization Code with PKCE: a native application, which has no secret"
		}
		return "Authorization Code with PKCE: a web application"
	})
	add(v1alpha1.GrantTypeClientCredentials, always("Client Credentials: a service, for itself"))
	add(v1alpha1.GrantTypeRefreshToken, func(c v1alpha1.OAuthClient) string {
		if !slices.Contains(c.Spec.GrantTypes, v1alpha1.GrantTypePassword) {
			return "" // it works with these too, after another login in the browser
		}
		return "Refresh Token: a token from the password, and then another one without it"
	})
	add(v1alpha1.GrantTypePassword, always("Resource Owner Password Credentials (legacy): an application that asks for the password itself"))
	add(v1alpha1.GrantTypeImplicit, always("Implicit (legacy): a browser application that takes its token from the redirect"))
	return all
}

// curl is the request of the first client that authenticates by HTTP Basic and acts for itself.
// Empty if there is none. Client ids and generated secrets need no encoding.
func curl(issuer string, clients []v1alpha1.OAuthClient) string {
	i := slices.IndexFunc(clients, func(c v1alpha1.OAuthClient) bool {
		return slices.Contains(c.Spec.GrantTypes, v1alpha1.GrantTypeClientCredentials) && c.Spec.TokenEndpointAuthMethod == v1alpha1.AuthMethodBasic
	})
	if i < 0 {
		return ""
	}
	c := clients[i]
	secret := fmt.Sprintf("kubectl get secret -n %s %s -o go-template='{{.data.client_secret | base64decode}}'", c.Namespace, c.Status.SecretName)
	return strings.Join([]string{"curl -sS", fmt.Sprintf(`-u "%s:$(%s)"`, c.Status.ClientID, secret), "-d grant_type=client_credentials", issuer + "/token"}, " ")
}
