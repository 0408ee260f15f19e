package tokenserver

import (
	"io/fs"
	"math"
	"path"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/oauth-operator/oauth-operator/tokenserver/password"
)

const (
	// mostHashMemory is how much memory password hashes take at once, at most, in bytes: four of
	// the largest that are accepted.
	mostHashMemory = 4 * password.MaxMemory
	// runtimePercent of a control group's limit is what the runtime is told to keep within: the
	// rest is for the kernel's buffers.
	runtimePercent = 90
)

// hashMemory is how much of the memory that the process may use is for the password hashes that are
// computed at once: half of it, and enough for one hash of our own.
func hashMemory(limit int64) int64 {
	return max(min(limit/2, mostHashMemory), password.OwnMemory)
}

// limitMemory keeps the garbage collector within the limit of the process's control groups, until
// the function that it returns is called: each password hash leaves tens of MiB behind. A
// GOMEMLIMIT decides instead. The limit is the least that the process is under, that of the machine
// included; math.MaxInt64 where none is known.
func limitMemory(root fs.FS) (limit int64, undo func()) {
	set := debug.SetMemoryLimit(-1)
	limit = min(cgroupLimit(root), set)
	undo = func() {}
	if set == math.MaxInt64 && limit < math.MaxInt64 {
		debug.SetMemoryLimit(limit / 100 * runtimePercent)
		undo = func() { debug.SetMemoryLimit(set) }
	}
	return min(limit, machineMemory(root)), undo
}

// cgroupLimit is the least memory limit of the control groups that the process is in, those of
// Linux's version 2 and 1. In a container its own group is the root of what is mounted, whatever
// the process is told.
func cgroupLimit(root fs.FS) int64 {
	limit := int64(math.MaxInt64)
	groups, _ := fs.ReadFile(root, "proc/self/cgroup") // what is not there sets no limit
	for line := range strings.Lines(string(groups)) {
		id, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, group, _ := strings.Cut(rest, ":")
		mounted, file := "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		switch {
		case id == "0" && controllers == "":
			mounted, file = "sys/fs/cgroup", "memory.max"
		case controllers != "memory":
			continue
		}
		for group = path.Clean("/" + group); ; group = path.Dir(group) {
			limit = min(limit, readLimit(root, path.Join(mounted, group, file)))
			if group == "/" {
				break
			}
		}
	}
	return limit
}

// readLimit is the number in a file; math.MaxInt64 if there is none, or "max".
func readLimit(root fs.FS, name string) int64 {
	content, _ := fs.ReadFile(root, name)
	n, err := strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64)
	if err != nil || n <= 0 {
		return math.MaxInt64
	}
	return n
}

// machineMemory is what the machine has.
func machineMemory(root fs.FS) int64 {
	content, _ := fs.ReadFile(root, "proc/meminfo")
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == "MemTotal:" && fields[2] == "kB" {
			if kib, err := strconv.ParseInt(fields[1], 10, 64); err == nil && kib > 0 && kib <= math.MaxInt64>>10 {
				return kib << 10
			}
		}
	}
	return math.MaxInt64
}
