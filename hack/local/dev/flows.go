package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// Paths in the printed commands count from the root of the checkout.
const (
	kubectl = "bin/local/kubectl --kubeconfig bin/local/kubeconfig"
	dev     = "bin/local/dev"
)

// flow is something to try: what it is called, and commands that do it when they are pasted into a shell.
type flow struct {
	title    string
	commands []string
}

// printFlows tells how to get a token by each of the flows.
func printFlows(ctx context.Context, kube client.Client, p paths, out io.Writer) error {
	var server v1alpha1.AuthorizationServer
	if err := kube.Get(ctx, client.ObjectKey{Namespace: serverNamespace, Name: serverName}, &server); err != nil {
		return err
	}
	var clients v1alpha1.OAuthClientList
	if err := kube.List(ctx, &clients, client.InNamespace(clientNamespace)); err != nil {
		return err
	}
	request := "curl -sS"
	if _, err := exec.LookPath("curl"); err != nil {
		request = dev + " request"
	}
	say(out, `
Everything runs. The issuer is %s. Paste these into another terminal, in %s:
`, server.Spec.Issuer, p.root)
	for _, f := range flows(server.Spec.Issuer, request, clients.Items) {
		say(out, "# %s\n%s\n", f.title, strings.Join(f.commands, "\n"))
	}
	say(out, `# What there is
%s get oauth -A

`+"`dev login`"+` prints the URL of the login page; sign in as alice, with the password that this prints:
%s -n %s get secret alice -o go-template='{{.data.password | base64decode}}{{"\n"}}'

The programs' logs are in %s. Ctrl-C stops everything; the data stays for the next run.`, kubectl, kubectl, serverNamespace, p.logs())
	return nil
}

func flows(issuer, request string, clients []v1alpha1.OAuthClient) []flow {
	with := func(grant v1alpha1.GrantType, do func(c v1alpha1.OAuthClient)) {
		for _, c := range clients {
			if slices.Contains(c.Spec.GrantTypes, grant) {
				do(c)
			}
		}
	}
	token := issuer + "/token"
	var all []flow
	add := func(title string, commands ...string) { all = append(all, flow{title, commands}) }

	with(v1alpha1.GrantTypeClientCredentials, func(c v1alpha1.OAuthClient) {
		add(fmt.Sprintf("Client Credentials: %q gets a token for itself", c.Name),
			fmt.Sprintf("%s %s -d grant_type=client_credentials %s", request, credentials(c), token))
	})
	with(v1alpha1.GrantTypePassword, func(c v1alpha1.OAuthClient) {
		password := fmt.Sprintf(`%s %s -d grant_type=password -d username=alice --data-urlencode "password=$(%s)" %s`,
			request, credentials(c), read(serverNamespace, "alice", "{{.data.password | base64decode}}"), token)
		add(fmt.Sprintf("Resource Owner Password Credentials: %q asks for the password itself", c.Name), password)
		if slices.Contains(c.Spec.GrantTypes, v1alpha1.GrantTypeRefreshToken) {
			add(fmt.Sprintf("Refresh Token: %q signs in as above and then refreshes", c.Name),
				fmt.Sprintf(`refresh_token=$(%s | sed -n 's/.*"refresh_token" *: *"\([^"]*\)".*/\1/p')`, password),
				fmt.Sprintf(`%s %s -d grant_type=refresh_token -d "refresh_token=$refresh_token" %s`, request, credentials(c), token))
		}
	})
	with(v1alpha1.GrantTypeAuthorizationCode, func(c v1alpha1.OAuthClient) {
		kind := "a web application with a secret"
		if c.Spec.TokenEndpointAuthMethod == v1alpha1.AuthMethodNone {
			kind = "a native application without a secret"
		}
		add(fmt.Sprintf("Authorization Code with PKCE, then Refresh Token: %q, %s", c.Name, kind), dev+" login "+c.Name)
	})
	with(v1alpha1.GrantTypeImplicit, func(c v1alpha1.OAuthClient) {
		add(fmt.Sprintf("Implicit: %q, a legacy browser application", c.Name), dev+" login "+c.Name)
	})
	return all
}

// credentials are the arguments by which curl authenticates as the client. Client ids and generated secrets need no encoding.
func credentials(c v1alpha1.OAuthClient) string {
	switch c.Spec.TokenEndpointAuthMethod {
	case v1alpha1.AuthMethodBasic:
		return fmt.Sprintf(`-u "$(%s)"`, read(c.Namespace, c.Status.SecretName,
			"{{.data.client_id | base64decode}}:{{.data.client_secret | base64decode}}"))
	case v1alpha1.AuthMethodPost:
		return fmt.Sprintf(`-d "$(%s)"`, read(c.Namespace, c.Status.SecretName,
			"client_id={{.data.client_id | base64decode}}&client_secret={{.data.client_secret | base64decode}}"))
	}
	return "-d client_id=" + c.Status.ClientID
}

// read is a command that prints data of a Secret.
func read(namespace, secret, template string) string {
	return fmt.Sprintf("%s -n %s get secret %s -o go-template='%s'", kubectl, namespace, secret, template)
}
