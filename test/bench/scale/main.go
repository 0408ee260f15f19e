// Command scale makes the tables of docs/scale.md: what many users and requests need, computed from
// the units in docs/performance.json and from what docs/scale.json assumes. It replaces what is
// between the markers there. The same input gives the same bytes.
//
//	scale [DIRECTORY]
//
// DIRECTORY has scale.md, scale.json and performance.json; it is docs otherwise.
//
//	main.go      the files
//	input.go     units and assumptions, and which units were not measured
//	load.go      what users and machines ask for, in a second
//	sizing.go    replicas and the database for it
//	limits.go    where each part breaks first
//	queue.go     simulation: how long requests wait at a utilization
//	coldstart.go replicas that start at the same moment
//	failover.go  simulation: what clients do while a database is promoted, and after
//	day.go       the hours of a day, and the rotations of a month
//	tables.go    what is between the markers
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/oauth-operator/oauth-operator/test/bench/markdown"
	"github.com/oauth-operator/oauth-operator/test/bench/results"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "scale: "+err.Error())
		os.Exit(1)
	}
}

func run(args []string) error {
	directory := "docs"
	switch len(args) {
	case 0:
	case 1:
		directory = args[0]
	default:
		return fmt.Errorf("want one directory, got %q", args)
	}
	measured, err := results.Read(filepath.Join(directory, "performance.json"))
	if err != nil {
		return err
	}
	file, err := os.Open(filepath.Join(directory, "scale.json"))
	if err != nil {
		return err
	}
	in, err := readInput(file, measured)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("reading %s: %w", file.Name(), err)
	}
	path := filepath.Join(directory, "scale.md")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	made, err := fill(string(text), in)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(made), 0o644)
}

// fill replaces what is between the markers of a document. Each table has to have a place there.
func fill(document string, in *input) (string, error) {
	const kind = "scale"
	var errs []error
	places := map[string]bool{}
	made := markdown.Fill(document, kind, "There is nothing to say.", func(name string) string {
		places[name] = true
		table, ok := tables[name]
		if !ok {
			errs = append(errs, fmt.Errorf("there is no table %q", name))
			return ""
		}
		return markdown.Table(withoutUnits(table(in)))
	})
	for name := range tables {
		if !places[name] {
			errs = append(errs, fmt.Errorf("there is no place for the table %q: add the lines %s and %s", name, markdown.Marker(kind, name), markdown.EndMarker(kind)))
		}
	}
	return made, errors.Join(append(errs, in.unknown())...)
}

// withoutUnits is a table in which a cell that needs what was not measured says that alone.
func withoutUnits(lines [][]string) [][]string {
	for _, cells := range lines {
		for i, cell := range cells {
			if strings.Contains(cell, notMeasured) {
				cells[i] = notMeasured
			}
		}
	}
	return lines
}
