package interaction

import (
	"net/http"

	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// cookieSignedOut is the kind of the cookie of a browser whose user has signed out, and has not gone
// to an identity provider since. It is not sealed: who forges it only makes the login page appear.
const cookieSignedOut = "signedout"

// NoteSignedOut records in the browser that its user has signed out. It is not sent to an identity
// provider then without being asked: the user may still be signed in there, and would be here again.
func NoteSignedOut(w http.ResponseWriter, issuer string) {
	web.CookiesOf(issuer).Set(w, cookieSignedOut, "1", 0)
}

// HasSignedOut reports whether the user of the browser has signed out.
func HasSignedOut(r *http.Request, issuer string) bool {
	return web.CookiesOf(issuer).Get(r, cookieSignedOut) != ""
}

// ForgetSignedOut forgets that the user of the browser has signed out.
func ForgetSignedOut(w http.ResponseWriter, r *http.Request, issuer string) {
	if HasSignedOut(r, issuer) {
		web.CookiesOf(issuer).Delete(w, cookieSignedOut)
	}
}
