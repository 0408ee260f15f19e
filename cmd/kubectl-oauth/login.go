package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientauthenticationv1 "k8s.io/client-go/pkg/apis/clientauthentication/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/cluster"
	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/issuer"
	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/tokencache"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

type loginCommand struct {
	*options

	login          issuer.Login
	authority      string
	noBrowser      bool
	timeout        time.Duration
	execCredential bool
	cacheDir       string
	output         string
}

func newLoginCommand(o *options) *cobra.Command {
	l := &loginCommand{options: o}
	command := &cobra.Command{
		Use:   "login [client/NAME] [--issuer URL --client-id ID]",
		Short: "Sign in with a browser at a public client, and print the token",
		Long: `Sign in with a browser at a public client (tokenEndpointAuthMethod: none) that has a
redirect URI at a loopback address, such as http://127.0.0.1/callback, and print the
access token, or with -o json the whole answer of the token server.

The client is an OAuthClient that you may read, or one by its issuer and client id.
With --exec-credential the program is the exec credential plugin of a kubeconfig: it
prints the ID token as an ExecCredential, keeps it with the refresh token in a file
that you alone may read, and needs no access to the cluster.`,
		Example: `  kubectl oauth login client/cli -n shop
  kubectl config set-credentials oauth --exec-api-version=client.authentication.k8s.io/v1 \
    --exec-interactive-mode=IfAvailable --exec-command=kubectl-oauth --exec-arg=login \
    --exec-arg=--exec-credential --exec-arg=--issuer=https://auth.example.com --exec-arg=--client-id=kubernetes`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: o.completeNames(cluster.KindClient),
		RunE:              func(c *cobra.Command, args []string) error { return l.run(c.Context(), args) },
	}
	flags := command.Flags()
	addIssuerFlags(command, &l.login.Issuer, &l.authority)
	flags.StringVar(&l.login.ClientID, "client-id", "", "Client id, with --issuer in place of client/NAME.")
	flags.StringVar(&l.login.RedirectURI, "redirect-uri", "", "Redirect URI as registered. Default: the client's first at a loopback address; with --client-id http://127.0.0.1/callback.")
	flags.StringArrayVar(&l.login.Scopes, "scope", nil, "Scope to ask for; may be repeated. Default: those of the client; with --client-id openid.")
	flags.StringArrayVar(&l.login.Resources, "resource", nil, "Resource that the token is for (RFC 8707); may be repeated.")
	flags.BoolVar(&l.noBrowser, "no-browser", false, "Print the URL and open no browser.")
	flags.DurationVar(&l.timeout, "timeout", 5*time.Minute, "How long to wait until you have signed in.")
	flags.BoolVar(&l.execCredential, "exec-credential", false, "Print an ExecCredential of client.authentication.k8s.io/v1.")
	flags.StringVar(&l.cacheDir, "token-cache-dir", "", "Where --exec-credential keeps tokens. Default: oauth-login in the cache directory of kubectl.")
	addOutputFlag(command, &l.output)
	return command
}

func (l *loginCommand) run(ctx context.Context, args []string) error {
	if err := l.check(args); err != nil {
		return err
	}
	if len(args) > 0 {
		if err := l.readClient(ctx, args[0]); err != nil {
			return err
		}
	}
	if l.login.RedirectURI == "" {
		l.login.RedirectURI = "http://127.0.0.1/callback"
	}
	if len(l.login.Scopes) == 0 {
		l.login.Scopes = []string{oauth.ScopeOpenID}
	}
	if err := issuer.CheckURL(l.login.Issuer); err != nil {
		return err
	}
	var err error
	if l.login.HTTP, err = issuer.NewHTTPClient(l.authority); err != nil {
		return err
	}
	if l.execCredential {
		return l.printExecCredential(ctx)
	}
	tokens, _, err := l.inBrowser(ctx)
	if err != nil {
		return err
	}
	return l.printTokens(tokens, l.output)
}

func (l *loginCommand) check(args []string) error {
	if err := checkOutput(l.output); err != nil {
		return err
	}
	if (len(args) > 0) == (l.login.ClientID != "") {
		return usageError("want either client/NAME, or --issuer and --client-id")
	}
	if l.login.ClientID != "" && l.login.Issuer == "" {
		return usageError("--client-id needs --issuer")
	}
	if l.execCredential && l.output != "" {
		return usageError("--exec-credential has a format of its own: leave out --output")
	}
	return nil
}

