//go:build !linux

package bench

import (
	"testing"
	"time"
)

const onlyLinux = "the CPU time and the memory of another process are read on Linux only"

func cpuOf(b *testing.B, _ int) time.Duration {
	b.Helper()
	b.Fatal(onlyLinux)
	return 0
}

func waitedOf(b *testing.B, _ int) time.Duration {
	b.Helper()
	b.Fatal(onlyLinux)
	return 0
}

func memoryOf(b *testing.B, _ int) (now, highest float64) {
	b.Helper()
	b.Fatal(onlyLinux)
	return 0, 0
}
