package web

import (
	"net/http"
	"strings"
)

// CORS lets scripts of any origin call the endpoint, without the browser's credentials: for discovery, JWKS, token, userinfo and revoke.
// Endpoints that live by a cookie must not have it (RFC 9700 section 2.6). Methods are those that the endpoint takes.
func CORS(next http.Handler, methods ...string) http.Handler {
	allowed := strings.Join(methods, ", ")
	anybody, exposed := []string{"*"}, []string{"WWW-Authenticate, Retry-After, Request-Id"} // shared by all answers
	// Any header: tracing and tools add their own. The wildcard does not stand for Authorization
	// (Fetch standard, section 3.3.5).
	headers := []string{"*, Authorization"}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["Access-Control-Allow-Origin"] = anybody
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
