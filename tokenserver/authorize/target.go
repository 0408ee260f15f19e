package authorize

import (
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/redirecturi"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// answer the client: its redirect URI with the values, the request's state unchanged, and our issuer identifier, so that a client of many
// servers cannot take one's answer for another's (RFC 9207 section 2).
func answer(w http.ResponseWriter, v *interaction.ResolvedFlow, values url.Values) error {
	if v.Flow.State != "" {
		values.Set("state", v.Flow.State)
	}
	values.Set("iss", v.Server.Issuer)
	if v.Flow.ResponseMode == interaction.ModeFormPost {
		return post(w, v, values)
	}
	if v.Flow.ResponseMode == interaction.ModeFragment {
		return web.Redirect(w, v.RedirectURI+"#"+values.Encode())
	}
	return web.Redirect(w, redirecturi.AppendQuery(v.RedirectURI, values))
}

// post answers with a page whose form carries the values to the redirect URI, by a script or by a button (OAuth 2.0 Form Post Response Mode).
func post(w http.ResponseWriter, v *interaction.ResolvedFlow, values url.Values) error {
	page := pages.Post{
		Action: v.RedirectURI, Server: v.ServerHost(), Client: pages.Client{DisplayName: v.Client.DisplayName, ID: v.Client.ID},
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		page.Fields = append(page.Fields, pages.Field{Name: name, Value: values.Get(name)})
	}
	return web.Page(w, http.StatusOK, page, v.RedirectURI)
}

// fail tells the client what is wrong.
func fail(w http.ResponseWriter, r *http.Request, v *interaction.ResolvedFlow, err error) error {
	known := web.NoteFailure(r.Context(), err)
	values := url.Values{"error": {known.Code}}
	if known.Description != "" {
		values.Set("error_description", known.Description)
	}
	return answer(w, v, values)
}
