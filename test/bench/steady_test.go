package bench

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// capacityOf returns how many steps a second a target does on so many connections that each wait
// for their answers.
func capacityOf(b *testing.B, address string, connections int, lasting time.Duration, do step) float64 {
	b.Helper()
	until := time.Now().Add(lasting)
	var done atomic.Int64
	began := time.Now()
	onConnections(b, address, connections, func(l *connection, worker int) error {
		for i := 0; time.Now().Before(until); i++ {
			if err := do(l, worker, i); err != nil {
				return err
			}
			done.Add(1)
		}
		return nil
	})
	return float64(done.Load()) / time.Since(began).Seconds()
}

// steadily does steps at a constant rate, whether or not those before have been answered, and
// returns how long each took from when it was due: a step that waits for a free connection, since
// the server is late with the others, counts the wait.
func steadily(b testing.TB, address string, connections int, rate float64, lasting time.Duration, do step) []time.Duration {
	b.Helper()
	every := time.Duration(float64(time.Second) / rate)
	due := make(chan time.Time, int(rate*lasting.Seconds())+connections) // the pace waits for no one
	stop := make(chan struct{})
	var pace sync.WaitGroup
	pace.Go(func() {
		defer close(due)
		keepPace(b, every, int(lasting/every), due, stop)
	})
	took := make([][]time.Duration, connections)
	onConnections(b, address, connections, func(l *connection, worker int) error {
		for i := 0; ; i++ {
			at, more := <-due
			if !more {
				return nil
			}
			if err := do(l, worker, i); err != nil {
				return err
			}
			took[worker] = append(took[worker], time.Since(at))
		}
	})
	close(stop)
	pace.Wait()
	var all []time.Duration
	for _, some := range took {
		all = append(all, some...)
	}
	return all
}

// keepPace sends when each of n steps is due, at that time.
func keepPace(b testing.TB, every time.Duration, n int, due chan<- time.Time, stop <-chan struct{}) {
	wait, done, err := newTicker(every)
	if err != nil {
		b.Error(err)
		return
	}
	defer done()
	began := time.Now()
	for sent := 0; sent < n; {
		if err := wait(); err != nil {
			b.Error(err)
			return
		}
		select {
		case <-stop:
			return
		default:
		}
		for ; sent < n; sent++ {
			at := began.Add(time.Duration(sent) * every)
			if time.Now().Before(at) {
				break
			}
			due <- at
		}
	}
}
