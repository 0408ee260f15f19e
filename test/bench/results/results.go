// Package results is what `make bench` writes and docs/performance.md is made from: a file with a
// record for each row, and for each run where and at which commit it measured.
//
// A run that measures only some rows replaces those, and leaves the others with the run that
// measured them.
package results

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strconv"
)

// File is all that was measured.
type File struct {
	Runs []Run `json:"runs"`
	Rows []Row `json:"rows"`
}

// Run says where rows were measured, and what was measured there.
type Run struct {
	ID      int     `json:"id"`
	Machine Machine `json:"machine"`
	// Commit is the hash of the commit; Dirty says that the tree had changes that are not in it.
	Commit string `json:"commit"`
	Dirty  bool   `json:"dirty"`
}

// Machine is the machine that everything ran on, the load too.
type Machine struct {
	CPU       string `json:"cpu"`
	Cores     int    `json:"cores"`
	MemoryMiB int    `json:"memoryMiB"`
	Kernel    string `json:"kernel"`
	Go        string `json:"go"`
}

// Row is one thing that was measured. Group and Name identify it.
type Row struct {
	// Group is the table that the row is in.
	Group string `json:"group"`
	Name  string `json:"name"`
	Run   int    `json:"run"`
	// Unit is that of Value, Floor, Spread, Percentiles and Target, such as "µs of CPU" and "MiB".
	Unit  string  `json:"unit"`
	Value float64 `json:"value"`
	// Floor is the least that it could be, measured in the same run, and Ratio says how many times
	// that it was: the median over the turns, which is not the ratio of the medians.
	Floor float64 `json:"floor,omitempty"`
	Ratio float64 `json:"ratio,omitempty"`
	// Spread is the least and the most over the turns.
	Turns       int    `json:"turns,omitempty"`
	Spread      *Range `json:"spread,omitempty"`
	RatioSpread *Range `json:"ratioSpread,omitempty"`
	// Percentiles of single requests, such as "p99.9".
	Percentiles map[string]float64 `json:"percentiles,omitempty"`
	Target      *Target            `json:"target,omitempty"`
	// Growth is how much Value grew in the second half of Series, as a share of it.
	Growth float64 `json:"growth,omitempty"`
	// Series is how the value went over time.
	Series []Sample `json:"series,omitempty"`
	// Note is what a number does not say. A row may have nothing else.
	Note string `json:"note,omitempty"`
}

// Range is from the least to the most.
type Range struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Target is what a row should be, at most.
type Target struct {
	Value float64 `json:"value,omitempty"`
	Ratio float64 `json:"ratio,omitempty"`
	// Growth is one way only: less is as good.
	Growth float64 `json:"growth,omitempty"`
}

// Sample is a value, and the seconds since the beginning.
type Sample struct {
	Seconds float64 `json:"seconds"`
	Value   float64 `json:"value"`
}

// Reached reports whether the row is what it should be. A row without a target is.
func (r Row) Reached() bool {
	return r.Target == nil ||
		(r.Target.Value == 0 || r.Value <= r.Target.Value) &&
			(r.Target.Ratio == 0 || r.Ratio <= r.Target.Ratio) &&
			(r.Target.Growth == 0 || r.Growth <= r.Target.Growth)
}

// Read reads the file at path. One that is not there is empty.
func Read(path string) (File, error) {
	var f File
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(content, &f); err != nil {
		return f, fmt.Errorf("reading %s: %w", path, err)
	}
	return f, nil
}

// Write writes the file to path.
func (f File) Write(path string) error {
	content, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(content, '\n'), 0o644)
}

// Add adds what a run measured. A row that is there already is replaced; a new one is placed after
// the last of its group. Runs of which no row is left are removed.
func (f *File) Add(run Run, rows ...Row) {
	run.ID = f.idOf(run)
	for _, row := range rows {
		row = rounded(row)
		row.Run = run.ID
		at := slices.IndexFunc(f.Rows, func(r Row) bool { return r.Group == row.Group && r.Name == row.Name })
		if at >= 0 {
			f.Rows[at] = row
			continue
		}
		last := len(f.Rows)
		for i, r := range f.Rows {
			if r.Group == row.Group {
				last = i + 1
			}
		}
		f.Rows = slices.Insert(f.Rows, last, row)
	}
	f.Runs = slices.DeleteFunc(f.Runs, func(r Run) bool {
		return !slices.ContainsFunc(f.Rows, func(row Row) bool { return row.Run == r.ID })
	})
}

// idOf is the number of a run, which has been added if it is new.
func (f *File) idOf(run Run) int {
	next := 1
	for _, r := range f.Runs {
		run.ID = r.ID
		if r == run {
			return r.ID
		}
		next = max(next, r.ID+1)
	}
	run.ID = next
	f.Runs = append(f.Runs, run)
	return next
}

// AddFile adds all that is in another file.
func (f *File) AddFile(other File) {
	for _, run := range other.Runs {
		var rows []Row
		for _, row := range other.Rows {
			if row.Run == run.ID {
				rows = append(rows, row)
			}
		}
		f.Add(run, rows...)
	}
}

// rounded has four significant digits in every number: the rest is noise.
func rounded(row Row) Row {
	for _, v := range []*float64{&row.Value, &row.Floor, &row.Ratio, &row.Growth} {
		*v = round(*v)
	}
	for _, r := range []**Range{&row.Spread, &row.RatioSpread} {
		if *r != nil {
			*r = &Range{round((*r).Low), round((*r).High)}
		}
	}
	percentiles := row.Percentiles
	row.Percentiles = nil
	for name, v := range percentiles {
		if row.Percentiles == nil {
			row.Percentiles = map[string]float64{}
		}
		row.Percentiles[name] = round(v)
	}
	row.Series = slices.Clone(row.Series)
	for i, s := range row.Series {
		row.Series[i] = Sample{round(s.Seconds), round(s.Value)}
	}
	return row
}

func round(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0 // JSON has no such number
	}
	short, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 4, 64), 64)
	if err != nil {
		return v
	}
	return short
}
