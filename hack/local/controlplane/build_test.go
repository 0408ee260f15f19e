package controlplane

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/oauth-operator/oauth-operator/hack/local/process"
)

// emptyCache gives the test a cache of programs of its own, but leaves Go's where it is: nothing is
// compiled twice.
func emptyCache(t *testing.T) string {
	t.Helper()
	goCache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Setenv("GOCACHE", strings.TrimSpace(string(goCache)))
	t.Setenv("XDG_CACHE_HOME", dir)
	t.Setenv("HOME", dir) // where os.UserCacheDir looks on other systems than Linux
	return dir
}

// assets is a directory with stand-ins for all programs but etcd, the one that is built soonest.
func assets(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kubectl"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestOfManyAtATimeOneBuildsAndOnlyWhatIsMissing(t *testing.T) {
	modules, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOMODCACHE", strings.TrimSpace(string(modules)))
	cache, given := emptyCache(t), assets(t)
	t.Setenv("KUBEBUILDER_ASSETS", given)
	var log bytes.Buffer
	shared := process.NewSyncWriter(&log)
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			b, err := Build(t.Context(), shared)
			if err != nil {
				t.Error(err)
				return
			}
			if b.KubeAPIServer != filepath.Join(given, "kube-apiserver") || b.Kubectl != filepath.Join(given, "kubectl") {
				t.Errorf("the given programs are not used: %+v", b)
			}
			if !strings.HasPrefix(b.Etcd, cache) {
				t.Errorf("etcd is %s, want one in %s", b.Etcd, cache)
			}
		})
	}
	group.Wait()
	if n := strings.Count(log.String(), "building etcd "); n != 1 {
		t.Errorf("etcd was built %d times:\n%s", n, log.String())
	}
	log.Reset()
	if _, err := Build(t.Context(), &log); err != nil || log.Len() > 0 {
		t.Errorf("what is built was not taken as it is: %v %s", err, log.String())
	}
	leftovers, err := filepath.Glob(filepath.Join(cache, "oauth-operator", "controlplane", "building-*"))
	if err != nil || len(leftovers) > 0 {
		t.Errorf("left behind: %v (%v)", leftovers, err)
	}
}

func TestOtherSourcesAreOtherPrograms(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	source := t.TempDir()
	write := func(name, content string) string {
		t.Helper()
		if err := os.WriteFile(filepath.Join(source, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		dir, err := cacheDir(source)
		if err != nil {
			t.Fatal(err)
		}
		return dir
	}
	first := write("go.mod", "module a\n")
	if again := write("README.md", "text"); again != first {
		t.Error("a file that is no source makes a difference")
	}
	if other := write("main.go", "package main\n"); other == first {
		t.Error("another source makes no difference")
	}
}
