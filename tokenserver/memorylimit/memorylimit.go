// Package memorylimit finds how much memory the process may use, and sets up the garbage collector
// for it.
package memorylimit

import (
	"io/fs"
	"math"
	"path"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

const (
	// runtimePercent is the share of a container's memory that the Go runtime may use. The rest is
	// for the kernel's buffers.
	runtimePercent = 90
	// heapBallast is the size of an allocation that is never used, in bytes. It makes the live heap
	// at least so large, and so the garbage collector runs at most once for each 32 MiB that
	// requests allocate; without it, collections take a quarter of the CPU time of a server with
	// few clients. The kernel provides no memory for it, since nothing writes to it.
	heapBallast = 32 << 20
)

// Set sets up the garbage collector until restore is called: within the limit of the
// container, because each password hash leaves tens of MiB of garbage, and with a ballast. Where
// GOMEMLIMIT is set, it changes nothing. The limit that it returns is the lowest of those of the
// container, GOMEMLIMIT and the machine, in bytes; math.MaxInt64 if none is known.
func Set(root fs.FS) (limit int64, restore func()) {
	set := debug.SetMemoryLimit(-1)
	limit = min(cgroupLimit(root), set)
	restore = func() {}
	if set == math.MaxInt64 {
		ballast := make([]byte, heapBallast)
		if limit < math.MaxInt64 {
			debug.SetMemoryLimit(limit/100*runtimePercent + heapBallast)
		}
		restore = func() {
			debug.SetMemoryLimit(set)
			runtime.KeepAlive(ballast)
		}
	}
	return min(limit, machineMemory(root)), restore
}

// cgroupLimit returns the lowest memory limit of the control groups (version 1 or 2) of the
// process. Inside a container, its own group is mounted as the root, whatever /proc/self/cgroup
// says.
func cgroupLimit(root fs.FS) int64 {
	limit := int64(math.MaxInt64)
	groups, _ := fs.ReadFile(root, "proc/self/cgroup") // without it there is no limit
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

// readLimit returns the number in a file; math.MaxInt64 if it has none, or "max".
func readLimit(root fs.FS, name string) int64 {
	content, _ := fs.ReadFile(root, name)
	n, err := strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64)
	if err != nil || n <= 0 {
		return math.MaxInt64
	}
	return n
}

// machineMemory returns the memory of the machine, in bytes; math.MaxInt64 if it is not known.
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
