// Package authorize is the authorization endpoint (RFC 6749 section 3.1, OpenID Connect Core section 3), and the one place that decides what
// is next in a flow. The pages lead back here and nowhere else.
//
//	authorize.go  the ways in: a request by GET, one by POST, and the return from a page
//	request.go    from parameters to a flow; every rule about what may be asked
//	scope.go      which of the scopes asked are granted
//	hints.go      id_token_hint and claims: whom the answer must be about
//	decide.go     what is next: the login page, the consent page, or the answer
//	answer.go     the answer: a code or tokens
//	target.go     how an answer or an error gets to the client
//
// Until the client and the redirect URI are known to be good there is no redirect, only a page; from then on every error goes to the client
// (RFC 6749 section 4.1.2.1).
package authorize

import (
	"bytes"
	"io"
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

// Handler of the authorization endpoint, GET and POST, for web.Adapter.ForBrowser. All fields are needed.
type Handler struct {
	Registry *registry.Registry
	Keys     *keys.Set
	Flows    *interaction.Flows
	Sessions *session.Sessions
	Consents *interaction.Consents
	Grants   *grant.Service
	Minter   *mint.Minter
	Now      func() time.Time
}

// Handle one request.
func (h *Handler) Handle(w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodPost {
		return h.post(w, r)
	}
	params, err := oauth.ParseForm(r, false)
	if err != nil {
		return h.begin(w, r, salvage(r.URL.RawQuery), err, h.next)
	}
	var visit *interaction.ResolvedFlow
	switch {
	case params.Has("client_id"):
		return h.begin(w, r, params, nil, h.next)
	case params.Has(interaction.ParamFlow):
		visit, err = h.Flows.Open(r, params.Get(interaction.ParamFlow), interaction.StepResume)
	case params.Has(interaction.ParamPosted):
		visit, err = h.Flows.OpenPostedFlow(params.Get(interaction.ParamPosted))
	default:
		return h.begin(w, r, params, nil, h.next)
	}
	if err != nil {
		return err
	}
	web.NoteClient(r.Context(), visit.Client.ID)
	return h.next(w, r, visit)
}

// post turns a POSTed request into a GET of the same: it may come from another site's form, and then without our cookies. It sets none
// either, since they would replace those that the GET is about to send.
func (h *Handler) post(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, oauth.MaxFormSize+1))
	if err != nil {
		return &web.PageError{Status: http.StatusBadRequest, Code: oauth.InvalidRequest, Message: pages.MessageBadRequest}
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	params, err := oauth.ParseForm(r, true)
	if err != nil {
		params = salvage(string(body))
	}
	return h.begin(w, r, params, err, h.toGet)
}

// toGet sends a request that was POSTed to the GET that it becomes.
func (h *Handler) toGet(w http.ResponseWriter, _ *http.Request, v *interaction.ResolvedFlow) error {
	sealed, err := h.Flows.SealPostedFlow(v.Flow)
	if err != nil {
		return err
	}
	return web.Redirect(w, v.Server.Issuer+oauth.PathAuthorize+"?"+interaction.ParamPosted+"="+url.QueryEscape(sealed))
}

// begin a flow and go on with then, or fail: failed is what is already known to be wrong with the
// request.
func (h *Handler) begin(
	w http.ResponseWriter, r *http.Request, params oauth.Params, failed error,
	then func(http.ResponseWriter, *http.Request, *interaction.ResolvedFlow) error,
) error {
	server, ok := h.Registry.Server()
	if !ok {
		return interaction.Unavailable()
	}
	client, ok := h.Registry.Client(params.Get("client_id"))
	if !ok {
		return &web.PageError{Status: http.StatusBadRequest, Code: oauth.InvalidClient, Message: pages.MessageUnknownClient}
	}
	web.NoteClient(r.Context(), client.ID)
	flow := &interaction.Flow{ClientUID: client.UID, StartedAt: h.Now().Unix(), MaxAge: interaction.NoMaxAge}
	uri, ok := redirectURI(flow, client, params)
	if !ok {
		return &web.PageError{Status: http.StatusBadRequest, Code: oauth.InvalidRequest, Message: pages.MessageUnknownRedirect}
	}
	flow.State, flow.ResponseMode = params.Get("state"), mode(params, uri)
	visit := &interaction.ResolvedFlow{Flow: flow, Server: server, Client: client, RedirectURI: uri}
	if failed == nil {
		failed = h.read(visit, params)
	}
	if failed != nil {
		return fail(w, r, visit, failed)
	}
	return then(w, r, visit)
}

// redirectURI of the request: the one it names, or the only one that is registered, where it may be left out (RFC 6749 section 3.1.2.3; OpenID
// Connect Core section 3.1.2.1 requires it).
func redirectURI(flow *interaction.Flow, client *registry.Client, params oauth.Params) (string, bool) {
	requested := params.Get("redirect_uri")
	flow.RedirectURISent = requested != ""
	if requested == "" {
		openID := slices.Contains(strings.Split(params.Get("scope"), " "), oauth.ScopeOpenID)
		if openID || len(client.RedirectURIs) != 1 {
			return "", false
		}
		requested = client.RedirectURIs[0]
	}
	return requested, flow.SetRedirect(client.RedirectURIs, requested)
}

// salvage what tells where to say that the request is malformed: only what was sent exactly once, and well encoded.
func salvage(raw string) oauth.Params {
	params := oauth.Params{}
	if len(raw) > oauth.MaxFormSize {
		return params
	}
	sent := map[string]bool{}
	for pair := range strings.SplitSeq(raw, "&") {
		name, value, err := oauth.DecodePair(pair)
		if !slices.Contains(telling, name) {
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

// telling parameters say where an error goes, and how.
var telling = []string{"client_id", "redirect_uri", "response_type", "response_mode", "state", "scope"}

// unreadable stands for a redirect URI that was sent, though nobody can say which: it is not left out, and is none that is registered. No
// parameter has this value, for none holds a NUL.
const unreadable = "\x00"
