// Package consent is the consent page of a flow: it says which application asks for what, as whom the user is signed in and where the answer
// goes, and leads back to the authorization endpoint with a yes or a no. It has no way in but a flow that is for it, in the browser of that
// flow.
package consent

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/redirecturi"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/session"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// Handler of the consent page, GET and POST, for web.Adapter.ForBrowser. All fields are needed.
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
		return h.Flows.RedirectTo(w, r, visit, interaction.StepResume)
	}
	return h.show(w, visit, user)
}

// show the form. It carries the flow as it is shown: to this user, with these scopes, claims and
// APIs. It is no consent to anything else.
func (h *Handler) show(w http.ResponseWriter, v *interaction.ResolvedFlow, user *registry.User) error {
	scopes := v.Flow.Scopes[:0:0]
	for _, scope := range v.Flow.Scopes {
		if v.Client.MayHaveScope(scope) {
			scopes = append(scopes, scope)
		}
	}
	v.Flow.Scopes, v.Flow.ConsentingUser = scopes, ""
	asked := v.RequestedConsent()
	shown, err := asked.Hash(user.UID)
	if err != nil {
		return err
	}
	v.Flow.ShownConsent = shown
	sealed, err := h.Flows.Seal(v.Flow, interaction.StepDecision)
	if err != nil {
		return err
	}
	action, err := url.JoinPath(v.Server.Issuer, interaction.PathConsent)
	if err != nil {
		return err
	}
	page := pages.Consent{
		Action: action, Flow: sealed, Client: pages.Client{DisplayName: v.Client.DisplayName, ID: v.Client.ID},
		Server: v.ServerHost(), Username: user.Username, Host: v.RedirectHost(), Local: redirecturi.IsNative(v.RedirectURI),
	}
	if name, ok := user.Claims["name"].(string); ok {
		page.Name = name
	}
	page.Scopes = h.list(v, asked)
	return web.Page(w, http.StatusOK, page, v.RedirectURI)
}

func (h *Handler) post(w http.ResponseWriter, r *http.Request) error {
	if err := interaction.CheckSameOrigin(r); err != nil {
		return err
	}
	params, err := oauth.ParseForm(r, true)
	if err != nil {
		return err
	}
	visit, err := h.Flows.Open(r, params.Get(interaction.ParamFlow), interaction.StepDecision)
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
	visit.Flow.ShownConsent = ""
	return h.Flows.RedirectTo(w, r, visit, interaction.StepResume)
}

// agree notes the user's yes. Since the page was shown, another user may have signed in from
// another tab, or a ResourceServer may have been created again under its identifier: that is no
// yes, and the page is shown again.
func (h *Handler) agree(r *http.Request, v *interaction.ResolvedFlow) error {
	_, user, err := h.Sessions.Current(r.Context(), r, v.Server)
	if err != nil || user == nil {
		return err
	}
	asked := v.RequestedConsent()
	if shown, err := asked.Hash(user.UID); err != nil || shown != v.Flow.ShownConsent {
		return err
	}
	if err := h.Consents.Add(r.Context(), user.UID, v.Client.UID, asked); err != nil {
		return err
	}
	v.Flow.ConsentingUser = user.UID
	return nil
}

// list what is asked: the scopes, the claims that are told one by one, and the APIs that the
// request names, with whatever scopes.
func (h *Handler) list(v *interaction.ResolvedFlow, asked grant.ConsentRequest) (list []pages.Scope) {
	for _, scope := range asked.Scopes {
		list = append(list, pages.Scope{Name: scope, Description: h.describe(scope)})
	}
	for _, claim := range asked.Claims {
		description := claims[claim]
		if description == "" {
			description = "See this detail about you"
		}
		list = append(list, pages.Scope{Name: claim, Description: description})
	}
	for _, api := range asked.APIs {
		named := func(resource string) bool {
			object, ok := v.Client.ResourceServer(resource)
			return ok && object.UID == api.UID
		}
		if slices.ContainsFunc(v.Flow.Resources, named) {
			list = append(list, pages.Scope{Name: api.Identifier, Description: "Call this API on your behalf"})
		}
	}
	return list
}

// claims about a user, as the page names them.
var claims = map[string]string{
	"name": "See your name", "family_name": "See your family name", "given_name": "See your given name", "middle_name": "See your middle name",
	"nickname": "See your nickname", "preferred_username": "See your username", "profile": "See the address of your profile page",
	"picture": "See your picture", "website": "See the address of your website", "gender": "See your gender", "birthdate": "See your date of birth",
	"zoneinfo": "See your time zone", "locale": "See your language", "updated_at": "See when your details last changed",
	"email": "See your email address", "email_verified": "See whether your email address was verified",
	"address": "See your postal address", "phone_number": "See your phone number",
	"phone_number_verified": "See whether your phone number was verified", "groups": "See which groups you are in",
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
