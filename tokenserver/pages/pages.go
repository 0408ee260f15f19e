// Package pages makes the pages that people see: login, consent, logout, errors and the issuer's
// address. They are HTML templates without scripts, with one stylesheet that travels inside the
// page and that the page's Content-Security-Policy names by its hash. Nothing is fetched from
// anywhere. One more page, Post, is rather passed than seen: its one script, named by its hash too,
// sends its form on.
//
//	pages.go       the pages and what each shows; rendering
//	policy.go      the Content-Security-Policy of a page
//	sentences.go   the fixed sentences of error pages
//	templates/     the HTML, and style.css
//
// Everything that a page shows is escaped by html/template for its place; nothing here is trusted to be HTML.
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

// Error says one sentence.
type Error struct {
	Sentence string
	// Server is the host of the issuer; empty if it is not known yet.
	Server string
	// Request is the id of the request, for the operator to find it in the log.
	Request string
}

// Issuer is what is at the issuer's address.
type Issuer struct {
	// Server is the host of the issuer.
	Server string
	// Issuer is its identifier, and Metadata the URL of its discovery document.
	Issuer, Metadata string
}

// Login asks for username and password.
type Login struct {
	// Action is the URL that the form is posted to, and Flow the sealed flow that it carries.
	Action, Flow string
	Client       Client
	// Server is the host of the issuer.
	Server string
	// Username that the form is filled in with.
	Username string
	// Failed says that username and password did not match.
	Failed bool
	// Wait, if it is not zero, is how long it takes until another attempt is let in.
	Wait time.Duration
	// Often says that the user has signed in too often. Wait may be zero then, for it is not known.
	Often bool
}

// Pause is Wait in words, in whole seconds or minutes, rounded up: "1 second", "16 minutes".
func (l Login) Pause() string {
	n, unit := int(math.Ceil(l.Wait.Seconds())), "second"
	if n > 60 {
		n, unit = int(math.Ceil(l.Wait.Minutes())), "minute"
	}
	if n != 1 {
		unit += "s"
	}
	return strconv.Itoa(n) + " " + unit
}

// Consent asks whether an application may have what it asks for.
type Consent struct {
	Action, Flow string
	Client       Client
	Server       string
	// Username of who is signed in, and what they are called if that is known.
	Username, Name string
	// Host that the answer goes to. Local says that it is whatever program listens there on the user's device.
	Host   string
	Local  bool
	Scopes []Scope
}

// Logout asks whether to sign out.
type Logout struct {
	// Action is the URL that the form is posted to, and Request the sealed request that it carries.
	Action, Request string
	Server          string
	// Username of who is signed in, and what they are called if that is known.
	Username, Name string
	// Host that the user goes to afterwards; empty: to a page of this server.
	Host string
}

// Initial of the user, for the badge.
func (l Logout) Initial() string { return initial(l.Name + l.Username) }

// SignedOut says that the user is signed out, or was not signed in.
type SignedOut struct {
	Server string
	// Ended says that there was a session, which has ended now.
	Ended bool
	// Stays says why the user does not go on to where the application wanted: one of the Stays sentences;
	// empty if it wanted nothing.
	Stays string
}

// Post carries an answer to the application in a form (OAuth 2.0 Form Post Response Mode). It needs a click only where there are no scripts.
type Post struct {
	// Action is the application's redirect URI.
	Action string
	Fields []Field
	Client Client
	Server string
}

// Field of the form of a Post.
type Field struct{ Name, Value string }

// Client is an application as people know it.
type Client struct {
	// DisplayName may be empty.
	DisplayName string
	ID          string
}

// Title is the name of the application, or its id.
func (c Client) Title() string {
	if c.DisplayName != "" {
		return c.DisplayName
	}
	return c.ID
}

// Initial is the first letter or digit of the title, for the badge.
func (c Client) Initial() string { return initial(c.Title()) }

func initial(title string) string {
	for _, r := range title {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return strings.ToUpper(string(r))
		}
	}
	return "?"
}

// Host of a URL, for people; empty if there is none.
func Host(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// Scope and what it means; also a claim that is asked for by itself, or an API by its identifier.
// Description may be empty.
type Scope struct{ Name, Description string }

func (Error) file() string     { return "error.html" }
func (Issuer) file() string    { return "issuer.html" }
func (Login) file() string     { return "login.html" }
func (Consent) file() string   { return "consent.html" }
func (Logout) file() string    { return "logout.html" }
func (SignedOut) file() string { return "signedout.html" }
func (Post) file() string      { return "post.html" }

var templates = parse()

func parse() map[string]*template.Template {
	all := map[string]*template.Template{}
	for _, page := range []Page{Error{}, Issuer{}, Login{}, Consent{}, Logout{}, SignedOut{}, Post{}} {
		all[page.file()] = template.Must(template.New(page.file()).Funcs(template.FuncMap{
			"style":  func() template.CSS { return style },
			"script": func() template.JS { return script },
		}).ParseFS(files, "templates/frame.html", "templates/"+page.file()))
	}
	return all
}

// Render a page.
func Render(page Page) ([]byte, error) {
	var out bytes.Buffer
	if err := templates[page.file()].ExecuteTemplate(&out, "frame.html", page); err != nil {
		return nil, fmt.Errorf("rendering %s: %w", page.file(), err)
	}
	return out.Bytes(), nil
}
