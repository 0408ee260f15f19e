package interactiontest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
)

// Verifier and Challenge of PKCE that go together.
const Verifier = "dBjftJeZ4CVP-mBoJBgEyfEHDvOOAuvWn0Cjm5PbCnk"

// Challenge of Verifier.
func Challenge() string {
	sum := sha256.Sum256([]byte(Verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Browser visits a World. It follows redirects within the issuer, and stops at one that leads elsewhere.
type Browser struct {
	*World
	Jar    http.CookieJar
	client *http.Client
}

// Answer of the server, where the browser stopped.
type Answer struct {
	*http.Response
	Body string
	// URL of the last page, and Hops before it: each with its status.
	URL  string
	Hops []Hop
}

// Hop is one redirect.
type Hop struct {
	From, To string
	Status   int
	Method   string
}

// Browser with an empty jar.
func (w *World) Browser() *Browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.T.Fatal(err)
	}
	client := *w.HTTP.Client()
	client.Jar = jar
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Browser{World: w, Jar: jar, client: &client}
}

// Request to the authorization endpoint, as a URL. Pairs are names and values.
func (w *World) Request(pairs ...string) string {
	values := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		values.Add(pairs[i], pairs[i+1])
	}
	return w.Issuer + interaction.PathAuthorize + "?" + values.Encode()
}

// WebRequest is a good request of the client web, with what is added.
func (w *World) WebRequest(pairs ...string) string {
	return w.Request(append([]string{
		"client_id", "web", "redirect_uri", WebRedirect, "response_type", "code", "scope", "openid profile", "state", "some state",
	}, pairs...)...)
}

// CLIRequest is a good request of the client cli, with what is added.
func (w *World) CLIRequest(redirect string, pairs ...string) string {
	return w.Request(append([]string{
		"client_id", "cli", "redirect_uri", redirect, "response_type", "code", "scope", "openid", "state", "some state",
		"code_challenge", Challenge(), "code_challenge_method", "S256",
	}, pairs...)...)
}

// LegacyRequest is a good request of the client legacy for the response type.
func (w *World) LegacyRequest(responseType string, pairs ...string) string {
	return w.Request(append([]string{
		"client_id", "legacy", "redirect_uri", "https://legacy.example.com/callback", "response_type", responseType,
		"scope", "openid profile", "state", "some state", "nonce", "some nonce",
	}, pairs...)...)
}

// HybridRequest is a good request of the client hybrid for the response type.
func (w *World) HybridRequest(responseType string, pairs ...string) string {
	return w.Request(append([]string{
		"client_id", "hybrid", "redirect_uri", HybridRedirect, "response_type", responseType, "scope", "openid profile", "state", "some state",
		"nonce", "some nonce", "code_challenge", Challenge(), "code_challenge_method", "S256",
	}, pairs...)...)
}

// Get a page.
func (b *Browser) Get(address string) Answer {
	b.T.Helper()
	return b.Do(b.new(http.MethodGet, address, nil))
}

// Post a form.
func (b *Browser) Post(address string, form url.Values) Answer {
	b.T.Helper()
	return b.Do(b.new(http.MethodPost, address, form))
}

// PostOnce posts a form and follows no redirect.
func (b *Browser) PostOnce(address string, form url.Values) Answer {
	b.T.Helper()
	return b.once(b.new(http.MethodPost, address, form))
}

// GetOnce gets a page and follows no redirect.
func (b *Browser) GetOnce(address string) Answer {
	b.T.Helper()
	return b.once(b.new(http.MethodGet, address, nil))
}

