package upstreamfiles

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// project writes a version of a Secret as the kubelet does, and replaces the one before at once.
func project(t *testing.T, dir, version string, files map[string]string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, version), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, version, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_ = os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)) // there already, if the name is not new
	}
	next := filepath.Join(dir, "..data_tmp")
	if err := os.Symlink(version, next); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, f *Files, dir string) (changed bool) {
	t.Helper()
	changed, err := f.LoadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func TestFilesOfTheCurrentVersionAreHeldAndNoOthers(t *testing.T) {
	dir, f := t.TempDir(), &Files{}
	project(t, dir, "..1", map[string]string{"uid-a.1": "first", "uid-b.1": "other"})
	if !load(t, f, dir) || load(t, f, dir) {
		t.Fatal("only the first load changes something")
	}
	if got := f.Loaded(); !slices.Equal(got, []string{"uid-a.1", "uid-b.1"}) {
		t.Fatalf("loaded %q", got)
	}
	project(t, dir, "..2", map[string]string{"uid-a.1": "first", "uid-a.2": "second"})
	if !load(t, f, dir) {
		t.Fatal("another version is a change")
	}
	for name, want := range map[string]string{"uid-a.1": "first", "uid-a.2": "second"} {
		if got, ok := f.Lookup(name); !ok || got != want {
			t.Errorf("%s is %q, %t", name, got, ok)
		}
	}
	if _, ok := f.Lookup("uid-b.1"); ok {
		t.Error("a file that was removed is still held")
	}
}

func TestWithoutTheVolumeNothingIsHeldAndNothingFails(t *testing.T) {
	f := &Files{}
	if load(t, f, filepath.Join(t.TempDir(), "absent")) || load(t, f, t.TempDir()) {
		t.Error("nothing has changed")
	}
	if _, ok := f.Lookup("uid-a.1"); ok || len(f.Loaded()) > 0 {
		t.Error("something is held")
	}
}

func TestWhatWasReadStaysWhenTheFilesCannotBeReadAndNoErrorQuotesThem(t *testing.T) {
	dir, f := t.TempDir(), &Files{}
	project(t, dir, "..1", map[string]string{"uid-a.1": "first"})
	load(t, f, dir)
	large := strings.Repeat("hunter2 ", maxFile)
	project(t, dir, "..2", map[string]string{"uid-a.1": large})
	changed, err := f.LoadDir(dir)
	if changed || err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "uid-a.1") {
		t.Errorf("changed %t, error %v", changed, err)
	}
	if got, _ := f.Lookup("uid-a.1"); got != "first" {
		t.Errorf("held is %q", got)
	}
}
