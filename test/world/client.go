package world

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
	"github.com/oauth-operator/oauth-operator/test/person"
)

// Context is the test's, for golang.org/x/oauth2 and go-oidc: it carries the HTTP client.
func (w *World) Context() context.Context { return oidc.ClientContext(w.T.Context(), w.HTTP) }

// Config is what the workload would read from its Secret, for golang.org/x/oauth2.
func (w *World) Config(c *v1alpha1.OAuthClient, scopes ...string) *oauth2.Config {
	w.T.Helper()
	config := &oauth2.Config{
		ClientID: c.Status.ClientID, RedirectURL: w.Callback, Scopes: scopes,
		Endpoint: oauth2.Endpoint{AuthURL: w.Issuer + "/authorize", TokenURL: w.Issuer + "/token", AuthStyle: oauth2.AuthStyleInParams},
	}
	if c.Spec.TokenEndpointAuthMethod == v1alpha1.AuthMethodNone {
		return config
	}
	secret := w.Secret(c)
	config.ClientID, config.ClientSecret = string(secret.Data["client_id"]), string(secret.Data["client_secret"])
	config.Endpoint.TokenURL = string(secret.Data["token_endpoint"])
	if c.Spec.TokenEndpointAuthMethod == v1alpha1.AuthMethodBasic {
		config.Endpoint.AuthStyle = oauth2.AuthStyleInHeader
	}
	return config
}

// Secret is what the workload mounts.
func (w *World) Secret(c *v1alpha1.OAuthClient) *corev1.Secret {
	w.T.Helper()
	secret := &corev1.Secret{}
	if err := Kube.Get(w.T.Context(), client.ObjectKey{Namespace: c.Namespace, Name: c.Status.SecretName}, secret); err != nil {
		w.T.Fatal(err)
	}
	return secret
}

// Browser is a person's who trusts the World's Authority.
func (w *World) Browser() *person.Browser {
	w.T.Helper()
	b, err := person.New()
	if err != nil {
		w.T.Fatal(err)
	}
	b.Through(w.HTTP.Transport)
	return b
}

// SignIn follows the authorization request as alice and returns where the browser is sent.
func (w *World) SignIn(address string) *url.URL {
	w.T.Helper()
	b := w.Browser()
	b.Follow(w.Issuer)
	if err := b.SignIn(address, w.Issuer, Username, Password); err != nil {
		w.T.Fatal(err)
	}
	if !strings.HasPrefix(b.At.String(), w.Callback) {
		w.T.Fatalf("sent to %s", b.At)
	}
	return b.At
}

// Post sends a form, with the client's credentials as HTTP Basic if there is a client, and returns the status and the JSON answer.
func (w *World) Post(endpoint string, c *oauth2.Config, form url.Values) (int, map[string]any) {
	w.T.Helper()
	request, err := http.NewRequestWithContext(w.T.Context(), http.MethodPost, w.Issuer+endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		w.T.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if c != nil {
		request.SetBasicAuth(url.QueryEscape(c.ClientID), url.QueryEscape(c.ClientSecret))
	}
	return w.do(request)
}

// Get asks with a bearer token, if there is one.
func (w *World) Get(endpoint, token string) (int, map[string]any) {
	w.T.Helper()
	request, err := http.NewRequestWithContext(w.T.Context(), http.MethodGet, w.Issuer+endpoint, nil)
	if err != nil {
		w.T.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	return w.do(request)
}

func (w *World) do(request *http.Request) (int, map[string]any) {
	w.T.Helper()
	response, err := w.HTTP.Do(request)
	if err != nil {
		w.T.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		w.T.Fatal(err)
	}
	answer := map[string]any{}
	if len(body) > 0 {
		if err := json.Unmarshal(body, &answer); err != nil {
			w.T.Fatalf("%s answered %d %q", request.URL.Path, response.StatusCode, body)
		}
	}
	return response.StatusCode, answer
}

// Active asks the introspection endpoint whether a token is active.
func (w *World) Active(c *oauth2.Config, token string) bool {
	w.T.Helper()
	status, answer := w.Post("/introspect", c, url.Values{"token": {token}})
	if status != http.StatusOK {
		w.T.Fatalf("introspection answered %d %v", status, answer)
	}
	return answer["active"] == true
}
