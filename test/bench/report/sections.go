package main

import (
	"fmt"
	"slices"

	"github.com/oauth-operator/oauth-operator/test/bench/markdown"
	"github.com/oauth-operator/oauth-operator/test/bench/results"
)

// What is between two markers is replaced. A section is named after a group of rows, or it is one of
// these.
const (
	runsSection    = "runs"    // where it was measured
	targetsSection = "targets" // the rows that have a target
	peersSection   = "peers"   // servers side by side
	kind           = "results" // of the markers
)

// fill replaces what is between the markers of a document. A group of rows without a place is an
// error, since it would not be shown.
func fill(document string, file results.File) (string, error) {
	places := map[string]bool{}
	document = markdown.Fill(document, kind, "These results do not have it.", func(name string) string {
		places[name] = true
		switch name {
		case runsSection:
			return runsTable(file)
		case targetsSection:
			return targetsTable(file)
		case peersSection:
			return peersTables(file)
		}
		return chartsOf(file, name) + groupTable(file, name)
	})
	for _, row := range file.Rows {
		if !places[row.Group] {
			return "", fmt.Errorf("there is no place for the rows of %q: add the lines %s and %s", row.Group, markdown.Marker(kind, row.Group), markdown.EndMarker(kind))
		}
	}
	return document, nil
}

// runsTable says where the rows were measured.
func runsTable(file results.File) string {
	lines := [][]string{{"run", "commit", "machine", "rows"}}
	for _, run := range file.Runs {
		rows := 0
		for _, row := range file.Rows {
			if row.Run == run.ID {
				rows++
			}
		}
		commit := "`" + run.Commit[:min(len(run.Commit), 12)] + "`"
		if run.Dirty {
			commit += " and changes"
		}
		m := run.Machine
		lines = append(lines, []string{
			fmt.Sprint(run.ID), commit, fmt.Sprintf("%s, %d cores, %.1f GiB, %s, %s", m.CPU, m.Cores, float64(m.MemoryMiB)/1024, m.Kernel, m.Go), fmt.Sprint(rows),
		})
	}
	return markdown.Table(lines)
}

// targetsTable has the rows that have a target, first those that do not reach it.
func targetsTable(file results.File) string {
	lines := [][]string{{"", "measured", "at most", "reached"}}
	for _, reached := range []bool{false, true} {
		for _, row := range file.Rows {
			if row.Target == nil || row.Reached() != reached {
				continue
			}
			measured := row.ValueText()
			switch {
			case row.Target.Growth != 0:
				measured = row.GrowthText()
			case row.Target.Value == 0:
				measured = row.RatioText()
			}
			lines = append(lines, []string{row.Name, measured, row.TargetText(), map[bool]string{true: "yes", false: "no"}[reached]})
		}
	}
	return markdown.Table(lines)
}

// groupTable has the rows of a group, and the columns that they fill.
func groupTable(file results.File, group string) string {
	type column struct {
		title string
		cell  func(results.Row) string
	}
	columns := []column{
		{"", func(r results.Row) string { return r.Name }},
		{"measured", results.Row.ValueText},
		{"floor", results.Row.FloorText},
		{"over the floor", results.Row.RatioText},
	}
	for _, name := range results.PercentileNames {
		columns = append(columns, column{name, func(r results.Row) string {
			if v, ok := r.Percentiles[name]; ok {
				return results.Text(v) + " " + r.Unit
			}
			return ""
		}})
	}
	columns = append(columns, column{"growth", results.Row.GrowthText}, column{"at most", func(r results.Row) string {
		if r.Reached() {
			return r.TargetText()
		}
		return r.TargetText() + ": not reached"
	}})
	if len(file.Runs) > 1 {
		columns = append(columns, column{"run", func(r results.Row) string { return fmt.Sprint(r.Run) }})
	}
	rows := slices.DeleteFunc(slices.Clone(file.Rows), func(r results.Row) bool { return r.Group != group })
	lines := make([][]string, len(rows)+1)
	for _, c := range columns {
		cells := []string{c.title}
		isEmpty := true
		for _, r := range rows {
			cells = append(cells, c.cell(r))
			isEmpty = isEmpty && c.cell(r) == ""
		}
		if isEmpty {
			continue
		}
		for i, cell := range cells {
			lines[i] = append(lines[i], cell)
		}
	}
	return markdown.Table(lines)
}
