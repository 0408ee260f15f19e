package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/oauth-operator/oauth-operator/test/bench/results"
)

// tables are what is between the markers, by name.
var tables = map[string]func(in *input) [][]string{
	"units":       unitsTable,
	"assumptions": assumptionsTable,
	"load":        loadTable,
	"size":        sizeTable,
	"limits":      limitsTable,
	"queue":       queueTable,
	"start":       startTable,
	"failover":    failoverTable,
	"day":         dayTable,
	"rotation":    rotationTable,
	"regions":     regionsTable,
	"guide":       guideTable,
}

// unitsTable says what each unit is, and where it is from.
func unitsTable(in *input) [][]string {
	lines := [][]string{{"unit", "", "from"}}
	for _, u := range in.Units {
		value := text(u.taken)
		if !math.IsNaN(u.taken) {
			value += " " + u.Unit
		}
		from := u.from
		if u.Row != "" && u.from == u.Source {
			from += "; performance.json has no row for it yet"
		}
		lines = append(lines, []string{u.Name, value, from})
	}
	return lines
}

// assumptionsTable has what is not measured.
func assumptionsTable(in *input) [][]string {
	lines := [][]string{{"", "", "source"}}
	for _, a := range in.Assumptions {
		value := text(a.Value)
		if a.Unit != "" {
			value += " " + a.Unit
		}
		lines = append(lines, []string{a.Name, value, a.Source})
	}
	return lines
}

const notMeasured = "not measured"

var f = fmt.Sprintf

// text is a number for people.
func text(v float64) string {
	switch {
	case math.IsNaN(v):
		return notMeasured
	case math.IsInf(v, 0):
		return "never"
	}
	return results.Text(v)
}

// short is a number with two significant digits, as many as a simulation has.
func short(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) || v == 0 {
		return text(v)
	}
	digits := 1 - int(math.Floor(math.Log10(math.Abs(v))))
	if digits <= 0 {
		power := math.Pow(10, float64(-digits))
		return text(math.Round(v/power) * power)
	}
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', digits, 64), ".0")
}

func timeText(seconds float64) string {
	return scaled(seconds, []scale{{86400, "days"}, {3600, "h"}, {60, "minutes"}, {1, "s"}, {1e-3, "ms"}, {1e-6, "µs"}})
}

func sizeText(bytes float64) string {
	return scaled(bytes, []scale{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}})
}

type scale struct {
	of   float64
	unit string
}

// scaled is v in the largest of the units of which it is more than one.
func scaled(v float64, scales []scale) string {
	if math.IsNaN(v) || math.IsInf(v, 0) || v == 0 {
		return text(v)
	}
	for _, s := range scales {
		if v >= s.of {
			return short(v/s.of) + " " + s.unit
		}
	}
	last := scales[len(scales)-1]
	return short(v/last.of) + " " + last.unit
}
