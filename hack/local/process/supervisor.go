package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

const (
	firstBackoff = 250 * time.Millisecond
	lastBackoff  = 10 * time.Second // also how long a process must have lived for its end to count as the first
)

// Supervisor restarts a program when it ends, with a growing back-off, as a kubelet does with a
// container. It is safe for concurrent use.
type Supervisor struct {
	name    string
	command func() (Command, error)
	grace   time.Duration
	log     io.Writer
	again   chan struct{} // start again without back-off
	done    chan struct{}

	mu      sync.Mutex
	process *Process
}

// Supervise starts a program and restarts it when it ends. When the context ends, it stops the
// program, with the grace period. It calls command before each start, and writes to log, under the
// name, when the program has ended.
func Supervise(ctx context.Context, name string, command func() (Command, error), grace time.Duration, log io.Writer) *Supervisor {
	k := &Supervisor{name: name, command: command, grace: grace, log: log, again: make(chan struct{}, 1), done: make(chan struct{})}
	go k.run(ctx)
	return k
}

// Done is closed when the context has ended and the process is gone.
func (k *Supervisor) Done() <-chan struct{} { return k.done }

// PID is the number of the process, 0 while there is none.
func (k *Supervisor) PID() int {
	if p := k.running(); p != nil {
		return p.PID()
	}
	return 0
}

// Signal sends a signal to the process. When that ends it, it is started again after the back-off.
func (k *Supervisor) Signal(sig os.Signal) error {
	p := k.running()
	if p == nil {
		return fmt.Errorf("%s does not run", k.name)
	}
	return p.Signal(sig)
}

// Restart ends the process in order and starts it again at once. It returns when the new process
// has been started.
func (k *Supervisor) Restart(ctx context.Context) error {
	old := k.running()
	if old == nil {
		return fmt.Errorf("%s does not run", k.name)
	}
	select {
	case k.again <- struct{}{}:
	default: // asked for already
	}
	old.Stop(k.grace)
	for {
		if p := k.running(); p != nil && p != old {
			return nil
		}
		select {
		case <-k.done:
			return fmt.Errorf("%s is stopped", k.name)
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s to be started again: %w", k.name, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (k *Supervisor) running() *Process {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.process
}

func (k *Supervisor) run(ctx context.Context) {
	defer close(k.done)
	backoff := firstBackoff
	for {
		started := time.Now()
		err := k.runOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		select {
		case <-k.again:
			continue
		default:
		}
		if time.Since(started) > lastBackoff {
			backoff = firstBackoff
		}
		_, _ = fmt.Fprintf(k.log, "%s has ended (%v); it is started again in %s\n", k.name, err, backoff)
		select {
		case <-ctx.Done():
			return
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, lastBackoff)
	}
}

// runOnce starts the process and says how it ended.
func (k *Supervisor) runOnce(ctx context.Context) error {
	command, err := k.command()
	if err != nil {
		return err
	}
	p, err := Start(command)
	if err != nil {
		return err
	}
	k.set(p)
	defer k.set(nil)
	select {
	case <-p.Done():
	case <-ctx.Done():
		p.Stop(k.grace)
	}
	return errors.New(p.State())
}

func (k *Supervisor) set(p *Process) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.process = p
}
