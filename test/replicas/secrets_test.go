package replicas

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// One that is cut off goes on with what it last knew, and refuses too when it is back.
func TestARevokedSecretIsRefusedByEachReplicaThatReachesTheAPIServer(t *testing.T) {
	s := newReplicatedServer(t)
	machine := url.Values{"grant_type": {"client_credentials"}}
	for i := range replicaCount {
		s.requireOK(s.post(i, "/token", machine))
	}
	c := &v1alpha1.OAuthClient{ObjectMeta: metav1.ObjectMeta{Namespace: s.AppNamespace, Name: "web"}}
	s.WaitFor("the client's credential", c, func() bool { return len(c.Status.Credentials) == 1 })
	restore := apiProxy.cutOffReplica(s.replicas()[2].Name())
	defer restore()
	s.Update(c, func() {
		c.Spec.Secret = &v1alpha1.ClientSecret{Source: v1alpha1.SecretGenerate, RevokedCredentials: []string{c.Status.Credentials[0].ID}}
	})
	refused := func(replica int, within time.Duration) {
		t.Helper()
		s.Eventually("the refusal", within, func() (bool, string) {
			a := s.post(replica, "/token", machine)
			return a.isError(http.StatusUnauthorized, "invalid_client"), http.StatusText(a.status)
		})
	}
	refused(0, time.Second)
	refused(1, time.Second)
	s.requireOK(s.post(2, "/token", machine))
	restore()
	refused(2, 20*time.Second)

	s.WaitFor("the next secret", c, func() bool {
		return len(c.Status.Credentials) == 1 && testenv.IsTrue(c.Status.Conditions, v1alpha1.ConditionReady)
	})
	s.config.ClientSecret = string(s.SecretOf(c).Data["client_secret"])
	s.leaks.record("client secret", s.config.ClientSecret)
	for i := range replicaCount {
		s.requireOK(s.post(i, "/token", machine))
	}
}
