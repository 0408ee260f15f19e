//go:build e2e

package e2e

import (
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
	Failures []struct {
		At                               time.Time
		After, Worker, Grant, Kind, Text string
	}
}

func (c counts) total() int {
	sum := 0
	for _, n := range c.Requests {
		sum += n
	}
	return sum
}

// connectionKinds begin with this word: such a request had no answer at all.
const connectionKind = "connection "

// underLoad runs a scenario while clients ask for tokens and refresh theirs, and fails the test if one request failed. Where allowed is
// true, requests whose connection ended without an answer are counted and told instead: a process was killed under them.
func underLoad(t *testing.T, connectionsMayDrop bool, scenario func()) {
	t.Helper()
	startLoad(t)
	before := readCounts(t)
	time.Sleep(2 * time.Second)
	began := time.Now()
	scenario()
	time.Sleep(3 * time.Second) // what the last step breaks, breaks now
	after := readCounts(t)
	failures := after.Failures[min(len(before.Failures), len(after.Failures)):]
	dropped := 0
	for _, f := range failures {
		if connectionsMayDrop && strings.HasPrefix(f.Kind, connectionKind) {
			dropped++
			continue
		}
		t.Errorf("%s after %s: %s of %s, after %s: %s", f.Kind, f.At.Sub(began).Round(time.Millisecond), f.Grant, f.Worker, f.After, f.Text)
	}
	for _, kind := range slices.Sorted(maps.Keys(after.Failed)) {
		if n := after.Failed[kind] - before.Failed[kind]; n > 0 {
			t.Logf("%d times %s", n, kind)
		}
	}
	t.Logf("%d requests in %s, %d connections dropped, %d failed, the slowest of all so far took %s",
		after.total()-before.total(), time.Since(began).Round(time.Second), dropped, len(failures)-dropped, after.Slowest)
	if after.total() == before.total() {
		t.Error("there were no requests")
	}
}

// startLoad has the load run, and sees that it works. It runs on through all tests that need it.
func startLoad(t testing.TB) {
	t.Helper()
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
