package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"slices"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// loginCommand plays the application of an OAuthClient: it sends the user to the login page, takes the answer at the client's own redirect
// URI, and does with it what the client's grant types are for.
func loginCommand(ctx context.Context, p paths, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("login", flag.ContinueOnError)
	namespace := flags.String("n", clientNamespace, "the namespace of the OAuthClient")
	kubeconfig := flags.String("kubeconfig", p.kubeconfig(), "how to reach the cluster")
	prompt := flags.String("prompt", "", "the prompt parameter (OpenID Connect Core section 3.1.2.1): none, login or consent")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("which OAuthClient? For instance: dev login web")
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	kube, err := newClient(config)
	if err != nil {
		return err
	}
	r, err := register(ctx, kube, *namespace, flags.Arg(0))
	if err != nil {
		return err
	}
	provider, err := oidc.NewProvider(ctx, r.issuer)
	if err != nil {
		return err
	}
	answers, err := listenForCallback(r.object.Spec.RedirectURIs)
	if err != nil {
		return err
	}
	defer answers.close()
	l := &login{registration: r, provider: provider, answers: answers, prompt: *prompt, out: out}
	if slices.Contains(r.object.Spec.GrantTypes, v1alpha1.GrantTypeAuthorizationCode) {
		return l.withCode(ctx)
	}
	return l.implicit(ctx)
}

// login is one authorization request and what comes of it.
type login struct {
	*registration
	provider *oidc.Provider
	answers  *callback
	prompt   string
	out      io.Writer
}

func (l *login) config() *oauth2.Config {
	endpoint := l.provider.Endpoint()
	endpoint.AuthStyle = oauth2.AuthStyleInParams
	if l.object.Spec.TokenEndpointAuthMethod == v1alpha1.AuthMethodBasic {
		endpoint.AuthStyle = oauth2.AuthStyleInHeader
	}
	scopes := make([]string, 0, len(l.object.Spec.Scopes))
	for _, scope := range l.object.Spec.Scopes {
		scopes = append(scopes, string(scope))
	}
	return &oauth2.Config{
		ClientID: l.clientID, ClientSecret: l.clientSecret, Endpoint: endpoint, RedirectURL: l.answers.redirectURI, Scopes: scopes,
	}
}

// ask shows the URL of an authorization request and returns the answer to it.
func (l *login) ask(ctx context.Context, config *oauth2.Config, options ...oauth2.AuthCodeOption) (url.Values, error) {
	if l.prompt != "" {
		options = append(options, oauth2.SetAuthURLParam("prompt", l.prompt))
	}
	state := rand.Text()
	say(l.out, "Open this in a browser on this machine, and sign in as alice (Ctrl-C gives up):\n\n%s\n", config.AuthCodeURL(state, options...))
	answer, err := l.answers.wait(ctx)
	if err != nil {
		return nil, err
	}
	if answer.Get("state") != state {
		return nil, errors.New("the answer is not to this request: its state is another one")
	}
	if iss := answer.Get("iss"); iss != l.issuer { // RFC 9207 section 2.4
		return nil, fmt.Errorf("the answer is another server's: its iss is %q", iss)
	}
	if code := answer.Get("error"); code != "" {
		return nil, fmt.Errorf("the server answers %s: %s", code, answer.Get("error_description"))
	}
	return answer, nil
}

// withCode is the Authorization Code flow with PKCE, and a refresh where the client may refresh.
func (l *login) withCode(ctx context.Context) error {
	config, verifier, nonce := l.config(), oauth2.GenerateVerifier(), rand.Text()
	answer, err := l.ask(ctx, config, oauth2.S256ChallengeOption(verifier), oidc.Nonce(nonce))
	if err != nil {
		return err
	}
	token, err := config.Exchange(ctx, answer.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		return err
	}
	if err := l.show(ctx, "The token response", token, nonce); err != nil {
		return err
	}
	if token.RefreshToken == "" {
		return nil
	}
	token.Expiry = time.Unix(1, 0) // so that the library refreshes it
	token, err = config.TokenSource(ctx, token).Token()
	if err != nil {
		return err
	}
	return l.show(ctx, "After a refresh", token, "")
}

// implicit is the Implicit flow: the tokens come with the answer (RFC 6749 section 4.2, OpenID Connect Core section 3.2).
func (l *login) implicit(ctx context.Context) error {
	config, nonce, responseType := l.config(), rand.Text(), "token"
	if slices.Contains(config.Scopes, oidc.ScopeOpenID) {
		responseType = "id_token token"
	}
	answer, err := l.ask(ctx, config, oauth2.SetAuthURLParam("response_type", responseType), oidc.Nonce(nonce))
	if err != nil {
		return err
	}
	extra := map[string]any{}
	for name := range answer {
		extra[name] = answer.Get(name)
	}
	token := (&oauth2.Token{AccessToken: answer.Get("access_token"), TokenType: answer.Get("token_type")}).WithExtra(extra)
	return l.show(ctx, "The authorization response", token, nonce)
}

// show prints the tokens, verifies the ID token if there is one, and asks the userinfo endpoint who the user is.
func (l *login) show(ctx context.Context, title string, token *oauth2.Token, nonce string) error {
	say(l.out, "%s\n  access_token   %s", title, token.AccessToken)
	if token.RefreshToken != "" {
		say(l.out, "  refresh_token  %s", token.RefreshToken)
	}
	if scope, ok := token.Extra("scope").(string); ok {
		say(l.out, "  scope          %s", scope)
	}
	if raw, ok := token.Extra("id_token").(string); ok {
		verified, err := l.provider.Verifier(&oidc.Config{ClientID: l.clientID}).Verify(ctx, raw)
		if err != nil {
			return fmt.Errorf("the ID token: %w", err)
		}
		if nonce != "" && verified.Nonce != nonce {
			return errors.New("the ID token is of another request: its nonce is another one")
		}
		var claims json.RawMessage
		if err := verified.Claims(&claims); err != nil {
			return err
		}
		say(l.out, "  id_token       %s\n                 verified: %s", raw, claims)
	}
	if slices.Contains(l.config().Scopes, oidc.ScopeOpenID) {
		info, err := l.provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
		if err != nil {
			return fmt.Errorf("asking who the user is: %w", err)
		}
		var claims json.RawMessage
		if err := info.Claims(&claims); err != nil {
			return err
		}
		say(l.out, "  userinfo       %s", claims)
	}
	say(l.out, "")
	return nil
}
