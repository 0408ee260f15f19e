package bench

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strconv"
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
func metricOf(b *testing.B, client *http.Client, address, metric string) float64 {
	b.Helper()
	all, err := metricsOf(client, address)
	if err != nil {
		b.Fatal(err)
	}
	sum, found := all[metric]
	if !found {
		b.Fatalf("%s has no metric %s", address, metric)
	}
	return sum
}

// metricsOf returns the metrics of a program, each the sum over its labels.
func metricsOf(client *http.Client, address string) (map[string]float64, error) {
	response, err := client.Get(address + "/metrics")
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(response.Body)
		return nil, fmt.Errorf("the metrics of %s are answered %s: %s", address, response.Status, text)
	}
	sums := map[string]float64{}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		line := lines.Text()
		value := line[strings.LastIndex(line, " ")+1:] // the value of a label may have a space too
		name := line[:strings.IndexAny(line, "{ ")]
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("reading the metric %s of %s: %w", name, address, err)
		}
		sums[name] += v
	}
	return sums, lines.Err()
}
