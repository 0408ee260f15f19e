package tokenserver

import (
	"net/http"

	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/metadata"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// audience is who uses an endpoint, which decides the format of its errors.
type audience int

const (
	forAPI     audience = iota // programs: errors are JSON
	forBrowser                 // people: errors are pages
)

// route is one row of the table of endpoints.
type route struct {
	// methods that the endpoint allows; GET includes HEAD.
	methods []string
	// path from the root of the host.
	path string
	// name of the endpoint in log and metrics.
	name     string
	audience audience
	// cors allows scripts of any origin to call the endpoint, without credentials.
	cors    bool
	handler web.Handler
}

// routes returns every endpoint of an issuer.
func (r *router) routes(issuer string) []route {
	get, post, both := []string{http.MethodGet}, []string{http.MethodPost}, []string{http.MethodGet, http.MethodPost}
	base := metadata.IssuerPath(issuer)
	table := []route{
		{both, base + oauth.PathAuthorize, "authorize", forBrowser, false, r.authorize.Handle},
		{both, base + interaction.PathLogin, "login", forBrowser, false, r.login.Handle},
		{both, base + interaction.PathConsent, "consent", forBrowser, false, r.consent.Handle},
		{both, base + oauth.PathLogout, "logout", forBrowser, false, r.logout.Handle},

		{post, base + oauth.PathToken, "token", forAPI, true, r.token.Handle},
		{post, base + oauth.PathIntrospect, "introspect", forAPI, false, r.introspect.Handle},
		{post, base + oauth.PathRevoke, "revoke", forAPI, true, r.revoke.Handle},
		{both, base + oauth.PathUserInfo, "userinfo", forAPI, true, r.userinfo.Handle},

		{get, base + oauth.PathJWKS, "jwks", forAPI, true, r.metadata.JWKS},
	}
	for _, path := range metadata.PagePaths(base) {
		table = append(table, route{get, path, "issuer", forBrowser, false, r.metadata.Page})
	}
	for _, path := range metadata.DiscoveryPaths(base) {
		table = append(table, route{get, path, "discovery", forAPI, true, r.metadata.Discovery})
	}
	return table
}

// handlers returns the endpoints of an issuer. A path matches exactly or not at all, but for those of
// the callbacks: each identity provider has one.
func (r *router) handlers(issuer string) *handlers {
	byPath := map[string]http.Handler{}
	for _, row := range r.routes(issuer) {
		var h http.Handler
		if row.audience == forBrowser {
			h = r.web.ForBrowser(row.name, row.handler, row.methods...)
		} else {
			h = r.web.ForAPI(row.name, row.handler, row.methods...)
		}
		if row.cors {
			h = web.CORS(h, row.methods...)
		}
		byPath[row.path] = h
	}
	return &handlers{
		issuer: issuer, byPath: byPath, callback: r.web.ForBrowser("callback", r.callback.Handle, http.MethodGet),
		callbackPath: metadata.IssuerPath(issuer) + oauth.PathCallback + "/", none: r.web.ForAPI("none", notFound),
	}
}
