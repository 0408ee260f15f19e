package results

import (
	"path/filepath"
	"reflect"
	"testing"
)

var (
	here  = Machine{CPU: "a CPU", Cores: 2}
	first = Run{Machine: here, Commit: "aaaa"}
	later = Run{Machine: here, Commit: "bbbb"}
)

func row(group, name string, value float64) Row {
	return Row{Group: group, Name: name, Unit: "MiB", Value: value}
}

func names(f File) (all []string) {
	for _, r := range f.Rows {
		all = append(all, r.Group+"/"+r.Name)
	}
	return all
}

func TestARunReplacesTheRowsThatItMeasuredAgainAndLeavesTheOthers(t *testing.T) {
	var f File
	f.Add(first, row("a", "one", 1), row("b", "one", 2), row("b", "two", 3))
	f.Add(later, row("b", "one", 20))
	want := []Row{{Group: "a", Name: "one", Run: 1, Unit: "MiB", Value: 1}, {Group: "b", Name: "one", Run: 2, Unit: "MiB", Value: 20}, {Group: "b", Name: "two", Run: 1, Unit: "MiB", Value: 3}}
	if !reflect.DeepEqual(f.Rows, want) {
		t.Errorf("want %+v, got %+v", want, f.Rows)
	}
	f.Add(later, row("a", "one", 10))
	if f.Add(later, row("b", "two", 30)); len(f.Runs) != 1 || f.Runs[0].Commit != "bbbb" {
		t.Errorf("a run without rows should be gone: %+v", f.Runs)
	}
	// The number of a run that is gone is not given again while later ones are there.
	if f.Add(first, row("a", "two", 1)); f.Rows[1].Run != 3 {
		t.Errorf("want run 3, got %+v", f.Rows)
	}
}

func TestANewRowIsPlacedAfterThoseOfItsGroup(t *testing.T) {
	var f File
	f.Add(first, row("a", "one", 1), row("b", "one", 1))
	f.Add(first, row("a", "two", 1), row("c", "one", 1))
	if want := []string{"a/one", "a/two", "b/one", "c/one"}; !reflect.DeepEqual(names(f), want) {
		t.Errorf("want %v, got %v", want, names(f))
	}
}

func TestAChangedTreeAndAnotherMachineAreOtherRuns(t *testing.T) {
	var f File
	changed, elsewhere := first, first
	changed.Dirty, elsewhere.Machine.CPU = true, "another CPU"
	f.Add(first, row("a", "one", 1))
	f.Add(changed, row("a", "two", 1))
	f.Add(elsewhere, row("a", "three", 1))
	if f.Add(first, row("a", "four", 1)); len(f.Runs) != 3 || f.Rows[3].Run != 1 {
		t.Errorf("want three runs, and the last row in the first: %+v", f)
	}
}

func TestAFileIsReadAsItWasWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.json")
	empty, err := Read(path)
	if err != nil || len(empty.Rows) != 0 {
		t.Fatalf("a file that does not exist should be empty: %+v, %v", empty, err)
	}
	var f File
	r := row("a", "one", 1234.5678)
	r.Percentiles, r.Series = map[string]float64{"p99.9": 0.123456}, []Sample{{1, 2.00001}}
	r.Spread, r.Target = &Range{1, 1300.04}, &Target{Ratio: 1.15}
	f.Add(first, r)
	if err := f.Write(path); err != nil {
		t.Fatal(err)
	}
	again, err := Read(path)
	if err != nil || !reflect.DeepEqual(f, again) {
		t.Errorf("want %+v, got %+v, %v", f, again, err)
	}
	got := again.Rows[0]
	if got.Value != 1235 || got.Percentiles["p99.9"] != 0.1235 || got.Series[0].Value != 2 || got.Spread.High != 1300 {
		t.Errorf("want four significant digits, got %+v", got)
	}
	if r.Series[0].Value != 2.00001 || r.Percentiles["p99.9"] != 0.123456 {
		t.Errorf("the row of the caller was changed: %+v", r)
	}
}

func TestATargetHoldsForTheValueAndForTheRatio(t *testing.T) {
	for _, c := range []struct {
		value, ratio float64
		target       *Target
		want         bool
	}{
		{100, 9, nil, true},
		{100, 9, &Target{Value: 100}, true},
		{101, 1, &Target{Value: 100}, false},
		{900, 1.15, &Target{Ratio: 1.15}, true},
		{900, 1.16, &Target{Ratio: 1.15}, false},
		{101, 1, &Target{Value: 100, Ratio: 2}, false},
		{100, 1, &Target{Growth: 0.05}, true},
		{100, 1, &Target{Growth: 0.03}, false},
	} {
		if got := (Row{Value: c.value, Ratio: c.ratio, Growth: 0.04, Target: c.target}).Reached(); got != c.want {
			t.Errorf("%+v: want %t, got %t", c, c.want, got)
		}
	}
}

func TestANumberHasThreeDigitsThatCount(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.01234: "0.012", 1.5: "1.50", 3: "3", 12.34: "12.3", 20: "20", 123.4: "123", 12345678: "12,345,678", -1234: "-1,234"} {
		if got := Text(v); got != want {
			t.Errorf("%v: want %s, got %s", v, want, got)
		}
	}
}
