package bench

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/oauth-operator/oauth-operator/test/bench/results"
)

// The tables that rows are in. docs/performance.md has a place for each.
const (
	requestRows = "requests" // the CPU time of a request
	storageRows = "storage"  // codes and refreshes on each backend
	grantRows   = "grants"   // what live grants cost the cluster
	sizeRows    = "size"     // a token server that holds many clients
	managerRows = "manager"  // from an applied object to a token
	tailRows    = "tails"    // how long requests take under a steady load
	soakRows    = "soak"     // what grows under full load
	peerRows    = "peers"    // the same loads on other servers
)

// rows are all that was measured, in the order of the benchmarks.
type rows struct {
	mu   sync.Mutex
	rows []results.Row
}

var table rows

// add adds a row.
func (t *rows) add(b *testing.B, row results.Row) {
	b.Helper()
	if row.Group == "" || row.Name == "" || row.Unit == "" && row.Note == "" {
		b.Fatalf("a row needs a group, a name, and a unit or a note: %+v", row)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows = append(t.rows, row)
}

// finish prints the rows for people, and adds them to the file that RESULTS names.
func (t *rows) finish() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.rows) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	fmt.Fprintf(w, "\nwhat\tmeasured\tfloor\tratio\tgrowth\tat most\n")
	for _, row := range t.rows {
		fmt.Fprintf(w, "%s: %s\t%s\n", row.Group, row.Name, row.Columns())
	}
	fmt.Fprintln(w)
	if err := w.Flush(); err != nil {
		return err
	}
	path := os.Getenv("RESULTS")
	if path == "" {
		return nil
	}
	file, err := results.Read(path)
	if err != nil {
		return err
	}
	run, err := thisRun()
	if err != nil {
		return err
	}
	file.Add(run, t.rows...)
	return file.Write(path)
}

// cost is a row of what each request cost, by turn.
func cost(group, name string, costs []time.Duration) results.Row {
	unit, in := "µs of CPU", microseconds
	if median(costs) >= time.Millisecond {
		unit, in = "ms of CPU", milliseconds
	}
	return results.Row{
		Group: group, Name: name, Unit: unit, Value: in(median(costs)),
		Turns: len(costs), Spread: &results.Range{Low: in(slices.Min(costs)), High: in(slices.Max(costs))},
	}
}

// compared is a row of a server and its floor, which were loaded alternately: what each request
// cost, by turn, and how many times the floor that was.
func compared(group, name string, costs, floors []time.Duration, ratios []float64) results.Row {
	row := cost(group, name, costs)
	row.Floor = microseconds(median(floors))
	if row.Unit == "ms of CPU" {
		row.Floor = milliseconds(median(floors))
	}
	row.Ratio, row.RatioSpread = median(ratios), &results.Range{Low: slices.Min(ratios), High: slices.Max(ratios)}
	return row
}

// ratios are how many times the floor the costs were, by turn.
func ratios(costs, floors []time.Duration) []float64 {
	all := make([]float64, len(costs))
	for turn := range costs {
		all[turn] = float64(costs[turn]) / float64(floors[turn])
	}
	return all
}

// percentilesOf are the median and the tail of durations, in milliseconds.
func percentilesOf(durations []time.Duration) map[string]float64 {
	sorted := slices.Sorted(slices.Values(durations))
	at := func(perMille int) float64 { return milliseconds(sorted[min(len(sorted)*perMille/1000, len(sorted)-1)]) }
	return map[string]float64{"p50": at(500), "p99": at(990), "p99.9": at(999), "max": milliseconds(sorted[len(sorted)-1])}
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// atMost is a target for the value, atMostTimes one for the ratio.
func atMost(value float64) *results.Target      { return &results.Target{Value: value} }
func atMostTimes(ratio float64) *results.Target { return &results.Target{Ratio: ratio} }
