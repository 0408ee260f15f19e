package results

import (
	"strconv"
	"strings"
)

// Columns are the value, the floor, the ratio, the growth and the targets of a row, for a terminal.
func (r Row) Columns() string {
	if r.Unit == "" {
		return r.Note
	}
	return strings.Join([]string{r.ValueText() + r.percentilesText(), r.FloorText(), r.RatioText(), r.GrowthText(), r.TargetText()}, "\t")
}

// ValueText is the value with its unit.
func (r Row) ValueText() string { return Text(r.Value) + " " + r.Unit }

// FloorText is the floor with its unit, or "".
func (r Row) FloorText() string {
	if r.Floor == 0 {
		return ""
	}
	return Text(r.Floor) + " " + r.Unit
}

// RatioText is the ratio and its spread, or "".
func (r Row) RatioText() string {
	switch {
	case r.Ratio == 0:
		return ""
	case r.RatioSpread == nil:
		return times(r.Ratio)
	}
	return times(r.Ratio) + " (" + ratioText(r.RatioSpread.Low) + " to " + ratioText(r.RatioSpread.High) + ")"
}

// TargetText is what the row should be, or "".
func (r Row) TargetText() string {
	var all []string
	if t := r.Target; t != nil && t.Ratio != 0 {
		all = append(all, times(t.Ratio))
	}
	if t := r.Target; t != nil && t.Value != 0 {
		all = append(all, Text(t.Value)+" "+r.Unit)
	}
	if t := r.Target; t != nil && t.Growth != 0 {
		all = append(all, percent(t.Growth))
	}
	return strings.Join(all, ", ")
}

// GrowthText is the growth, or "" for what was not sampled.
func (r Row) GrowthText() string {
	if len(r.Series) == 0 {
		return ""
	}
	return percent(r.Growth)
}

func percent(share float64) string {
	return strings.Replace(strconv.FormatFloat(100*share, 'f', 1, 64), "-0.0", "0.0", 1) + " %"
}

// PercentileNames are the percentiles that are shown, in order.
var PercentileNames = []string{"p50", "p99", "p99.9", "max"}

func (r Row) percentilesText() string {
	var all []string
	for _, name := range PercentileNames {
		if v, ok := r.Percentiles[name]; ok {
			all = append(all, name+" "+Text(v))
		}
	}
	if all == nil {
		return ""
	}
	return " (" + strings.Join(all, ", ") + ")"
}

func times(ratio float64) string { return ratioText(ratio) + " ×" }

func ratioText(ratio float64) string { return strconv.FormatFloat(ratio, 'f', 2, 64) }

// Text is a number with three significant digits, and a comma between the thousands.
func Text(v float64) string {
	switch abs := max(v, -v); {
	case abs == 0:
		return "0"
	case abs < 1:
		return strconv.FormatFloat(v, 'g', 2, 64)
	case abs < 10:
		return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 2, 64), ".00")
	case abs < 100:
		return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
	}
	digits := strconv.FormatFloat(v, 'f', 0, 64)
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}
