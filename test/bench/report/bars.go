package main

import "github.com/oauth-operator/oauth-operator/test/bench/results"

// bars has a bar for each row, the floor's below it, and a mark at the target.
func bars(title, unit string, rows []results.Row) string {
	if len(rows) == 0 {
		return ""
	}
	label, value, most := 0.0, 0.0, 0.0
	hasFloor, hasTarget := false, false
	for _, r := range rows {
		label, value = max(label, widthOf(r.Name)), max(value, widthOf(valueAndRatio(r)))
		most = max(most, r.Value, r.Floor, targetOf(r))
		hasFloor, hasTarget = hasFloor || r.Floor != 0, hasTarget || targetOf(r) != 0
	}
	left := margin + label + 10
	scale := (chartWidth - left - value - margin - 8) / most
	const rowHeight = 30
	d := &drawing{}
	entries := []entry{{"a", unit}}
	if hasFloor {
		entries = append(entries, entry{"floor", "floor"})
	}
	if hasTarget {
		entries = append(entries, entry{"mark", "at most"})
	}
	d.legend(left, titleSpace, entries...)
	y := float64(titleSpace + 14)
	for _, r := range rows {
		d.text("", "end", left-8, y+14, r.Name)
		end := r.Value
		if r.Floor == 0 {
			d.rect("a", left, y+4, r.Value*scale, 14)
		} else {
			d.rect("a", left, y+2, r.Value*scale, 11)
			d.rect("floor", left, y+14, r.Floor*scale, 7)
			end = max(end, r.Floor)
		}
		if target := targetOf(r); target != 0 {
			d.line("mark", left+target*scale, y, left+target*scale, y+23)
			end = max(end, target)
		}
		d.text("note", "start", left+end*scale+6, y+14, valueAndRatio(r))
		y += rowHeight
	}
	return d.svg(title, y+margin/2)
}

func valueAndRatio(r results.Row) string {
	text := results.Text(r.Value)
	r.RatioSpread = nil // too much for a picture
	if r.Ratio != 0 {
		text += ", " + r.RatioText()
	}
	return text
}

// targetOf is what the value should be at most, or 0. The ratio of the targets is over the floor
// only if the row's own ratio is.
func targetOf(r results.Row) float64 {
	switch {
	case r.Target == nil:
		return 0
	case r.Target.Value != 0:
		return r.Target.Value
	case r.Ratio == 0:
		return 0
	}
	// By turns, and with what is taken off both sides, the ratio is not that of the two values.
	return r.Value * r.Target.Ratio / r.Ratio
}
