package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/cluster"
	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/issuer"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

type tokenCommand struct {
	*options

	authority     string
	issuer        string
	scopes        []string
	resources     []string
	username      string
	passwordStdin bool
	refreshFile   string
	source        credentialSource
	output        string
}

func newTokenCommand(o *options) *cobra.Command {
	t := &tokenCommand{options: o}
	command := &cobra.Command{
		Use:   "token client/NAME",
		Short: "Request a token as a client, by the flows that need no browser",
		Long: `Request a token as a client, by the flows that need no browser, and print the
access token, or with -o json the whole answer of the token server.

The client's secret is read from its Secret, if you may read that. For a client with
workloadIdentities a token of its ServiceAccount is requested, if you may do that.
The flow is client_credentials, unless you give a username (password) or a refresh
token.`,
		Example: `  curl -H "Authorization: Bearer $(kubectl oauth token client/billing -n shop)" https://orders.example.com
  kubectl oauth token client/legacy --username alice -o json`,
		Args:              oneArgument("client/NAME"),
		ValidArgsFunction: o.completeNames(cluster.KindClient),
		RunE:              func(c *cobra.Command, args []string) error { return t.run(c.Context(), args[0]) },
	}
	flags := command.Flags()
	flags.StringArrayVar(&t.scopes, "scope", nil, "Scope to ask for; may be repeated. Default: what the token server grants without.")
	flags.StringArrayVar(&t.resources, "resource", nil, "Resource that the token is for (RFC 8707); may be repeated.")
	flags.StringVar(&t.username, "username", "", "Use the grant type password, for this user. Asks for the password.")
	flags.BoolVar(&t.passwordStdin, "password-stdin", false, "Read the password from standard input.")
	flags.StringVar(&t.refreshFile, "refresh-token-file", "", "Use the grant type refresh_token, with the token in this file; - for standard input.")
	flags.StringVar(&t.source.serviceAccount, "service-account", "", "ServiceAccount to be, [NAMESPACE/]NAME, where workloadIdentities lists several.")
	flags.StringVar(&t.source.assertionFile, "client-assertion-file", "", "File with the JWT that authenticates the client; - for standard input.")
	addIssuerFlags(command, &t.issuer, &t.authority)
	addOutputFlag(command, &t.output)
	return command
}

func addIssuerFlags(command *cobra.Command, issuer, authority *string) {
	command.Flags().StringVar(issuer, "issuer", "", "Issuer. Default: that of the client's AuthorizationServer.")
	command.Flags().StringVar(authority, "issuer-certificate-authority", "", "Path to a PEM file of authorities for the issuer's certificate. Default: the system's.")
}

func (t *tokenCommand) run(ctx context.Context, argument string) error {
	if err := checkOutput(t.output); err != nil {
		return err
	}
	reference, err := cluster.ParseReference(argument, cluster.KindClient)
	if err != nil {
		return usageError("%w", err)
	}
	if t.username != "" && t.refreshFile != "" {
		return usageError("--username and --refresh-token-file are for two grant types: leave out one")
	}
	c, namespace, err := t.cluster()
	if err != nil {
		return err
	}
	object := &v1alpha1.OAuthClient{}
	if err := c.Get(ctx, object, namespace, reference.Name); err != nil {
		return err
	}
	form, err := t.form(object)
	if err != nil {
		return err
	}
	credentials, address, err := t.readCredentials(ctx, c, object)
	if err != nil {
		return err
	}
	http, err := issuer.NewHTTPClient(t.authority)
	if err != nil {
		return err
	}
	tokens, err := issuer.Request(ctx, http, compile.Endpoints(address).Token, credentials, form)
	if refused := (*issuer.Refused)(nil); errors.As(err, &refused) {
		return fmt.Errorf("%w (kubectl oauth explain client/%s says what the client may have)", err, object.Name)
	}
	if err != nil {
		return err
	}
	return t.printTokens(tokens, t.output)
}

// printTokens prints the access token alone, or the whole answer.
func (o *options) printTokens(tokens issuer.Tokens, output string) error {
	if output == outputJSON {
		return o.printJSON(tokens)
	}
	_, err := fmt.Fprintln(o.out, tokens.AccessToken)
	return err
}

// form returns the parameters of the request. The client must list the grant type, so that the
// caller is not asked for a password in vain.
func (t *tokenCommand) form(object *v1alpha1.OAuthClient) (url.Values, error) {
	grant := oauth.GrantClientCredentials
	switch {
	case t.username != "":
		grant = oauth.GrantPassword
	case t.refreshFile != "":
		grant = oauth.GrantRefreshToken
	}
	if !slices.Contains(object.Spec.GrantTypes, v1alpha1.GrantType(grant)) {
		return nil, fmt.Errorf("OAuthClient %s/%s does not list %s in spec.grantTypes, but %q: %s",
			object.Namespace, object.Name, grant, object.Spec.GrantTypes, otherFlow(object))
	}
	form := url.Values{"grant_type": {grant}}
	if len(t.scopes) > 0 {
		form.Set("scope", oauth.FormatScope(t.scopes))
	}
	if len(t.resources) > 0 {
		form["resource"] = t.resources
	}
	switch grant {
	case oauth.GrantPassword:
		password, err := t.readPassword()
		if err != nil {
			return nil, err
		}
		form.Set("username", t.username)
		form.Set("password", password)
	case oauth.GrantRefreshToken:
		content, err := readFile(t.options, t.refreshFile)
		if err != nil {
			return nil, fmt.Errorf("reading the refresh token: %w", err)
		}
		form.Set("refresh_token", strings.TrimSpace(string(content)))
	}
	return form, nil
}

// otherFlow says how else the client gets a token.
func otherFlow(object *v1alpha1.OAuthClient) string {
	for _, grant := range object.Spec.GrantTypes {
		switch grant {
		case v1alpha1.GrantTypeAuthorizationCode:
			return "its users sign in with kubectl oauth login client/" + object.Name
		case v1alpha1.GrantTypePassword:
			return "name a user with --username"
		}
	}
	return "another client may"
}

// readPassword asks for the password without showing it.
func (t *tokenCommand) readPassword() (string, error) {
	if t.passwordStdin {
		line, err := bufio.NewReader(t.in).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("reading the password: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	terminal, ok := t.in.(*os.File)
	if !ok || !term.IsTerminal(int(terminal.Fd())) {
		return "", usageError("there is no terminal to ask for the password at: use --password-stdin")
	}
	fmt.Fprintf(t.errOut, "Password for %s: ", t.username)
	password, err := term.ReadPassword(int(terminal.Fd()))
	fmt.Fprintln(t.errOut)
	if err != nil {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	return string(password), nil
}
