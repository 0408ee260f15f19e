package main

import (
	"fmt"
	"strings"

	"github.com/oauth-operator/oauth-operator/test/bench/results"
)

// chart is a picture of the rows of a group that have a unit.
type chart struct {
	name, group, unit string
	title             string
	kind              func(title, unit string, rows []results.Row) string
}

var charts = []chart{
	{"requests", "requests", "µs of CPU", "CPU time of a request", bars},
	{"storage", "storage", "µs of CPU", "CPU time of a code and of a refresh", bars},
	{"memory", "size", "MiB", "Memory of a token server", bars},
	{"tails", "tails", "ms", "Latency at half of the capacity", points},
	{"manager", "manager", "ms", "From an applied object to what it is for", points},
	{"soak", "soak", "MiB", "Memory of a token server under full load", lines},
}

func (c chart) fileName() string { return "performance-" + c.name + ".svg" }

func (c chart) rowsOf(file results.File) []results.Row {
	var rows []results.Row
	for _, r := range file.Rows {
		if r.Group == c.group && r.Unit == c.unit {
			rows = append(rows, r)
		}
	}
	return rows
}

// draw is the chart as SVG, or "" if there is nothing to see.
func (c chart) draw(rows []results.Row) string { return c.kind(c.title, c.unit, rows) }

// chartsOf are the references to the charts of a group.
func chartsOf(file results.File, group string) string {
	var b strings.Builder
	for _, c := range charts {
		if c.group == group && c.draw(c.rowsOf(file)) != "" {
			fmt.Fprintf(&b, "\n![%s](images/%s)\n", c.title, c.fileName())
		}
	}
	return b.String()
}
