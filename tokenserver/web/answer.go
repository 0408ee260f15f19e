package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
)

// JSON answers with v, not to be stored by anyone (RFC 6749 section 5.1).
func JSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding the answer: %w", err)
	}
	h := w.Header()
	h["Cache-Control"], h["Pragma"] = noStore, noCache
	return Bytes(w, status, "application/json", body)
}

// Bytes answers with a body of the content type. Whoever may store it is said by Cache-Control, no-store unless the caller sets another.
func Bytes(w http.ResponseWriter, status int, contentType string, body []byte) error {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client has gone: there is nobody left to tell
	return nil
}

// NoBody answers with a status and nothing else.
func NoBody(w http.ResponseWriter, status int) error {
	w.WriteHeader(status)
	return nil
}

// Page answers with a page, under the headers that keep it from being framed, stored, scripted or sent as a referrer. RedirectsTo is where
// the page's form leads in the end: the redirect URI of the flow, empty if the form stays here (the policy's form-action would otherwise
// stop the redirect that answers the form).
func Page(w http.ResponseWriter, status int, page pages.Page, redirectsTo string) error {
	body, err := pages.Render(page)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Security-Policy", pages.SecurityPolicy(page, redirectsTo))
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	return Bytes(w, status, "text/html; charset=utf-8", body)
}

// Redirect sends the browser to the URL with a GET, whatever the method of this request (303: a 307 or 308 would send a password on,
// RFC 9700 section 4.12).
func Redirect(w http.ResponseWriter, url string) error {
	if strings.ContainsAny(url, "\r\n\x00") {
		return fmt.Errorf("a redirect with a control character")
	}
	w.Header().Set("Location", url)
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusSeeOther)
	return nil
}
