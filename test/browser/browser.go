// Package browser is a scripted browser without JavaScript, for tests. It keeps cookies, follows
// redirects, and fills in the forms of the token server's pages by the ids of their elements.
//
//	browser.go  requests, redirects and the steps of a login
//	page.go     what a request led to: the page, its forms, and where the browser was sent
package browser

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
)

// Accept is the value of the Accept header of a browser that asks for a page.
const Accept = "text/html,application/xhtml+xml,*/*;q=0.8"

const maxRedirects = 20

// Browser sends requests with the cookies of its jar. It is safe for concurrent use.
type Browser struct {
	Jar    http.CookieJar
	client *http.Client
	within []string
}

// New returns a browser without cookies. It follows redirects to addresses that begin with one of
// the prefixes; an empty prefix allows all of them. A nil transport is http.DefaultTransport.
func New(transport http.RoundTripper, prefixes ...string) *Browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err) // without options there is nothing to fail
	}
	return &Browser{Jar: jar, within: prefixes, client: &http.Client{
		Jar: jar, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Get opens a page.
func (b *Browser) Get(ctx context.Context, address string) (Page, error) {
	request, err := NewRequest(ctx, http.MethodGet, address, nil)
	if err != nil {
		return Page{}, err
	}
	return b.Do(request)
}

// mayOpen reports whether the browser follows a redirect to an address.
func (b *Browser) mayOpen(address string) bool {
	return slices.ContainsFunc(b.within, func(prefix string) bool { return strings.HasPrefix(address, prefix) })
}

// Do sends a request and follows redirects within the browser's prefixes.
func (b *Browser) Do(request *http.Request) (Page, error) {
	var redirects []Redirect
	for range maxRedirects {
		page, err := b.DoOnce(request)
		if err != nil {
			return Page{}, err
		}
		page.Redirects = redirects
		location := page.Header.Get("Location")
		if location == "" {
			return page, nil
		}
		page.Redirects = append(page.Redirects, Redirect{
			From: page.URL, To: location, Status: page.StatusCode, Method: request.Method,
		})
		if !b.mayOpen(page.At.String()) {
			return page, nil
		}
		redirects = page.Redirects
		if request, err = NewRequest(request.Context(), http.MethodGet, page.At.String(), nil); err != nil {
			return Page{}, err
		}
	}
	return Page{}, fmt.Errorf("%s redirects more than %d times", redirects[0].From, maxRedirects)
}

// DoOnce sends a request and follows no redirect.
func (b *Browser) DoOnce(request *http.Request) (Page, error) {
	response, err := b.client.Do(request)
	if err != nil {
		return Page{}, err
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil {
		return Page{}, err
	}
	page := Page{Response: response, Body: string(body), URL: request.URL.String(), At: request.URL}
	if location := response.Header.Get("Location"); location != "" {
		page.At, err = request.URL.Parse(location)
	}
	return page, err
}

// Submit presses the button with the id, after it has typed the values into the fields with the
// ids that are the keys of typed.
func (b *Browser) Submit(ctx context.Context, page Page, button string, typed map[string]string) (Page, error) {
	action, fields, err := page.formOf(button, typed)
	if err != nil {
		return Page{}, err
	}
	request, err := NewRequest(ctx, http.MethodPost, action.String(), fields)
	if err != nil {
		return Page{}, err
	}
	request.Header.Set("Origin", page.At.Scheme+"://"+page.At.Host)
	return b.Do(request)
}

// Login fills in the login page.
func (b *Browser) Login(ctx context.Context, page Page, username, password string) (Page, error) {
	return b.Submit(ctx, page, "login-submit", map[string]string{"username": username, "password": password})
}

// SignIn opens an address, and signs in and consents as far as it is asked to.
func (b *Browser) SignIn(ctx context.Context, address, username, password string) (Page, error) {
	page, err := b.Get(ctx, address)
	for range 5 {
		switch {
		case err != nil:
			return Page{}, err
		case page.IsLogin():
			page, err = b.Login(ctx, page, username, password)
		case page.IsConsent():
			page, err = b.Submit(ctx, page, "consent-allow", nil)
		default:
			return page, nil
		}
	}
	return Page{}, fmt.Errorf("%s asks again and again", page.URL)
}

// NewRequest returns a request for a page. A form is sent as the body.
func NewRequest(ctx context.Context, method, address string, form url.Values) (*http.Request, error) {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	request, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", Accept)
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return request, nil
}
