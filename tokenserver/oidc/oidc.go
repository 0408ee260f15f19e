// Package oidc signs users in at an OpenID provider: this server is the relying party there (OpenID
// Connect Core section 3.1). It knows neither pages nor cookies nor records: a caller keeps Pending
// between Depart and Callback, in the browser that departed.
//
//	oidc.go       Providers and Provider; the credential
//	discovery.go  the provider's discovery document (OpenID Connect Discovery)
//	keys.go       its keys
//	departure.go  Depart: the authentication request, with PKCE, nonce and state
//	callback.go   Callback: the response, and the exchange of its code
//	idtoken.go    what an ID token must say
//	userinfo.go   the claims of the UserInfo endpoint
//	away.go       which providers are away, and why
//	errors.go     why a sign-in failed
//
// All requests go through package fetch, so that what a provider names is no way into the network of
// this server. What a provider says in errors goes nowhere: an error of this package says in our
// words what happened, and quotes no more than an error code that is registered.
package oidc

import (
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
	"github.com/oauth-operator/oauth-operator/tokenserver/keysource"
	"github.com/oauth-operator/oauth-operator/tokenserver/places"
)

// Providers are the OpenID providers of a server, with what was fetched from them. All exported
// fields but OnChange are required. Safe for concurrent use.
type Providers struct {
	Client  *fetch.Client
	Sources *keysource.Sources
	// Secret returns the client secret in the file with a name, which documents name as a credential;
	// false if this process has not read it.
	Secret func(name string) (string, bool)
	Now    func() time.Time
	Random io.Reader
	// OnChange is called when a provider is away, or is there again.
	OnChange func()

	mu    sync.Mutex
	byUID map[string]*Provider
}

// Provider is one OpenID provider, as its document describes it.
type Provider struct {
	providers *Providers
	document  documents.IdentityProvider
	digest    string // of the document
	client    *http.Client

	places      *places.Queue // of the callbacks that ask the provider
	discovering chan struct{} // has a value while the discovery document is fetched or compared
	mu          sync.Mutex
	found       *discovery
	foundAt     time.Time
	triedAt     time.Time
	revision    int    // of the rules of fetching at triedAt
	away        error  // of the last attempt to get the discovery document
	endpoints   error  // of the last requests to the other endpoints
	askedWith   string // the file of the client secret of these requests
	keysFailed  error  // of the last attempt to get the keys
}

// Of returns the provider with a document, whose Type must be OIDC. As long as the document stays the
// same, so does the provider.
func (p *Providers) Of(document documents.IdentityProvider) (*Provider, error) {
	if document.OIDC == nil {
		return nil, errors.New("the provider " + document.Name + " is no OpenID provider")
	}
	digest, err := document.Digest()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.byUID[document.UID]; known != nil && known.digest == digest {
		return known, nil
	}
	roots, err := rootsOf(document.CABundle)
	if err != nil {
		return nil, err
	}
	provider := &Provider{
		providers: p, document: document, digest: digest, client: p.Client.HTTPClient(roots), places: places.NewQueue(maxAsking, maxWaiting),
		discovering: make(chan struct{}, 1),
	}
	if known := p.byUID[document.UID]; known != nil {
		provider.places = known.places
	}
	if p.byUID == nil {
		p.byUID = map[string]*Provider{}
	}
	p.byUID[document.UID] = provider
	return provider, nil
}

// rootsOf returns the certificates of a bundle; nil, which stands for the public roots, if there is
// no bundle. One without certificates trusts no server, and does not stand for the public roots.
func rootsOf(bundle string) (*x509.CertPool, error) {
	if bundle == "" {
		return nil, nil
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(bundle)) {
		return nil, errors.New("the caBundle has no certificate")
	}
	return roots, nil
}

// secret returns the client secret and the name of its file: the present one, or the one before, if
// this process has not read the present one yet.
func (p *Provider) secret() (name, secret string, err error) {
	for _, name := range p.document.Credentials {
		if secret, ok := p.providers.Secret(name); ok {
			return name, secret, nil
		}
	}
	return "", "", &Error{NoCredential, errors.New("this process has not read the client secret yet")}
}
