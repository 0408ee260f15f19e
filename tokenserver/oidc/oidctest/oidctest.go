// Package oidctest has an OpenID provider for tests. It serves with TLS on a loopback address, signs
// its user in without asking, and misbehaves where a test switches that on.
package oidctest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks/jwkstest"
)

// ClientID and Secret are of the client that the provider knows.
const (
	ClientID = "relying-party"
	Secret   = "secret of the relying party: %+ü"
)

// Behaviour is how the provider answers. Functions change what it would answer otherwise; nil changes
// nothing.
type Behaviour struct {
	// ByHint signs in whom login_hint names, in the place of the one user.
	ByHint bool
	// Discovery changes the discovery document.
	Discovery func(document map[string]any)
	// Response changes the parameters of an authentication response.
	Response func(parameters url.Values)
	// IDToken changes the claims of an ID token, and Sign signs them in the place of the provider.
	IDToken func(claims map[string]any)
	Sign    func(claims map[string]any) string
	// Token changes the token response.
	Token func(response map[string]any)
	// UserInfo changes the claims of the UserInfo endpoint.
	UserInfo func(claims map[string]any)
	// Handle answers requests by their path in the place of the provider.
	Handle map[string]http.HandlerFunc
}

// Provider is an OpenID provider. Safe for concurrent use.
type Provider struct {
	// Issuer is its identifier and address.
	Issuer string
	Signer jwkstest.Signer

	t         testing.TB
	now       func() time.Time
	server    *httptest.Server
	mu        sync.Mutex
	behaviour Behaviour
	subject   string
	codes     map[string]url.Values // the authentication request by the code
	requests  []string
	last      url.Values // the last authentication request
}

// New returns a provider that signs its user in with the subject "alice".
func New(t testing.TB, now func() time.Time) *Provider {
	t.Helper()
	p := &Provider{t: t, now: now, Signer: jwkstest.NewSigner("ES256", "first"), subject: "alice", codes: map[string]url.Values{}}
	p.server = httptest.NewTLSServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.server.Close)
	p.Issuer = p.server.URL
	return p
}

// Behave replaces the behaviour.
func (p *Provider) Behave(b Behaviour) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.behaviour = b
}

// SignInAs replaces the subject of the user.
func (p *Provider) SignInAs(subject string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.subject = subject
}

// Requests returns the paths that were asked for since the last call.
func (p *Provider) Requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	requests := p.requests
	p.requests = nil
	return requests
}

// LastRequest returns the parameters of the last authentication request.
func (p *Provider) LastRequest() url.Values {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// CABundle returns the certificate of the provider in PEM.
func (p *Provider) CABundle() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw}))
}

// Fetch returns rules of fetching that allow the provider.
func (p *Provider) Fetch() *documents.Fetch {
	return &documents.Fetch{AllowedNetworks: []string{"127.0.0.0/8"}}
}

// Document returns a document of the provider, whose credential is Secret.
func (p *Provider) Document(name string) documents.IdentityProvider {
	return documents.IdentityProvider{
		UID: "uid-of-" + name, Namespace: "identity", Name: name, DisplayName: "The provider " + name, AllClients: true, Type: documents.ProviderOIDC,
		Realm: p.Issuer, SubjectAttribute: "sub", Credentials: []string{HashOf(Secret)}, CABundle: p.CABundle(), Allow: "true", MaxIdentities: 100,
		OIDC: &documents.OIDCProvider{Issuer: p.Issuer, ClientID: ClientID, Scopes: []string{"email"}, MaxAge: documents.Seconds(86400)},
	}
}

// HashOf returns the hash by which documents name a credential.
func HashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// FindSecret returns Secret by its hash, in the place of the files of credentials.
func FindSecret(hash string) (string, bool) { return Secret, hash == HashOf(Secret) }

// Visit sends an authentication request as a browser does, and returns the parameters of the response.
func (p *Provider) Visit(address string) url.Values {
	p.t.Helper()
	client := p.server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	response, err := client.Get(address)
	if err != nil {
		p.t.Fatal(err)
	}
	_ = response.Body.Close()
	to, err := response.Location()
	if err != nil {
		p.t.Fatalf("the provider answers the authentication request with %d: %v", response.StatusCode, err)
	}
	return to.Query()
}

