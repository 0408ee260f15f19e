package browser

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// Page is what a request led to.
type Page struct {
	*http.Response
	Body string
	// URL of the last request.
	URL string
	// At is where the browser is: at URL, or at the address that it was sent to and did not open.
	At *url.URL
	// Redirects that led here, and the one that the browser did not follow.
	Redirects []Redirect
}

// Redirect is one redirect, answered with Status to a request with Method.
type Redirect struct {
	From, To string
	Status   int
	Method   string
}

// Document parses the body.
func (p Page) Document() *html.Node {
	root, err := html.Parse(strings.NewReader(p.Body))
	if err != nil {
		panic(err) // a string can be read, and the parser accepts everything
	}
	return root
}

// Find returns the first element of the kind, with the attribute if one is named, or nil.
func (p Page) Find(element, attribute, value string) *html.Node {
	for node := range p.Document().Descendants() {
		if node.Type == html.ElementNode && node.Data == element && (attribute == "" || attributeOf(node, attribute) == value) {
			return node
		}
	}
	return nil
}

// IsLogin reports whether the page is the login page.
func (p Page) IsLogin() bool { return p.has("input", "password") }

// IsChooser reports whether the page is the login page with the ways to sign in.
func (p Page) IsChooser() bool { return p.has("ul", "ways") }

// IsConsent reports whether the page is the consent page.
func (p Page) IsConsent() bool { return p.has("button", "consent-allow") }

// IsLogout reports whether the page asks the user whether to sign out.
func (p Page) IsLogout() bool { return p.has("button", "logout-confirm") }

func (p Page) has(element, id string) bool {
	return p.Response != nil && p.StatusCode == http.StatusOK && p.Find(element, "id", id) != nil
}

// Values returns the parameters of the address that the browser was sent to and did not open: those
// of the fragment if there is one, else those of the query. Nil if it was not sent anywhere.
func (p Page) Values() url.Values {
	if p.Header.Get("Location") == "" {
		return nil
	}
	if p.At.Fragment == "" {
		return p.At.Query()
	}
	values, _ := url.ParseQuery(p.At.EscapedFragment())
	return values
}

// Form returns the action and the hidden fields of the first form of the page.
func (p Page) Form(t testing.TB) (action string, fields url.Values) {
	t.Helper()
	form := p.Find("form", "", "")
	if form == nil {
		t.Fatalf("%s has no form: %d %s", p.URL, p.StatusCode, p.Body)
	}
	fields = url.Values{}
	for node := range form.Descendants() {
		if isInput(node) && attributeOf(node, "type") == "hidden" {
			fields.Set(attributeOf(node, "name"), attributeOf(node, "value"))
		}
	}
	return attributeOf(form, "action"), fields
}

// formOf returns the action of the form that the button belongs to, and what pressing it sends.
func (p Page) formOf(button string, typed map[string]string) (*url.URL, url.Values, error) {
	pressed := p.Find("button", "id", button)
	form := pressed
	for form != nil && form.Data != "form" {
		form = form.Parent
	}
	if form == nil {
		return nil, nil, fmt.Errorf("%s has no form with a button %s: %d %s", p.URL, button, p.StatusCode, p.Body)
	}
	fields := url.Values{}
	for node := range form.Descendants() {
		if !isInput(node) || attributeOf(node, "name") == "" || attributeOf(node, "type") == "checkbox" {
			continue
		}
		value, ok := typed[attributeOf(node, "id")]
		if !ok {
			value = attributeOf(node, "value")
		}
		fields.Set(attributeOf(node, "name"), value)
	}
	if name := attributeOf(pressed, "name"); name != "" {
		fields.Set(name, attributeOf(pressed, "value"))
	}
	action, err := p.At.Parse(attributeOf(form, "action"))
	return action, fields, err
}

func isInput(node *html.Node) bool { return node.Type == html.ElementNode && node.Data == "input" }

func attributeOf(node *html.Node, name string) string {
	for _, a := range node.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}
