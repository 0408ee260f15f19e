package httpserver

import "context"

// Wait calls wait. In the meantime the connection of the request may be closed for a new one, as while
// it waits for its client; the context of wait ends then. A handler calls it, in its own goroutine, for
// what takes as long as another server likes, and for a pause: requests that wait must not take all
// connections from those that need no other server. If ctx is not that of a request to a Server, Wait
// only calls wait.
func Wait(ctx context.Context, wait func(context.Context)) {
	c, ok := ctx.Value(connectionKey{}).(*connection)
	if !ok {
		wait(ctx)
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if c.beginWait(cancel) {
		defer c.endWait()
	}
	wait(ctx)
}

// beginWait makes the connection wait until endWait, and has it call cancel when it is closed. It
// reports false if a handler of it waits already.
func (c *connection) beginWait(cancel context.CancelFunc) bool {
	c.limiter.mu.Lock()
	defer c.limiter.mu.Unlock()
	if c.cancel != nil {
		return false
	}
	if c.closed {
		cancel()
	}
	c.cancel = cancel
	c.limiter.setWaitingLocked(c, true)
	return true
}

func (c *connection) endWait() {
	c.limiter.mu.Lock()
	defer c.limiter.mu.Unlock()
	c.cancel = nil
	c.limiter.setWaitingLocked(c, false)
}
