// Package clientauth finds out which client a request is from (RFC 6749 section 2.3). A client uses
// the one method that it registered: client_secret_basic, client_secret_post, or none.
//
// Whether a client is unknown, suspended, or sent a wrong secret, the answer is the same to the byte
// and costs the same work, whatever the method: client ids are not for guessing. A client that sent
// the right secret by another method than its own is told so, since nothing is left to guess.
//
//	clientauth.go  the Authenticator
//	present.go     what a request presents, and where
//	compare.go     secrets against the hashes that are served
//	metrics.go     why clients were not authenticated
package clientauth

import (
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// Authenticator of clients. Registry and Now are needed.
type Authenticator struct {
	Registry *registry.Registry
	Now      func() time.Time
	// Used, if set, learns which credential of a client was used; it must return at once.
	OnUse func(registry.CredentialUse)
	// Metrics may be nil.
	Metrics *Metrics

	comparisons atomic.Int64
}

// Authenticate says which client the request is from. Form holds the parameters of its body. The error is an *oauth.Error: invalid_request if
// the request uses more than one method, else invalid_client with status 401 and a challenge.
func (a *Authenticator) Authenticate(r *http.Request, form oauth.Params) (*registry.Client, error) {
	p, err := parseCredentials(r, form)
	if err != nil {
		a.Metrics.failed(malformed)
		return nil, a.withChallenge(err)
	}
	client, known := a.findClient(p)
	credential, matches := a.findCredential(client, p.secrets)
	if !known {
		return nil, a.authenticationFailed(unknownClient)
	}
	use := registry.CredentialUse{
		ClientUID: client.UID, CredentialID: credential.ID, Retiring: credential.State == documents.CredentialRetiring,
	}
	switch {
	case p.method == oauth.AuthMethodNone && client.IsPublic():
		return client, nil
	case client.IsPublic(), p.method == oauth.AuthMethodNone:
		return nil, a.authenticationFailed(wrongMethod)
	case !matches:
		return nil, a.authenticationFailed(wrongSecret)
	case p.method != client.AuthMethod:
		a.Metrics.failed(wrongMethod)
		use.RefusedMethod = p.method
		a.notifyUse(use)
		return nil, a.withChallenge(oauth.Errorf(oauth.InvalidClient,
			"the secret is right, but the request sent it by %s: send it by %s, or change the client's tokenEndpointAuthMethod", p.method, client.AuthMethod))
	}
	a.notifyUse(use)
	return client, nil
}

func (a *Authenticator) notifyUse(use registry.CredentialUse) {
	if a.OnUse != nil {
		a.OnUse(use)
	}
}

// AuthenticateConfidential is as Authenticate, for endpoints where an identifier alone is not enough.
func (a *Authenticator) AuthenticateConfidential(r *http.Request, form oauth.Params) (*registry.Client, error) {
	client, err := a.Authenticate(r, form)
	if err == nil && client.IsPublic() {
		return nil, a.authenticationFailed(wrongMethod)
	}
	return client, err
}

// find looks the client up under each spelling of the identifier that was sent.
func (a *Authenticator) findClient(p credentials) (*registry.Client, bool) {
	for _, id := range p.ids {
		if client, ok := a.Registry.Client(id); ok {
			return client, true
		}
	}
	return nil, false
}

// failed is the one answer to every client that is not who it says.
func (a *Authenticator) authenticationFailed(reason failure) *oauth.Error {
	a.Metrics.failed(reason)
	return a.withChallenge(oauth.Errorf(oauth.InvalidClient,
		"unknown client, wrong credentials, or another method than the client's tokenEndpointAuthMethod"))
}

// challenged adds the challenge that a 401 must carry (RFC 9110 section 15.5.2; RFC 6749 section 5.2 asks for it where Basic was tried).
func (a *Authenticator) withChallenge(err *oauth.Error) *oauth.Error {
	if err.Status != http.StatusUnauthorized {
		return err
	}
	realm := "oauth"
	if server, ok := a.Registry.Server(); ok {
		realm = server.Issuer
	}
	return err.WithHeader("WWW-Authenticate", `Basic realm="`+quote(realm)+`", charset="UTF-8"`)
}

// quote escapes what a quoted-string must (RFC 9110 section 5.6.4).
func quote(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s)
}

// Work is how many hashes were compared so far.
func (a *Authenticator) Comparisons() int64 { return a.comparisons.Load() }
