package web

import (
	"net/http"
	"strings"
)

// CORS allows scripts of any origin to call an endpoint with the given methods, without the
// browser's credentials. It is for discovery, JWKS, token, userinfo and revoke; the authorization
// endpoint and the pages must not have it (RFC 9700 section 2.6).
func CORS(next http.Handler, methods ...string) http.Handler {
	allowed := strings.Join(methods, ", ")
	anyOrigin, exposed := []string{"*"}, []string{"WWW-Authenticate, Retry-After, Request-Id"} // shared by all responses
	// Any header, since tracing and tools add their own. The wildcard does not include
	// Authorization (Fetch standard, section 3.3.5).
	headers := []string{"*, Authorization"}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["Access-Control-Allow-Origin"] = anyOrigin
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			h.Set("Access-Control-Allow-Methods", allowed)
			h["Access-Control-Allow-Headers"] = headers
			h.Set("Access-Control-Max-Age", "7200")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		h["Access-Control-Expose-Headers"] = exposed
		next.ServeHTTP(w, r)
	})
}
