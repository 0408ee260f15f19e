package metadata

import (
	"net/http"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// Page answers with the page at the issuer's address, which names the issuer and links to its
// metadata.
func (h *Handler) Page(w http.ResponseWriter, _ *http.Request) error {
	server, ok := h.Registry.Server()
	if !ok {
		return web.NotReady()
	}
	return web.Page(w, http.StatusOK, pages.Issuer{
		Server: pages.Host(server.Issuer), Issuer: server.Issuer, Metadata: server.Issuer + oauth.PathOpenIDConfiguration,
	}, "")
}

// PagePaths returns the paths of the page, from the root of the host: the issuer's path with a
// slash at its end and, unless it is empty, without.
func PagePaths(issuerPath string) []string {
	if issuerPath == "" {
		return []string{"/"}
	}
	return []string{issuerPath, issuerPath + "/"}
}
