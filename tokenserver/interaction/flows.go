package interaction

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// Paths of the pages, relative to the issuer identifier. No metadata names them: a flow redirects
// the browser to them.
const (
	PathLogin   = "/login"
	PathConsent = "/consent"
)

// ParamFlow is the parameter that carries a sealed flow, in a URL or in a form.
const ParamFlow = "flow"

// MaxSealed is how large a sealed flow may be, in bytes before base64url, which makes a third more
// of it: URLs of 8 KiB pass everywhere.
const MaxSealed = 5 << 10

// grows is how much larger a flow may become by what the user does in it.
const grows = 256

// cookieBrowser is the kind of the cookie that ties flows to a browser. All flows of the browser share it, so that two tabs work and
// abandoned flows leave nothing behind.
const cookieBrowser = "browser"

// Flows seals flows and opens them. All fields are needed.
type Flows struct {
	Keys     *keys.Set
	Registry *registry.Registry
	Now      func() time.Time
	Random   io.Reader
}

// Visit is a flow that was opened, with what is registered now.
type ResolvedFlow struct {
	Flow   *Flow
	Server documents.Server
	Client *registry.Client
	// RedirectURI that the answer goes to.
	RedirectURI string
}

// Asked of the user by the flow, as it is now.
func (v *ResolvedFlow) RequestedConsent() grant.ConsentRequest {
	return grant.NewConsentRequest(v.Client, v.Flow.Scopes, v.Flow.Resources, mint.ClaimsForConsent(v.Client, v.Flow.Scopes, v.Flow.Claims))
}

// Host that the answer goes to, for people: the host of the redirect URI, or its scheme if it has no host.
func (v *ResolvedFlow) RedirectHost() string {
	u, err := url.Parse(v.RedirectURI)
	switch {
	case err != nil:
		return ""
	case u.Host != "":
		return u.Host
	default:
		return u.Scheme + ":"
	}
}

// ServerHost is the host of the issuer, for people.
func (v *ResolvedFlow) ServerHost() string { return pages.Host(v.Server.Issuer) }

// Fits says whether the flow stays within MaxSealed, whatever the user does in it.
func (s *Flows) FitsInURL(f *Flow) bool {
	const nonceAndTag = 24 + 16
	return nonceAndTag+len(f.encode())+grows <= MaxSealed
}

// Go sends the browser to a step of the visit's flow. The flow is tied to this browser if it is not yet.
func (s *Flows) RedirectTo(w http.ResponseWriter, r *http.Request, v *ResolvedFlow, step Step) error {
	if v.Flow.BrowserHash == (Hash{}) {
		hash, err := s.browserHash(w, r, v.Server.Issuer)
		if err != nil {
			return err
		}
		v.Flow.BrowserHash = hash
	}
	sealed, err := s.Seal(v.Flow, step)
	if err != nil {
		return err
	}
	return web.Redirect(w, v.Server.Issuer+step.path()+"?"+ParamFlow+"="+url.QueryEscape(sealed))
}

func (s Step) path() string {
	switch s {
	case StepLogin:
		return PathLogin
	case StepConsent, StepDecision:
		return PathConsent
	default:
		return oauth.PathAuthorize
	}
}

// Seal the flow for a step. It must be tied to a browser.
func (s *Flows) Seal(f *Flow, step Step) (string, error) {
	if f.BrowserHash == (Hash{}) {
		return "", errors.New("sealing a flow that is tied to no browser")
	}
	sealed := *f
	sealed.Step = step
	out, err := s.Keys.Seal(keys.PurposeFlow, sealed.encode())
	if err != nil {
		return "", fmt.Errorf("sealing a flow: %w", err)
	}
	return out, nil
}

