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

// Paths of the pages, relative to the issuer. They are in no metadata: a flow redirects to them.
const (
	PathLogin   = "/login"
	PathConsent = "/consent"
)

// ParamFlow is the parameter that carries a sealed flow, in a URL or in a form.
const ParamFlow = "flow"

const (
	// MaxSealed is how many bytes a sealed flow may have. In base64url they are a third more:
	// clients and proxies accept URLs of 8 KiB.
	MaxSealed = 5 << 10
	// maxGrowth is how many bytes the steps of a user may add to a flow.
	maxGrowth = 256
)

// cookieBrowser is the kind of the cookie that ties flows to a browser. All flows of a browser
// share it, so they work in several tabs, and flows that are abandoned leave no cookie behind.
const cookieBrowser = "browser"

// Flows seals and opens flows. All fields are required.
type Flows struct {
	Keys     *keys.Set
	Registry *registry.Registry
	Now      func() time.Time
	Random   io.Reader
}

// ResolvedFlow is a flow with what it refers to, as registered now.
type ResolvedFlow struct {
	*Flow
	Server documents.Server
	Client *registry.Client
	// RedirectURI is where the response goes.
	RedirectURI string
}

// ConsentRequest returns what the flow asks the user to allow.
func (f *ResolvedFlow) ConsentRequest() grant.ConsentRequest {
	return grant.NewConsentRequest(f.Client, f.Scopes, f.Resources, mint.ClaimsForConsent(f.Client, f.Scopes, f.Claims))
}

// FitsInURL reports whether the flow stays within MaxSealed, whatever the user does.
func (s *Flows) FitsInURL(f *Flow) bool {
	const nonceAndTag = 24 + 16
	return nonceAndTag+len(f.encode())+maxGrowth <= MaxSealed
}

// RedirectTo redirects the browser to a step of the flow, and ties the flow to the browser if it is
// not yet.
func (s *Flows) RedirectTo(w http.ResponseWriter, r *http.Request, f *ResolvedFlow, step Step) error {
	if f.BrowserHash == (Hash{}) {
		hash, err := s.ensureBrowserHash(w, r, f.Server.Issuer)
		if err != nil {
			return err
		}
		f.BrowserHash = hash
	}
	sealed, err := s.Seal(f.Flow, step)
	if err != nil {
		return err
	}
	return web.Redirect(w, f.Server.Issuer+step.path()+"?"+ParamFlow+"="+url.QueryEscape(sealed))
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

// Seal seals a flow for a step. The flow must be tied to a browser.
func (s *Flows) Seal(f *Flow, step Step) (string, error) {
	if f.BrowserHash == (Hash{}) {
		return "", errors.New("sealing a flow: it is not tied to a browser")
	}
	sealed := *f
	sealed.Step = step
	out, err := s.Keys.Seal(keys.PurposeFlow, sealed.encode())
	if err != nil {
		return "", fmt.Errorf("sealing a flow: %w", err)
	}
	return out, nil
}

// Open opens a flow that was sealed for one of the steps, in the browser that it is tied to, and
// resolves it. An error that the browser can cause is a *web.PageError.
func (s *Flows) Open(r *http.Request, sealed string, steps ...Step) (*ResolvedFlow, error) {
	server, ok := s.Registry.Server()
	if !ok {
		return nil, web.NotReady()
	}
	f, err := s.unseal(sealed)
	if err != nil || !slices.Contains(steps, f.Step) {
		return nil, &web.PageError{Status: http.StatusBadRequest, Code: oauth.InvalidRequest, Message: pages.MessageFlowUnknown}
	}
	return s.accept(r, server, f)
}

// accept resolves a flow that the request has, if it is of this browser and has not expired.
func (s *Flows) accept(r *http.Request, server documents.Server, f *Flow) (*ResolvedFlow, error) {
	if !s.isSameBrowser(r, server.Issuer, f) {
		return nil, &web.PageError{Status: http.StatusForbidden, Code: oauth.InvalidRequest, Message: pages.MessageFlowUnknown}
	}
	if age := s.Now().Sub(time.Unix(f.StartedAt, 0)); age > Lifetime || age < -time.Minute {
		return nil, &web.PageError{Status: http.StatusBadRequest, Code: oauth.InvalidRequest, Message: pages.MessageFlowExpired}
	}
	return s.resolve(server, f)
}

func (s *Flows) unseal(sealed string) (*Flow, error) {
	data, err := s.Keys.Open(keys.PurposeFlow, sealed)
	if err != nil {
		return nil, err
	}
	return decodeFlow(data)
}

// resolve looks up what a flow refers to. What was registered when the flow began may be gone.
func (s *Flows) resolve(server documents.Server, f *Flow) (*ResolvedFlow, error) {
	changed := &web.PageError{Status: http.StatusBadRequest, Code: oauth.UnauthorizedClient, Message: pages.MessageFlowChanged}
	client, ok := s.Registry.ClientByUID(f.ClientUID)
	if !ok || slices.ContainsFunc(f.GrantTypes(), func(grantType string) bool { return !client.HasGrantType(grantType) }) {
		return nil, changed
	}
	uri, ok := f.ResolveRedirectURI(client.RedirectURIs)
	if !ok {
		return nil, changed
	}
	return &ResolvedFlow{Flow: f, Server: server, Client: client, RedirectURI: uri}, nil
}

// ensureBrowserHash returns the hash of the browser's cookie. It sets a cookie if the browser has
// none that this server sealed.
func (s *Flows) ensureBrowserHash(w http.ResponseWriter, r *http.Request, issuer string) (Hash, error) {
	cookies := web.CookiesOf(issuer)
	if value, err := s.Keys.Open(keys.PurposeBrowser, cookies.Get(r, cookieBrowser)); err == nil {
		return HashOf(string(value)), nil
	}
	value := make([]byte, 32)
	if _, err := io.ReadFull(s.Random, value); err != nil {
		return Hash{}, fmt.Errorf("reading randomness for a browser id: %w", err)
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

// CheckSameOrigin refuses a form that another site posted, if the browser says so. The sealed flow
// and the cookie refuse it as well; this check needs no secret.
func CheckSameOrigin(r *http.Request) error {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return nil
	}
	return &web.PageError{Status: http.StatusForbidden, Code: oauth.InvalidRequest, Message: pages.MessageFlowUnknown}
}
