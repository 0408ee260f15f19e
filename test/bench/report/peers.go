package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oauth-operator/oauth-operator/test/bench/markdown"
	"github.com/oauth-operator/oauth-operator/test/bench/results"
)

// inDatabase is what a row has at the end of its name if it is of the database of a server.
const inDatabase = ", in the database"

// peer is a server, and what was measured of it.
type peer struct {
	name, note string
	run        int
	measured   map[string]results.Row
}

// peersOf are the servers in the rows. The row of a server has its name, and a note of how it was
// set up, or why it was not measured; the others have the name, a colon and what was measured.
func peersOf(file results.File) []peer {
	var all []peer
	for _, row := range file.Rows {
		if row.Group != peersSection {
			continue
		}
		name, what, _ := strings.Cut(row.Name, ": ")
		i := slices.IndexFunc(all, func(p peer) bool { return p.name == name })
		if i < 0 {
			i = len(all)
			all = append(all, peer{name: name, measured: map[string]results.Row{}})
		}
		if what == "" {
			all[i].note, all[i].run = row.Note, row.Run
		} else {
			all[i].measured[what] = row
		}
	}
	return all
}

// cost is what a thing takes of the server and of its database together.
func (p peer) cost(what string) (sum float64, isMeasured bool) {
	row, isMeasured := p.measured[what]
	return row.Value + p.measured[what+inDatabase].Value, isMeasured
}

// text is what a thing takes, and in which unit.
func (p peer) text(what string) string {
	row, isMeasured := p.measured[what]
	if !isMeasured {
		return ""
	}
	if database, found := p.measured[what+inDatabase]; found {
		return results.Text(row.Value) + " + " + database.ValueText()
	}
	return row.ValueText()
}

// peersTables have a line for each server: what was measured, the least of all in bold, and how it
// was set up.
func peersTables(file results.File) string {
	all := peersOf(file)
	var columns []string
	for _, row := range file.Rows {
		_, what, _ := strings.Cut(row.Name, ": ")
		if row.Group == peersSection && what != "" && !strings.HasSuffix(what, inDatabase) && !slices.Contains(columns, what) {
			columns = append(columns, what)
		}
	}
	lines := [][]string{append([]string{""}, columns...)}
	notes := [][]string{{"", "how it was set up"}}
	if len(file.Runs) > 1 {
		notes[0] = append(notes[0], "run")
	}
	for _, p := range all {
		note := []string{p.name, p.note}
		if len(file.Runs) > 1 {
			note = append(note, fmt.Sprint(p.run))
		}
		notes = append(notes, note)
		if len(p.measured) == 0 {
			continue
		}
		line := []string{p.name}
		for _, what := range columns {
			text := p.text(what)
			if isLeast(all, p, what) {
				text = "**" + text + "**"
			}
			line = append(line, text)
		}
		lines = append(lines, line)
	}
	return markdown.Table(lines) + markdown.Table(notes)
}

// isLeast reports whether others were measured, and none takes less.
func isLeast(all []peer, of peer, what string) bool {
	own, isMeasured := of.cost(what)
	others := 0
	for _, p := range all {
		sum, found := p.cost(what)
		if found && sum < own {
			return false
		}
		if found && p.name != of.name {
			others++
		}
	}
	return isMeasured && others > 0
}
