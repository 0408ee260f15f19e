package bench

import (
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/test/bench/results"
)

func TestASteadyLoadCountsTheWaitOfRequestsThatWereDueWhileTheServerStoodStill(t *testing.T) {
	const stall = 100 * time.Millisecond
	var once sync.Once
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { once.Do(func() { time.Sleep(stall) }) }))
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	took := steadily(t, address, 1, 1000, 2*stall, repeat(get(address, "/", "")))
	if want := 200; len(took) != want {
		t.Fatalf("want %d requests, one each millisecond, got %d", want, len(took))
	}
	// The request that stood still is one. Half of those that were due meanwhile waited half as long.
	late := 0
	for _, d := range took {
		if d >= stall/2 {
			late++
		}
	}
	if late < 50 {
		t.Errorf("%d requests were late, want those that were due meanwhile too", late)
	}
}

func TestGrowthIsTheSlopeOfTheLineThroughAllSamples(t *testing.T) {
	var flat, rising, falling []results.Sample
	for i := range 11 {
		s := float64(5 * i)
		noise := float64(i%2) * 0.001
		flat = append(flat, results.Sample{Seconds: s, Value: 100 + noise})
		rising = append(rising, results.Sample{Seconds: s, Value: 95 + float64(i)})
		falling = append(falling, results.Sample{Seconds: s, Value: 105 - float64(i)})
	}
	for _, c := range []struct {
		name    string
		samples []results.Sample
		want    float64
	}{{"flat", flat, 0}, {"rising", rising, 0.1}, {"falling", falling, -0.1}, {"one sample", flat[:1], 0}, {"nothing", []results.Sample{{Seconds: 1}, {Seconds: 2}}, 0}} {
		if _, got := growth(c.samples); math.Abs(got-c.want) > 1e-4 {
			t.Errorf("%s: want %v, got %v", c.name, c.want, got)
		}
	}
}

func TestPercentilesAreOfTheSortedDurations(t *testing.T) {
	var all []time.Duration
	for i := 1000; i > 0; i-- {
		all = append(all, time.Duration(i)*time.Millisecond)
	}
	got := percentilesOf(all)
	if got["p50"] != 501 || got["p99"] != 991 || got["p99.9"] != 1000 || got["max"] != 1000 {
		t.Errorf("want 501, 991, 1000 and 1000 ms, got %v", got)
	}
	if got := percentilesOf(all[:1]); got["p50"] != 1000 || got["p99.9"] != 1000 {
		t.Errorf("want 1000 ms, got %v", got)
	}
}
