package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/oauth-operator/oauth-operator/tokenserver/jsontext"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
)

// JSON answers with v as JSON that nothing may store (RFC 6749 section 5.1).
func JSON(w http.ResponseWriter, status int, v any) error {
	body, err := encodeJSON(v)
	if err != nil {
		return fmt.Errorf("encoding the response: %w", err)
	}
	h := w.Header()
	h["Cache-Control"], h["Pragma"] = noStore, noCache
	return Bytes(w, status, "application/json", body)
}

// usualResponse is more than the JSON of most responses has, in bytes.
const usualResponse = 1 << 10

func encodeJSON(v any) ([]byte, error) {
	if a, ok := v.(jsontext.Appender); ok {
		return a.AppendJSON(make([]byte, 0, usualResponse)), nil
	}
	return json.Marshal(v)
}

// Bytes answers with a body of the content type. Cache-Control is no-store unless the caller sets
// it.
func Bytes(w http.ResponseWriter, status int, contentType string, body []byte) error {
	w.Header()["Content-Type"] = []string{contentType}
	w.WriteHeader(status)
	_, _ = w.Write(body) // it fails if the client has closed the connection
	return nil
}

// NoBody answers with a status and an empty body.
func NoBody(w http.ResponseWriter, status int) error {
	w.WriteHeader(status)
	return nil
}

// Page answers with a page, with headers that forbid browsers to frame, store or script it.
// redirectURI is where the response to the page's form redirects in the end; empty if the form
// stays on this server. The Content-Security-Policy would otherwise block that redirect.
func Page(w http.ResponseWriter, status int, page pages.Page, redirectURI string) error {
	body, err := pages.Render(page)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Security-Policy", pages.SecurityPolicy(page, redirectURI))
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	return Bytes(w, status, "text/html; charset=utf-8", body)
}

// Redirect redirects the browser to the URL with a GET, whatever the method of the request: with
// 303, because a 307 or 308 would make the browser send a password on (RFC 9700 section 4.12).
func Redirect(w http.ResponseWriter, url string) error {
	if strings.ContainsAny(url, "\r\n\x00") {
		return errors.New("the URL of a redirect has a control character")
	}
	w.Header().Set("Location", url)
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusSeeOther)
	return nil
}
