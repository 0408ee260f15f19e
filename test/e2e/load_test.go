//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// counts is what the program client serves under load.
type counts struct {
	Requests map[string]int
	Failed   map[string]int
	Slowest  string
	Failures []failure
}

// failure of one request. Its kind begins with "connection " when there was no answer at all.
type failure struct {
	At                               time.Time
	After, Worker, Grant, Kind, Text string
}

// nothing is excepted: every request has to succeed.
func nothing(failure) bool { return false }

// droppedConnections are what the kernel ends when a process is killed.
func droppedConnections(f failure) bool { return strings.HasPrefix(f.Kind, "connection ") }

func (c counts) total() int  { return sum(c.Requests) }
func (c counts) failed() int { return sum(c.Failed) }

func sum(counts map[string]int) int {
	all := 0
	for _, n := range counts {
		all += n
	}
	return all
}

// toldFailures is how many of them a test prints.
const toldFailures = 25

// underLoad runs a scenario while clients ask for tokens and refresh theirs, and fails the test if one request failed. Failures that are
// excepted are counted and told instead.
func underLoad(t *testing.T, isExcepted func(failure) bool, scenario func()) {
	t.Helper()
	startLoad(t)
	defer func() { // it is started anew by what needs it
		_, _ = runKubectl(context.Background(), "delete", "pod", "-n", clientsNamespace, "load")
	}()
	began := time.Now()
	scenario()
	time.Sleep(3 * time.Second) // what the last step breaks, breaks now
	c := readCounts(t)
	excepted, failed := 0, 0
	for _, f := range c.Failures {
		if isExcepted(f) {
			excepted++
			continue
		}
		if failed++; failed <= toldFailures {
			t.Errorf("%s after %s: %s of %s, after %s: %s", f.Kind, f.At.Sub(began).Round(time.Millisecond), f.Grant, f.Worker, f.After, f.Text)
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(c.Failed)) {
		t.Logf("%d times %s", c.Failed[kind], kind)
	}
	t.Logf("%d requests in %s, %d failed as excepted, %d otherwise, the slowest took %s", c.total(), time.Since(began).Round(time.Second), excepted, failed, c.Slowest)
	if failed > toldFailures {
		t.Errorf("and %d more failed", failed-toldFailures)
	}
	if n := c.failed(); n != len(c.Failures) {
		t.Errorf("%d requests failed, and %d of them are told", n, len(c.Failures))
	}
}

// startLoad has the load run, and sees that it works.
func startLoad(t testing.TB) {
	t.Helper()
	kubectl(t, "delete", "pod", "-n", clientsNamespace, "load", "--ignore-not-found")
	apply(t, "load.yaml")
	eventually(t, "every client of the load gets its tokens", 2*time.Minute, func() error {
		var p corev1.Pod
		if err := kube.Get(t.Context(), client.ObjectKey{Namespace: clientsNamespace, Name: "load"}, &p); err != nil {
			return err
		}
		if !podIsReady(&p) {
			return fmt.Errorf("the Pod is %s", p.Status.Phase)
		}
		c, err := fetchCounts(t)
		if err != nil {
			return err
		}
		if c.Requests["client_credentials"] < 100 || c.Requests["refresh_token"] < 50 {
			return fmt.Errorf("the counts are %+v", c)
		}
		return nil
	})
}

func readCounts(t testing.TB) counts {
	t.Helper()
	var c counts
	eventually(t, "the load serves its counts", time.Minute, func() (err error) {
		c, err = fetchCounts(t)
		return err
	})
	return c
}

func fetchCounts(t testing.TB) (counts, error) {
	body, err := pods.CoreV1().Pods(clientsNamespace).ProxyGet("http", "load", "8080", "/", nil).DoRaw(t.Context())
	if err != nil {
		return counts{}, err
	}
	var c counts
	return c, json.Unmarshal(body, &c)
}
