package testenv

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/browser"
)

// Context returns the test's context for golang.org/x/oauth2 and go-oidc: it carries e.HTTP.
func (e *Env) Context() context.Context { return oidc.ClientContext(e.T.Context(), e.HTTP) }

// Config returns the client's configuration for golang.org/x/oauth2, as the workload reads it from
// its Secret.
func (e *Env) Config(c *v1alpha1.OAuthClient, scopes ...string) *oauth2.Config {
	e.T.Helper()
	config := &oauth2.Config{
		ClientID: c.Status.ClientID, RedirectURL: e.Callback, Scopes: scopes,
		Endpoint: oauth2.Endpoint{AuthURL: e.Issuer + "/authorize", TokenURL: e.Issuer + "/token", AuthStyle: oauth2.AuthStyleInParams},
	}
	if !c.Spec.TokenEndpointAuthMethod.UsesSecret() {
		return config
	}
	secret := e.SecretOf(c)
	config.ClientID, config.ClientSecret = string(secret.Data["client_id"]), string(secret.Data["client_secret"])
	config.Endpoint.TokenURL = string(secret.Data["token_endpoint"])
	if c.Spec.TokenEndpointAuthMethod == v1alpha1.AuthMethodBasic {
		config.Endpoint.AuthStyle = oauth2.AuthStyleInHeader
	}
	return config
}

// SecretOf returns the client's Secret.
func (e *Env) SecretOf(c *v1alpha1.OAuthClient) *corev1.Secret {
	e.T.Helper()
	secret := &corev1.Secret{}
	if err := Kube.Get(e.T.Context(), client.ObjectKey{Namespace: c.Namespace, Name: c.Status.SecretName}, secret); err != nil {
		e.T.Fatal(err)
	}
	return secret
}

// NewBrowser returns a browser that trusts the server's certificate and stays within the issuer.
func (e *Env) NewBrowser() *browser.Browser { return browser.New(e.HTTP.Transport, e.Issuer) }

// SignIn opens the URL of an authorization request in a new browser, signs in as alice, and returns
// the URL of the response, at the Callback.
func (e *Env) SignIn(address string) *url.URL {
	e.T.Helper()
	return e.SignInWith(e.NewBrowser(), address, Password)
}

// SignInWith is SignIn in a browser, which may be signed in, with another password.
func (e *Env) SignInWith(b *browser.Browser, address, password string) *url.URL {
	e.T.Helper()
	page, err := b.SignIn(e.T.Context(), address, Username, password)
	if err != nil {
		e.T.Fatal(err)
	}
	if !strings.HasPrefix(page.At.String(), e.Callback) {
		e.T.Fatalf("the browser is at %s: %s", page.At, page.Body)
	}
	return page.At
}

// Open opens a page.
func (e *Env) Open(b *browser.Browser, address string) browser.Page {
	e.T.Helper()
	page, err := b.Get(e.T.Context(), address)
	if err != nil {
		e.T.Fatal(err)
	}
	return page
}

// Post sends a form, authenticated by HTTP Basic if c is not nil, and returns the status and the
// decoded JSON body.
func (e *Env) Post(endpoint string, c *oauth2.Config, form url.Values) (int, map[string]any) {
	e.T.Helper()
	request, err := http.NewRequestWithContext(e.T.Context(), http.MethodPost, e.Issuer+endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		e.T.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if c != nil {
		request.SetBasicAuth(url.QueryEscape(c.ClientID), url.QueryEscape(c.ClientSecret))
	}
	return e.do(request)
}

// Get sends a GET request, with a bearer token unless token is "".
func (e *Env) Get(endpoint, token string) (int, map[string]any) {
	e.T.Helper()
	request, err := http.NewRequestWithContext(e.T.Context(), http.MethodGet, e.Issuer+endpoint, nil)
	if err != nil {
		e.T.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	return e.do(request)
}

func (e *Env) do(request *http.Request) (int, map[string]any) {
	e.T.Helper()
	response, err := e.HTTP.Do(request)
	if err != nil {
		e.T.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		e.T.Fatal(err)
	}
	answer := map[string]any{}
	if len(body) > 0 {
		if err := json.Unmarshal(body, &answer); err != nil {
			e.T.Fatalf("%s answered %d %q", request.URL.Path, response.StatusCode, body)
		}
	}
	return response.StatusCode, answer
}

// IsActive reports whether the introspection endpoint says that a token is active.
func (e *Env) IsActive(c *oauth2.Config, token string) bool {
	e.T.Helper()
	status, answer := e.Post("/introspect", c, url.Values{"token": {token}})
	if status != http.StatusOK {
		e.T.Fatalf("introspection answered %d %v", status, answer)
	}
	return answer["active"] == true
}
