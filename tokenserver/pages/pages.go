// Package pages renders the HTML pages of the token server: login, consent, logout, errors and the
// page at the issuer's address. The templates have no scripts, and one stylesheet, which is part of
// each page and named by its hash in the page's Content-Security-Policy. A page fetches nothing.
// The page Post alone has a script, named by its hash too, which submits the page's form.
//
//	pages.go     the pages, what each shows, rendering
//	csp.go       the Content-Security-Policy of a page
//	messages.go  the messages of error pages
//	templates/   the HTML, and style.css
//
// html/template escapes all that a page shows; no value is trusted to be HTML.
package pages

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

//go:embed templates
var files embed.FS

// Page is one of the pages below.
type Page interface{ file() string }

// Error shows one message.
type Error struct {
	Message string
	// Server is the host of the issuer; empty if it is not known yet.
	Server string
	// Request is the id of the request, with which an administrator finds it in the log.
	Request string
}

// Issuer is the page at the issuer's address.
type Issuer struct {
	// Server is the host of the issuer.
	Server string
	// Issuer is its identifier, and Metadata the URL of its discovery document.
	Issuer, Metadata string
}

// Login is the form for username and password.
type Login struct {
	// Action is the URL that the form is posted to, Flow the sealed flow that it contains.
	Action, Flow string
	Client       Client
	// Server is the host of the issuer.
	Server string
	// Provider is the display name of the identity provider whose password the user types; empty for a
	// password of this server.
	Provider string
	// Username is the initial value of the field.
	Username string
	// Failed reports that username and password did not match. Failure says why the user did not sign in
	// for another reason; empty if there is none.
	Failed  bool
	Failure string
	// RetryAfter is the time until another attempt is accepted, after too many failed ones.
	RetryAfter time.Duration
	// TooManyLogins reports that the user has signed in too often. RetryAfter is then zero if the
	// time is not known.
	TooManyLogins bool
	// OtherWays is the URL of the Chooser that led here; empty if there is no other way to sign in.
	OtherWays string
}

// Chooser is the page on which a user chooses a way to sign in.
type Chooser struct {
	Client Client
	// Server is the host of the issuer.
	Server string
	Ways   []Way
	// Failure says why the last attempt failed; empty if none did.
	Failure string
}

// Way is a way to sign in: the link that leads there.
type Way struct {
	URL string
	// Name identifies the link.
	Name string
	// DisplayName is that of an identity provider; empty for the form for username and password.
	DisplayName string
}

// Initial returns the first letter or digit of the display name, in upper case.
func (w Way) Initial() string { return initial(w.DisplayName) }

// RetryAfterText returns RetryAfter in whole seconds or minutes, rounded up: "1 second", "16
// minutes".
func (l Login) RetryAfterText() string {
	n, unit := int(math.Ceil(l.RetryAfter.Seconds())), "second"
	if n > 60 {
		n, unit = int(math.Ceil(l.RetryAfter.Minutes())), "minute"
	}
	if n != 1 {
		unit += "s"
	}
	return strconv.Itoa(n) + " " + unit
}

// Consent asks the user whether an application may have what it asks for.
type Consent struct {
	Action, Flow string
	Client       Client
	Server       string
	// Username and Name of the user who is signed in. Name may be empty.
	Username, Name string
	// Host is the host, or the scheme, that the response is sent to. Local reports that any program
	// on the user's device may receive it.
	Host   string
	Local  bool
	Scopes []Scope
}

// Logout asks the user whether to sign out.
type Logout struct {
	// Action is the URL that the form is posted to, Request the sealed request that it contains.
	Action, Request string
	Server          string
	// Username and Name of the user who is signed in. Name may be empty, and both are while the
	// user is not served.
	Username, Name string
	// Host is the host that the browser is redirected to afterwards; empty: a page of this server.
	Host string
}

// Initial returns the first letter or digit of the user's name, for the badge.
func (l Logout) Initial() string { return initial(l.Name + l.Username) }

// SignedOut tells the user that they are signed out, or were not signed in.
type SignedOut struct {
	Server string
	// Ended reports that there was a session and that it has ended.
	Ended bool
	// Provider is the display name of the identity provider where the user may still be signed in;
	// empty if there is none. ProviderURL is where the user signs out there; empty if it is not known.
	Provider, ProviderURL string
	// NoRedirect is the NoRedirect message that says why the browser is not redirected to where the
	// application asked; empty if it asked for nothing.
	NoRedirect string
}

// Post sends a response to the application in a form (OAuth 2.0 Form Post Response Mode). The user
// has to click only if the browser runs no scripts.
type Post struct {
	// Action is the application's redirect URI.
	Action string
	Fields []Field
	Client Client
	Server string
}

// Field is a field of the form of a Post.
type Field struct{ Name, Value string }

// Client is an application as users know it.
type Client struct {
	// DisplayName may be empty.
	DisplayName string
	ID          string
}

// Title returns the display name of the application, or its id.
func (c Client) Title() string {
	if c.DisplayName != "" {
		return c.DisplayName
	}
	return c.ID
}

// Initial returns the first letter or digit of the title, for the badge.
func (c Client) Initial() string { return initial(c.Title()) }

func initial(title string) string {
	for _, r := range title {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return strings.ToUpper(string(r))
		}
	}
	return "?"
}

// Host returns what a page shows of a URL: its host, with its port, or its scheme and a colon if it
// has no host; empty if it has neither.
func Host(address string) string {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return ""
	case u.Host == "" && u.Scheme != "":
		return u.Scheme + ":"
	}
	return u.Host
}

// Scope is a scope on the consent page, or a claim or an API that the application asks for by name.
// Description may be empty.
type Scope struct{ Name, Description string }

func (Error) file() string     { return "error.html" }
func (Issuer) file() string    { return "issuer.html" }
func (Login) file() string     { return "login.html" }
func (Chooser) file() string   { return "chooser.html" }
func (Consent) file() string   { return "consent.html" }
func (Logout) file() string    { return "logout.html" }
func (SignedOut) file() string { return "signedout.html" }
func (Post) file() string      { return "post.html" }

var templates = parse()

func parse() map[string]*template.Template {
	all := map[string]*template.Template{}
	for _, page := range []Page{Error{}, Issuer{}, Login{}, Chooser{}, Consent{}, Logout{}, SignedOut{}, Post{}} {
		all[page.file()] = template.Must(template.New(page.file()).Funcs(template.FuncMap{
			"style":  func() template.CSS { return style },
			"script": func() template.JS { return script },
		}).ParseFS(files, "templates/frame.html", "templates/"+page.file()))
	}
	return all
}

// Render returns the HTML of a page.
func Render(page Page) ([]byte, error) {
	var out bytes.Buffer
	if err := templates[page.file()].ExecuteTemplate(&out, "frame.html", page); err != nil {
		return nil, fmt.Errorf("rendering %s: %w", page.file(), err)
	}
	return out.Bytes(), nil
}
