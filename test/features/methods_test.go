package features

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/testenv"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks/jwkstest"
)

// The application goes on with its secret before, during and after the change, and with the token of
// its workload from the change on.
func TestAClientMovesFromASecretToTheIdentityOfItsWorkloadWithoutAFailedRequest(t *testing.T) {
	const issuer = "https://ci.plant.example.com"
	signer := jwkstest.NewSigner("ES256", "first")
	env := testenv.New(t)
	env.Create(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.ServerNamespace, Name: "plant-keys"}, Data: map[string]string{"jwks.json": jwkstest.SetOf(signer)},
	})
	env.Update(env.Server, func() {
		env.Server.Spec.WorkloadIssuers = []v1alpha1.WorkloadIssuer{{Name: "plant", Type: v1alpha1.WorkloadIssuerJWT, JWT: &v1alpha1.JWTWorkloadIssuer{
			Issuer: issuer, JWKS: &v1alpha1.WorkloadIssuerJWKS{ConfigMapRef: v1alpha1.ConfigMapKeyReference{Name: "plant-keys", Key: "jwks.json"}},
		}}}
	})
	c := env.ReadyClient("service", serviceSpec)
	config := env.Config(c)
	servedWithinASecond(env, config)

	var load sync.WaitGroup
	requests, failed := 0, ""
	done := make(chan struct{})
	load.Go(func() {
		for tick := time.NewTicker(50 * time.Millisecond); ; {
			select {
			case <-done:
				tick.Stop()
				return
			case <-tick.C:
			}
			if status, code := serviceToken(env, config); status != http.StatusOK && failed == "" {
				failed = fmt.Sprint("request ", requests, ": ", status, " ", code)
			}
			requests++
		}
	})
	time.Sleep(500 * time.Millisecond)
	env.Update(c, func() {
		c.Spec.TokenEndpointAuthMethod = v1alpha1.AuthMethodWorkloadIdentity
		c.Spec.WorkloadIdentities = []v1alpha1.WorkloadIdentity{{Issuer: "plant", Subject: jobSubject}}
	})
	byIdentity := func() (bool, string) {
		status, answer := workloadToken(env, jobToken(env, signer, issuer, jobSubject), "client_id", config.ClientID)
		return status == http.StatusOK, fmt.Sprint(status, answer)
	}
	env.Eventually("the identity counts", 10*time.Second, byIdentity)
	env.WaitFor("the status says how long the secret is good", c, func() bool {
		a := c.Status.Authentication
		return a != nil && a.Method == "WorkloadIdentity" && a.PreviousMethod == "client_secret_basic" && a.PreviousUntil != nil
	})
	time.Sleep(2 * time.Second)
	close(done)
	load.Wait()
	if failed != "" || requests < 40 {
		t.Errorf("of %d requests one failed: %s", requests, failed)
	}

	// The rule that wants no shared secrets ends what is left of them.
	env.Update(env.Server, func() {
		env.Server.Spec.AllowedClients[0].TokenEndpointAuthMethods = []v1alpha1.AuthMethodPattern{"WorkloadIdentity"}
	})
	refusedWithinASecond(env, config)
	if ok, state := byIdentity(); !ok {
		t.Error(state)
	}
}
