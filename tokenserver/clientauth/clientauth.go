// Package clientauth authenticates clients (RFC 6749 section 2.3). A client uses the one method
// that it registered: client_secret_basic, client_secret_post, private_key_jwt, WorkloadIdentity or
// none. For a while after that was changed, the one before is good too (registry.Client).
//
// The response is the same, byte for byte and in the work that it takes, for an unknown client, a
// suspended one and a wrong secret, with every method, so that client ids cannot be guessed; except
// that once in ten seconds a request may wait for the keys of a client that are fetched. Only a
// client that sent the right secret by another method than its own learns so, and one that sends an
// assertion with a good signature learns what is wrong with that.
//
//	clientauth.go   the Authenticator
//	credentials.go  the credentials in a request
//	assertion.go    JWTs that authenticate a client (RFC 7523)
//	privatekey.go   those that the client has signed itself
//	workload.go     those that the platform of a workload has signed
//	compare.go      the comparison of secrets with the hashes in the client's document
//	metrics.go      why clients were not authenticated
package clientauth

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/keysource"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/workload"
)

// Authenticator authenticates clients. Registry, Sources, Marks and Now are required.
type Authenticator struct {
	Registry *registry.Registry
	// Sources are the key sets that are fetched.
	Sources *keysource.Sources
	// Workloads verifies the tokens of workloads. Nil: they authenticate no client.
	Workloads *workload.Verifier
	// Marks stores which assertions were used.
	Marks interface {
		CreateMark(ctx context.Context, m storage.Mark) error
	}
	Now func() time.Time
	// OnUse, if set, is called with each secret that was used. It must not block. Keys are not counted
	// as uses: their number has no bound, since the client changes them itself.
	OnUse func(registry.CredentialUse)
	// Metrics may be nil.
	Metrics *Metrics

	comparisons atomic.Int64
}

// Authenticate returns the client that sent the request, whose body has the parameters of form. The
// error is an *oauth.Error: invalid_request if the request uses more than one method, otherwise
// invalid_client with status 401 and a challenge. If the use of an assertion cannot be stored, it is
// the error of package storage.
func (a *Authenticator) Authenticate(r *http.Request, form oauth.Params) (*registry.Client, error) {
	p, err := parseCredentials(r, form)
	if err != nil {
		a.Metrics.countFailure(malformed)
		return nil, a.withChallenge(err)
	}
	if p.assertion != nil {
		return a.authenticateAssertion(r.Context(), *p.assertion)
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
	}
	authenticated, allowed := client.WithAuthMethod(p.method)
	if !allowed {
		a.Metrics.countFailure(wrongMethod)
		use.RefusedMethod = p.method
		a.notifyUse(use)
		return nil, a.withChallenge(oauth.Errorf(oauth.InvalidClient,
			"the secret is right, but the request sent it by %s: authenticate by %s, or change the client's tokenEndpointAuthMethod",
			p.method, client.AuthMethod))
	}
	a.notifyUse(use)
	return authenticated, nil
}

func (a *Authenticator) notifyUse(use registry.CredentialUse) {
	if a.OnUse != nil {
		a.OnUse(use)
	}
}

// AuthenticateConfidential is like Authenticate, and refuses public clients.
func (a *Authenticator) AuthenticateConfidential(r *http.Request, form oauth.Params) (*registry.Client, error) {
	client, err := a.Authenticate(r, form)
	if err == nil && client.IsPublic() {
		return nil, a.authenticationFailed(wrongMethod)
	}
	return client, err
}

// findClient looks the client up by each spelling of the id in the request.
func (a *Authenticator) findClient(p credentials) (*registry.Client, bool) {
	for _, id := range p.ids {
		if client, ok := a.Registry.Client(id); ok {
			return client, true
		}
	}
	return nil, false
}

// notAuthenticated is the description of each error by which a client is not authenticated.
const notAuthenticated = "unknown client, wrong credentials, or another method than the client's tokenEndpointAuthMethod"

// authenticationFailed counts the reason, and returns the error for every client that could not be
// authenticated.
func (a *Authenticator) authenticationFailed(reason failure) *oauth.Error {
	a.Metrics.countFailure(reason)
	return a.withChallenge(oauth.Errorf(oauth.InvalidClient, notAuthenticated))
}

// withChallenge adds to an error with status 401 the challenge that it must have (RFC 9110 section
// 15.5.2; RFC 6749 section 5.2 requires it if the client tried Basic).
func (a *Authenticator) withChallenge(err *oauth.Error) *oauth.Error {
	if err.Status != http.StatusUnauthorized {
		return err
	}
	realm := "oauth"
	if server, ok := a.Registry.Server(); ok {
		realm = server.Issuer
	}
	return err.WithHeader("WWW-Authenticate", `Basic realm="`+quotedEscaper.Replace(realm)+`", charset="UTF-8"`)
}

// quotedEscaper escapes a value for a quoted-string (RFC 9110 section 5.6.4).
var quotedEscaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// Comparisons returns how many hashes were compared so far. Tests compare the work for known and
// unknown clients.
func (a *Authenticator) Comparisons() int64 { return a.comparisons.Load() }
