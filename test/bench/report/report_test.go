package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/test/bench/results"
)

var run1 = results.Run{Machine: results.Machine{CPU: "a <CPU>", Cores: 2, MemoryMiB: 2048, Kernel: "Linux 6", Go: "go1"}, Commit: "0123456789abcdef"}

func someResults() results.File {
	var f results.File
	f.Add(run1,
		results.Row{Group: "requests", Name: "a token & more", Unit: "µs of CPU", Value: 110, Floor: 100, Ratio: 1.1, Target: &results.Target{Ratio: 1.15}},
		results.Row{Group: "requests", Name: "another", Unit: "µs of CPU", Value: 50, Target: &results.Target{Value: 40}},
		results.Row{Group: "tails", Name: "a token", Unit: "ms", Value: 8, Percentiles: map[string]float64{"p50": 0.3, "p99": 2, "p99.9": 8}},
		results.Row{Group: "soak", Name: "in memory", Unit: "MiB", Value: 30, Series: []results.Sample{{Seconds: 0, Value: 20}, {Seconds: 10, Value: 30}}},
	)
	return f
}

const page = `# What it costs

<!-- results: runs -->
<!-- end of results -->
between
<!-- results: requests -->
old
<!-- end of results -->
<!-- results: tails -->
<!-- end of results -->
<!-- results: soak -->
<!-- end of results -->
<!-- results: targets -->
<!-- end of results -->
after
`

// newDocs is a directory with a page and results.
func newDocs(t *testing.T, page string) string {
	t.Helper()
	directory := t.TempDir()
	if err := os.WriteFile(filepath.Join(directory, "performance.md"), []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := someResults().Write(filepath.Join(directory, "performance.json")); err != nil {
		t.Fatal(err)
	}
	return directory
}

// contents of all files below a directory.
func contents(t *testing.T, directory string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(directory, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, directory)] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestWhatIsBetweenTheMarkersIsReplacedAndNothingElse(t *testing.T) {
	directory := newDocs(t, page)
	if err := run([]string{directory}, io.Discard); err != nil {
		t.Fatal(err)
	}
	made := contents(t, directory)["/performance.md"]
	for _, want := range []string{
		"# What it costs\n", "\nbetween\n", "\nafter\n", "| `0123456789ab` |", "![CPU time of a request](images/performance-requests.svg)",
		"| a token & more | 110 µs of CPU | 100 µs of CPU | 1.10 × | 1.15 × |\n", "| another | 50 µs of CPU | | | 40 µs of CPU: not reached |\n",
		"| another | 50 µs of CPU | 40 µs of CPU | no |\n| a token & more | 1.10 × | 1.15 × | yes |\n",
	} {
		if !strings.Contains(made, want) {
			t.Errorf("%q is missing in:\n%s", want, made)
		}
	}
	if strings.Contains(made, "old") {
		t.Errorf("what was between the markers is still there:\n%s", made)
	}
}

func TestTheSameResultsMakeTheSameFiles(t *testing.T) {
	directory := newDocs(t, page)
	if err := run([]string{directory}, io.Discard); err != nil {
		t.Fatal(err)
	}
	before := contents(t, directory)
	if err := os.WriteFile(filepath.Join(directory, "images", "performance-gone.svg"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{directory}, io.Discard); err != nil {
		t.Fatal(err)
	}
	after := contents(t, directory)
	if len(after) != len(before) {
		t.Errorf("a chart of nothing is still there: %d files, now %d", len(before), len(after))
	}
	for path, content := range before {
		if after[path] != content {
			t.Errorf("%s is another:\n%s", path, after[path])
		}
	}
}

func TestRowsWithoutAPlaceAreAnError(t *testing.T) {
	directory := newDocs(t, strings.ReplaceAll(page, "results: tails", "results: heads"))
	if err := run([]string{directory}, io.Discard); err == nil || !strings.Contains(err.Error(), "<!-- results: tails -->") {
		t.Errorf("want an error that says which lines to add, got %v", err)
	}
}

func TestAddedRowsAreInTheResultsAndOnThePage(t *testing.T) {
	directory := newDocs(t, page)
	more := filepath.Join(t.TempDir(), "bench.json")
	if err := run([]string{"-add", more, directory}, io.Discard); err == nil || !strings.Contains(err.Error(), "make bench") {
		t.Errorf("want an error for a file without rows, got %v", err)
	}
	var f results.File
	f.Add(run1, results.Row{Group: "requests", Name: "one more", Unit: "µs of CPU", Value: 7})
	if err := f.Write(more); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{"-add", more, directory}, io.Discard); err != nil {
		t.Fatal(err)
	}
	made := contents(t, directory)
	for _, path := range []string{"/performance.md", "/performance.json", "/images/performance-requests.svg"} {
		if !strings.Contains(made[path], "one more") {
			t.Errorf("%s does not have the row", path)
		}
	}
}

func TestEachChartIsXMLAndStaysWithinItsPicture(t *testing.T) {
	file := someResults()
	drawn := 0
	for _, c := range charts {
		svg := c.draw(c.rowsOf(file))
		if svg == "" {
			continue
		}
		drawn++
		for decoder := xml.NewDecoder(strings.NewReader(svg)); ; {
			if _, err := decoder.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v\n%s", c.name, err, svg)
			}
		}
		if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") || strings.Contains(svg, `="-`) {
			t.Errorf("%s has a number that is none, or is outside:\n%s", c.name, svg)
		}
	}
	if drawn != 3 {
		t.Errorf("want three charts, got %d", drawn)
	}
}
