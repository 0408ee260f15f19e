// Package interaction carries an authorization request through the pages on which the user signs in
// and gives consent. Such a Flow is not kept by the server: it is sealed into the URLs and forms of
// the pages, and works only in the browser that it began in.
//
//	flow.go        Flow: the request, and what the user has done about it so far
//	encoding.go    the bytes of a Flow
//	flows.go       Flows: seals and opens flows, and resolves what they refer to
//	ways.go        the ways to sign in to a client
//	departures.go  flows whose users are at identity providers
//	posted.go      a request that another site sent by POST, on its way to a GET
//	signedout.go   the browsers whose users have signed out
//	consents.go    Consents: what users have allowed clients
//
// Each page redirects back to the authorization endpoint, which alone decides what is next. A
// sealed flow names the step that it is for, and is valid for no other.
package interaction

import (
	"crypto/sha256"
	"slices"
	"strings"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/redirecturi"
)

// Step is the request of the browser that a sealed flow is for.
type Step int64

const (
	// StepLogin is the login page, and its form.
	StepLogin Step = iota + 1
	// StepConsent is the consent page.
	StepConsent
	// StepDecision is the form of the consent page.
	StepDecision
	// StepResume is the way back from a page to the authorization endpoint.
	StepResume
	// StepPosted is the GET that follows an authorization request by POST.
	StepPosted
)

// Lifetime is how long a flow may take, from the authorization request to the response.
const Lifetime = 30 * time.Minute

// NoMaxAge is the MaxAge of a flow whose request has no max_age.
const NoMaxAge = -1

// Flow is an authorization request that is not answered yet.
type Flow struct {
	Step Step
	// StartedAt is when the request arrived, in Unix seconds.
	StartedAt int64
	// BrowserHash is the hash of the cookie of the browser that sent the request.
	BrowserHash Hash

	ClientUID string
	// RedirectHash is the hash of the registered redirect URI that the request matches: the URI may
	// be long. RedirectPort is the port that the request has in its place, for a loopback URI (RFC
	// 8252 section 7.3).
	RedirectHash Hash
	RedirectPort string
	// RedirectURISent is true if the request has a redirect_uri. The token request then needs it
	// too (RFC 6749 section 4.1.3).
	RedirectURISent bool
	// ResponseType is a set of words: code, token, id_token.
	ResponseType []string
	ResponseMode ResponseMode

	State         string
	Nonce         string
	Scopes        []string
	Resources     []string // RFC 8707
	CodeChallenge string   // S256 (RFC 7636)
	Claims        string   // OpenID Connect Core section 5.5, JSON
	LoginHint     string
	// Subjects are the users that the response may be about, by id_token_hint or by the claims
	// parameter. Empty means any.
	Subjects []string
	Prompt   []string
	// MaxAge is in seconds, or NoMaxAge.
	MaxAge int64

	// LoginSession is the hash of the session that began in this flow; empty if none did.
	LoginSession string
	// ShownConsent is the hash of what the consent page showed, and of its user
	// (grant.ConsentRequest).
	ShownConsent string
	// ConsentingUser is the UID of the user who gave consent in this flow.
	ConsentingUser string
	// Denied is true once the user has refused consent.
	Denied bool

	// Way is the UID of the Way that the user has chosen; empty if none is.
	Way string
	// Departed is true once the browser was sent to an identity provider. It is not sent there again
	// unless the user asks for it.
	Departed bool
	// Failure is why the user did not sign in at the identity provider that Way is the UID of.
	Failure Failure
}

// Failure is why a user did not sign in at an identity provider.
type Failure int64

// The failures. Their numbers are in sealed flows.
const (
	// FailureAway is for a provider that is not reached or does not work.
	FailureAway Failure = iota + 1
	// FailureRefused is for one that did not sign the user in: perhaps the user did not want to.
	FailureRefused
	// FailureInvalid is for an answer that proves nothing.
	FailureInvalid
	// FailureNotFresh is for a user who had to sign in anew and of whom the provider does not say so.
	FailureNotFresh
	// FailureDenied is for a user whom this server does not let in.
	FailureDenied
	// FailureOtherUser is for a user whom the request is not about.
	FailureOtherUser
	// FailureFull is for a new user when there are too many, and FailureBusy when too many come at
	// once.
	FailureFull
	FailureBusy
	// FailureTooOften is for a user who has signed in too often.
	FailureTooOften
)

// ResponseMode is how the response is sent to the redirect URI (OAuth 2.0 Multiple Response Type
// Encoding Practices section 2.1, OAuth 2.0 Form Post Response Mode).
type ResponseMode int64

// The response modes: in the query of the redirect URI, in its fragment, or in a form that the
// browser posts to it.
const (
	ModeQuery ResponseMode = iota
	ModeFragment
	ModeFormPost
)

// Hash is a SHA-256.
type Hash [sha256.Size]byte

// HashOf returns the hash of a value.
func HashOf(value string) Hash { return sha256.Sum256([]byte(value)) }

// HasResponseType reports whether the response type has a word.
func (f *Flow) HasResponseType(word string) bool { return slices.Contains(f.ResponseType, word) }

// HasPrompt reports whether the prompt parameter has a word.
func (f *Flow) HasPrompt(word string) bool { return slices.Contains(f.Prompt, word) }

// GrantTypes returns the grant types that the response type needs; a hybrid one needs both (OpenID
// Connect Core section 3.3).
func (f *Flow) GrantTypes() []string {
	var grantTypes []string
	if f.HasResponseType("code") {
		grantTypes = append(grantTypes, oauth.GrantAuthorizationCode)
	}
	if f.HasResponseType("token") || f.HasResponseType("id_token") {
		grantTypes = append(grantTypes, oauth.GrantImplicit)
	}
	return grantTypes
}

// SetRedirectURI records which of the registered redirect URIs the requested one matches, and its
// port. It returns false if none does, or if ResolveRedirectURI could not restore what was
// requested.
func (f *Flow) SetRedirectURI(registered []string, requested string) bool {
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

// noPort is the RedirectPort of a request that leaves out the port that is registered.
const noPort = "-"

// ResolveRedirectURI returns the redirect URI of the request; false if it is no longer registered.
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

// cutPort returns what is before and after the ":port" of a URI's authority.
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

// RequireOtherLogin makes the flow continue with a new login, as for prompt select_account, instead
// of with the user who is signed in.
func (f *Flow) RequireOtherLogin() {
	f.LoginSession, f.ConsentingUser = "", ""
	if !f.HasPrompt(oauth.PromptSelectAccount) {
		f.Prompt = append(f.Prompt, oauth.PromptSelectAccount)
	}
}
