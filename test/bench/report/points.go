package main

import (
	"math"

	"github.com/oauth-operator/oauth-operator/test/bench/results"
)

// pointClasses are the colours of the percentiles.
var pointClasses = map[string]string{"p50": "c", "p99": "a", "p99.9": "b", "max": "floor"}

// points has a point for each percentile of each row, and a mark at the target.
func points(title, unit string, rows []results.Row) string {
	label, least, most := 0.0, math.Inf(1), 0.0
	var with []results.Row
	for _, r := range rows {
		if len(r.Percentiles) == 0 {
			continue
		}
		with = append(with, r)
		label = max(label, widthOf(r.Name))
		for _, v := range r.Percentiles {
			least, most = min(least, v), max(most, v)
		}
		most = max(most, targetOf(r))
	}
	if with == nil || least <= 0 {
		return ""
	}
	left := margin + label + 10
	from, to := math.Floor(math.Log10(least)), math.Ceil(math.Log10(most))
	x := func(v float64) float64 { return left + (chartWidth-left-3*margin)*(math.Log10(v)-from)/(to-from) }
	const rowHeight = 26
	d := &drawing{}
	var entries []entry
	for _, name := range results.PercentileNames {
		entries = append(entries, entry{pointClasses[name], name})
	}
	d.legend(left, titleSpace, append(entries, entry{"mark", "at most"})...)
	top := float64(titleSpace + 14)
	bottom := top + rowHeight*float64(len(with))
	for power := from; power <= to; power++ {
		v := math.Pow(10, power)
		d.line("grid", x(v), top, x(v), bottom)
		d.text("note", "middle", x(v), bottom+14, results.Text(v)+" "+unit)
	}
	for i, r := range with {
		y := top + rowHeight*(float64(i)+0.5)
		d.text("", "end", left-8, y+4, r.Name)
		d.line("grid", left, y, chartWidth-3*margin, y)
		if target := targetOf(r); target != 0 {
			d.line("mark", x(target), y-10, x(target), y+10)
		}
		for _, name := range results.PercentileNames {
			if v, ok := r.Percentiles[name]; ok {
				d.circle(pointClasses[name], x(v), y, 5)
			}
		}
	}
	return d.svg(title, bottom+lineSpace+margin/2)
}
