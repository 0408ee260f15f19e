package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/oauth2"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks"
	"github.com/oauth-operator/oauth-operator/tokenserver/keysource"
)

// discovery is what we use of a discovery document (OpenID Connect Discovery section 3).
type discovery struct {
	Issuer                string   `json:"issuer"`
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	TokenEndpoint         string   `json:"token_endpoint"`
	JWKSURI               string   `json:"jwks_uri"`
	UserInfoEndpoint      string   `json:"userinfo_endpoint"`
	EndSessionEndpoint    string   `json:"end_session_endpoint"`
	Algorithms            []string `json:"id_token_signing_alg_values_supported"`
	TokenAuthMethods      []string `json:"token_endpoint_auth_methods_supported"`
	// SendsIssuer is true if each authorization response has iss (RFC 9207 section 3).
	SendsIssuer bool `json:"authorization_response_iss_parameter_supported"`
}

// discover returns the discovery document. It is fetched when it is first needed, and again as often
// as a key set is. While the provider is away, the last one counts for a day.
func (p *Provider) discover(ctx context.Context) (*discovery, error) {
	select { // a fetch that is under way ends the wait of all
	case p.discovering <- struct{}{}:
		defer func() { <-p.discovering }()
	case <-ctx.Done():
		return nil, &Error{Away, ctx.Err()}
	}
	now, revision := p.providers.Now(), p.providers.Client.Revision()
	p.mu.Lock()
	found, age, sinceTry := p.found, now.Sub(p.foundAt).Abs(), now.Sub(p.triedAt).Abs()
	away, sameRules := p.away, p.revision == revision
	p.mu.Unlock()
	switch {
	case found != nil && sameRules && age < keysource.DefaultInterval:
		return found, nil
	case away != nil && sameRules && sinceTry < keysource.RetryInterval:
		return p.lastDiscovery(away)
	}
	found, err := p.fetchDiscovery(context.WithoutCancel(ctx)) // others wait for it too
	p.mu.Lock()
	changed := (err == nil) != (p.away == nil)
	p.triedAt, p.revision, p.away = p.providers.Now(), revision, err
	if err == nil {
		p.found, p.foundAt = found, p.triedAt
	} else if _, refused := fetch.NotAllowedAddress(err); refused {
		p.found = nil // the rules that allowed it have changed
	}
	p.mu.Unlock()
	if changed {
		p.providers.changed()
	}
	return p.lastDiscovery(err)
}

// lastDiscovery returns the last discovery document that counts, or the error that there is none.
func (p *Provider) lastDiscovery(err error) (*discovery, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found != nil && p.providers.Now().Sub(p.foundAt).Abs() < keysource.GracePeriod {
		return p.found, nil
	}
	return nil, &Error{Away, err}
}

func (p *Provider) fetchDiscovery(ctx context.Context) (*discovery, error) {
	// OpenID Connect Discovery section 4
	body, _, err := p.get(ctx, strings.TrimSuffix(p.document.OIDC.Issuer, "/")+"/.well-known/openid-configuration", "")
	if err != nil {
		return nil, err
	}
	var d discovery
	if err := json.Unmarshal(body, &d); err != nil {
		return nil, fetch.NewError(fetch.BadAnswer, errors.New("the discovery document is not the JSON of one"))
	}
	if err := d.check(p.document.OIDC.Issuer, p.document.OIDC.UserInfo); err != nil {
		return nil, fetch.NewError(fetch.BadAnswer, err)
	}
	return &d, nil
}

// check returns what is wrong with the document. Package fetch checks the endpoints that this server
// connects to once more.
func (d *discovery) check(issuer string, needsUserInfo bool) error {
	if d.Issuer != issuer {
		return errors.New("the issuer of the discovery document is not the one that is configured")
	}
	for _, endpoint := range []struct {
		name, url string
		required  bool
	}{
		{"authorization_endpoint", d.AuthorizationEndpoint, true}, {"token_endpoint", d.TokenEndpoint, true}, {"jwks_uri", d.JWKSURI, true},
		{"userinfo_endpoint", d.UserInfoEndpoint, needsUserInfo}, {"end_session_endpoint", d.EndSessionEndpoint, false},
	} {
		if endpoint.url == "" && !endpoint.required {
			continue
		}
		if u, err := url.Parse(endpoint.url); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
			return fmt.Errorf("%s of the discovery document is not an https URL without user and fragment", endpoint.name)
		}
	}
	if len(d.Algorithms) == 0 {
		d.Algorithms = []string{"RS256"} // required by Core section 15.1
	}
	d.Algorithms = slices.DeleteFunc(d.Algorithms, func(a string) bool { return !slices.Contains(jwks.Algorithms(), a) })
	if len(d.Algorithms) == 0 {
		return errors.New("the provider signs ID tokens by none of the algorithms " + strings.Join(jwks.Algorithms(), ", "))
	}
	if d.authStyle() == oauth2.AuthStyleAutoDetect {
		return errors.New("the token endpoint accepts neither client_secret_basic nor client_secret_post")
	}
	return nil
}

// authStyle returns how to authenticate at the token endpoint; AuthStyleAutoDetect if no way that we
// know is accepted. That one is never used: it would send a code twice.
func (d *discovery) authStyle() oauth2.AuthStyle {
	switch {
	case len(d.TokenAuthMethods) == 0, slices.Contains(d.TokenAuthMethods, "client_secret_basic"): // the default of RFC 8414 section 2
		return oauth2.AuthStyleInHeader
	case slices.Contains(d.TokenAuthMethods, "client_secret_post"):
		return oauth2.AuthStyleInParams
	default:
		return oauth2.AuthStyleAutoDetect
	}
}

// get fetches a JSON document, with an access token if there is one. Every error is a *fetch.Error.
func (p *Provider) get(ctx context.Context, address, accessToken string) ([]byte, http.Header, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, fetch.NewError(fetch.BadAnswer, errors.New("not a URL"))
	}
	request.Header.Set("Accept", "application/json")
	if accessToken != "" {
		request.Header.Set("Authorization", "Bearer "+accessToken)
	}
	response, err := p.client.Do(request)
	if err != nil {
		var known *fetch.Error
		if errors.As(err, &known) {
			return nil, nil, known
		}
		return nil, nil, fetch.NewError(fetch.Unreachable, err)
	}
	defer func() { _ = response.Body.Close() }() // it has been read already
	if response.StatusCode != http.StatusOK {
		return nil, nil, fetch.NewError(fetch.BadAnswer, errors.New("the status is "+strconv.Itoa(response.StatusCode)+", not 200"))
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, nil, fetch.NewError(fetch.Unreachable, err)
	}
	return body, response.Header, nil
}

// EndSessionEndpoint is Provider.EndSessionEndpoint for the provider with a document.
func (p *Providers) EndSessionEndpoint(document documents.IdentityProvider) string {
	provider, err := p.Of(document)
	if err != nil {
		return ""
	}
	return provider.EndSessionEndpoint()
}

// EndSessionEndpoint returns where users sign out of the provider (OpenID Connect RP-Initiated Logout
// section 2); empty if that is not known now. It fetches nothing.
func (p *Provider) EndSessionEndpoint() string {
	found, err := p.lastDiscovery(nil)
	if err != nil {
		return ""
	}
	return found.EndSessionEndpoint
}
