//go:build peers && postgres

package bench

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/oauth2"
)

// peerCallback is the redirect URI of the clients at every server. No process listens there.
const peerCallback = "http://127.0.0.1:9/callback"

// peerPages is where a server sends users to that has no pages itself. No process listens there either.
const peerPages = "http://127.0.0.1:9/pages/"

// peerUser is a browser that signs in wherever it is asked to. It has one connection.
type peerUser struct {
	client  *http.Client
	cookies map[string]*http.Cookie // by name and path
}

func newPeerUser() *peerUser {
	return &peerUser{
		client: &http.Client{
			Transport:     &http.Transport{MaxConnsPerHost: 1, DisableCompression: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		cookies: map[string]*http.Cookie{},
	}
}

// code is one from the authorization endpoint.
func (u *peerUser) code(s *runningPeer) (string, error) {
	config := &oauth2.Config{ClientID: s.web.id, RedirectURL: peerCallback, Scopes: strings.Fields(s.web.scope), Endpoint: oauth2.Endpoint{AuthURL: s.endpoints.Authorization}}
	request, err := http.NewRequest(http.MethodGet, config.AuthCodeURL("a-state-of-enough-length", oauth2.S256ChallengeOption(verifier)), nil)
	const steps = 12
	for range steps {
		if err != nil {
			return "", err
		}
		var next *http.Request
		response, err := u.send(request)
		if err != nil {
			return "", err
		}
		if response.Header.Get("Location") == "" {
			next, err = signInForm(response, s.username, s.password)
		} else {
			next, err = s.follow(response)
		}
		_, readErr := io.Copy(io.Discard, response.Body) // so that the connection is kept
		if err = errors.Join(err, readErr, response.Body.Close()); err != nil {
			return "", fmt.Errorf("%s: %w", request.URL, err)
		}
		if strings.HasPrefix(next.URL.String(), peerCallback) {
			code := next.URL.Query().Get("code")
			if code == "" {
				return "", fmt.Errorf("sent to %s without a code", next.URL)
			}
			return code, nil
		}
		request = next
	}
	return "", fmt.Errorf("no code after %d requests, the last to %s", steps, request.URL)
}

// send sends a request with the cookies of its path. Some are for HTTPS only, which a proxy in front
// of the server would speak: net/http/cookiejar would not send them.
func (u *peerUser) send(request *http.Request) (*http.Response, error) {
	request.Header.Set("Accept", "text/html")
	for _, c := range u.cookies {
		if strings.HasPrefix(request.URL.Path, c.Path) {
			request.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
		}
	}
	response, err := u.client.Do(request)
	if err != nil {
		return nil, err
	}
	for _, c := range response.Cookies() {
		key := c.Name + " " + c.Path
		u.cookies[key] = c
		if c.MaxAge < 0 || c.Value == "" || !c.Expires.IsZero() && c.Expires.Year() < 2000 {
			delete(u.cookies, key)
		}
	}
	return response, nil
}

// follow is the request that follows a redirect. One to the pages of a server that leaves them to
// others is answered by these.
func (s *runningPeer) follow(response *http.Response) (*http.Request, error) {
	to, err := response.Location()
	if err != nil {
		return nil, err
	}
	address := to.String()
	if s.pages != nil && strings.HasPrefix(address, peerPages) {
		if address, err = s.pages(to); err != nil {
			return nil, err
		}
	}
	return http.NewRequest(http.MethodGet, address, nil)
}

// signInForm is the request that the first form of a page makes when it is filled in.
func signInForm(page *http.Response, username, password string) (*http.Request, error) {
	root, err := html.Parse(page.Body)
	if err != nil {
		return nil, err
	}
	form := firstElement(root, "form")
	if page.StatusCode != http.StatusOK || form == nil {
		return nil, errors.New("answered " + page.Status + " without a form")
	}
	action, err := page.Request.URL.Parse(attribute(form, "action"))
	if err != nil {
		return nil, err
	}
	fields := url.Values{}
	for node := range form.Descendants() {
		name := attribute(node, "name")
		switch {
		case node.Data != "input" || name == "":
		case attribute(node, "type") == "password":
			fields.Set(name, password)
		case name == "username":
			fields.Set(name, username)
		case attribute(node, "type") != "checkbox":
			fields.Set(name, attribute(node, "value"))
		}
	}
	request, err := http.NewRequest(http.MethodPost, action.String(), strings.NewReader(fields.Encode()))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Origin", action.Scheme+"://"+action.Host)
	return request, nil
}

func firstElement(root *html.Node, name string) *html.Node {
	for node := range root.Descendants() {
		if node.Type == html.ElementNode && node.Data == name {
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
