package bench

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// cpuOf is the CPU time, user and system, that all threads of a process have used, to the
// nanosecond: its CPU clock (clock_getcpuclockid(3)).
func cpuOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	used, err := clockOf(pid)
	if err != nil {
		b.Fatal(err)
	}
	return used
}

func clockOf(pid int) (time.Duration, error) {
	const processClock = 2 // CPUCLOCK_SCHED, of the process and not of one thread
	var now syscall.Timespec
	clock := uintptr(^pid<<3 | processClock)
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&now)), 0); errno != 0 {
		return 0, fmt.Errorf("reading the CPU clock of process %d: %w", pid, errno)
	}
	return time.Duration(now.Nano()), nil
}

// waitedOf is how long the threads of a process were ready to run, and waited for a core.
func waitedOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	threads, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "schedstat"))
	if err != nil || len(threads) == 0 {
		b.Fatalf("the threads of process %d: %d, %v", pid, len(threads), err)
	}
	var all time.Duration
	for _, thread := range threads {
		content, err := os.ReadFile(thread)
		if os.IsNotExist(err) {
			continue // it has ended since
		}
		var ran, waited time.Duration // in nanoseconds
		if _, err := fmt.Sscan(string(content), &ran, &waited); err != nil {
			b.Fatalf("reading %s: %v", thread, err)
		}
		all += waited
	}
	return all
}

// memoryOf is the resident memory of a process, now and at its highest, in MiB.
func memoryOf(b *testing.B, pid int) (now, highest float64) {
	b.Helper()
	f, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) != 3 || fields[2] != "kB" {
			continue
		}
		kib, _ := strconv.ParseFloat(fields[1], 64)
		switch fields[0] {
		case "VmRSS:":
			now = kib / 1024
		case "VmHWM:":
			highest = kib / 1024
		}
	}
	return now, highest
}
