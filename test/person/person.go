// Package person is somebody at a browser without JavaScript, for tests.
package person

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

// Browser is a person without JavaScript: it follows links and redirects, keeps cookies, and fills in forms that it finds by the ids that
// the token server's pages promise.
type Browser struct {
	client *http.Client
	stay   string   // see Follow
	At     *url.URL // the fragment included, which is never sent
}

// Accept is the header by which servers know a browser that wants a page.
const Accept = "text/html,application/xhtml+xml,*/*;q=0.8"

// New is a person with a fresh browser.
func New() (*Browser, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	return &Browser{client: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
}

// SignIn opens the URL of an authorization request, signs in, and consents, until it has left the issuer.
func (b *Browser) SignIn(address, issuer, username, password string) error {
	page, err := b.Do(http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	for range 5 {
		if !strings.HasPrefix(b.At.String(), issuer) {
			return b.arrive()
		}
		switch {
		case Find(page, "login-submit") != nil:
			page, err = b.Submit(page, "login-submit", map[string]string{"username": username, "password": password})
		case Find(page, "consent-allow") != nil:
			page, err = b.Submit(page, "consent-allow", nil)
		default:
			return fmt.Errorf("%s shows neither a login nor a consent form: %s", b.At, Text(page))
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("%s asks again and again", b.At)
}

// Through makes requests go through the transport, which may trust authorities that nobody else knows.
func (b *Browser) Through(transport http.RoundTripper) { b.client.Transport = transport }

// Client has the browser's cookies. It follows no redirect.
func (b *Browser) Client() *http.Client { return b.client }

// Follow makes redirects be followed only while they stay at addresses with the prefix; the one that leaves is kept in At.
func (b *Browser) Follow(prefix string) { b.stay = prefix }

// arrive does what the script of the callback's page does: it sends the fragment on.
func (b *Browser) arrive() error {
	if b.At.Fragment == "" || b.stay != "" {
		return nil
	}
	response, err := b.client.Post(b.At.String(), "application/x-www-form-urlencoded", strings.NewReader(b.At.EscapedFragment()))
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// submit sends the form that the button belongs to.
func (b *Browser) Submit(page *html.Node, button string, typed map[string]string) (*html.Node, error) {
	clicked := Find(page, button)
	form := clicked
	for form.Data != "form" {
		if form = form.Parent; form == nil {
			return nil, fmt.Errorf("%s: %s is in no form", b.At, button)
		}
	}
	values := url.Values{}
	for field := range form.Descendants() {
		if field.Type == html.ElementNode && field.Data == "input" && attribute(field, "name") != "" && attribute(field, "type") != "checkbox" {
			value := attribute(field, "value")
			if own, ok := typed[attribute(field, "id")]; ok {
				value = own
			}
			values.Set(attribute(field, "name"), value)
		}
	}
	if name := attribute(clicked, "name"); name != "" {
		values.Set(name, attribute(clicked, "value"))
	}
	action, err := b.At.Parse(attribute(form, "action"))
	if err != nil {
		return nil, err
	}
	return b.Do(http.MethodPost, action.String(), values)
}

// do sends a request and follows redirects.
func (b *Browser) Do(method, address string, form url.Values) (*html.Node, error) {
	for range 10 {
		request, err := http.NewRequest(method, address, strings.NewReader(form.Encode()))
		if err != nil {
			return nil, err
		}
		request.Header.Set("Accept", Accept)
		if method == http.MethodPost {
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			request.Header.Set("Origin", b.At.Scheme+"://"+b.At.Host)
		}
		response, err := b.client.Do(request)
		if err != nil {
			return nil, err
		}
		page, err := html.Parse(io.LimitReader(response.Body, 1<<20))
		if closed := response.Body.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return nil, err
		}
		if b.At, err = url.Parse(address); err != nil {
			return nil, err
		}
		location := response.Header.Get("Location")
		if location == "" {
			return page, nil
		}
		next, err := b.At.Parse(location)
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(next.String(), b.stay) {
			b.At = next
			return page, nil
		}
		method, address, form = http.MethodGet, next.String(), nil
	}
	return nil, fmt.Errorf("%s redirects for ever", address)
}

func Find(page *html.Node, id string) *html.Node {
	for n := range page.Descendants() {
		if n.Type == html.ElementNode && attribute(n, "id") == id {
			return n
		}
	}
	return nil
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func Text(page *html.Node) string {
	var all []string
	for n := range page.Descendants() {
		if n.Type == html.TextNode && n.Parent.Data != "style" && strings.TrimSpace(n.Data) != "" {
			all = append(all, strings.TrimSpace(n.Data))
		}
	}
	return strings.Join(all, " | ")
}
