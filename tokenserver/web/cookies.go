package web

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"
)

// Cookies of one issuer. Under an https issuer they are __Host- cookies and Secure; under an http issuer, which is a loopback one, they are
// neither, because Safari and most HTTP libraries would drop them. Their names carry a hash of the issuer, so that two servers on one host
// (ports and paths do not separate cookies, RFC 6265 section 8.5) do not overwrite each other's. All are HttpOnly and SameSite=Lax: a form
// that another site posts comes without them.
type Cookies struct {
	prefix string
	secure bool
}

// CookiesOf an issuer.
func CookiesOf(issuer string) Cookies {
	hash := sha256.Sum256([]byte(issuer))
	c := Cookies{prefix: "oauth-" + hex.EncodeToString(hash[:4]) + "-", secure: strings.HasPrefix(issuer, "https://")}
	if c.secure {
		c.prefix = "__Host-" + c.prefix
	}
	return c
}

// Name of the cookie of a kind: a word of lower-case letters.
func (c Cookies) Name(kind string) string { return c.prefix + kind }

// Get gives the value of the cookie, "" if there is none. Two of one name count as none: one of them is not ours, and there is no telling
// which.
func (c Cookies) Get(r *http.Request, kind string) string {
	found := r.CookiesNamed(c.Name(kind))
	if len(found) != 1 {
		return ""
	}
	return found[0].Value
}

// Set the cookie, for as long as the browser runs if lifetime is zero.
func (c Cookies) Set(w http.ResponseWriter, kind, value string, lifetime time.Duration) {
	http.SetCookie(w, c.cookie(kind, value, int(lifetime/time.Second)))
}

// Delete the cookie.
func (c Cookies) Delete(w http.ResponseWriter, kind string) {
	http.SetCookie(w, c.cookie(kind, "", -1))
}

func (c Cookies) cookie(kind, value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: c.Name(kind), Value: value, Path: "/", MaxAge: maxAge,
		Secure: c.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}