// Open a flow that was sealed for one of the steps, in the browser that it is tied to, and look up what is registered now. Every error that
// the user can cause is a *web.PageError.
func (s *Flows) Open(r *http.Request, sealed string, steps ...Step) (*ResolvedFlow, error) {
	server, ok := s.Registry.Server()
	if !ok {
		return nil, Unavailable()
	}
	f, err := s.open(sealed)
	if err != nil {
		return nil, &web.PageError{Status: http.StatusBadRequest, Code: oauth.InvalidRequest, Message: pages.MessageFlowUnknown}
	}
	if !slices.Contains(steps, f.Step) {
		return nil, &web.PageError{Status: http.StatusBadRequest, Code: oauth.InvalidRequest, Message: pages.MessageFlowUnknown}
	}
	if !s.isSameBrowser(r, server.Issuer, f) {
		return nil, &web.PageError{Status: http.StatusForbidden, Code: oauth.InvalidRequest, Message: pages.MessageFlowUnknown}
	}
	if age := s.Now().Sub(time.Unix(f.StartedAt, 0)); age > Lifetime || age < -time.Minute {
		return nil, &web.PageError{Status: http.StatusBadRequest, Code: oauth.InvalidRequest, Message: pages.MessageFlowExpired}
	}
	return s.resolve(server, f)
}

func (s *Flows) open(sealed string) (*Flow, error) {
	data, err := s.Keys.Open(keys.PurposeFlow, sealed)
	if err != nil {
		return nil, err
	}
	return decodeFlow(data)
}

// visit holds the flow against what is registered now: what was right at its start may have been withdrawn since.
func (s *Flows) resolve(server documents.Server, f *Flow) (*ResolvedFlow, error) {
	changed := &web.PageError{Status: http.StatusBadRequest, Code: oauth.UnauthorizedClient, Message: pages.MessageFlowChanged}
	client, ok := s.Registry.ClientByUID(f.ClientUID)
	if !ok || slices.ContainsFunc(f.GrantTypes(), func(grant string) bool { return !client.HasGrantType(grant) }) {
		return nil, changed
	}
	uri, ok := f.ResolveRedirectURI(client.RedirectURIs)
	if !ok {
		return nil, changed
	}
	return &ResolvedFlow{Flow: f, Server: server, Client: client, RedirectURI: uri}, nil
}

// browser gives the hash of the browser's cookie, and sets one if it has none that we can open.
func (s *Flows) browserHash(w http.ResponseWriter, r *http.Request, issuer string) (Hash, error) {
	cookies := web.CookiesOf(issuer)
	if value, err := s.Keys.Open(keys.PurposeBrowser, cookies.Get(r, cookieBrowser)); err == nil {
		return HashOf(string(value)), nil
	}
	value := make([]byte, 32)
	if _, err := io.ReadFull(s.Random, value); err != nil {
		return Hash{}, fmt.Errorf("drawing a browser id: %w", err)
	}
	sealed, err := s.Keys.Seal(keys.PurposeBrowser, value)
	if err != nil {
		return Hash{}, fmt.Errorf("sealing a browser id: %w", err)
	}
	cookies.Set(w, cookieBrowser, sealed, 0)
	return HashOf(string(value)), nil
}

func (s *Flows) isSameBrowser(r *http.Request, issuer string, f *Flow) bool {
	value, err := s.Keys.Open(keys.PurposeBrowser, web.CookiesOf(issuer).Get(r, cookieBrowser))
	if err != nil {
		return false
	}
	hash := HashOf(string(value))
	return subtle.ConstantTimeCompare(hash[:], f.BrowserHash[:]) == 1
}

// Unavailable is the answer before the server knows what it serves.
func Unavailable() error {
	return &web.PageError{
		Status: http.StatusServiceUnavailable, Code: oauth.TemporarilyUnavailable, Message: pages.MessageBusy, RetryAfter: 2,
	}
}

// SameOrigin refuses a form that another site posted, where the browser says so. The sealed flow and the browser's cookie refuse it as well;
// this one needs no secret.
func CheckSameOrigin(r *http.Request) error {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return nil
	}
	return &web.PageError{Status: http.StatusForbidden, Code: oauth.InvalidRequest, Message: pages.MessageFlowUnknown}
}
