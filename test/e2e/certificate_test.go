//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"
)

func TestARenewedCertificateIsServedWithoutALostRequest(t *testing.T) {
	readyServer(t)
	before := askForToken(t, clientsNamespace, "machine-oauth", "--ca=/ca/ca.crt").Certificate
	underLoad(t, nothing, func() {
		// What `cmctl renew` does.
		kubectl(t, "patch", "-n", serverNamespace, "certificate.cert-manager.io/main", "--subresource=status", "--type=json", "-p", fmt.Sprintf(
			`[{"op": "add", "path": "/status/conditions/-", "value": {"type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "by a test", "lastTransitionTime": %q}}]`,
			time.Now().UTC().Format(time.RFC3339)))
		eventually(t, "a new connection is shown the new certificate", 3*time.Minute, func() error {
			a := askForToken(t, clientsNamespace, "machine-oauth", "--ca=/ca/ca.crt")
			if a.Status != 200 || a.Certificate == before {
				return fmt.Errorf("the status is %d, the certificate %s, and it was %s before", a.Status, a.Certificate, before)
			}
			return nil
		})
	})
}
