// Package token is the token endpoint (RFC 6749 section 3.2). Handler.Handle has five steps, and
// each grant type has a file.
//
//	token.go               the steps
//	authorization_code.go  RFC 6749 section 4.1.3, RFC 7636
//	password.go            RFC 6749 section 4.3
//	client_credentials.go  RFC 6749 section 4.4
//	refresh_token.go       RFC 6749 section 6
//	response.go            the token response
package token

import (
	"context"
	"net/http"

	"github.com/oauth-operator/oauth-operator/tokenserver/clientauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/password"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/throttle"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// Handler handles requests to the token endpoint. All fields are required.
type Handler struct {
	Clients   *clientauth.Authenticator
	Grants    *grant.Service
	Minter    *mint.Minter
	Registry  *registry.Registry
	Passwords *password.Verifier
	Throttle  *throttle.Throttle
}

// exchangeFunc issues the tokens for a request with one grant type. The client has authenticated
// and may use the grant type.
type exchangeFunc func(h *Handler, ctx context.Context, client *registry.Client, form oauth.Params) (*response, error)

// exchanges are the exchangeFuncs by grant type.
var exchanges = map[string]exchangeFunc{
	oauth.GrantAuthorizationCode: (*Handler).exchangeCode,
	oauth.GrantPassword:          (*Handler).exchangePassword,
	oauth.GrantClientCredentials: (*Handler).exchangeClientCredentials,
	oauth.GrantRefreshToken:      (*Handler).exchangeRefreshToken,
}

// Handle answers a token request.
func (h *Handler) Handle(w http.ResponseWriter, r *http.Request) error {
	// 1. Method and form.
	form, err := readForm(r)
	if err != nil {
		return err
	}
	web.NoteGrantType(r.Context(), form.Get("grant_type"))
	// 2. Client authentication.
	client, err := h.Clients.Authenticate(r, form)
	if err != nil {
		return err
	}
	web.NoteClient(r.Context(), client.ID)
	// 3. The grant type, which must be supported and allowed to this client.
	exchange, err := selectExchange(client, form)
	if err != nil {
		return err
	}
	// 4. The exchange. The keys are checked first, so that no code is used up in vain.
	if err := h.Minter.CheckReady(client); err != nil {
		return err
	}
	response, err := exchange(h, r.Context(), client, form)
	if err != nil {
		return err
	}
	// 5. The response.
	return web.JSON(w, http.StatusOK, response)
}

// bodyOnlyParams are the parameters that must not be in the URL, such as credentials.
var bodyOnlyParams = []string{
	"client_id", "client_secret", "client_assertion", "code", "code_verifier", "password", "username", "refresh_token", "grant_type",
}

func readForm(r *http.Request) (oauth.Params, error) {
	if err := oauth.RefuseInQuery(r, bodyOnlyParams...); err != nil {
		return nil, err
	}
	return oauth.ParseForm(r, true)
}

// selectExchange returns the exchangeFunc of the request's grant type. The errors tell a grant type
// that the server does not support from one that the client may not use (RFC 6749 section 5.2).
func selectExchange(client *registry.Client, form oauth.Params) (exchangeFunc, error) {
	grantType := form.Get("grant_type")
	exchange, known := exchanges[grantType]
	switch {
	case grantType == "":
		return nil, oauth.Errorf(oauth.InvalidRequest, "grant_type is missing")
	case !known:
		return nil, oauth.Errorf(oauth.UnsupportedGrantType, "the token endpoint does not know this grant_type")
	case client.HasEnded(grantType):
		return nil, oauth.Errorf(oauth.UnauthorizedClient, "the server does not allow the client %s any more: legacyUntil of its rule has passed", grantType)
	case !client.HasGrantType(grantType):
		return nil, oauth.Errorf(oauth.UnauthorizedClient, "the client does not list %s in grantTypes", grantType)
	case client.IsPublic() && (grantType == oauth.GrantClientCredentials || grantType == oauth.GrantPassword):
		return nil, oauth.Errorf(oauth.UnauthorizedClient, "%s is for confidential clients", grantType)
	}
	return exchange, nil
}
