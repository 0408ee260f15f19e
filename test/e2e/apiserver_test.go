//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// What needs a record waits for the API server, which stores it here, or is answered with 503 for as long as there is none: the client keeps its
// token and asks again.
func storageIsAway(f failure) bool {
	return f.Grant != "client_credentials" && f.Kind == "status 503 temporarily_unavailable"
}

func TestARestartOfTheAPIServerFailsNoRequestThatNeedsNoRecord(t *testing.T) {
	if restartAPIServer == "" {
		const missing = "RESTART_APISERVER does not say how to restart this cluster's API server"
		if os.Getenv("CI") != "" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	readyServer(t)
	underLoad(t, storageIsAway, func() {
		if out, err := exec.CommandContext(t.Context(), "sh", "-c", "cd ../.. && "+restartAPIServer).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		eventually(t, "the API server is back", 2*time.Minute, func() error {
			_, err := runKubectl(t.Context(), "get", "--raw=/readyz")
			return err
		})
		time.Sleep(15 * time.Second) // watches start anew
	})
	serverIsReady(t)
}
