package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// byGrant is how the application of an OAuthClient gets a token, by grant type.
var byGrant = map[v1alpha1.GrantType]func(*application, context.Context) (*oauth2.Token, error){
	v1alpha1.GrantTypeAuthorizationCode: (*application).byCode,
	v1alpha1.GrantTypeImplicit:          (*application).byImplicit,
	v1alpha1.GrantTypePassword:          (*application).byPassword,
	v1alpha1.GrantTypeClientCredentials: (*application).byClientCredentials,
	v1alpha1.GrantTypeRefreshToken:      (*application).byRefresh,
}

// tokenRequest is what the command line asks for.
type tokenRequest struct {
	grant                                     v1alpha1.GrantType
	kubeconfig, namespace, name, user, prompt string
}

// tokenCommand plays the application of an OAuthClient: it gets a token by the grant type, and
// prints the requests and their answers.
func tokenCommand(ctx context.Context, p paths, args []string, out io.Writer) error {
	var r tokenRequest
	flags := flag.NewFlagSet("token", flag.ContinueOnError)
	flags.StringVar(&r.namespace, "n", clientNamespace, "the namespace of the OAuthClient")
	flags.StringVar(&r.kubeconfig, "kubeconfig", p.kubeconfig(), "how to reach the cluster")
	flags.StringVar(&r.user, "user", userName, "the username, where a user takes part")
	flags.StringVar(&r.prompt, "prompt", "", "the parameter prompt of the authorization request (OpenID Connect Core section 3.1.2.1)")
	flags.Usage = func() {
		printLine(flags.Output(), "usage: %s token [flags] GRANT_TYPE [OAUTHCLIENT]\n\nGRANT_TYPE is one of %s.\n", dev, strings.Join(grantTypes(), ", "))
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() < 1 || flags.NArg() > 2 {
		return fmt.Errorf("want a grant type and an OAuthClient, such as: %s token client_credentials service", dev)
	}
	r.grant, r.name = v1alpha1.GrantType(flags.Arg(0)), flags.Arg(1)
	if byGrant[r.grant] == nil {
		return fmt.Errorf("there is no grant type %q; there are %s", r.grant, strings.Join(grantTypes(), ", "))
	}
	err := r.send(ctx, out)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%w; does `make run` run?", err)
	}
	return err
}

// send gets the token as the OAuthClient that is named, or the only one that lists the grant type.
func (r tokenRequest) send(ctx context.Context, out io.Writer) error {
	config, err := clientcmd.BuildConfigFromFlags("", r.kubeconfig)
	if err != nil {
		return err
	}
	kube, err := newClient(config)
	if err != nil {
		return err
	}
	if r.name == "" {
		if r.name, err = onlyClient(ctx, kube, r.namespace, r.grant); err != nil {
			return err
		}
	}
	a, err := newApplication(ctx, kube, r.namespace, r.name, r.user, out)
	if err != nil {
		return err
	}
	if !slices.Contains(a.object.Spec.GrantTypes, r.grant) {
		return fmt.Errorf("OAuthClient %s/%s does not list %s in spec.grantTypes, but %q", r.namespace, r.name, r.grant, a.object.Spec.GrantTypes)
	}
	a.prompt = r.prompt
	token, err := byGrant[r.grant](a, ctx)
	if err != nil {
		return err
	}
	return a.showUser(ctx, token)
}

func grantTypes() []string {
	var names []string
	for grant := range byGrant {
		names = append(names, string(grant))
	}
	slices.Sort(names)
	return names
}

// onlyClient returns the name of the one OAuthClient of the namespace that lists the grant type.
func onlyClient(ctx context.Context, kube client.Client, namespace string, grant v1alpha1.GrantType) (string, error) {
	var clients v1alpha1.OAuthClientList
	if err := kube.List(ctx, &clients, client.InNamespace(namespace)); err != nil {
		return "", err
	}
	var names []string
	for _, c := range clients.Items {
		if slices.Contains(c.Spec.GrantTypes, grant) {
			names = append(names, c.Name)
		}
	}
	switch len(names) {
	case 0:
		return "", fmt.Errorf("no OAuthClient in namespace %s lists %s in spec.grantTypes", namespace, grant)
	case 1:
		return names[0], nil
	}
	return "", fmt.Errorf("several OAuthClients in namespace %s list %s: name one of %s", namespace, grant, strings.Join(names, ", "))
}