// readClient takes from an OAuthClient what the flags do not say.
func (l *loginCommand) readClient(ctx context.Context, argument string) error {
	reference, err := cluster.ParseReference(argument, cluster.KindClient)
	if err != nil {
		return usageError("%w", err)
	}
	c, namespace, err := l.cluster()
	if err != nil {
		return err
	}
	object := &v1alpha1.OAuthClient{}
	if err := c.Get(ctx, object, namespace, reference.Name); err != nil {
		return err
	}
	name := "OAuthClient " + object.Namespace + "/" + object.Name
	if object.Spec.TokenEndpointAuthMethod != v1alpha1.AuthMethodNone {
		return fmt.Errorf("%s is confidential (spec.tokenEndpointAuthMethod: %s), so that its own application has to sign users in: this needs a client with none",
			name, object.Spec.TokenEndpointAuthMethod)
	}
	if !slices.Contains(object.Spec.GrantTypes, v1alpha1.GrantTypeAuthorizationCode) {
		return fmt.Errorf("%s does not list authorization_code in spec.grantTypes", name)
	}
	l.login.ClientID = compile.ClientID(object)
	if len(l.login.Scopes) == 0 {
		l.login.Scopes = object.Spec.Scopes
	}
	if l.login.RedirectURI == "" {
		if l.login.RedirectURI, err = issuer.RedirectURI(object.Spec.RedirectURIs); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	l.login.Issuer, err = findIssuer(ctx, c, object, l.login.Issuer, nil)
	return err
}

// inBrowser has the user sign in.
func (l *loginCommand) inBrowser(ctx context.Context) (issuer.Tokens, *oidc.IDToken, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, l.timeout, fmt.Errorf("the user has not signed in within %s (--timeout)", l.timeout))
	defer cancel()
	return l.login.InBrowser(ctx, func(address string) error {
		fmt.Fprintf(l.errOut, "Sign in with a browser on this machine at\n\n%s\n\n", address)
		if l.noBrowser {
			return nil
		}
		if err := issuer.OpenBrowser(address); err != nil {
			fmt.Fprintf(l.errOut, "%v: open the URL yourself\n", err)
		}
		return nil
	})
}

// printExecCredential prints the ID token for the program that called, from the cache if it can.
func (l *loginCommand) printExecCredential(ctx context.Context) error {
	if !slices.Contains(l.login.Scopes, oauth.ScopeOpenID) {
		return usageError("--exec-credential needs the scope openid, by which there is an ID token")
	}
	if err := checkExecInfo(os.Getenv("KUBERNETES_EXEC_INFO")); err != nil {
		return err
	}
	entry, err := l.cached(ctx)
	if err != nil {
		return err
	}
	return l.printJSON(clientauthenticationv1.ExecCredential{
		TypeMeta: metav1.TypeMeta{APIVersion: clientauthenticationv1.SchemeGroupVersion.String(), Kind: "ExecCredential"},
		Status:   &clientauthenticationv1.ExecCredentialStatus{Token: entry.IDToken, ExpirationTimestamp: &metav1.Time{Time: entry.Expiry}},
	})
}

// checkExecInfo returns an error if the caller wants another version of ExecCredential. Without a
// caller that says so, a person tries the command.
func checkExecInfo(text string) error {
	if text == "" {
		return nil
	}
	var info metav1.TypeMeta
	if err := json.Unmarshal([]byte(text), &info); err != nil {
		return fmt.Errorf("reading KUBERNETES_EXEC_INFO: %w", err)
	}
	if want := clientauthenticationv1.SchemeGroupVersion.String(); info.APIVersion != want {
		return fmt.Errorf("the kubeconfig has apiVersion %s for this user: set it to %s", info.APIVersion, want)
	}
	return nil
}

// expirySlack is how long a token must still be good to be handed out: the caller has yet to send it.
const expirySlack = 10 * time.Second

// cached returns a good ID token: the one in the cache, or one by its refresh token, or one by a
// login. Other calls wait meanwhile, and find it in the cache.
func (l *loginCommand) cached(ctx context.Context) (entry tokencache.Entry, err error) {
	cache, err := l.openCache(ctx)
	if err != nil {
		return entry, err
	}
	defer func() { err = errors.Join(err, cache.Close()) }()
	if entry, err = cache.Read(); err != nil {
		return entry, err
	}
	if entry.IDToken != "" && l.now().Add(expirySlack).Before(entry.Expiry) {
		return entry, nil
	}
	tokens, idToken, err := l.refreshOrLogin(ctx, entry)
	if err != nil {
		return entry, err
	}
	entry = tokencache.Entry{IDToken: tokens.IDToken, RefreshToken: tokens.RefreshToken, Subject: idToken.Subject, Expiry: idToken.Expiry}
	if err := cache.Write(entry); err != nil {
		fmt.Fprintln(l.errOut, err) // the token is good all the same
	}
	return entry, nil
}

func (l *loginCommand) openCache(ctx context.Context) (*tokencache.Cache, error) {
	dir := l.cacheDir
	if dir == "" {
		var err error
		if dir, err = tokencache.Dir(); err != nil {
			return nil, err
		}
	}
	key := tokencache.Key{
		Issuer: l.login.Issuer, ClientID: l.login.ClientID, Scopes: l.login.Scopes, Resources: l.login.Resources, RedirectURI: l.login.RedirectURI,
	}
	if l.authority != "" {
		content, err := os.ReadFile(l.authority)
		if err != nil {
			return nil, err
		}
		key.Authority = string(content)
	}
	return tokencache.Open(ctx, dir, key)
}

// refreshOrLogin refreshes if it can. Only a refresh token that is over leads to the browser: a
// server that is away does not, since it could not sign the user in either.
func (l *loginCommand) refreshOrLogin(ctx context.Context, entry tokencache.Entry) (issuer.Tokens, *oidc.IDToken, error) {
	if entry.RefreshToken != "" {
		tokens, idToken, err := l.login.Refresh(ctx, entry.RefreshToken, entry.Subject)
		if !issuer.IsInvalidGrant(err) && !errors.Is(err, issuer.ErrOtherUser) {
			return tokens, idToken, err
		}
	}
	return l.inBrowser(ctx)
}
