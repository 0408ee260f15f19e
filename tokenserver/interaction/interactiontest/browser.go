package interactiontest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"

	"github.com/oauth-operator/oauth-operator/test/browser"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// Verifier and Challenge of PKCE that go together.
const Verifier = "dBjftJeZ4CVP-mBoJBgEyfEHDvOOAuvWn0Cjm5PbCnk"

// Challenge of Verifier.
func Challenge() string {
	sum := sha256.Sum256([]byte(Verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Browser visits a Server. It follows redirects within the issuer, and an error ends the test.
type Browser struct {
	*Server
	*browser.Browser
}

// Page is what a request led to.
type Page = browser.Page

// NewBrowser returns a browser without cookies.
func (s *Server) NewBrowser() *Browser {
	return &Browser{Server: s, Browser: browser.New(s.HTTP.Client().Transport, s.Issuer+"/")}
}

// Request to the authorization endpoint, as a URL. Pairs are names and values.
func (s *Server) Request(pairs ...string) string {
	values := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		values.Add(pairs[i], pairs[i+1])
	}
	return s.Issuer + oauth.PathAuthorize + "?" + values.Encode()
}

// WebRequest is a good request of the client web, with what is added.
func (s *Server) WebRequest(pairs ...string) string {
	return s.Request(append([]string{
		"client_id", "web", "redirect_uri", WebRedirect, "response_type", "code", "scope", "openid profile", "state", "some state",
	}, pairs...)...)
}

// CLIRequest is a good request of the client cli, with what is added.
func (s *Server) CLIRequest(redirect string, pairs ...string) string {
	return s.Request(append([]string{
		"client_id", "cli", "redirect_uri", redirect, "response_type", "code", "scope", "openid", "state", "some state",
		"code_challenge", Challenge(), "code_challenge_method", "S256",
	}, pairs...)...)
}

// LegacyRequest is a good request of the client legacy for the response type.
func (s *Server) LegacyRequest(responseType string, pairs ...string) string {
	return s.Request(append([]string{
		"client_id", "legacy", "redirect_uri", "https://legacy.example.com/callback", "response_type", responseType,
		"scope", "openid profile", "state", "some state", "nonce", "some nonce",
	}, pairs...)...)
}

// HybridRequest is a good request of the client hybrid for the response type.
func (s *Server) HybridRequest(responseType string, pairs ...string) string {
	return s.Request(append([]string{
		"client_id", "hybrid", "redirect_uri", HybridRedirect, "response_type", responseType, "scope", "openid profile", "state", "some state",
		"nonce", "some nonce", "code_challenge", Challenge(), "code_challenge_method", "S256",
	}, pairs...)...)
}

// Get opens a page.
func (b *Browser) Get(address string) Page {
	b.T.Helper()
	return b.Do(b.newRequest(http.MethodGet, address, nil))
}

// Post sends a form.
func (b *Browser) Post(address string, form url.Values) Page {
	b.T.Helper()
	return b.Do(b.newRequest(http.MethodPost, address, form))
}

// GetOnce opens a page and follows no redirect.
func (b *Browser) GetOnce(address string) Page {
	b.T.Helper()
	return b.require(b.DoOnce(b.newRequest(http.MethodGet, address, nil)))
}

// PostOnce sends a form and follows no redirect.
func (b *Browser) PostOnce(address string, form url.Values) Page {
	b.T.Helper()
	return b.require(b.DoOnce(b.newRequest(http.MethodPost, address, form)))
}

// Do sends a request and follows redirects within the issuer.
func (b *Browser) Do(r *http.Request) Page {
	b.T.Helper()
	return b.require(b.Browser.Do(r))
}

// Login fills in the login page.
func (b *Browser) Login(page Page, username, password string) Page {
	b.T.Helper()
	return b.require(b.Browser.Login(b.context(), page, username, password))
}

// Consent presses a button of the consent page: allow, deny or switch.
func (b *Browser) Consent(page Page, decision string) Page {
	b.T.Helper()
	return b.require(b.Submit(b.context(), page, "consent-"+decision, nil))
}

// ConfirmLogout presses the button of the logout page.
func (b *Browser) ConfirmLogout(page Page) Page {
	b.T.Helper()
	return b.require(b.Submit(b.context(), page, "logout-confirm", nil))
}

// SignIn sends a request to the authorization endpoint, and signs in as alice and consents as far
// as the browser is asked to.
func (b *Browser) SignIn(request string) Page {
	b.T.Helper()
	return b.require(b.Browser.SignIn(b.context(), request, "alice", AlicePassword))
}

// context outlives the test, for requests of its cleanup.
func (b *Browser) context() context.Context { return context.WithoutCancel(b.T.Context()) }

func (b *Browser) newRequest(method, address string, form url.Values) *http.Request {
	b.T.Helper()
	r, err := browser.NewRequest(b.context(), method, address, form)
	if err != nil {
		b.T.Fatal(err)
	}
	return r
}

func (b *Browser) require(page Page, err error) Page {
	b.T.Helper()
	if err != nil {
		b.T.Fatal(err)
	}
	return page
}