// application is what runs a client: it knows what is registered, and has the server's metadata.
type application struct {
	*registration
	provider *oidc.Provider
	prompt   string
	out      io.Writer
}

func newApplication(ctx context.Context, kube client.Client, namespace, name, user string, out io.Writer) (*application, error) {
	r, err := register(ctx, kube, namespace, name, user)
	if err != nil {
		return nil, err
	}
	provider, err := oidc.NewProvider(ctx, r.issuer)
	if err != nil {
		return nil, err
	}
	return &application{registration: r, provider: provider, out: out}, nil
}

// shown makes the requests that are sent under the context, and their answers, be printed.
func (a *application) shown(ctx context.Context) context.Context {
	return oidc.ClientContext(ctx, &http.Client{Transport: &shownTransport{next: http.DefaultTransport, out: a.out}})
}

func (a *application) config() *oauth2.Config {
	endpoint := a.provider.Endpoint()
	endpoint.AuthStyle = oauth2.AuthStyleInParams
	if a.object.Spec.TokenEndpointAuthMethod == v1alpha1.AuthMethodBasic {
		endpoint.AuthStyle = oauth2.AuthStyleInHeader
	}
	scopes := make([]string, 0, len(a.object.Spec.Scopes))
	for _, scope := range a.object.Spec.Scopes {
		scopes = append(scopes, string(scope))
	}
	return &oauth2.Config{ClientID: a.clientID, ClientSecret: a.clientSecret, Endpoint: endpoint, Scopes: scopes}
}

func (a *application) byClientCredentials(ctx context.Context) (*oauth2.Token, error) {
	c := a.config()
	config := clientcredentials.Config{
		ClientID: c.ClientID, ClientSecret: c.ClientSecret, TokenURL: c.Endpoint.TokenURL, Scopes: c.Scopes, AuthStyle: c.Endpoint.AuthStyle,
	}
	return config.Token(a.shown(ctx))
}

func (a *application) byPassword(ctx context.Context) (*oauth2.Token, error) {
	if a.password == "" {
		return nil, fmt.Errorf("no Secret holds the password of the user %q", a.username)
	}
	return a.config().PasswordCredentialsToken(a.shown(ctx), a.username, a.password)
}

// byRefresh gets a refresh token by the client's other grant type first.
func (a *application) byRefresh(ctx context.Context) (*oauth2.Token, error) {
	begin := a.byCode
	if slices.Contains(a.object.Spec.GrantTypes, v1alpha1.GrantTypePassword) {
		begin = a.byPassword
	}
	token, err := begin(ctx)
	if err != nil {
		return nil, err
	}
	if token.RefreshToken == "" {
		return nil, errors.New("the answer has no refresh token")
	}
	token.Expiry = time.Unix(1, 0) // so that the library refreshes it
	return a.config().TokenSource(a.shown(ctx), token).Token()
}

// idToken verifies the ID token of an answer; nil if it has none.
func (a *application) idToken(ctx context.Context, token *oauth2.Token) (*oidc.IDToken, error) {
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return nil, nil
	}
	verified, err := a.provider.Verifier(&oidc.Config{ClientID: a.clientID}).Verify(ctx, raw)
	if err != nil {
		return nil, fmt.Errorf("the ID token: %w", err)
	}
	return verified, nil
}

// showUser verifies the ID token, if there is one, and asks the userinfo endpoint about the user.
func (a *application) showUser(ctx context.Context, token *oauth2.Token) error {
	idToken, err := a.idToken(ctx, token)
	if idToken == nil {
		return err
	}
	var claims map[string]any
	if err := idToken.Claims(&claims); err != nil {
		return err
	}
	printLine(a.out, "The signature of the ID token is good. Its claims:\n%s\n", indented(claims))
	if token.AccessToken == "" {
		return nil
	}
	if _, err := a.provider.UserInfo(a.shown(ctx), oauth2.StaticTokenSource(token)); err != nil {
		return fmt.Errorf("asking who the user is: %w", err)
	}
	return nil
}
