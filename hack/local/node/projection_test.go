package node

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestAReaderSeesAllFilesOfOneVersion(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "volume")
	version := func(v byte) map[string][]byte {
		return map[string][]byte{"a": {v}, "b": {v}, "only-" + string(v): {v}}
	}
	if err := replaceFiles(dir, version('0')); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for v := byte('1'); v <= '9'; v++ {
			for range 50 {
				if err := replaceFiles(dir, version(v)); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	seen := map[byte]bool{}
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		data, err := os.Readlink(filepath.Join(dir, dataLink))
		if err != nil {
			t.Fatal(err)
		}
		a, errA := os.ReadFile(filepath.Join(dir, data, "a"))
		b, errB := os.ReadFile(filepath.Join(dir, data, "b"))
		if errA != nil || errB != nil {
			continue // replaced between the link and the files: a reader starts again
		}
		if len(a) != 1 || len(b) != 1 || a[0] != b[0] {
			t.Fatalf("a is %q and b is %q", a, b)
		}
		seen[a[0]] = true
	}
	if !seen['9'] {
		t.Errorf("the last version was never seen, only %v", slices.Collect(maps.Keys(seen)))
	}

	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		if entry.Name() != dataLink && !entry.IsDir() {
			names = append(names, entry.Name())
		}
	}
	if want := []string{"a", "b", "only-9"}; !slices.Equal(names, want) || len(entries) != len(want)+2 {
		t.Errorf("the volume has %v, want the links %v, ..data and one directory", entries, want)
	}
}

func TestWhatHasNotChangedIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	files := map[string][]byte{"a": []byte("x")}
	if err := replaceFiles(dir, files); err != nil {
		t.Fatal(err)
	}
	before, err := os.Readlink(filepath.Join(dir, dataLink))
	if err != nil {
		t.Fatal(err)
	}
	if err := replaceFiles(dir, maps.Clone(files)); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Readlink(filepath.Join(dir, dataLink)); err != nil || after != before {
		t.Errorf("replaced %s by %s (%v)", before, after, err)
	}
}

func TestAnAttemptThatWasCutOffIsTakenUpAgain(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "..123"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("..123", filepath.Join(dir, nextLink)); err != nil {
		t.Fatal(err)
	}
	if err := replaceFiles(dir, map[string][]byte{"a": []byte("x")}); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(dir, "a"))
	if err != nil || string(content) != "x" {
		t.Errorf("a is %q (%v)", content, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "..123")); !os.IsNotExist(err) {
		t.Errorf("what was left behind is still there (%v)", err)
	}
}
