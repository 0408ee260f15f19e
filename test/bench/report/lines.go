package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/oauth-operator/oauth-operator/test/bench/results"
)

// lines has a line for each row that was sampled.
func lines(title, unit string, rows []results.Row) string {
	var with []results.Row
	seconds, most := 0.0, 0.0
	for _, r := range rows {
		if len(r.Series) < 2 {
			continue
		}
		with = append(with, r)
		for _, s := range r.Series {
			seconds, most = max(seconds, s.Seconds), max(most, s.Value)
		}
	}
	if with == nil {
		return ""
	}
	const height = 220
	left, top := 70.0, float64(titleSpace+14)
	step := niceStep(most)
	most = math.Ceil(most/step) * step
	x := func(s float64) float64 { return left + (chartWidth-left-2*margin)*s/seconds }
	y := func(v float64) float64 { return top + height*(1-v/most) }
	d := &drawing{}
	for v := 0.0; v <= most; v += step {
		d.line("grid", left, y(v), chartWidth-2*margin, y(v))
		d.text("note", "end", left-6, y(v)+4, results.Text(v)+" "+unit)
	}
	for i := range 6 {
		s := seconds * float64(i) / 5
		d.text("note", "middle", x(s), top+height+16, results.Text(s)+" s")
	}
	classes := []string{"a", "d", "c", "b"}
	var entries []entry
	for i, r := range with {
		class := classes[i%len(classes)]
		var path strings.Builder
		for j, s := range r.Series {
			fmt.Fprintf(&path, "%s%.1f %.1f", map[bool]string{true: "M", false: "L"}[j == 0], x(s.Seconds), y(s.Value))
		}
		fmt.Fprintf(d, "<path class=%q d=%q/>\n", class, path.String())
		entries = append(entries, entry{class, r.Name})
	}
	d.legend(left, titleSpace, entries...)
	return d.svg(title, top+height+lineSpace+margin/2)
}

// niceStep divides the axis up to most into some five steps.
func niceStep(most float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(most/5)))
	for _, step := range []float64{1, 2, 5} {
		if most/(step*power) <= 6 {
			return step * power
		}
	}
	return 10 * power
}
