// Package authorize is the authorization endpoint (RFC 6749 section 3.1, OpenID Connect Core
// section 3). It alone decides what is next in a flow, and all pages of a flow lead back to it.
//
//	authorize.go  Handler: requests by GET and by POST, and the return from a page
//	request.go    reads the parameters of a request into a flow
//	scope.go      reads scope and resource
//	hints.go      reads claims and id_token_hint: which user the response must be about
//	decide.go     decides what is next: the login page, the consent page, or the response
//	response.go   the response: a code, tokens or an error, and how it is sent to the client
//
// An error is a page until client and redirect URI are known to be registered, and a redirect to
// the client from then on (RFC 6749 section 4.1.2.1).
package authorize

import (
	"bytes"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/session"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// Handler is the authorization endpoint, GET and POST, for web.Adapter.ForBrowser. All fields are
// required.
type Handler struct {
	Registry *registry.Registry
	Keys     *keys.Set
	Flows    *interaction.Flows
	Sessions *session.Sessions
	Consents *interaction.Consents
	Grants   *grant.Service
	Minter   *mint.Minter
	Now      func() time.Time
	Log      *slog.Logger
}

// Handle handles one request.
func (h *Handler) Handle(w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodPost {
		return h.handlePost(w, r)
	}
	params, err := oauth.ParseForm(r, false)
	if err != nil {
		return h.startFlow(w, r, parseMalformed(r.URL.RawQuery), err, h.proceed)
	}
	var flow *interaction.ResolvedFlow
	switch {
	case params.Has("client_id"):
		return h.startFlow(w, r, params, nil, h.proceed)
	case params.Has(interaction.ParamFlow):
		flow, err = h.Flows.Open(r, params.Get(interaction.ParamFlow), interaction.StepResume)
	case params.Has(interaction.ParamPosted):
		flow, err = h.Flows.OpenPostedFlow(params.Get(interaction.ParamPosted))
	default:
		return h.startFlow(w, r, params, nil, h.proceed)
	}
	if err != nil {
		return err
	}
	web.NoteClient(r.Context(), flow.Client.ID)
	return h.proceed(w, r, flow)
}

// handlePost redirects a request by POST to a GET of the same request. A browser may send a POST
// from another site without our cookies. The response sets no cookies either, since they would
// replace those that the browser sends with the GET.
func (h *Handler) handlePost(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, oauth.MaxFormSize+1))
	if err != nil {
		return &web.PageError{Status: http.StatusBadRequest, Code: oauth.InvalidRequest, Message: pages.MessageBadRequest}
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	params, err := oauth.ParseForm(r, true)
	if err != nil {
		params = parseMalformed(string(body))
	}
	return h.startFlow(w, r, params, err, h.redirectToGet)
}

func (h *Handler) redirectToGet(w http.ResponseWriter, _ *http.Request, flow *interaction.ResolvedFlow) error {
	sealed, err := h.Flows.SealPostedFlow(flow.Flow)
	if err != nil {
		return err
	}
	return web.Redirect(w, flow.Server.Issuer+oauth.PathAuthorize+"?"+interaction.ParamPosted+"="+url.QueryEscape(sealed))
}

// startFlow starts the flow of a request and continues with then. If failed is not nil, or the
// request is wrong, it responds with the error instead.
func (h *Handler) startFlow(
	w http.ResponseWriter, r *http.Request, params oauth.Params, failed error,
	then func(http.ResponseWriter, *http.Request, *interaction.ResolvedFlow) error,
) error {
	server, ok := h.Registry.Server()
	if !ok {
		return web.NotReady()
	}
	client, ok := h.Registry.Client(params.Get("client_id"))
	if !ok {
		return &web.PageError{Status: http.StatusBadRequest, Code: oauth.InvalidClient, Message: pages.MessageUnknownClient}
	}
	web.NoteClient(r.Context(), client.ID)
	flow := &interaction.ResolvedFlow{
		Flow:   &interaction.Flow{ClientUID: client.UID, StartedAt: h.Now().Unix(), MaxAge: interaction.NoMaxAge},
		Server: server, Client: client,
	}
	if !readRedirectURI(flow, params) {
		return &web.PageError{Status: http.StatusBadRequest, Code: oauth.InvalidRequest, Message: pages.MessageUnknownRedirect}
	}
	flow.State, flow.ResponseMode = params.Get("state"), responseMode(params, flow.RedirectURI)
	if failed == nil {
		failed = h.readRequest(flow, params)
	}
	if failed != nil {
		return respondWithError(w, r, flow, failed)
	}
	return then(w, r, flow)
}

// readRedirectURI reads the redirect URI, and reports whether it is registered. A request may leave
// it out if the client registered only one (RFC 6749 section 3.1.2.3), unless it is an
// authentication request (OpenID Connect Core section 3.1.2.1).
func readRedirectURI(flow *interaction.ResolvedFlow, params oauth.Params) bool {
	registered := flow.Client.RedirectURIs
	flow.RedirectURI = params.Get("redirect_uri")
	flow.RedirectURISent = flow.RedirectURI != ""
	if !flow.RedirectURISent {
		isOpenID := slices.Contains(strings.Split(params.Get("scope"), " "), oauth.ScopeOpenID)
		if isOpenID || len(registered) != 1 {
			return false
		}
		flow.RedirectURI = registered[0]
	}
	return flow.SetRedirectURI(registered, flow.RedirectURI)
}

// parseMalformed returns those parameters of a malformed request that say where and how to send the
// error. It omits any that is badly encoded or sent twice.
func parseMalformed(raw string) oauth.Params {
	params := oauth.Params{}
	if len(raw) > oauth.MaxFormSize {
		return params
	}
	sent := map[string]bool{}
	for pair := range strings.SplitSeq(raw, "&") {
		name, value, err := oauth.DecodePair(pair)
		if !slices.Contains(errorParameters, name) {
			continue
		}
		if err != nil || sent[name] {
			value = unreadable
		}
		sent[name], params[name] = true, []string{value}
	}
	maps.DeleteFunc(params, func(name string, values []string) bool {
		return values[0] == "" || values[0] == unreadable && name != "redirect_uri"
	})
	return params
}

// errorParameters are the parameters that say where and how to send an error.
var errorParameters = []string{"client_id", "redirect_uri", "response_type", "response_mode", "state", "scope"}

// unreadable is the value of a redirect_uri that was sent but cannot be read. It is not the same as
// one that was left out, and no client registered it. No parameter has this value, for none may
// have a NUL.
const unreadable = "\x00"
