package controllers

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// newAuthenticationStatus returns how a client authenticates. It has done so since before, or since
// now if the method has changed; a client without that status has since it was created.
func newAuthenticationStatus(c *v1alpha1.OAuthClient, now time.Time) *v1alpha1.AuthenticationStatus {
	method := string(c.Spec.TokenEndpointAuthMethod)
	known := c.Status.Authentication
	switch {
	case known == nil:
		return &v1alpha1.AuthenticationStatus{Method: method, Since: metav1.NewTime(c.CreationTimestamp.UTC())}
	case known.Method == method:
		return known.DeepCopy()
	}
	return &v1alpha1.AuthenticationStatus{Method: method, Since: metav1.NewTime(now.UTC().Truncate(time.Second))}
}
