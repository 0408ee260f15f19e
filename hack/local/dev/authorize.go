package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// ask prints the URL of an authorization request, for a browser, and returns the answer to it.
func (a *application) ask(ctx context.Context, answers *callback, config *oauth2.Config, options ...oauth2.AuthCodeOption) (url.Values, error) {
	if a.prompt != "" {
		options = append(options, oauth2.SetAuthURLParam("prompt", a.prompt))
	}
	who := a.username
	if a.password != "" {
		who += " with the password " + a.password
	}
	state := rand.Text()
	printLine(a.out, "Open this in a browser on this machine, and sign in as %s (Ctrl-C gives up):\n\n%s\n", who, config.AuthCodeURL(state, options...))
	answer, err := answers.wait(ctx)
	if err != nil {
		return nil, err
	}
	if answer.Get("state") != state {
		return nil, errors.New("the answer is not to this request: its state is another one")
	}
	if iss := answer.Get("iss"); iss != a.issuer { // RFC 9207 section 2.4
		return nil, fmt.Errorf("the answer is another server's: its iss is %q", iss)
	}
	if code := answer.Get("error"); code != "" {
		return nil, fmt.Errorf("the server answers %s: %s", code, answer.Get("error_description"))
	}
	shown := map[string]string{}
	for name := range answer {
		shown[name] = answer.Get(name)
	}
	printLine(a.out, "The answer at %s\n%s\n", config.RedirectURL, indented(shown))
	return answer, nil
}

// byCode is the Authorization Code flow with PKCE (RFC 6749 section 4.1, RFC 7636).
func (a *application) byCode(ctx context.Context) (*oauth2.Token, error) {
	answers, err := listenForCallback(a.object.Spec.RedirectURIs)
	if err != nil {
		return nil, err
	}
	defer answers.close()
	config, verifier, nonce := a.config(), oauth2.GenerateVerifier(), rand.Text()
	config.RedirectURL = answers.redirectURI
	answer, err := a.ask(ctx, answers, config, oauth2.S256ChallengeOption(verifier), oidc.Nonce(nonce))
	if err != nil {
		return nil, err
	}
	token, err := config.Exchange(a.shown(ctx), answer.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		return nil, err
	}
	return token, a.sameNonce(ctx, token, nonce)
}

// byImplicit is the Implicit flow: the tokens come with the answer (RFC 6749 section 4.2, OpenID
// Connect Core section 3.2).
func (a *application) byImplicit(ctx context.Context) (*oauth2.Token, error) {
	answers, err := listenForCallback(a.object.Spec.RedirectURIs)
	if err != nil {
		return nil, err
	}
	defer answers.close()
	config, nonce, responseType := a.config(), rand.Text(), "token"
	if slices.Contains(config.Scopes, oidc.ScopeOpenID) {
		responseType = "id_token token"
	}
	config.RedirectURL = answers.redirectURI
	answer, err := a.ask(ctx, answers, config, oauth2.SetAuthURLParam("response_type", responseType), oidc.Nonce(nonce))
	if err != nil {
		return nil, err
	}
	extra := map[string]any{}
	for name := range answer {
		extra[name] = answer.Get(name)
	}
	token := (&oauth2.Token{AccessToken: answer.Get("access_token"), TokenType: answer.Get("token_type")}).WithExtra(extra)
	return token, a.sameNonce(ctx, token, nonce)
}

// sameNonce returns an error if the token has an ID token that belongs to another request (OpenID
// Connect Core section 3.1.3.7).
func (a *application) sameNonce(ctx context.Context, token *oauth2.Token, nonce string) error {
	idToken, err := a.idToken(ctx, token)
	if idToken == nil {
		return err
	}
	if idToken.Nonce != nonce {
		return errors.New("the ID token belongs to another request: its nonce is another one")
	}
	return nil
}
