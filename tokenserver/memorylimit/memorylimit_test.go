package memorylimit

import (
	"math"
	"runtime/debug"
	"testing"
	"testing/fstest"
)

// filesystem returns one with these files, by path.
func filesystem(content map[string]string) fstest.MapFS {
	root := fstest.MapFS{}
	for name, text := range content {
		root[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return root
}

func TestTheMemoryLimitIsTheLeastThatTheProcessIsUnder(t *testing.T) {
	const machine = "MemTotal:       16000000 kB\nMemFree:         1 kB\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"nothing is known": {nil, math.MaxInt64},
		"no limit":         {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n", "proc/meminfo": machine}, 16000000 << 10},
		"a container":      {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "268435456\n", "proc/meminfo": machine}, 256 << 20},
		"a container that is told the path outside": {map[string]string{
			"proc/self/cgroup": "0::/kubepods.slice/pod1/c1\n", "sys/fs/cgroup/memory.max": "268435456\n", "proc/meminfo": machine,
		}, 256 << 20},
		"a group within a smaller one": {map[string]string{
			"proc/self/cgroup":                             "0::/kubepods.slice/pod1/c1\n",
			"sys/fs/cgroup/kubepods.slice/memory.max":      "536870912\n",
			"sys/fs/cgroup/kubepods.slice/pod1/memory.max": "max\n", "proc/meminfo": machine,
		}, 512 << 20},
		"version 1": {map[string]string{
			"proc/self/cgroup": "12:cpu:/a\n4:memory:/docker/c1\n0::/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "134217728\n", "proc/meminfo": machine,
		}, 128 << 20},
		"version 1 without a limit": {map[string]string{
			"proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n", "proc/meminfo": machine,
		}, 16000000 << 10},
	} {
		limit, restore := Set(filesystem(c.files))
		restore()
		if limit != c.want {
			t.Errorf("%s: %d, want %d", name, limit, c.want)
		}
	}
}

func TestTheGarbageCollectorKeepsWithinTheContainersLimitUnlessGOMEMLIMITSaysAnother(t *testing.T) {
	container := filesystem(map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1000000000\n"})
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	debug.SetMemoryLimit(math.MaxInt64)
	_, restore := Set(container)
	if got := debug.SetMemoryLimit(-1); got != 900_000_000+heapBallast {
		t.Errorf("the collector's limit is %d", got)
	}
	restore()
	if got := debug.SetMemoryLimit(-1); got != math.MaxInt64 {
		t.Errorf("afterwards it is %d", got)
	}
	debug.SetMemoryLimit(500_000_000)
	limit, restore := Set(container)
	defer restore()
	if got := debug.SetMemoryLimit(-1); got != 500_000_000 || limit != 500_000_000 {
		t.Errorf("with GOMEMLIMIT the limit is %d, and the collector's %d", limit, got)
	}
}
