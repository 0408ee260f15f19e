package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/test/bench/markdown"
	"github.com/oauth-operator/oauth-operator/test/bench/results"
)

func TestMain(m *testing.M) {
	simulated = 5_000 // the page's figures have more digits than tests need
	os.Exit(m.Run())
}

// shipped is docs/scale.json as it is, changed by change, with what was measured.
func shipped(t *testing.T, file results.File, change func(*input)) (*input, error) {
	t.Helper()
	content, err := os.ReadFile("../../../docs/scale.json")
	if err != nil {
		t.Fatal(err)
	}
	var in input
	if err := json.Unmarshal(content, &in); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&in)
	}
	if content, err = json.Marshal(&in); err != nil {
		t.Fatal(err)
	}
	return readInput(strings.NewReader(string(content)), file)
}

// measured are the rows without which there is no figure for their units.
func measured() (f results.File) {
	f.Add(
		results.Run{},
		results.Row{Group: "requests", Name: "a token for a machine, RS256", Unit: "ms of CPU", Value: 1.2, Floor: 1.1},
		results.Row{Group: "requests", Name: "an authorization request, up to the login page", Unit: "µs of CPU", Value: 190},
		results.Row{Group: "requests", Name: "a password on the login page, up to the code", Unit: "ms of CPU", Value: 23},
	)
	return f
}

// mustShip is shipped with all units.
func mustShip(t *testing.T, change func(*input)) *input {
	t.Helper()
	in, err := shipped(t, measured(), change)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func setAssumption(id string, value float64) func(*input) {
	return func(in *input) {
		for _, a := range in.Assumptions {
			if a.ID == id {
				a.Value = value
			}
		}
	}
}

// emptyPage has a place for each table.
func emptyPage() string {
	var b strings.Builder
	for name := range tables {
		b.WriteString(markdown.Marker("scale", name) + "\n" + markdown.EndMarker("scale") + "\n")
	}
	return b.String()
}

func TestARowThatWasMeasuredComesBeforeAnEarlierFigure(t *testing.T) {
	var file results.File
	file.Add(results.Run{}, results.Row{Group: "storage", Name: "a refresh, PostgreSQL", Unit: "ms of CPU", Value: 0.25})
	in, err := shipped(t, file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := in.of("refreshReplaces"); math.Abs(got-250e-6) > 1e-12 {
		t.Errorf("want 250 µs, which the row says in ms, got %v s", got)
	}
	if got := in.of("code"); math.Abs(got-364e-6) > 1e-12 {
		t.Errorf("want the earlier figure, 364 µs, got %v s", got)
	}
	table := markdown.Table(unitsTable(in))
	for _, want := range []string{
		"| a refresh that replaces its token, PostgreSQL | 250 µs of CPU | run 1 |",
		"| a code redeemed, PostgreSQL | 364 µs of CPU | measured earlier; performance.json has no row for it yet |",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("%q is missing in:\n%s", want, table)
		}
	}
}

func TestWhatWasNotMeasuredIsSaidWhereverItIsNeeded(t *testing.T) {
	in, err := shipped(t, results.File{}, nil) // without a row, the page has no figure for a password
	if err != nil {
		t.Fatal(err)
	}
	made, err := fill(emptyPage(), in)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| a password on the login page, up to the code | not measured | not measured |",
		"| passwords | 104 | not measured | not measured |", "| **together** | | | not measured |", "| replicas | not measured |",
		"| 0.5 | not measured |", "| size of the database | 17 GiB |",
	} {
		if !strings.Contains(made, want) {
			t.Errorf("%q is missing in:\n%s", want, made)
		}
	}
	if strings.Contains(made, "not measured ×") || strings.Contains(made, "NaN") || strings.Contains(made, "Inf") {
		t.Errorf("a number that is none is shown as one:\n%s", made)
	}
}

