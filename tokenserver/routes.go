package tokenserver

import (
	"net/http"

	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/metadata"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// surface says to whom an endpoint speaks, and so what its errors look like.
type surface int

const (
	api     surface = iota // programs: errors are JSON
	browser                // people: errors are pages
)

// route is one row of the table.
type route struct {
	methods []string
	// path from the root of the host.
	path string
	// name of the endpoint in log and metrics.
	name    string
	surface surface
	// cors lets scripts of any origin call the endpoint, without credentials.
	cors    bool
	handler web.Handler
}

// routes is every endpoint of an issuer.
func (r *rooms) routes(issuer string) []route {
	get, post, both := []string{http.MethodGet}, []string{http.MethodPost}, []string{http.MethodGet, http.MethodPost}
	at := metadata.IssuerPath(issuer)
	table := []route{
		{both, at + metadata.PathAuthorize, "authorize", browser, false, r.authorize.Handle},
		{both, at + interaction.PathLogin, "login", browser, false, r.login.Handle},
		{both, at + interaction.PathConsent, "consent", browser, false, r.consent.Handle},
		{both, at + metadata.PathLogout, "logout", browser, false, r.logout.Handle},

		{post, at + metadata.PathToken, "token", api, true, r.token.Handle},
		{post, at + metadata.PathIntrospect, "introspect", api, false, r.introspect.Handle},
		{post, at + metadata.PathRevoke, "revoke", api, true, r.revoke.Handle},
		{both, at + metadata.PathUserInfo, "userinfo", api, true, r.userinfo.Handle},

		{get, at + metadata.PathJWKS, "jwks", api, true, r.metadata.JWKS},
	}
	for _, path := range metadata.PageLocations(at) {
		table = append(table, route{get, path, "issuer", browser, false, r.metadata.Page})
	}
	for _, path := range metadata.Locations(at) {
		table = append(table, route{get, path, "discovery", api, true, r.metadata.Discovery})
	}
	return table
}

// mount puts the endpoints of an issuer at their paths. A path matches exactly or not at all.
func (r *rooms) mount(issuer string) map[string]http.Handler {
	mounted := map[string]http.Handler{}
	for _, row := range r.routes(issuer) {
		var h http.Handler
		if row.surface == browser {
			h = r.edge.ForBrowser(row.name, row.handler, row.methods...)
		} else {
			h = r.edge.ForAPI(row.name, row.handler, row.methods...)
		}
		if row.cors {
			h = web.CORS(h, row.methods...)
		}
		mounted[row.path] = h
	}
	return mounted
}
