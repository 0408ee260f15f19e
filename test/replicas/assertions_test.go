package replicas

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/testenv"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks/jwkstest"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// signingClient is a client of a replicated server that publishes its keys at a URL.
type signingClient struct {
	*replicatedServer
	clientID string
	keys     *jwkstest.Server
}

func newSigningClient(t *testing.T, s *replicatedServer, signers ...jwkstest.Signer) *signingClient {
	t.Helper()
	c := &signingClient{replicatedServer: s, keys: jwkstest.NewServer(t, signers...)}
	bundle := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.ServerNamespace, Name: "internal-ca"}, Data: map[string]string{"ca.crt": c.keys.CABundle()},
	}
	s.Create(bundle)
	s.Update(s.Server, func() {
		s.Server.Spec.Fetch = &v1alpha1.FetchSettings{
			JWKSHosts: []string{"127.0.0.1"},
			CABundle:  &v1alpha1.CABundle{ConfigMapRef: v1alpha1.ConfigMapKeyReference{Name: bundle.Name, Key: "ca.crt"}},
		}
	})
	s.WaitFor("the server to be Ready", s.Server, func() bool { return testenv.IsTrue(s.Server.Status.Conditions, v1alpha1.ConditionReady) })
	created := s.ReadyClient("billing", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"client_credentials"}, TokenEndpointAuthMethod: "private_key_jwt", JWKSURI: c.keys.URL,
	})
	c.clientID = created.Status.ClientID
	for replica := range replicaCount {
		s.Eventually("each replica to have the keys", time.Minute, func() (bool, string) {
			a := c.signIn(replica, c.sign(signers[0]))
			return a.status == http.StatusOK, fmt.Sprint(a.body, a.err)
		})
	}
	return c
}

func (c *signingClient) sign(signer jwkstest.Signer) string {
	now := time.Now()
	return signer.Sign(c.T, map[string]any{
		"iss": c.clientID, "sub": c.clientID, "aud": c.Issuer, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "jti": rand.Text(),
	})
}

// signIn asks a replica for a token with an assertion.
func (c *signingClient) signIn(replica int, assertion string) answer {
	form := url.Values{"grant_type": {"client_credentials"}, "client_assertion_type": {oauth.AssertionTypeJWT}, "client_assertion": {assertion}}
	request, err := http.NewRequestWithContext(c.T.Context(), http.MethodPost, "http://"+c.address(replica)+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		return answer{err: err}
	}
	request.Header.Set("Content-Type", oauth.FormType)
	return c.do(request)
}

func TestOfManyRequestsWithOneAssertionAtThreeReplicasOneSucceeds(t *testing.T) {
	forEachBackend(t, func(t *testing.T, s *replicatedServer) {
		signer := jwkstest.NewSigner("ES256", "a")
		c := newSigningClient(t, s, signer)
		for range *rounds {
			assertion := c.sign(signer)
			answers := make([]answer, 30)
			var group sync.WaitGroup
			for i := range answers {
				group.Go(func() { answers[i] = c.signIn(i, assertion) })
			}
			group.Wait()
			won := 0
			for _, a := range answers {
				switch {
				case a.status == http.StatusOK:
					won++
				case !a.isError(http.StatusUnauthorized, "invalid_client"):
					t.Errorf("a loser is answered %d %v (%v)", a.status, a.body, a.err)
				}
			}
			if won != 1 {
				t.Errorf("%d of %d succeeded", won, len(answers))
			}
		}
	})
}

func TestAFloodOfUnknownKidsAtThreeReplicasIsNotPassedOnAndARotationMeanwhileFailsNobodyForLong(t *testing.T) {
	s := newReplicatedServer(t)
	old, next := jwkstest.NewSigner("ES256", "old"), jwkstest.NewSigner("ES256", "new")
	c := newSigningClient(t, s, old)
	began, before := time.Now(), c.keys.Fetches()
	const flood = 10_000
	var group sync.WaitGroup
	for worker := range 6 {
		group.Go(func() {
			attacker := jwkstest.NewSigner("ES256", "")
			for i := range flood / 6 {
				attacker.JWK.KeyID = fmt.Sprintf("%d-%d", worker, i)
				if a := c.signIn(worker, c.sign(attacker)); a.status != http.StatusUnauthorized {
					t.Errorf("an unknown kid is answered %d %v (%v)", a.status, a.body, a.err)
					return
				}
			}
		})
	}
	time.Sleep(time.Second)
	c.keys.Serve(old, next)
	rotated := time.Now()
	for replica := range replicaCount {
		s.Eventually("the new key at each replica", 30*time.Second, func() (bool, string) {
			if a := c.signIn(replica, c.sign(old)); a.status != http.StatusOK {
				t.Errorf("the old key is answered %d %v (%v)", a.status, a.body, a.err)
			}
			return c.signIn(replica, c.sign(next)).status == http.StatusOK, "it is unknown"
		})
	}
	took := time.Since(rotated)
	group.Wait()
	intervals := int64(time.Since(began)/(10*time.Second)) + 1
	if fetches := c.keys.Fetches() - before; fetches > replicaCount*intervals {
		t.Errorf("%d fetches in %v", fetches, time.Since(began))
	}
	if took > 15*time.Second {
		t.Errorf("the new key counted after %v", took)
	}
	t.Logf("%d assertions with unknown kids in %v made %d fetches; the new key counted after %v", flood, time.Since(began), c.keys.Fetches()-before, took)
}
