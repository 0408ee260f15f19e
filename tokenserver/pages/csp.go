package pages

import (
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"net/url"
	"strings"
)

// style is the stylesheet that each page contains.
var style = func() template.CSS {
	css, err := files.ReadFile("templates/style.css")
	if err != nil {
		panic(err) // the file is embedded
	}
	return template.CSS(css) //nolint:gosec // our own file
}()

var styleHash = func() string {
	hash := sha256.Sum256([]byte(style))
	return "'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'"
}()

// script is the script of the page Post. No other page has one.
const script template.JS = "document.forms[0].submit()"

var scriptHash = func() string {
	hash := sha256.Sum256([]byte(script))
	return "'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'"
}()

// SecurityPolicy returns the Content-Security-Policy of a page. redirectURI is where the response
// to the page's form redirects in the end, or empty.
//
// Chromium and Safari apply form-action to each redirect that follows a form. So it must name the
// origin of the redirect URI, or its private-use scheme. From there, an application may redirect to
// any https address: a proxy that signs in for many hosts sends the user on to one of them.
func SecurityPolicy(page Page, redirectURI string) string {
	policy := "default-src 'none'; style-src " + styleHash + "; form-action 'self'" + formActionSources(redirectURI) +
		"; frame-ancestors 'none'; base-uri 'none'"
	if _, posts := page.(Post); posts {
		policy += "; script-src " + scriptHash
	}
	return policy
}

// formActionSources returns the source expressions that form-action needs for a redirect URI, each
// after a space: its origin, or its scheme if it has no origin, and https:, since the application
// may redirect on, and this server to an identity provider. It returns "" if the URI has a
// character that a policy cannot contain.
func formActionSources(redirectURI string) string {
	u, err := url.Parse(redirectURI)
	if err != nil || u.Scheme == "" {
		return ""
	}
	source := u.Scheme + ":"
	if u.Scheme == "https" || u.Scheme == "http" {
		// A source expression cannot be an IPv6 literal: a browser would ignore it and block the
		// redirect.
		if !strings.Contains(u.Host, "[") {
			source += "//" + u.Host
		}
	}
	if strings.ContainsFunc(source, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`;,'"`, r) }) {
		return ""
	}
	return " " + source + " https:"
}
