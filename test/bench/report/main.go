// Command report makes docs/performance.md from docs/performance.json: it replaces what is between
// the markers there, and writes the charts in docs/images. The same results give the same bytes.
//
//	report [-add FILE] [DIRECTORY]
//
// -add first adds the rows of FILE, which `make bench` wrote, to docs/performance.json. DIRECTORY
// has performance.md and performance.json; it is docs otherwise.
//
//	main.go     flags, and the files
//	sections.go what is between the markers: tables
//	peers.go    the tables that have servers side by side
//	charts.go   which charts there are, and what is in them
//	bars.go     a chart of costs, each with its floor
//	points.go   a chart of percentiles, with a logarithmic scale
//	lines.go    a chart of values over time
//	svg.go      what the charts are made of
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/oauth-operator/oauth-operator/test/bench/results"
)

func main() {
	if err := run(os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "report: "+err.Error())
		os.Exit(1)
	}
}

func run(args []string, usage io.Writer) error {
	flags := flag.NewFlagSet("report", flag.ContinueOnError)
	flags.SetOutput(usage)
	add := flags.String("add", "", "file whose rows are added to the results first")
	if err := flags.Parse(args); err != nil {
		return err
	}
	directory := "docs"
	switch flags.NArg() {
	case 0:
	case 1:
		directory = flags.Arg(0)
	default:
		return fmt.Errorf("want one directory, got %s", strings.Join(flags.Args(), " "))
	}
	path := filepath.Join(directory, "performance.json")
	file, err := results.Read(path)
	if err != nil {
		return err
	}
	if *add != "" {
		if err := addFile(&file, *add, path); err != nil {
			return err
		}
	}
	return document(file, directory)
}

// addFile adds the rows of the file at from, and writes the result to path.
func addFile(file *results.File, from, path string) error {
	more, err := results.Read(from)
	if err != nil {
		return err
	}
	if len(more.Rows) == 0 {
		return fmt.Errorf("%s has no rows: run make bench", from)
	}
	file.AddFile(more)
	return file.Write(path)
}

// document writes the charts of the results, and what is between the markers of performance.md.
func document(file results.File, directory string) error {
	images := filepath.Join(directory, "images")
	old, err := filepath.Glob(filepath.Join(images, "performance-*.svg"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(images, 0o755); err != nil {
		return err
	}
	for _, c := range charts {
		svg := c.draw(c.rowsOf(file))
		if svg == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(images, c.fileName()), []byte(svg), 0o644); err != nil {
			return err
		}
	}
	path := filepath.Join(directory, "performance.md")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	made, err := fill(string(text), file)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(made), 0o644)
}
