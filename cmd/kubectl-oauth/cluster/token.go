package cluster

import (
	"context"
	"errors"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// tokenLifetime is how long a token of a ServiceAccount is good, in seconds: the least that the API
// server issues. It is used once, at once.
const tokenLifetime = int64(600)

// RequestToken requests a token of a ServiceAccount for one audience.
func (c *Cluster) RequestToken(ctx context.Context, namespace, name, audience string) (string, error) {
	lifetime := tokenLifetime
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	request := &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}, ExpirationSeconds: &lifetime},
	}
	err := c.explainError(c.client.SubResource("token").Create(ctx, account, request), "create", account, namespace, name)
	if missing := (*MissingRight)(nil); errors.As(err, &missing) {
		missing.Resource += "/token"
	}
	return request.Status.Token, err
}
