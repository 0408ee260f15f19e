// Package consent is the consent page of a flow: it says which application asks for what, as whom the user is signed in and where the answer
// goes, and leads back to the authorization endpoint with a yes or a no. It has no way in but a flow that is for it, in the browser of that
// flow.
package consent

import (
	"net/http"
	"net/url"

	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/registration"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/session"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// Handler of the consent page, GET and POST, for web.Edge.ForBrowser. All fields are needed.
type Handler struct {
	Registry *registry.Registry
	Flows    *interaction.Flows
	Sessions *session.Sessions
	Consents *interaction.Consents
}

// The form's field decision, the value that means yes, and the one that means to sign in as someone else. Anything else means no.
const (
	paramDecision = "decision"
	allow         = "allow"
	switchUser    = "switch"
)

// Handle one request.
func (h *Handler) Handle(w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodPost {
		return h.post(w, r)
	}
	params, err := oauth.ParseForm(r, false)
	if err != nil {
		return err
	}
	visit, err := h.Flows.Open(r, params.Get(interaction.ParamFlow), interaction.StepConsent)
	if err != nil {
		return err
	}
	web.NoteClient(r.Context(), visit.Client.ID)
	_, user, err := h.Sessions.Current(r.Context(), r, visit.Server)
	if err != nil {
		return err
	}
	if user == nil {
		return h.Flows.Go(w, r, visit, interaction.StepResume)
	}
	return h.show(w, visit, user)
}

// show the form. It carries the flow as it is shown: for this user and these scopes, and nobody can agree to anything else with it.
func (h *Handler) show(w http.ResponseWriter, v *interaction.Visit, user *registry.User) error {
	scopes := v.Flow.Scopes[:0:0]
	for _, scope := range v.Flow.Scopes {
		if v.Client.MayHave(scope) {
			scopes = append(scopes, scope)
		}
	}
	v.Flow.Scopes, v.Flow.ShownTo, v.Flow.ConsentOf = scopes, user.UID, ""
	sealed, err := h.Flows.Seal(v.Flow, interaction.StepAnswer)
	if err != nil {
		return err
	}
	action, err := url.JoinPath(v.Server.Issuer, interaction.PathConsent)
	if err != nil {
		return err
	}
	page := pages.Consent{
		Action: action, Flow: sealed, Client: pages.Client{DisplayName: v.Client.DisplayName, ID: v.Client.ID},
		Server: v.ServerHost(), Username: user.Username, Host: v.Host(), Local: registration.PublicRedirect(v.RedirectURI),
	}
	if name, ok := user.Claims["name"].(string); ok {
		page.Name = name
	}
	for _, scope := range scopes {
		page.Scopes = append(page.Scopes, pages.Scope{Name: scope, Description: h.describe(scope)})
	}
	return web.Page(w, http.StatusOK, page, v.RedirectURI)
}

func (h *Handler) post(w http.ResponseWriter, r *http.Request) error {
	if err := interaction.SameOrigin(r); err != nil {
		return err
	}
	params, err := oauth.ParseForm(r, true)
	if err != nil {
		return err
	}
	visit, err := h.Flows.Open(r, params.Get(interaction.ParamFlow), interaction.StepAnswer)
	if err != nil {
		return err
	}
	web.NoteClient(r.Context(), visit.Client.ID)
	switch params.Get(paramDecision) {
	case allow:
		if err := h.agree(r, visit); err != nil {
			return err
		}
	case switchUser:
		visit.Flow.SwitchUser()
	default:
		visit.Flow.Denied = true
	}
	visit.Flow.ShownTo = ""
	return h.Flows.Go(w, r, visit, interaction.StepResume)
}

// agree notes the user's yes. Another user than the one that the page asked may be signed in by now, from another tab: nobody agrees for
// anybody else.
func (h *Handler) agree(r *http.Request, v *interaction.Visit) error {
	_, user, err := h.Sessions.Current(r.Context(), r, v.Server)
	if err != nil || user == nil || user.UID != v.Flow.ShownTo {
		return err
	}
	if err := h.Consents.Grow(r.Context(), user.UID, v.Client.UID, v.Flow.Scopes); err != nil {
		return err
	}
	v.Flow.ConsentOf = user.UID
	return nil
}

// builtIn says what the scopes mean that no resource server declares.
var builtIn = map[string]string{
	oauth.ScopeOpenID:        "Know who you are on this server",
	oauth.ScopeProfile:       "See your name, picture and other details",
	oauth.ScopeEmail:         "See your email address",
	oauth.ScopeAddress:       "See your postal address",
	oauth.ScopePhone:         "See your phone number",
	oauth.ScopeGroups:        "See which groups you are in",
	oauth.ScopeOfflineAccess: "Keep this access after you sign out",
}

func (h *Handler) describe(scope string) string {
	if said, ok := builtIn[scope]; ok {
		return said
	}
	return h.Registry.ScopeDescription(scope)
}
