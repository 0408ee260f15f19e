package pages

import (
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"net/url"
	"strings"
)

// style is the stylesheet, as it stands inside every page.
var style = func() template.CSS {
	css, err := files.ReadFile("templates/style.css")
	if err != nil {
		panic(err) // embedded: present or not built
	}
	return template.CSS(css) //nolint:gosec // our own file
}()

var styleHash = func() string {
	hash := sha256.Sum256([]byte(style))
	return "'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'"
}()

// script of the page Post, and the only one there is.
const script template.JS = "document.forms[0].submit()"

var scriptHash = func() string {
	hash := sha256.Sum256([]byte(script))
	return "'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'"
}()

// SecurityPolicy is the Content-Security-Policy of a page. RedirectsTo is the redirect URI that the page's form leads to in the end, or
// empty.
//
// Chromium and Safari hold form-action against every redirect that follows a form, to the last one. So the redirect URI's origin must be
// named, or a private-use scheme by the scheme. Where an application goes from there is its own affair (a proxy that signs in for many
// hosts sends the user on to one of them), so any https address may follow.
func SecurityPolicy(page Page, redirectsTo string) string {
	policy := "default-src 'none'; style-src " + styleHash + "; form-action 'self'" + formTarget(redirectsTo) +
		"; frame-ancestors 'none'; base-uri 'none'"
	if _, posts := page.(Post); posts {
		policy += "; script-src " + scriptHash
	}
	return policy
}

// formTarget is what form-action has to name for a redirect URI, each source expression after a space: its origin, or its scheme if it has no
// host to speak of. It is empty if the URI could not stand in a policy.
func formTarget(redirectURI string) string {
	u, err := url.Parse(redirectURI)
	if err != nil || u.Scheme == "" {
		return ""
	}
	source, onward := u.Scheme+":", ""
	if u.Scheme == "https" || u.Scheme == "http" {
		onward = " https:"
		// The grammar of a source expression has no IPv6 literals; a browser would ignore one, and then block the redirect.
		if !strings.Contains(u.Host, "[") {
			source += "//" + u.Host
		}
	}
	if strings.ContainsFunc(source, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`;,'"`, r) }) {
		return ""
	}
	return " " + source + onward
}
