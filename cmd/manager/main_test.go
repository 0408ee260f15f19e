package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
	"github.com/oauth-operator/oauth-operator/hack/local/controlplane/controlplanetest"
	"github.com/oauth-operator/oauth-operator/hack/local/loopback"
	"github.com/oauth-operator/oauth-operator/hack/local/operator"
	"github.com/oauth-operator/oauth-operator/version"
)

// log is what the manager logs, and client-go in this process.
var log lockedBuffer

func TestMain(m *testing.M) {
	setLog(&log)
	os.Exit(m.Run())
}

func TestTheManagerLeadsWithTheShippedRightsAndLetsGoWhenItEnds(t *testing.T) {
	cp := installed(t)
	kubeconfig, err := cp.WriteServiceAccountKubeconfig(t.Context(), operator.Namespace, operator.ServiceAccount, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	port, err := loopback.FreePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	probes := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"--kubeconfig", kubeconfig, "--health-probe-bind-address", probes, "--leader-elect", "--tokenserver-image", operator.TokenServerImage}, io.Discard)
	}()

	clients, err := kubernetes.NewForConfig(cp.AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	lease := func() *coordinationv1.Lease {
		l, err := clients.CoordinationV1().Leases(operator.Namespace).Get(t.Context(), leaseName, metav1.GetOptions{})
		if err != nil || l.Spec.HolderIdentity == nil {
			return nil
		}
		return l
	}
	for deadline := time.Now().Add(30 * time.Second); lease() == nil || status("http://"+probes+"/readyz") != http.StatusOK; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("within 30 seconds it is not ready and the leader")
		}
	}
	if code := status("http://" + probes + "/healthz"); code != http.StatusOK {
		t.Errorf("/healthz answers %d", code)
	}
	checkLog(t, log.take()) // what it says while it stops is about stopping
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(shutdownTimeout + 5*time.Second):
		t.Fatal("it does not end")
	}
	if l := lease(); l != nil && *l.Spec.HolderIdentity != "" {
		t.Errorf("the Lease is still held by %q", *l.Spec.HolderIdentity)
	}
}

// installed is a control plane with what the manager needs.
func installed(t *testing.T) *controlplane.ControlPlane {
	t.Helper()
	cp := controlplanetest.Start(t)
	if err := operator.Install(t.Context(), cp); err != nil {
		t.Fatal(err)
	}
	return cp
}

// checkLog fails the test if there is an error in the log, or a line that is no JSON event.
func checkLog(t *testing.T, log string) {
	t.Helper()
	for line := range strings.Lines(log) {
		var event struct{ Level, Msg, Err string }
		if err := json.Unmarshal([]byte(line), &event); err != nil || event.Msg == "" {
			t.Errorf("a log line that is no JSON event: %s", line)
		}
		if event.Level == "ERROR" {
			t.Errorf("an error in the log: %s: %s", event.Msg, event.Err)
		}
	}
}

// lockedBuffer takes what goroutines log that outlive the manager by a moment.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

func status(url string) int {
	response, err := http.Get(url)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	return response.StatusCode
}

func TestAnUnknownArgumentIsRefused(t *testing.T) {
	for _, args := range [][]string{{"--no-such-flag"}, {"serve"}, {"--leader-elect", "false"}} {
		if err := run(t.Context(), args, io.Discard); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}

func TestTheVersionIsPrinted(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), []string{"--version"}, &out); err != nil || !strings.HasPrefix(out.String(), version.Version()) {
		t.Errorf("printed %q, %v", out.String(), err)
	}
}