func (b *Browser) once(r *http.Request) Answer {
	b.T.Helper()
	response, err := b.client.Do(r)
	if err != nil {
		b.T.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil {
		b.T.Fatal(err)
	}
	return Answer{Response: response, Body: string(body), URL: r.URL.String()}
}

func (b *Browser) new(method, address string, form url.Values) *http.Request {
	b.T.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(context.WithoutCancel(b.T.Context()), method, address, body)
	if err != nil {
		b.T.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

// Do a request and follow redirects within the issuer.
func (b *Browser) Do(r *http.Request) Answer {
	b.T.Helper()
	var hops []Hop
	for range 20 {
		answer := b.once(r)
		answer.Hops = hops
		to := answer.Header.Get("Location")
		if to != "" {
			answer.Hops = append(answer.Hops, Hop{From: answer.URL, To: to, Status: answer.StatusCode, Method: r.Method})
		}
		if to == "" || !strings.HasPrefix(to, b.Issuer+"/") {
			return answer
		}
		hops = answer.Hops
		r = b.new(http.MethodGet, to, nil)
	}
	b.T.Fatal("the redirects do not end")
	return Answer{}
}

// Form of a page: where it goes, and its hidden fields.
func (a Answer) Form(t testing.TB) (action string, fields url.Values) {
	t.Helper()
	fields = url.Values{}
	form := a.Find("form", "", "")
	if form == nil {
		t.Fatalf("%s has no form: %d %s", a.URL, a.StatusCode, a.Body)
	}
	for node := range form.Descendants() {
		if node.Type == html.ElementNode && node.Data == "input" && attribute(node, "type") == "hidden" {
			fields.Set(attribute(node, "name"), attribute(node, "value"))
		}
	}
	return attribute(form, "action"), fields
}

// Find the first element of the kind, with the attribute if one is named.
func (a Answer) Find(element, name, value string) *html.Node {
	root, err := html.Parse(strings.NewReader(a.Body))
	if err != nil {
		return nil
	}
	for node := range root.Descendants() {
		if node.Type == html.ElementNode && node.Data == element && (name == "" || attribute(node, name) == value) {
			return node
		}
	}
	return nil
}

func attribute(node *html.Node, name string) string {
	for _, a := range node.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// IsLogin says whether the browser stopped at the login page.
func (a Answer) IsLogin() bool {
	return a.StatusCode == http.StatusOK && a.Find("input", "id", "password") != nil
}

// IsConsent says whether the browser stopped at the consent page.
func (a Answer) IsConsent() bool {
	return a.StatusCode == http.StatusOK && a.Find("button", "id", "consent-allow") != nil
}

// IsLogout says whether the browser stopped at the page that asks whether to sign out.
func (a Answer) IsLogout() bool {
	return a.StatusCode == http.StatusOK && a.Find("button", "id", "logout-confirm") != nil
}

// Values of the answer to the client: of the query, or of the fragment if there is one. Nil if the browser was not sent to a client.
func (a Answer) Values() url.Values {
	location := a.Header.Get("Location")
	if location == "" {
		return nil
	}
	u, err := url.Parse(location)
	if err != nil {
		return nil
	}
	if u.Fragment != "" {
		values, _ := url.ParseQuery(u.EscapedFragment())
		return values
	}
	return u.Query()
}

// Login fills in the login page.
func (b *Browser) Login(page Answer, username, password string) Answer {
	b.T.Helper()
	if !page.IsLogin() {
		b.T.Fatalf("not the login page: %d at %s: %s %s", page.StatusCode, page.URL, page.Header.Get("Location"), page.Body)
	}
	action, fields := page.Form(b.T)
	fields.Set("username", username)
	fields.Set("password", password)
	return b.Post(action, fields)
}

// Consent presses the button of the consent page: allow, deny or switch.
func (b *Browser) Consent(page Answer, decision string) Answer {
	b.T.Helper()
	if !page.IsConsent() {
		b.T.Fatalf("not the consent page: %d at %s: %s %s", page.StatusCode, page.URL, page.Header.Get("Location"), page.Body)
	}
	action, fields := page.Form(b.T)
	fields.Set("decision", decision)
	return b.Post(action, fields)
}

// Confirm presses the button of the logout page.
func (b *Browser) Confirm(page Answer) Answer {
	b.T.Helper()
	if !page.IsLogout() {
		b.T.Fatalf("not the logout page: %d at %s: %s %s", page.StatusCode, page.URL, page.Header.Get("Location"), page.Body)
	}
	return b.Post(page.Form(b.T))
}

// SignIn goes all the way as alice, from the request to the answer.
func (b *Browser) SignIn(request string) Answer {
	b.T.Helper()
	page := b.Get(request)
	if page.IsLogin() {
		page = b.Login(page, "alice", AlicePassword)
	}
	if page.IsConsent() {
		page = b.Consent(page, "allow")
	}
	return page
}

// Redeem a code for the client.
func (w *World) Redeem(clientID, code, redirectURI, verifier string) (grant.Outcome, error) {
	w.T.Helper()
	client, ok := w.Registry.Client(clientID)
	if !ok {
		w.T.Fatalf("no client %s", clientID)
	}
	return w.Grants.Redeem(context.WithoutCancel(w.T.Context()), grant.Redemption{
		Client: client, Code: code, RedirectURI: redirectURI, CodeVerifier: verifier,
	})
}
