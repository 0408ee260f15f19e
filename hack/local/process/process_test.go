package process

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary plays the programs it starts: what it does depends on this variable.
const role = "PROCESS_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "":
		os.Exit(m.Run())
	case "sleeper":
		fmt.Println(os.Getpid())
		time.Sleep(time.Minute)
	case "parent":
		// Many goroutines come and go on locked threads, so that the runtime ends threads: the
		// child must not notice.
		child, err := Start(Command{Path: os.Args[0], Env: []string{role + "=sleeper"}, Output: os.Stdout})
		if err != nil {
			panic(err)
		}
		for range 50 {
			go runtime.LockOSThread()
		}
		time.Sleep(300 * time.Millisecond)
		if !alive(child.PID()) {
			fmt.Println("the child died with a thread of its parent")
		}
		fmt.Println("ready")
		time.Sleep(time.Minute)
	}
}

func TestAChildDiesWithItsParentButNotWithAThreadOfIt(t *testing.T) {
	if runtime.GOOS != "linux" {
		return // there is no parent-death signal; the package comment says so
	}
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), role+"=parent")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var printed []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if printed = append(printed, lines.Text()); lines.Text() == "ready" {
			break
		}
	}
	if len(printed) != 2 || printed[1] != "ready" {
		t.Fatalf("the parent printed %q", printed)
	}
	child, err := strconv.Atoi(printed[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // reports the kill
	for deadline := time.Now().Add(5 * time.Second); alive(child); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("child %d is alive five seconds after its parent was killed", child)
		}
	}
}

func TestStopEndsAProgramThatIgnoresTheSignal(t *testing.T) {
	ready := filepath.Join(t.TempDir(), "ready")
	p, err := Start(Command{Path: "/bin/sh", Args: []string{"-c", `trap "" TERM; : > "$0"; while :; do sleep 0.1; done`, ready}})
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(ready); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.Stop(200 * time.Millisecond)
	var exit *exec.ExitError
	if !errors.As(p.Err(), &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("ended with %v, want a kill", p.Err())
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("a signal to a process that has ended: %v", err)
	}
}

func TestLinesKeepTheLinesOfTwoProgramsApart(t *testing.T) {
	var out bytes.Buffer
	a, b := NewPrefixWriter(&out, "a: "), NewPrefixWriter(&out, "b: ")
	for _, w := range []struct {
		to   interface{ Write([]byte) (int, error) }
		text string
	}{{a, "one "}, {b, "two\nthr"}, {a, "half\n"}, {b, "ee\n"}} {
		if _, err := w.to.Write([]byte(w.text)); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := out.String(), "b: two\na: one half\nb: three\n"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	out.Reset()
	if _, err := a.Write([]byte(strings.Repeat("x", longestLine))); err != nil {
		t.Fatal(err)
	}
	if out.Len() < longestLine {
		t.Fatal("an endless line is held back for good")
	}
}

// alive is whether the process runs: neither gone nor waiting to be reaped.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z")
}
