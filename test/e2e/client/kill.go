package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// killCommand ends all processes of a container with SIGKILL, as the kernel does when memory runs
// out. It needs the node's processes (hostPID) and root.
func killCommand(args []string) error {
	if len(args) != 1 || len(args[0]) < 12 {
		return errors.New("the argument is the id of a container, as the status of its Pod has it, without the scheme")
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	killed := 0
	for _, dir := range dirs {
		groups, err := os.ReadFile(filepath.Join(dir, "cgroup"))
		if err != nil || !strings.Contains(string(groups), args[0]) { // an error: the process has ended
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			return err
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return fmt.Errorf("killing process %d: %w", pid, err)
		}
		killed++
	}
	if killed == 0 {
		return fmt.Errorf("no process of this node belongs to container %s", args[0])
	}
	return nil
}
