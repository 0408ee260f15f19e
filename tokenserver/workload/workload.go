// Package workload verifies the tokens that platforms give to their workloads, by which these
// authenticate as clients (RFC 7523 section 2.2): tokens of Kubernetes ServiceAccounts, and of OpenID
// providers.
//
//	workload.go     Verifier: a token to the identity of a workload
//	claims.go       the claims of a token, and what must hold of them
//	keys.go         the keys of an issuer
//	kubernetes.go   the issuer of ServiceAccount tokens, as the API server says
//	review.go       the API server's review of a token
//	problem.go      what keeps the workloads of an issuer from authenticating
//
// The issuer is found by iss, and only its own keys verify the token. An identity is an issuer and a
// subject: two issuers may use one subject for two workloads.
package workload

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks"
	"github.com/oauth-operator/oauth-operator/tokenserver/keysource"
)

// ErrUnverified is the error of a token that no key of its issuer verifies, or that is no issuer's.
// The client learns no more than that.
var ErrUnverified = errors.New("the token is not signed by a workload issuer of the server")

// ErrUnavailable means that the API server did not say whether a token is still good.
var ErrUnavailable = errors.New("the API server does not review tokens now")

// InvalidError is what is wrong with a token that its issuer has signed. The client may know.
// Advice goes after "the signature is good, but".
type InvalidError struct{ Advice string }

func (e *InvalidError) Error() string { return e.Advice }

func invalidf(format string, args ...any) *InvalidError {
	return &InvalidError{fmt.Sprintf(format, args...)}
}

// Identity is the workload that a token is about.
type Identity struct {
	Issuer  documents.WorkloadIssuer
	Subject string
	// UID is that of the ServiceAccount; empty for a subject of another issuer.
	UID string
}

// Verifier verifies tokens of workloads. Safe for concurrent use.
type Verifier struct {
	Config

	cluster *kubernetesIssuer // nil: there is none
	reviews *reviews
}

// Config is what a Verifier works with. Server, Sources, Fetch and Now are required.
type Config struct {
	// Server returns the server's document; false while there is none.
	Server func() (documents.Server, bool)
	// Sources keep the keys that Fetch gets.
	Sources *keysource.Sources
	Fetch   *fetch.Client
	// Cluster may be nil: then no ServiceAccount can authenticate.
	Cluster Cluster
	Now     func() time.Time
	// OnProblem, if set, is called when the result of Verifier.Problem has changed.
	OnProblem func()
}

// New returns a Verifier.
func New(config Config) *Verifier {
	v := &Verifier{Config: config}
	if config.Cluster != nil {
		v.cluster, v.reviews = newKubernetesIssuer(config.Sources, config.Cluster), newReviews(config.Cluster, config.Now)
	}
	return v
}

// FindIssuer returns the workload issuer of the server that a token says it is from; false if there
// is none. It verifies nothing.
func (v *Verifier) FindIssuer(ctx context.Context, server documents.Server, iss string) (documents.WorkloadIssuer, bool) {
	if iss == "" || iss == server.Issuer { // the server's own tokens are for APIs
		return documents.WorkloadIssuer{}, false
	}
	for _, issuer := range server.WorkloadIssuers {
		if issuer.Type == documents.WorkloadIssuerJWT && issuer.Issuer == iss {
			return issuer, true
		}
	}
	for _, issuer := range server.WorkloadIssuers {
		if issuer.Type == documents.WorkloadIssuerKubernetes && v.cluster != nil && v.cluster.issuer(ctx) == iss {
			return issuer, true
		}
	}
	return documents.WorkloadIssuer{}, false
}

// Verify returns the workload that a token of an issuer is about. Claims are those of the token, and
// audience is the issuer identifier of the server, for which alone the token must be. The error is
// ErrUnverified or an *InvalidError.
func (v *Verifier) Verify(ctx context.Context, issuer documents.WorkloadIssuer, token jwks.JWS, claims Claims, audience string) (Identity, error) {
	if !v.verifySignature(ctx, issuer, token) {
		return Identity{}, ErrUnverified
	}
	if invalid := claims.check(token.Type, audience, issuer.MaxLifetime.Duration(), v.Now()); invalid != nil {
		return Identity{}, invalid
	}
	identity := Identity{Issuer: issuer, Subject: claims.Subject}
	if issuer.Type == documents.WorkloadIssuerKubernetes {
		if _, ok := documents.ServiceAccountNamespace(claims.Subject); !ok {
			return Identity{}, invalidf("its sub is not a ServiceAccount")
		}
		identity.UID = serviceAccountUID(token.Payload)
	}
	return identity, nil
}

// Review asks the API server whether a token that Verify has accepted is still good, where the
// issuer wants that. The error is ErrUnavailable or an *InvalidError.
func (v *Verifier) Review(ctx context.Context, identity Identity, token, audience string) error {
	if !identity.Issuer.TokenReview {
		return nil
	}
	if v.reviews == nil {
		return ErrUnavailable
	}
	return v.reviews.review(ctx, identity, token, audience)
}
