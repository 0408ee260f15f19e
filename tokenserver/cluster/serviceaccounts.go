package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/client-go/rest"

	"github.com/oauth-operator/oauth-operator/tokenserver/jwks"
	"github.com/oauth-operator/oauth-operator/tokenserver/kubeclient"
	"github.com/oauth-operator/oauth-operator/tokenserver/workload"
)

// serviceAccounts asks the API server about the tokens of ServiceAccounts. It implements
// workload.Cluster.
type serviceAccounts struct {
	authentication, authorization rest.Interface
}

// maxMetadata is the size of the largest discovery document or JWK Set of an API server, in bytes.
const maxMetadata = 256 << 10

func newServiceAccounts(api *rest.Config, httpClient *http.Client) (*serviceAccounts, error) {
	authentication, err := kubeclient.New(api, httpClient, authenticationv1.SchemeGroupVersion, authenticationv1.AddToScheme)
	if err != nil {
		return nil, err
	}
	authorization, err := kubeclient.New(api, httpClient, authorizationv1.SchemeGroupVersion, authorizationv1.AddToScheme)
	if err != nil {
		return nil, err
	}
	return &serviceAccounts{authentication, authorization}, nil
}

// ServiceAccountKeys implements workload.Cluster. Every ServiceAccount may read both documents by
// the ClusterRole system:service-account-issuer-discovery.
func (s *serviceAccounts) ServiceAccountKeys(ctx context.Context) (issuer string, keys jwks.Set, err error) {
	document, err := s.get(ctx, "/.well-known/openid-configuration")
	if err != nil {
		return "", jwks.Set{}, err
	}
	var discovery struct {
		Issuer string `json:"issuer"`
	}
	if err := json.Unmarshal(document, &discovery); err != nil || discovery.Issuer == "" {
		return "", jwks.Set{}, fmt.Errorf("the API server's discovery document names no issuer")
	}
	// Not the jwks_uri, which may be a place that others can reach and the token server cannot.
	document, err = s.get(ctx, "/openid/v1/jwks")
	if err != nil {
		return "", jwks.Set{}, err
	}
	if keys, err = jwks.Parse(document); err != nil {
		return "", jwks.Set{}, fmt.Errorf("reading the API server's /openid/v1/jwks: %w", err)
	}
	return discovery.Issuer, keys, nil
}

func (s *serviceAccounts) get(ctx context.Context, path string) ([]byte, error) {
	document, err := s.authentication.Get().AbsPath(path).DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the API server's %s: %w", path, err)
	}
	if len(document) > maxMetadata {
		return nil, fmt.Errorf("the API server's %s is larger than %d bytes", path, maxMetadata)
	}
	return document, nil
}

// ReviewToken implements workload.Cluster.
func (s *serviceAccounts) ReviewToken(ctx context.Context, token, audience string) (workload.Review, error) {
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{audience}}}
	if err := s.authentication.Post().Resource("tokenreviews").Body(review).Do(ctx).Into(review); err != nil {
		return workload.Review{}, fmt.Errorf("creating a TokenReview: %w", err)
	}
	return workload.Review{
		Authenticated: review.Status.Authenticated, Audiences: review.Status.Audiences,
		Username: review.Status.User.Username, UID: review.Status.User.UID,
	}, nil
}

// MayReviewTokens implements workload.Cluster.
func (s *serviceAccounts) MayReviewTokens(ctx context.Context) (bool, error) {
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "create", Group: authenticationv1.GroupName, Resource: "tokenreviews"},
	}}
	if err := s.authorization.Post().Resource("selfsubjectaccessreviews").Body(review).Do(ctx).Into(review); err != nil {
		return false, fmt.Errorf("creating a SelfSubjectAccessReview: %w", err)
	}
	return review.Status.Allowed, nil
}
