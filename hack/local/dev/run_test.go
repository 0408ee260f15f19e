package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestASecondRunLeavesTheLogsOfTheFirstAlone(t *testing.T) {
	p := paths{t.TempDir()}
	controlPlane := filepath.Join(p.data(), "controlplane")
	for _, dir := range []string{controlPlane, p.logs()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	lock, err := os.Create(filepath.Join(controlPlane, "lock")) // as the first run holds it
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Close() }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	names := []string{"manager.log", "tokenserver.log"}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(p.logs(), name), []byte("said by the first\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}

	if err := run(t.Context(), p, false, io.Discard); err == nil || !strings.Contains(err.Error(), "runs on") {
		t.Errorf("want to be told of the other run, got %v", err)
	}
	for _, name := range names {
		if content, err := os.ReadFile(filepath.Join(p.logs(), name)); err != nil || string(content) != "said by the first\n" {
			t.Errorf("%s now says %q (%v)", name, content, err)
		}
	}
}
