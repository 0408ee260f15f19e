package web

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"
)

// Cookies names, reads and writes the cookies of one issuer. With an https issuer they are __Host-
// cookies and Secure. With an http issuer, which is a loopback one, they are neither, because
// Safari and most HTTP libraries would drop them. Their names contain a hash of the issuer, so that
// two servers on one host do not overwrite each other's cookies: ports and paths do not separate
// them (RFC 6265 section 8.5). All are HttpOnly and SameSite=Lax, so browsers do not send them with
// a form that another site posts.
type Cookies struct {
	prefix string
	secure bool
}

// CookiesOf returns the cookies of an issuer.
func CookiesOf(issuer string) Cookies {
	hash := sha256.Sum256([]byte(issuer))
	c := Cookies{prefix: "oauth-" + hex.EncodeToString(hash[:4]) + "-", secure: strings.HasPrefix(issuer, "https://")}
	if c.secure {
		c.prefix = "__Host-" + c.prefix
	}
	return c
}

// Name returns the name of the cookie of a kind, which is a word of lower-case letters.
func (c Cookies) Name(kind string) string { return c.prefix + kind }

// Get returns the value of the cookie in the request; "" if there is none. Two cookies of the name
// count as none, since another host of the domain may have set one of them.
func (c Cookies) Get(r *http.Request, kind string) string {
	found := r.CookiesNamed(c.Name(kind))
	if len(found) != 1 {
		return ""
	}
	return found[0].Value
}

// Set sets the cookie. If lifetime is zero, it ends with the browser session.
func (c Cookies) Set(w http.ResponseWriter, kind, value string, lifetime time.Duration) {
	http.SetCookie(w, c.cookie(kind, value, int(lifetime/time.Second)))
}

// Delete deletes the cookie.
func (c Cookies) Delete(w http.ResponseWriter, kind string) {
	http.SetCookie(w, c.cookie(kind, "", -1))
}

func (c Cookies) cookie(kind, value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: c.Name(kind), Value: value, Path: "/", MaxAge: maxAge,
		Secure: c.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}
