package bench

import (
	"encoding/binary"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// newTicker returns a function that waits for the next tick, or not if there was one since. It is a
// timer of the kernel, since those of Go are up to a millisecond late in a process that has nothing
// else to do.
func newTicker(every time.Duration) (wait func() error, stop func(), err error) {
	const monotonic = 1
	descriptor, _, errno := syscall.Syscall(syscall.SYS_TIMERFD_CREATE, monotonic, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errno != 0 {
		return nil, nil, os.NewSyscallError("timerfd_create", errno)
	}
	timer := os.NewFile(descriptor, "timer")
	interval := syscall.NsecToTimespec(int64(every))
	first := [2]syscall.Timespec{interval, interval}
	if _, _, errno := syscall.Syscall6(syscall.SYS_TIMERFD_SETTIME, descriptor, 0, uintptr(unsafe.Pointer(&first)), 0, 0, 0); errno != 0 {
		_ = timer.Close()
		return nil, nil, os.NewSyscallError("timerfd_settime", errno)
	}
	wait = func() error {
		var ticks uint64
		return binary.Read(timer, binary.NativeEndian, &ticks)
	}
	return wait, func() { _ = timer.Close() }, nil
}
