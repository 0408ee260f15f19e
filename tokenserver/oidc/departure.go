package oidc

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strconv"

	"golang.org/x/oauth2"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/httpserver"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// AnyAge is the MaxAge of a sign-in that may be from any time.
const AnyAge = -1

// Request is what a departure is asked for.
type Request struct {
	// RedirectURI is the address of the callback, as it is registered at the provider.
	RedirectURI string
	// LoginHint is a name to fill in; it may be empty.
	LoginHint string
	// SelectAccount lets the user choose another account than the one that is signed in there.
	SelectAccount bool
	// MaxAge is how many seconds ago the user may have signed in at the provider. 0 makes the user
	// sign in anew, as prompt=login does; AnyAge does not matter.
	MaxAge int64
}

// Pending is what the browser keeps, sealed, while its user is at the provider. All strings are
// random and are for one departure.
type Pending struct {
	State    string
	Nonce    string
	Verifier string // of PKCE (RFC 7636)
	// DepartedAt is in Unix seconds.
	DepartedAt int64
	// MaxAge is that of the Request.
	MaxAge int64
}

// CallbackURL returns the address where a provider sends users back to, which is registered there.
func CallbackURL(issuer, name string) string { return issuer + oauth.PathCallback + "/" + name }

// Depart is Provider.Depart for the provider with a document. The error for a document that cannot be
// used is an *Error too.
func (p *Providers) Depart(ctx context.Context, document documents.IdentityProvider, r Request) (string, Pending, error) {
	provider, err := p.Of(document)
	if err != nil {
		return "", Pending{}, &Error{Away, err}
	}
	return provider.Depart(ctx, r)
}

// Depart returns the URL of an authentication request (OpenID Connect Core section 3.1.2.1), and what
// has to be known when its response arrives. The error is an *Error with reason Away or NoCredential,
// or says that there is no randomness.
func (p *Provider) Depart(ctx context.Context, r Request) (to string, pending Pending, err error) {
	httpserver.Wait(ctx, func(ctx context.Context) { to, pending, err = p.depart(ctx, r) })
	return to, pending, err
}

func (p *Provider) depart(ctx context.Context, r Request) (string, Pending, error) {
	if _, _, err := p.secret(); err != nil {
		return "", Pending{}, err // better before the user signs in there than afterwards
	}
	d, err := p.discover(ctx)
	if err != nil {
		return "", Pending{}, err
	}
	pending := Pending{DepartedAt: p.providers.Now().Unix(), MaxAge: r.MaxAge}
	for _, value := range []*string{&pending.State, &pending.Nonce, &pending.Verifier} {
		if *value, err = p.random(); err != nil {
			return "", Pending{}, err
		}
	}
	var options []oauth2.AuthCodeOption
	for name, value := range p.document.OIDC.Parameters {
		if !slices.Contains(configParameters, name) {
			options = append(options, oauth2.SetAuthURLParam(name, value))
		}
	}
	options = append(options, oauth2.SetAuthURLParam("response_mode", "query"), oauth2.SetAuthURLParam("nonce", pending.Nonce),
		oauth2.S256ChallengeOption(pending.Verifier))
	if r.MaxAge != AnyAge {
		options = append(options, oauth2.SetAuthURLParam("max_age", strconv.FormatInt(r.MaxAge, 10)))
	}
	// One value: some providers refuse two, and a user who signs in anew may choose the account.
	switch {
	case r.MaxAge == 0:
		options = append(options, oauth2.SetAuthURLParam("prompt", "login"))
	case r.SelectAccount:
		options = append(options, oauth2.SetAuthURLParam("prompt", "select_account"))
	}
	if r.LoginHint != "" {
		options = append(options, oauth2.SetAuthURLParam("login_hint", r.LoginHint))
	}
	return p.config(d, r.RedirectURI, "").AuthCodeURL(pending.State, options...), pending, nil
}

// configParameters are those that the library sets before the options, which would replace them.
var configParameters = []string{"client_id", "redirect_uri", "response_type", "scope", "state"}

// config returns what the library needs for both requests of the code flow.
func (p *Provider) config(d *discovery, redirectURI, secret string) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.document.OIDC.ClientID, ClientSecret: secret, RedirectURL: redirectURI,
		Scopes:   append([]string{"openid"}, slices.DeleteFunc(slices.Clone(p.document.OIDC.Scopes), func(s string) bool { return s == "openid" })...),
		Endpoint: oauth2.Endpoint{AuthURL: d.AuthorizationEndpoint, TokenURL: d.TokenEndpoint, AuthStyle: d.authStyle()},
	}
}

// random returns 256 random bits in base64url, 43 characters, as many as a verifier needs at least.
func (p *Provider) random() (string, error) {
	value := make([]byte, 32)
	if _, err := io.ReadFull(p.providers.Random, value); err != nil {
		return "", fmt.Errorf("reading randomness for a departure: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(value), nil
}
