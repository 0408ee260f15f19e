package workload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks"
	"github.com/oauth-operator/oauth-operator/tokenserver/keysource"
)

// verifySignature reports whether a key of the issuer signed a token.
func (v *Verifier) verifySignature(ctx context.Context, issuer documents.WorkloadIssuer, token jwks.JWS) bool {
	var err error
	switch {
	case issuer.Type == documents.WorkloadIssuerKubernetes && v.cluster != nil:
		_, err = v.cluster.source.Verify(ctx, token)
	case issuer.Type == documents.WorkloadIssuerJWT && issuer.Discovery:
		_, err = v.discovered(issuer.Issuer).Verify(ctx, token)
	case issuer.Type == documents.WorkloadIssuerJWT:
		var set jwks.Set
		if set, err = jwks.NewSet(issuer.JWKS); err == nil {
			_, err = set.Verify(token)
		}
	default:
		return false
	}
	return err == nil
}

// sourceOf returns the key of the source of an OpenID provider's keys.
func sourceOf(issuer string) string { return "workload issuer " + issuer }

// discovered returns the source of the keys of an OpenID provider.
func (v *Verifier) discovered(issuer string) *keysource.Source {
	return v.Sources.Of(sourceOf(issuer), fetch.HostOf(issuer), func(ctx context.Context) (jwks.Set, time.Duration, error) {
		uri, err := v.discover(ctx, issuer)
		if err != nil {
			return jwks.Set{}, 0, err
		}
		return v.Sources.Get(ctx, fetch.ForIssuer, uri)
	})
}

// discover returns the jwks_uri in the discovery document of an issuer (OpenID Connect Discovery 1.0
// section 4), which must be its own (section 4.3).
func (v *Verifier) discover(ctx context.Context, issuer string) (string, error) {
	response, err := v.Fetch.Get(ctx, fetch.ForIssuer, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return "", err
	}
	var document struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(response.Body, &document); err != nil {
		return "", fetch.NewError(fetch.BadAnswer, errors.New("the discovery document is not JSON"))
	}
	if document.Issuer != issuer {
		return "", fetch.NewError(fetch.BadAnswer, fmt.Errorf("the discovery document is that of another issuer, not of %q", issuer))
	}
	return document.JWKSURI, nil
}
