package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/terminal"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// Credentials are how a client authenticates at the token endpoint.
type Credentials struct {
	ClientID string
	// Method is client_secret_basic, client_secret_post or none. It does not matter with Assertion.
	Method string
	Secret string
	// Assertion is a JWT that stands for the client's secret (RFC 7523 section 2.2).
	Assertion string
}

// assertionType is the client_assertion_type of a JWT (RFC 7523 section 2.2).
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// Tokens are the answer to a token request (RFC 6749 section 5.1).
type Tokens struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in,omitempty"`
	RefreshToken string `json:"refresh_token,omitempty"`
	Scope        string `json:"scope,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
}

// Refused is an error response of the token server (RFC 6749 sections 4.1.2.1 and 5.2).
type Refused struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

func (r *Refused) Error() string {
	return "the token server refuses the request: " + terminal.Printable(strings.TrimSuffix(r.Code+": "+r.Description, ": "))
}

// isToken reports whether a value has the characters of an access token (RFC 6749 appendix A.12).
func isToken(value string) bool {
	return value != "" && !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' })
}

// Request sends a token request with the parameters of its grant type.
func Request(ctx context.Context, h *http.Client, endpoint string, c Credentials, form url.Values) (Tokens, error) {
	request, err := newRequest(ctx, endpoint, c, form)
	if err != nil {
		return Tokens{}, err
	}
	response, err := h.Do(request)
	if err != nil {
		return Tokens{}, fmt.Errorf("requesting a token: %w", explainUnreachable(err))
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return Tokens{}, fmt.Errorf("requesting a token: %w", err)
	}
	if response.StatusCode == http.StatusOK {
		var tokens Tokens
		if err := json.Unmarshal(body, &tokens); err != nil || !isToken(tokens.AccessToken) {
			return Tokens{}, fmt.Errorf("%s answers with something else than a token: is it the token endpoint?", endpoint)
		}
		return tokens, nil
	}
	refused := &Refused{}
	if err := json.Unmarshal(body, refused); err != nil || refused.Code == "" {
		return Tokens{}, fmt.Errorf("%s answers %s", endpoint, terminal.Printable(response.Status))
	}
	return Tokens{}, refused
}

func newRequest(ctx context.Context, endpoint string, c Credentials, form url.Values) (*http.Request, error) {
	body := url.Values{}
	for name, values := range form {
		body[name] = values
	}
	switch {
	case c.Assertion != "":
		body.Set("client_assertion_type", assertionType)
		body.Set("client_assertion", c.Assertion)
		body.Set("client_id", c.ClientID)
	case c.Method == oauth.AuthMethodSecretPost:
		body.Set("client_id", c.ClientID)
		body.Set("client_secret", c.Secret)
	case c.Method == oauth.AuthMethodNone:
		body.Set("client_id", c.ClientID)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(body.Encode()))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	if c.Assertion == "" && c.Method == oauth.AuthMethodSecretBasic {
		request.SetBasicAuth(url.QueryEscape(c.ClientID), url.QueryEscape(c.Secret)) // RFC 6749 section 2.3.1
	}
	return request, nil
}

// IsInvalidGrant reports whether the token server refused a refresh token, a code or a password,
// rather than the client or the request.
func IsInvalidGrant(err error) bool {
	var refused *Refused
	return errors.As(err, &refused) && refused.Code == oauth.InvalidGrant
}