func (p *Provider) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.requests = append(p.requests, r.URL.Path)
	b := p.behaviour
	p.mu.Unlock()
	if handle := b.Handle[r.URL.Path]; handle != nil {
		handle(w, r)
		return
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		document := map[string]any{
			"issuer": p.Issuer, "authorization_endpoint": p.Issuer + "/authorize?fixed=yes", "token_endpoint": p.Issuer + "/token",
			"jwks_uri": p.Issuer + "/jwks", "userinfo_endpoint": p.Issuer + "/userinfo", "end_session_endpoint": p.Issuer + "/logout",
			"id_token_signing_alg_values_supported": []string{"ES256", "HS256", "none"}, "authorization_response_iss_parameter_supported": true,
		}
		change(b.Discovery, document)
		respond(w, http.StatusOK, document)
	case "/jwks":
		w.Header().Set("Content-Type", "application/jwk-set+json")
		_, _ = w.Write([]byte(jwkstest.SetOf(p.Signer)))
	case "/authorize":
		p.authorize(w, r, b)
	case "/token":
		p.token(w, r, b)
	case "/userinfo":
		claims := map[string]any{"sub": p.currentSubject(), "email": "alice@acme.example", "nickname": "ally"}
		change(b.UserInfo, claims)
		respond(w, http.StatusOK, claims)
	case "/logout":
		_, _ = w.Write([]byte("signed out of the provider"))
	default:
		http.NotFound(w, r)
	}
}

func (p *Provider) currentSubject() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.subject
}

func change(by func(map[string]any), what map[string]any) {
	if by != nil {
		by(what)
	}
}

func respond(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// authorize signs the user in, unless the request is not one of the code flow with PKCE.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request, b Behaviour) {
	request := r.URL.Query()
	if request.Get("client_id") != ClientID || request.Get("response_type") != "code" || request.Get("code_challenge_method") != "S256" ||
		request.Get("code_challenge") == "" || !slices.Contains([]string{"", "query"}, request.Get("response_mode")) {
		http.Error(w, "not an authentication request of the client", http.StatusBadRequest)
		return
	}
	code := rand.Text()
	p.mu.Lock()
	p.codes[code], p.last = request, request
	p.mu.Unlock()
	to, err := url.Parse(request.Get("redirect_uri"))
	if err != nil {
		http.Error(w, "no redirect URI", http.StatusBadRequest)
		return
	}
	parameters := url.Values{"code": {code}, "state": {request.Get("state")}, "iss": {p.Issuer}}
	if b.Response != nil {
		b.Response(parameters)
	}
	to.RawQuery = parameters.Encode()
	http.Redirect(w, r, to.String(), http.StatusSeeOther)
}

// token redeems a code once, of this client, with the verifier and the redirect URI of the request.
func (p *Provider) token(w http.ResponseWriter, r *http.Request, b Behaviour) {
	id, secret, _ := r.BasicAuth()
	id, _ = url.QueryUnescape(id) // RFC 6749 section 2.3.1
	secret, _ = url.QueryUnescape(secret)
	if id != ClientID || secret != Secret {
		respond(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client", "error_description": "upstream-text"})
		return
	}
	p.mu.Lock()
	request := p.codes[r.FormValue("code")]
	delete(p.codes, r.FormValue("code"))
	p.mu.Unlock()
	challenge := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	if request == nil || r.FormValue("grant_type") != "authorization_code" || request.Get("redirect_uri") != r.FormValue("redirect_uri") ||
		request.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(challenge[:]) {
		respond(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant", "error_description": "upstream-text"})
		return
	}
	subject := p.currentSubject()
	if b.ByHint {
		subject = request.Get("login_hint")
	}
	accessToken, now := rand.Text(), p.now()
	hash := sha256.Sum256([]byte(accessToken))
	claims := map[string]any{
		"iss": p.Issuer, "aud": ClientID, "sub": subject, "nonce": request.Get("nonce"), "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"at_hash": base64.RawURLEncoding.EncodeToString(hash[:len(hash)/2]), "email": "alice@acme.example", "email_verified": true,
	}
	if _, err := strconv.Atoi(request.Get("max_age")); err == nil {
		claims["auth_time"] = now.Unix()
	}
	change(b.IDToken, claims)
	sign := b.Sign
	if sign == nil {
		sign = func(claims map[string]any) string { return p.Signer.Sign(p.t, claims) }
	}
	response := map[string]any{"access_token": accessToken, "token_type": "Bearer", "expires_in": 60, "id_token": sign(claims)}
	change(b.Token, response)
	respond(w, http.StatusOK, response)
}
