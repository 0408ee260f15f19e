// Package process runs the programs of the local cluster as children that never outlive it.
//
// The programs have no children of their own. Each child leads a process group of its own, so that
// Ctrl-C in a terminal reaches only the parent, which then stops its children in order. Should the
// parent die without a chance to do so (SIGKILL, a panic, a test that times out), the kernel kills
// the children: on Linux by their parent-death signal. Other systems have no such signal; there
// only an orderly end stops them.
package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Command says what to run. Output receives both standard output and standard error; standard input
// is empty.
type Command struct {
	Path   string
	Args   []string // without the program's name
	Dir    string   // default: the parent's
	Env    []string // added to the parent's environment
	Output io.Writer
	// Credential of whom the program runs as; nil: as the parent does. Only root may name another.
	Credential *syscall.Credential
}

// Process is a child that has been started. All methods may be called from any goroutine, at any
// time.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Start starts the command. The child runs until it exits, is stopped, or the parent dies.
func Start(c Command) (*Process, error) {
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Dir = c.Dir
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Stdout, cmd.Stderr = c.Output, c.Output
	cmd.SysProcAttr = attributes()
	cmd.SysProcAttr.Credential = c.Credential
	cmd.WaitDelay = 2 * time.Second // a grandchild that keeps the output open does not hold us up

	if err := startOnLastingThread(cmd); err != nil {
		return nil, fmt.Errorf("starting %s: %w", c.Path, err)
	}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	go p.wait()
	return p, nil
}

func (p *Process) wait() {
	p.err = p.cmd.Wait()
	close(p.done)
}

// PID is the number of the process. It means nothing any more once Done is closed.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Name is the name of the program, without its directory.
func (p *Process) Name() string { return filepath.Base(p.cmd.Path) }

// Done is closed when the process has ended and all its output is written.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the process ended: nil for exit status 0, else an *exec.ExitError. It must be called
// only after Done is closed.
func (p *Process) Err() error { return p.err }

// State says in words how the process ended ("exit status 1", "signal: killed"). It must be called
// only after Done is closed.
func (p *Process) State() string { return p.cmd.ProcessState.String() }

// Signal sends a signal to the process. That it has ended already is no error.
func (p *Process) Signal(sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("sending %v to process %d: %w", sig, p.PID(), err)
	}
	return nil
}

// Kill ends the process at once and returns when it is gone.
func (p *Process) Kill() {
	_ = p.Signal(os.Kill) // fails only when there is nothing left to kill
	<-p.done
}

// Stop asks the process to end (SIGTERM), and kills it when it has not ended after the grace
// period. It returns when the process is gone.
func (p *Process) Stop(grace time.Duration) {
	_ = p.Signal(syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		p.Kill()
	}
}

type startRequest struct {
	cmd    *exec.Cmd
	answer chan<- error
}

// starter hands commands to one goroutine that owns a thread for good: the parent-death signal is
// sent when the *thread* that started the child ends, and the Go runtime ends threads as it
// pleases.
var starter = sync.OnceValue(func() chan<- startRequest {
	requests := make(chan startRequest)
	go func() {
		runtime.LockOSThread()
		for r := range requests {
			r.answer <- r.cmd.Start()
		}
	}()
	return requests
})

func startOnLastingThread(cmd *exec.Cmd) error {
	answer := make(chan error)
	starter() <- startRequest{cmd, answer}
	return <-answer
}
