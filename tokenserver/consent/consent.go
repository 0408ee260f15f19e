// Package consent is the consent page. It shows which application asks the user for what, which
// user is signed in, and where the response goes. With the user's decision it redirects back to the
// authorization endpoint. It opens only flows that are for it, in the browser that they belong to.
//
//	consent.go       Handler: the page and its form
//	descriptions.go  what the page says about scopes and claims
package consent

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/redirecturi"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/session"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// Handler is the consent page, GET and POST, for web.Adapter.ForBrowser. All fields are required.
type Handler struct {
	Registry *registry.Registry
	Flows    *interaction.Flows
	Sessions *session.Sessions
	Consents *interaction.Consents
}

// paramDecision is the form's field with the user's decision: to allow what is asked, or to sign in
// as another user. Any other value means to refuse.
const (
	paramDecision      = "decision"
	decisionAllow      = "allow"
	decisionSwitchUser = "switch"
)

// Handle handles one request.
func (h *Handler) Handle(w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodPost {
		return h.handlePost(w, r)
	}
	params, err := oauth.ParseForm(r, false)
	if err != nil {
		return err
	}
	flow, err := h.Flows.Open(r, params.Get(interaction.ParamFlow), interaction.StepConsent)
	if err != nil {
		return err
	}
	web.NoteClient(r.Context(), flow.Client.ID)
	_, user, err := h.Sessions.Current(r.Context(), r, flow.Server)
	if err != nil {
		return err
	}
	if user == nil {
		return h.Flows.RedirectTo(w, r, flow, interaction.StepResume)
	}
	return h.show(w, flow, user)
}

// show shows the form. The form contains the flow with a hash of what the page shows and of the
// user, so that it gives no consent to anything else.
func (h *Handler) show(w http.ResponseWriter, flow *interaction.ResolvedFlow, user *registry.User) error {
	mayNotHave := func(scope string) bool { return !flow.Client.MayHaveScope(scope) }
	flow.Scopes, flow.ConsentingUser = slices.DeleteFunc(flow.Scopes, mayNotHave), ""
	asked := flow.ConsentRequest()
	shown, err := asked.Hash(user.UID)
	if err != nil {
		return err
	}
	flow.ShownConsent = shown
	sealed, err := h.Flows.Seal(flow.Flow, interaction.StepDecision)
	if err != nil {
		return err
	}
	action, err := url.JoinPath(flow.Server.Issuer, interaction.PathConsent)
	if err != nil {
		return err
	}
	page := pages.Consent{
		Action: action, Flow: sealed, Client: pages.Client{DisplayName: flow.Client.DisplayName, ID: flow.Client.ID},
		Server: pages.Host(flow.Server.Issuer), Username: user.Username, Scopes: h.describe(flow, asked),
		Host: pages.Host(flow.RedirectURI), Local: redirecturi.IsNative(flow.RedirectURI),
	}
	page.Name, _ = user.Claims["name"].(string)
	return web.Page(w, http.StatusOK, page, flow.RedirectURI)
}

// handlePost handles the form.
func (h *Handler) handlePost(w http.ResponseWriter, r *http.Request) error {
	if err := interaction.CheckSameOrigin(r); err != nil {
		return err
	}
	params, err := oauth.ParseForm(r, true)
	if err != nil {
		return err
	}
	flow, err := h.Flows.Open(r, params.Get(interaction.ParamFlow), interaction.StepDecision)
	if err != nil {
		return err
	}
	web.NoteClient(r.Context(), flow.Client.ID)
	switch params.Get(paramDecision) {
	case decisionAllow:
		if err := h.allow(r, flow); err != nil {
			return err
		}
	case decisionSwitchUser:
		flow.RequireOtherLogin()
	default:
		flow.Denied = true
	}
	flow.ShownConsent = ""
	return h.Flows.RedirectTo(w, r, flow, interaction.StepResume)
}

// allow stores the user's consent. It does nothing if another user is signed in than the page
// showed, from another tab, or if a ResourceServer was created again under its identifier since.
// The page is shown again then.
func (h *Handler) allow(r *http.Request, flow *interaction.ResolvedFlow) error {
	_, user, err := h.Sessions.Current(r.Context(), r, flow.Server)
	if err != nil || user == nil {
		return err
	}
	asked := flow.ConsentRequest()
	if shown, err := asked.Hash(user.UID); err != nil || shown != flow.ShownConsent {
		return err
	}
	if err := h.Consents.Add(r.Context(), user.UID, flow.Client.UID, asked); err != nil {
		return err
	}
	flow.ConsentingUser = user.UID
	return nil
}
