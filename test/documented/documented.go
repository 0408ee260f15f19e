// Package documented holds tables of the documentation against what the programs do.
package documented

import (
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
)

// Table returns the rows of the first table under a heading of a page in docs, such as
// "## Metrics". It leaves out the two rows at its head.
func Table(t *testing.T, page, heading string) []string {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	text, err := os.ReadFile(filepath.Join(filepath.Dir(here), "..", "..", "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n"+heading+"\n")
	if !found {
		t.Fatalf("%s has no heading %q", page, heading)
	}
	section, _, _ = strings.Cut(section, "\n#")
	var rows []string
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "|") {
			rows = append(rows, strings.TrimSpace(line))
		} else if len(rows) > 0 {
			break
		}
	}
	if len(rows) < 3 {
		t.Fatalf("%s has no table under %q", page, heading)
	}
	return rows[2:]
}

// Column returns the cells of a column, which is counted from 0.
func Column(rows []string, n int) []string {
	var cells []string
	for _, row := range rows {
		cells = append(cells, strings.TrimSpace(strings.Split(row, "|")[n+1]))
	}
	return cells
}

// CheckMetrics fails the test if the table is not that of the metrics of this project among the
// families: name, type, labels and help, in the order of names.
func CheckMetrics(t *testing.T, page, heading string, families []*dto.MetricFamily) {
	t.Helper()
	want := map[string]string{}
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), "oauth_operator_") {
			continue
		}
		var labels []string
		for _, label := range family.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+label.GetName()+"`")
		}
		want[family.GetName()] = "| " + strings.Join([]string{
			"`" + family.GetName() + "`", strings.ToLower(family.GetType().String()), strings.Join(labels, ", "), family.GetHelp(),
		}, " | ") + " |"
	}
	var rows []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		rows = append(rows, strings.ReplaceAll(want[name], "|  |", "| |"))
	}
	if got := Table(t, page, heading); !slices.Equal(got, rows) {
		t.Errorf("the table under %q in docs/%s is not that of the metrics, which is:\n%s", heading, page, strings.Join(rows, "\n"))
	}
}
