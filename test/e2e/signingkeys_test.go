//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

func TestARotationOfTheSigningKeysLosesNoRequest(t *testing.T) {
	server := readyServer(t)
	before := keyOf(t, askForToken(t, clientsNamespace, "machine-oauth", "--ca=/ca/ca.crt").AccessToken)
	revision := int64(1)
	if server.Spec.Signing != nil && server.Spec.Signing.Rotation != nil {
		revision = server.Spec.Signing.Rotation.Revision + 1
	}
	underLoad(t, nothing, func() {
		began := time.Now()
		kubectl(t, "patch", "-n", serverNamespace, "authorizationserver", serverName, "--type=merge", "-p", fmt.Sprintf(`{"spec": {"signing": {"rotation": {"revision": %d}}}}`, revision))
		// A standby signs when verifiers have had ten minutes to fetch it.
		eventually(t, "the standby signs", 12*time.Minute, func() error {
			if err := kube.Get(t.Context(), client.ObjectKeyFromObject(server), server); err != nil {
				return err
			}
			for _, key := range server.Status.Keys {
				if key.KID == v1alpha1.KeyID(before) && key.Phase == "Retiring" {
					return nil
				}
			}
			time.Sleep(2 * time.Second)
			return fmt.Errorf("the keys are %+v", server.Status.Keys)
		})
		t.Logf("the keys were rotated after %s", time.Since(began).Round(time.Second))
		if after := keyOf(t, askForToken(t, clientsNamespace, "machine-oauth", "--ca=/ca/ca.crt").AccessToken); after == before {
			t.Errorf("%s signs, as before", after)
		}
	})
}
