package bench

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// collectionsOf is how often the token server has collected garbage.
func collectionsOf(b *testing.B, env *testenv.Env) float64 {
	b.Helper()
	return metricOf(b, http.DefaultClient, "http://"+replica(b, env).Status(), "go_gc_duration_seconds_count")
}

// metricOf returns the sum of a metric of a program.
func metricOf(b *testing.B, client *http.Client, address, metric string) (sum float64) {
	b.Helper()
	response, err := client.Get(address + "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(response.Body)
		b.Fatalf("the metrics of %s are answered %s: %s", address, response.Status, text)
	}
	found := false
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if name, _, _ = strings.Cut(name, "{"); name != metric {
			continue
		}
		var v float64
		if _, err := fmt.Sscan(value, &v); err != nil {
			b.Fatal(err)
		}
		sum, found = sum+v, true
	}
	if !found {
		b.Fatalf("%s has no metric %s", address, metric)
	}
	return sum
}
