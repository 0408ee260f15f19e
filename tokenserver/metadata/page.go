package metadata

import (
	"net/http"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// Page answers a browser that opens the issuer's address: what is there, and where its metadata is.
func (h *Handler) Page(w http.ResponseWriter, _ *http.Request) error {
	server, ok := h.Registry.Server()
	if !ok {
		return web.NotReady()
	}
	return web.Page(w, http.StatusOK, pages.Issuer{
		Server: pages.Host(server.Issuer), Issuer: server.Issuer, Metadata: server.Issuer + oauth.PathOpenIDConfiguration,
	}, "")
}

// PagePaths are the paths, from the root of the host, at which the issuer's address is: with a
// slash at its end, and, if it has a path, without.
func PagePaths(issuerPath string) []string {
	if issuerPath == "" {
		return []string{"/"}
	}
	return []string{issuerPath, issuerPath + "/"}
}
