package clientauth

import (
	"context"
	"errors"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/workload"
)

// authenticateWorkload returns the client that the token of a workload authenticates (RFC 7521
// section 4.2, where the issuer of the assertion is another than the client).
//
// Until the signature is verified every error is the same. After that the sender holds a good token
// of a workload, and learns what is wrong with it, in the same words for a client that exists and for
// one that does not.
func (a *Authenticator) authenticateWorkload(ctx context.Context, issuer documents.WorkloadIssuer, s assertion) (*registry.Client, error) {
	server, _ := a.Registry.Server()
	identity, err := a.Workloads.Verify(ctx, issuer, s.jws, workload.Claims{
		Subject: s.claims.subject, Audience: s.claims.audience,
		IssuedAt: s.claims.issuedAt, NotBefore: s.claims.notBefore, ExpiresAt: s.claims.expiresAt,
	}, server.Issuer)
	if err != nil {
		return nil, a.workloadRefused(err)
	}
	client, advice := a.findWorkload(identity, s.clientID)
	if advice != "" {
		a.Metrics.countFailure(unknownClient)
		return nil, a.withChallenge(oauth.Errorf(oauth.InvalidClient, "the token of the workload is good, but %s", advice))
	}
	if err := a.Workloads.Review(ctx, identity, s.encoded, server.Issuer); err != nil {
		return nil, a.workloadRefused(err)
	}
	return client, nil
}

// findWorkload returns the client that lists a workload, or advice for the sender of its token.
// Without a client id it is the one client in the namespace of a ServiceAccount that does: clients of
// other namespaces are not looked at, so none of them can take its requests or make them ambiguous.
func (a *Authenticator) findWorkload(identity workload.Identity, clientID string) (client *registry.Client, advice string) {
	if clientID != "" {
		if client, ok := a.Registry.Client(clientID); ok {
			if client, ok := client.WithIdentity(identity.Issuer, identity.Subject, identity.UID); ok {
				return client, ""
			}
		}
		return nil, "there is no accepted client with this client_id that lists the workload in workloadIdentities"
	}
	if identity.Issuer.Type != documents.WorkloadIssuerKubernetes {
		return nil, "client_id is missing: only the token of a ServiceAccount may stand for it"
	}
	client, ok, err := a.Registry.ClientOfServiceAccount(identity.Issuer, identity.Subject, identity.UID)
	switch {
	case err != nil:
		return nil, "more than one client in the namespace of the ServiceAccount lists it: send client_id"
	case !ok:
		return nil, "no accepted client in the namespace of the ServiceAccount lists it in workloadIdentities: send the client_id of one elsewhere that does"
	}
	return client, ""
}

// workloadRefused returns the response to a token that was not accepted.
func (a *Authenticator) workloadRefused(err error) error {
	var invalid *workload.InvalidError
	switch {
	case errors.As(err, &invalid):
		return a.assertionRefused(invalid.Advice)
	case errors.Is(err, workload.ErrUnavailable):
		return oauth.Errorf(oauth.TemporarilyUnavailable, "the token of the workload cannot be reviewed now; nothing is wrong with the request, try again in a moment").
			WithHeader("Retry-After", "2").WithCause(err)
	default:
		return a.authenticationFailed(wrongSignature)
	}
}
