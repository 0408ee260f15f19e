// Package interaction is what happens between an authorization request and its answer, while the user signs in and decides: a Flow, which
// the server does not keep but seals into the URLs and forms of its pages, and which works only in the browser that it began in.
//
//	flow.go      Flow: the request, what the user has done about it since, and the step that may take it up
//	encoding.go  its bytes
//	flows.go     Flows: seal and open, tie to the browser, check against what is registered now
//	posted.go    a request of another site that came by POST, on its way to a GET
//	consents.go  what users have allowed clients for good
//
// Every step redirects back to one place, the authorization endpoint, which decides what is next; no step leads to another. A sealed flow
// names the step that it is for, and no other takes it.
package interaction

import (
	"crypto/sha256"
	"slices"
	"strings"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/redirecturi"
)

// Step is the hop that a sealed flow is for.
type Step int64

// Steps. Login and Consent are pages; Answer is the consent page's form; Resume is the way back to
// the authorization endpoint; Posted is the GET that a request by POST becomes.
const (
	StepLogin Step = iota + 1
	StepConsent
	StepDecision
	StepResume
	StepPosted
)

// Lifetime of a flow, from the authorization request to its answer.
const Lifetime = 30 * time.Minute

// NoMaxAge is Flow.MaxAge when the request does not have one.
const NoMaxAge = -1

// Flow is an authorization request on its way.
type Flow struct {
	Step Step
	// Started is when the request came, in Unix seconds.
	StartedAt int64
	// Browser is the hash of the cookie of the browser that it came from.
	BrowserHash Hash

	ClientUID string
	// Redirect refers to the registered redirect URI by its hash, so that a long one costs nothing; RedirectPort is the port that the
	// request put in its place, for a loopback one (RFC 8252 section 7.3).
	RedirectHash Hash
	RedirectPort string
	// RedirectSent says whether the request had a redirect_uri (RFC 6749 section 4.1.3 asks for it again if so).
	RedirectURISent bool
	// ResponseType is a set of words: code, token, id_token.
	ResponseType []string
	// Mode is how the answer gets to the client.
	ResponseMode ResponseMode

	State         string
	Nonce         string
	Scopes        []string
	Resources     []string // RFC 8707
	CodeChallenge string   // S256 (RFC 7636)
	Claims        string   // OpenID Connect Core section 5.5, JSON
	LoginHint     string
	// Subjects of which one must be that of the answer, by id_token_hint or by the claims
	// parameter; empty: any.
	Subjects []string
	Prompt   []string
	// MaxAge in seconds, or NoMaxAge.
	MaxAge int64

	// LoginSession is the hash of the session that the user began in this flow; empty: none.
	LoginSession string
	// Shown is the hash of what the consent page asked, and of whom (grant.Asked).
	ShownConsent string
	// ConsentOf is the UID of the user who said yes in this flow.
	ConsentingUser string
	// Denied says that the user said no.
	Denied bool
}

// Mode is a response mode (OAuth 2.0 Multiple Response Type Encoding Practices section 2.1, OAuth 2.0 Form Post Response Mode).
type ResponseMode int64

// Modes: in the redirect URI's query, in its fragment, or in a form that the browser posts to it.
const (
	ModeQuery ResponseMode = iota
	ModeFragment
	ModeFormPost
)

// Hash is a SHA-256.
type Hash [sha256.Size]byte

// HashOf a value.
func HashOf(value string) Hash { return sha256.Sum256([]byte(value)) }

// Asks says whether the response type has the word.
func (f *Flow) HasResponseType(word string) bool { return slices.Contains(f.ResponseType, word) }

// Prompts says whether the prompt parameter has the word.
func (f *Flow) HasPrompt(word string) bool { return slices.Contains(f.Prompt, word) }

// SetRedirect keeps which of the registered redirect URIs the request named, and with which port. It is false if URI could not restore what
// was requested.
func (f *Flow) SetRedirect(registered []string, requested string) bool {
	match, ok := redirecturi.Match(registered, requested)
	if !ok {
		return false
	}
	f.RedirectHash = HashOf(match)
	if match != requested {
		before, after := cutPort(match)
		port, ok := strings.CutPrefix(requested, before)
		if !ok || !strings.HasSuffix(port, after) {
			return false
		}
		f.RedirectPort = strings.TrimSuffix(port, after)
		if f.RedirectPort == "" {
			f.RedirectPort = noPort
		}
	}
	restored, ok := f.ResolveRedirectURI(registered)
	return ok && restored == requested
}

// noPort is Flow.RedirectPort when the request leaves out the port that is registered.
const noPort = "-"

// URI is the redirect URI of the request; false if it is no longer registered.
func (f *Flow) ResolveRedirectURI(registered []string) (string, bool) {
	i := slices.IndexFunc(registered, func(uri string) bool { return HashOf(uri) == f.RedirectHash })
	if i < 0 {
		return "", false
	}
	if f.RedirectPort == "" {
		return registered[i], true
	}
	before, after := cutPort(registered[i])
	return before + strings.TrimPrefix(f.RedirectPort, noPort) + after, true
}

// cutPort splits a URI around the ":port" of its authority.
func cutPort(uri string) (before, after string) {
	start := strings.Index(uri, "://") + len("://")
	end := len(uri)
	if i := strings.IndexAny(uri[start:], "/?#"); i >= 0 {
		end = start + i
	}
	host := end
	if i := strings.LastIndexByte(uri[start:end], ':'); i >= 0 && !strings.HasSuffix(uri[start:end], "]") {
		host = start + i
	}
	return uri[:host], uri[end:]
}

// SwitchUser asks for another login: whoever signed in so far will not do, in this flow.
func (f *Flow) SwitchUser() {
	f.LoginSession, f.ConsentingUser = "", ""
	if !f.HasPrompt(oauth.PromptSelectAccount) {
		f.Prompt = append(f.Prompt, oauth.PromptSelectAccount)
	}
}

// GrantTypes that the response type belongs to: a code, tokens, or both at once.
func (f *Flow) GrantTypes() []string {
	var grants []string
	if f.HasResponseType("code") {
		grants = append(grants, oauth.GrantAuthorizationCode)
	}
	if f.HasResponseType("token") || f.HasResponseType("id_token") {
		grants = append(grants, oauth.GrantImplicit)
	}
	return grants
}