func TestTheSameInputMakesTheSamePage(t *testing.T) {
	page := emptyPage()
	first, err := fill(page, mustShip(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	if second, err := fill(first, mustShip(t, nil)); err != nil || second != first {
		t.Errorf("want the page as it was, got %v and\n%s", err, second)
	}
}

func TestAWrongInputIsAnErrorThatNamesIt(t *testing.T) {
	for want, change := range map[string]func(*input){
		`"users"`:          func(in *input) { in.Assumptions = append(in.Assumptions, in.Assumptions[0]) },
		`not "furlongs"`:   func(in *input) { in.Units[0].Unit = "furlongs" },
		`has no source`:    func(in *input) { in.Assumptions[0].Source = "" },
		`without a source`: func(in *input) { in.Units[0].Source = "" },
		`no "zones"`:       func(in *input) { renameAssumption(in, "zones", "rooms") },
		`from "rooms"`:     func(in *input) { renameAssumption(in, "zones", "rooms") },
	} {
		in, err := shipped(t, measured(), change)
		if err == nil {
			_, err = fill(emptyPage(), in)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %s, got %v", want, err)
		}
	}
}

func renameAssumption(in *input, from, to string) {
	for _, a := range in.Assumptions {
		if a.ID == from {
			a.ID = to
		}
	}
}

func TestATableWithoutAPlaceAndAPlaceWithoutATableAreErrors(t *testing.T) {
	page := strings.ReplaceAll(emptyPage(), "scale: day", "scale: night")
	_, err := fill(page, mustShip(t, nil))
	if err == nil || !strings.Contains(err.Error(), `no table "night"`) || !strings.Contains(err.Error(), "<!-- scale: day -->") {
		t.Errorf("want an error for both, got %v", err)
	}
}

func TestOnlyWhatIsBetweenTheMarkersOfTheFileChanges(t *testing.T) {
	directory := t.TempDir()
	for _, name := range []string{"scale.json", "performance.json"} {
		content, err := os.ReadFile(filepath.Join("../../../docs", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(directory, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(directory, "scale.md")
	if err := os.WriteFile(path, []byte("# before\n"+emptyPage()+"after\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{directory}); err != nil {
		t.Fatal(err)
	}
	made, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(made); !strings.HasPrefix(text, "# before\n<!-- scale:") || !strings.HasSuffix(text, "-->\nafter\n") || !strings.Contains(text, "| **requests** | 20,000 |") {
		t.Errorf("got:\n%s", text)
	}
}

func TestAllRequestsOfThePeakAreThoseOfTheQuestion(t *testing.T) {
	in := mustShip(t, nil)
	if got := peak(in).requests(); math.Abs(got-in.of("peakRequests")) > 1e-6 {
		t.Errorf("want %v requests a second, got %v", in.of("peakRequests"), got)
	}
}

func TestALimitIsReachedWithAsManyUsersAsItSays(t *testing.T) {
	for _, l := range limitsOf(mustShip(t, nil)) {
		if l.part != "live grants" && l.part != "OAuthUsers: the same Entries, in etcd" {
			continue
		}
		in := mustShip(t, nil)
		in.values["users"] = l.users(in)
		for _, again := range limitsOf(in) {
			if again.part == l.part && math.Abs(again.needed/again.there-1) > 1e-9 {
				t.Errorf("%s: want what is needed to be what is there, got %v and %v", l.part, again.needed, again.there)
			}
		}
	}
}

func TestADayHasItsPeakAndItsMean(t *testing.T) {
	for _, peak := range []float64{1, 1.5, 3, 6} {
		sum, highest := 0.0, 0.0
		for _, factor := range hours(peak) {
			sum, highest = sum+factor, max(highest, factor)
		}
		if math.Abs(sum/24-1) > 1e-9 || math.Abs(highest-peak) > 1e-6 {
			t.Errorf("want a mean of 1 and a peak of %v, got %v and %v", peak, sum/24, highest)
		}
	}
}

func TestANumberOfASimulationHasTwoDigits(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.0123: "0.012", 0.5: "0.50", 1: "1", 2.345: "2.3", 23.45: "23", 1234: "1,200"} {
		if got := short(v); got != want {
			t.Errorf("%v: want %s, got %s", v, want, got)
		}
	}
	if got := short(math.NaN()); got != notMeasured {
		t.Errorf("want %s, got %s", notMeasured, got)
	}
}
