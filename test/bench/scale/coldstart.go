package main

import "math"

// startTable is how long replicas take that start at the same moment. All read the same Entries, and
// an API server shares its cores among them: a core for each replica while there are enough, and
// less beyond that, so that all are done at the same time.
func startTable(in *input) [][]string {
	lines := [][]string{{"replicas that start at once", "connected to all API servers alike", "all to one of them", "and that one has just started"}}
	cores := in.of("apiServerCores")
	took := func(replicas float64) float64 {
		return max(in.of("startOfReplica"), in.of("startOfAPIServer")*max(1, replicas/cores))
	}
	for _, n := range []float64{1, replicasFor(in, peak(in)), in.of("maxReplicas")} {
		lines = append(lines, []string{
			text(n), timeText(took(math.Ceil(n / in.of("apiServers")))), timeText(took(n)), timeText(in.of("apiServerRestart") + took(n)),
		})
	}
	return lines
}
