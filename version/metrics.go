package version

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
)

// Collector returns the metric that says which build a program is, as others have it: its value is
// always 1.
func Collector(program string) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "oauth_operator", Name: "build_info", Help: "1, with the build of the program.",
		ConstLabels: prometheus.Labels{
			"program": program, "version": Version(), "commit": Commit(), "go_version": runtime.Version(),
		},
	}, func() float64 { return 1 })
}
