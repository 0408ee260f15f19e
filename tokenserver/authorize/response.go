package authorize

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/redirecturi"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// responseParameters returns what the response type asks for. A refresh token is never among it
// (RFC 6749 section 4.2.2).
func (h *Handler) responseParameters(flow *interaction.ResolvedFlow, a *approval) (url.Values, error) {
	parameters := url.Values{}
	if flow.HasResponseType("code") {
		code, err := h.newCode(flow, a)
		if err != nil {
			return nil, err
		}
		parameters.Set("code", code)
	}
	if flow.HasResponseType("token") {
		if err := h.addAccessToken(flow, a, parameters); err != nil {
			return nil, err
		}
	}
	if flow.HasResponseType("id_token") {
		token, err := h.Minter.IDToken(mint.IDTokenInput{
			Client: flow.Client, User: a.user, Subject: a.user.Subject, Scopes: flow.Scopes,
			AuthTime: a.session.AuthenticatedAt(), AMR: a.session.AMR,
			Nonce: flow.Nonce, ClaimsRequest: flow.Claims, Claims: individualClaims(flow),
			AccessToken: parameters.Get("access_token"), Code: parameters.Get("code"),
		})
		if err != nil {
			return nil, err
		}
		parameters.Set("id_token", token)
	}
	return parameters, nil
}

func (h *Handler) newCode(flow *interaction.ResolvedFlow, approved *approval) (string, error) {
	a := requestedAuthorization(flow)
	a.Consented, a.ConsentUID = approved.consentUID != "", approved.consentUID
	a.UserUID, a.UserEpoch = approved.user.UID, approved.user.Epoch
	a.SessionHash, a.SessionEnds = approved.session.RootHash(), approved.session.EndsAt(flow.Server)
	a.AuthTime, a.AMR = approved.session.AuthenticatedAt(), approved.session.AMR
	a.ProviderUID, a.SignedInAt = approved.signIn()
	code, err := h.Grants.NewCode(a)
	return code, describeCodeSize(err) // the amr of an identity provider may be long
}

// requestedAuthorization returns the authorization that the request asks for, without a user.
func requestedAuthorization(flow *interaction.ResolvedFlow) grant.Authorization {
	return grant.Authorization{
		ClientID: flow.Client.ID, ClientUID: flow.Client.UID,
		Scopes: flow.Scopes, Resources: flow.Resources,
		RedirectURI: flow.RedirectURI, RedirectURISent: flow.RedirectURISent,
		Nonce: flow.Nonce, ClaimsRequest: flow.Claims, Claims: individualClaims(flow), CodeChallenge: flow.CodeChallenge,
		Offline: slices.Contains(flow.Scopes, oauth.ScopeOfflineAccess),
	}
}

// individualClaims returns the claims that the request asks for beyond its scopes.
func individualClaims(flow *interaction.ResolvedFlow) []string {
	return mint.IndividualClaims(flow.Client, flow.Scopes, flow.Claims)
}

// individualUserInfoClaims returns those of the individualClaims that the request asks for at the
// UserInfo endpoint.
func individualUserInfoClaims(flow *interaction.ResolvedFlow) []string {
	requested := mint.RequestedClaims(flow.Claims, "userinfo")
	return slices.DeleteFunc(individualClaims(flow), func(name string) bool { return !slices.Contains(requested, name) })
}

func (h *Handler) addAccessToken(flow *interaction.ResolvedFlow, a *approval, parameters url.Values) error {
	audience, scopes, err := flow.Client.ResolveAudience(flow.Scopes, flow.Resources)
	if err != nil {
		return err
	}
	providerUID, signedInAt := a.signIn()
	token, lifetime, err := h.Minter.AccessToken(mint.AccessTokenInput{
		Client: flow.Client, Subject: a.user.Subject, Audience: audience, Scopes: scopes,
		AuthTime: a.session.AuthenticatedAt(), AMR: a.session.AMR,
		TokenID: mint.TokenID{
			ClientUID: flow.Client.UID, UserUID: a.user.UID, UserEpoch: a.user.Epoch,
			SessionHash: a.session.RootHash(), ProviderUID: providerUID, SignedInAt: signedInAt, StoreID: h.Grants.StoreID,
			RedirectHash: mint.TruncateHash(flow.RedirectHash), ConsentUID: a.consentUID,
			Binding:         flow.Client.PackBinding(scopes, audience),
			Claims:          individualUserInfoClaims(flow),
			RequestedClaims: mint.RequestedNonstandardClaims(a.user, scopes, flow.Claims),
		},
	})
	if err != nil {
		return err
	}
	parameters.Set("access_token", token)
	parameters.Set("token_type", oauth.TokenTypeBearer)
	parameters.Set("expires_in", strconv.FormatInt(int64(lifetime/time.Second), 10))
	parameters.Set("scope", oauth.FormatScope(scopes))
	return nil
}

// respond sends the browser to the redirect URI with the parameters, the state of the request, and
// the issuer, so that a client of several servers cannot take the response of one for that of
// another (RFC 9207 section 2).
func respond(w http.ResponseWriter, flow *interaction.ResolvedFlow, parameters url.Values) error {
	if flow.State != "" {
		parameters.Set("state", flow.State)
	}
	parameters.Set("iss", flow.Server.Issuer)
	switch flow.ResponseMode {
	case interaction.ModeFormPost:
		return respondWithForm(w, flow, parameters)
	case interaction.ModeFragment:
		return web.Redirect(w, flow.RedirectURI+"#"+parameters.Encode())
	default:
		return web.Redirect(w, redirecturi.AppendQuery(flow.RedirectURI, parameters))
	}
}

// respondWithForm responds with a page whose form posts the parameters to the redirect URI, by a
// script or by a button (OAuth 2.0 Form Post Response Mode).
func respondWithForm(w http.ResponseWriter, flow *interaction.ResolvedFlow, parameters url.Values) error {
	page := pages.Post{
		Action: flow.RedirectURI, Server: pages.Host(flow.Server.Issuer),
		Client: pages.Client{DisplayName: flow.Client.DisplayName, ID: flow.Client.ID},
	}
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		page.Fields = append(page.Fields, pages.Field{Name: name, Value: parameters.Get(name)})
	}
	return web.Page(w, http.StatusOK, page, flow.RedirectURI)
}

// respondWithError tells the client why its request failed (RFC 6749 section 4.1.2.1).
func respondWithError(w http.ResponseWriter, r *http.Request, flow *interaction.ResolvedFlow, err error) error {
	known := web.NoteFailure(r.Context(), err)
	parameters := url.Values{"error": {known.Code}}
	if known.Description != "" {
		parameters.Set("error_description", known.Description)
	}
	return respond(w, flow, parameters)
}
