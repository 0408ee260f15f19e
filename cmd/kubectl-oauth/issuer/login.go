package issuer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// Login is a public client at an issuer.
type Login struct {
	HTTP      *http.Client
	Issuer    string
	ClientID  string
	Scopes    []string
	Resources []string // RFC 8707
	// RedirectURI is the registered one. The request has another port if that is free to choose.
	RedirectURI string

	provider *oidc.Provider
}

// discover reads the issuer's metadata, which must be of this issuer (OpenID Connect Discovery
// section 4.3).
func (l *Login) discover(ctx context.Context) error {
	if l.provider != nil {
		return nil
	}
	provider, err := oidc.NewProvider(ctx, l.Issuer)
	if err != nil {
		return fmt.Errorf("reading the metadata of %s: %w", l.Issuer, explainUnreachable(err))
	}
	if err := checkEndpoints(provider); err != nil {
		return fmt.Errorf("reading the metadata of %s: %w", l.Issuer, err)
	}
	l.provider = provider
	return nil
}

// checkEndpoints returns an error unless the endpoints of an issuer may be used: the system opens
// the first as it opens what the user clicks on, of any scheme, and the others get codes and say who
// the user is.
func checkEndpoints(provider *oidc.Provider) error {
	var keys struct {
		URI string `json:"jwks_uri"`
	}
	if err := provider.Claims(&keys); err != nil {
		return err
	}
	return errors.Join(
		checkAddress("authorization_endpoint in the metadata", provider.Endpoint().AuthURL),
		checkAddress("token_endpoint in the metadata", provider.Endpoint().TokenURL),
		checkAddress("jwks_uri in the metadata", keys.URI),
	)
}

// InBrowser has the user sign in: it hands the URL of the authorization request to show, and waits
// for the answer. The ID token is verified; nil if the scope openid is not asked for.
//
// The request has PKCE (RFC 7636), state and nonce, and the answer must name the issuer (RFC 9207):
// without these another program or page could have its own code exchanged here.
func (l *Login) InBrowser(ctx context.Context, show func(url string) error) (Tokens, *oidc.IDToken, error) {
	ctx = oidc.ClientContext(ctx, l.HTTP)
	if err := l.discover(ctx); err != nil {
		return Tokens{}, nil, err
	}
	answers, err := listen(l.RedirectURI)
	if err != nil {
		return Tokens{}, nil, err
	}
	defer answers.close()
	state, nonce, verifier := rand.Text(), rand.Text(), oauth2.GenerateVerifier()
	config := oauth2.Config{ClientID: l.ClientID, Endpoint: l.provider.Endpoint(), RedirectURL: answers.redirectURI, Scopes: l.Scopes}
	address, err := withResources(config.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier), oidc.Nonce(nonce)), l.Resources)
	if err != nil {
		return Tokens{}, nil, err
	}
	if err := show(address); err != nil {
		return Tokens{}, nil, err
	}
	answer, err := answers.wait(ctx, state)
	if err != nil {
		return Tokens{}, nil, err
	}
	if iss := answer.Get("iss"); iss != l.Issuer { // RFC 9207 section 2.4
		return Tokens{}, nil, fmt.Errorf("the answer is that of another issuer: its iss is %q, want %q", iss, l.Issuer)
	}
	if code := answer.Get("error"); code != "" {
		return Tokens{}, nil, &Refused{Code: code, Description: answer.Get("error_description")}
	}
	tokens, err := l.request(ctx, url.Values{
		"grant_type": {oauth.GrantAuthorizationCode}, "code": {answer.Get("code")},
		"redirect_uri": {answers.redirectURI}, "code_verifier": {verifier},
	})
	if err != nil {
		return Tokens{}, nil, err
	}
	idToken, err := l.verify(ctx, tokens)
	if err == nil && idToken != nil && idToken.Nonce != nonce { // OpenID Connect Core section 3.1.3.7
		return Tokens{}, nil, errors.New("the ID token belongs to another login: its nonce is another one")
	}
	return tokens, idToken, err
}

// ErrOtherUser means that a refreshed ID token is about another user than the one before (OpenID
// Connect Core section 12.2).
var ErrOtherUser = errors.New("the refreshed ID token is about another user")

// Refresh exchanges a refresh token. The answer has the same refresh token if the server gave no
// other one.
func (l *Login) Refresh(ctx context.Context, refreshToken, subject string) (Tokens, *oidc.IDToken, error) {
	ctx = oidc.ClientContext(ctx, l.HTTP)
	if err := l.discover(ctx); err != nil {
		return Tokens{}, nil, err
	}
	tokens, err := l.request(ctx, url.Values{"grant_type": {oauth.GrantRefreshToken}, "refresh_token": {refreshToken}})
	if err != nil {
		return Tokens{}, nil, err
	}
	if tokens.RefreshToken == "" {
		tokens.RefreshToken = refreshToken
	}
	idToken, err := l.verify(ctx, tokens)
	if err == nil && idToken != nil && idToken.Subject != subject {
		return Tokens{}, nil, ErrOtherUser
	}
	return tokens, idToken, err
}

func (l *Login) request(ctx context.Context, form url.Values) (Tokens, error) {
	if len(l.Resources) > 0 {
		form["resource"] = l.Resources
	}
	return Request(ctx, l.HTTP, l.provider.Endpoint().TokenURL, Credentials{ClientID: l.ClientID, Method: oauth.AuthMethodNone}, form)
}

// verify verifies the ID token of an answer: signature, issuer, audience and expiry. Nil if openid
// was not asked for.
func (l *Login) verify(ctx context.Context, tokens Tokens) (*oidc.IDToken, error) {
	if !slices.Contains(l.Scopes, oauth.ScopeOpenID) {
		return nil, nil
	}
	if tokens.IDToken == "" {
		return nil, errors.New("the answer has no ID token: may the client have the scope openid?")
	}
	idToken, err := l.provider.Verifier(&oidc.Config{ClientID: l.ClientID}).Verify(ctx, tokens.IDToken)
	if err != nil {
		return nil, fmt.Errorf("verifying the ID token: %w", err)
	}
	return idToken, nil
}

// withResources adds the parameter resource once for each (RFC 8707 section 2), which package
// oauth2 cannot.
func withResources(address string, resources []string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	query := u.Query()
	for _, resource := range resources {
		query.Add("resource", resource)
	}
	u.RawQuery = query.Encode()
	return u.String(), nil
}
