package throttle

import (
	"cmp"
	"time"
)

// step is the first delay, and what one waits for another attempt to be over.
const step = time.Second

// bucket holds the failures of one name, device, source or client. Times are since the Throttle was made.
type bucket struct {
	tag tag
	// failures of the window, the oldest first; none while there are delays.
	failures []time.Duration
	// delays so far, one after another; the last ends at until. They are forgotten a window after that.
	delays int
	until  time.Duration
	// running attempts: begun and not over.
	running int
}

// wait is how long the next attempt has to wait; zero: it may begin.
func (b *bucket) wait(r rule, now time.Duration) time.Duration {
	b.age(now)
	switch {
	case now < b.until:
		return b.until - now
	case b.delays > 0 && b.running > 0:
		return step // after a delay there is one attempt at a time
	case len(b.failures)+b.running >= r.failures:
		return step // those that run may be the last ones
	}
	return 0
}

// fail counts a failure.
func (b *bucket) fail(r rule, now time.Duration) {
	b.age(now)
	switch {
	case now < b.until:
		return // it began together with the one that caused the delay
	case b.delays == 0:
		b.failures = append(b.failures, now)
		if len(b.failures) < r.failures {
			return
		}
		b.failures = nil
	}
	b.delays++
	b.until = now + delay(b.delays, r.longest)
}

// delay number n, from one: a second, two, four and so on.
func delay(n int, longest time.Duration) time.Duration {
	d := step
	for ; n > 1 && d < longest; n-- {
		d *= 2
	}
	return min(d, longest)
}

// age forgets what is over.
func (b *bucket) age(now time.Duration) {
	if b.delays > 0 && now >= b.until+window {
		b.clear()
	}
	old := 0
	for old < len(b.failures) && now-b.failures[old] >= window {
		old++
	}
	b.failures = b.failures[old:]
}

// clear forgets everything but what runs.
func (b *bucket) clear() { b.failures, b.delays, b.until = nil, 0, 0 }

// empty says that nothing would be lost with the bucket.
func (b *bucket) empty() bool { return len(b.failures) == 0 && b.delays == 0 && b.running == 0 }

// colder says that less would be lost with b than with other.
func (b *bucket) colder(other *bucket) bool {
	return cmp.Or(
		cmp.Compare(b.delays, other.delays), cmp.Compare(b.until, other.until),
		cmp.Compare(len(b.failures), len(other.failures)), cmp.Compare(b.running, other.running),
	) < 0
}
