package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
	"github.com/oauth-operator/oauth-operator/test/bench/results"
)

// thisRun says which machine and which commit this is. The documents that are made from the results
// do not make a tree dirty.
func thisRun() (results.Run, error) {
	root, err := controlplane.Root()
	if err != nil {
		return results.Run{}, err
	}
	commit, err := output(root, "git", "rev-parse", "HEAD")
	if err != nil {
		return results.Run{}, err
	}
	changes, err := output(root, "git", "status", "--porcelain", "--", ".", ":!docs")
	if err != nil {
		return results.Run{}, err
	}
	kernel, err := output(root, "uname", "-sr")
	if err != nil {
		return results.Run{}, err
	}
	kernel, _, _ = strings.Cut(kernel, "-") // what follows is who built it
	memory, _ := strconv.Atoi(strings.TrimSuffix(procValue("/proc/meminfo", "MemTotal"), " kB"))
	cpu := procValue("/proc/cpuinfo", "model name")
	if cpu == "" {
		cpu = runtime.GOARCH
	}
	return results.Run{
		Machine: results.Machine{CPU: cpu, Cores: runtime.NumCPU(), MemoryMiB: memory / 1024, Kernel: kernel, Go: runtime.Version()},
		Commit:  commit, Dirty: changes != "",
	}, nil
}

func output(dir, program string, args ...string) (string, error) {
	c := exec.Command(program, args...)
	c.Dir = dir
	var failure bytes.Buffer
	c.Stderr = &failure
	content, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("running %s: %w: %s", c, err, failure.Bytes())
	}
	return strings.TrimSpace(string(content)), nil
}

// procValue is the first value of a key in a file of Linux's /proc, or "" where there is none.
func procValue(path, key string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, found := strings.Cut(lines.Text(), ":"); found && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
