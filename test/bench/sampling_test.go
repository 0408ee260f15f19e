package bench

import (
	"net/http"
	"time"

	"github.com/oauth-operator/oauth-operator/test/bench/results"
)

// sampled is what a server has and should not have more and more of.
var sampled = []sampledMetric{
	{"memory", "MiB", 1 << 20, "process_resident_memory_bytes"},
	{"goroutines", "goroutines", 1, "go_goroutines"},
	{"connections", "connections", 1, "oauth_operator_tokenserver_connections"},
	{"file descriptors", "descriptors", 1, "process_open_fds"},
}

type sampledMetric struct {
	name, unit string
	divisor    float64
	metric     string
}

// sampleInterval is the time between two samples.
const sampleInterval = 5 * time.Second

// sampling reads the metrics of a program until it is stopped.
type sampling struct {
	end  chan struct{}
	done chan struct{}
	all  []sample
	err  error
}

type sample struct {
	after   time.Duration
	metrics map[string]float64
}

func startSampling(address string) *sampling {
	s := &sampling{end: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		ticker := time.NewTicker(sampleInterval)
		defer ticker.Stop()
		for began := time.Now(); ; {
			metrics, err := metricsOf(http.DefaultClient, address)
			if err != nil {
				s.err = err
				return
			}
			s.all = append(s.all, sample{time.Since(began), metrics})
			select {
			case <-s.end:
				return
			case <-ticker.C:
			}
		}
	}()
	return s
}

func (s *sampling) stop() ([]sample, error) {
	close(s.end)
	<-s.done
	return s.all, s.err
}

// row has the mean of the second half, and how much of that it grew there.
func (m sampledMetric) row(kind string, samples []sample) results.Row {
	row := results.Row{Group: soakRows, Name: kind + ": " + m.name, Unit: m.unit, Target: &results.Target{Growth: 0.05}}
	for _, s := range samples {
		row.Series = append(row.Series, results.Sample{Seconds: s.after.Seconds(), Value: s.metrics[m.metric] / m.divisor})
	}
	row.Value, row.Growth = growth(row.Series[len(row.Series)/2:])
	return row
}

// growth returns the mean of samples, and how much they grew, as a share of it: by the straight line
// that fits them best.
func growth(samples []results.Sample) (mean, share float64) {
	n := float64(len(samples))
	var seconds float64
	for _, s := range samples {
		seconds += s.Seconds / n
		mean += s.Value / n
	}
	var product, square float64
	for _, s := range samples {
		product += (s.Seconds - seconds) * (s.Value - mean)
		square += (s.Seconds - seconds) * (s.Seconds - seconds)
	}
	if square == 0 || mean == 0 {
		return mean, 0
	}
	return mean, product / square * (samples[len(samples)-1].Seconds - samples[0].Seconds) / mean
}
