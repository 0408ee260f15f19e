package throttle

import (
	"cmp"
	"time"
)

// firstDelay is the first delay, and the time to wait while another attempt is running.
const firstDelay = time.Second

// bucket counts the failures of one name, device, source or client. Times are durations since the
// Throttle was made.
type bucket struct {
	tag tag
	// failures are the times of the failures in the window of the rule, oldest first. There are none
	// while there are delays.
	failures []time.Duration
	// delays is how many delays there were, one after another. The last one ends at delayedUntil,
	// and they are forgotten a window later.
	delays       int
	delayedUntil time.Duration
	// running is how many attempts have begun and not ended.
	running int
}

// waitTime returns how long the next attempt has to wait; 0 if it may begin.
func (b *bucket) waitTime(r rule, now time.Duration) time.Duration {
	b.expire(r, now)
	switch {
	case r.isStrict:
		return b.strictWaitTime(r, now)
	case now < b.delayedUntil:
		return b.delayedUntil - now
	case b.delays > 0 && b.running > 0:
		return firstDelay // after a delay, attempts run one at a time
	case len(b.failures)+b.running >= r.maxFailures:
		return firstDelay // the running ones may be the last ones allowed
	}
	return 0
}

// strictWaitTime is waitTime for a rule without delays: until as many failures are forgotten that one
// more, beside the attempts that are running, is allowed.
func (b *bucket) strictWaitTime(r rule, now time.Duration) time.Duration {
	excess := len(b.failures) + b.running - r.maxFailures
	switch {
	case excess < 0:
		return 0
	case excess < len(b.failures):
		return max(b.failures[excess]+r.window-now, firstDelay)
	}
	return firstDelay // the running ones are too many by themselves
}

// addFailure counts a failure.
func (b *bucket) addFailure(r rule, now time.Duration) {
	b.expire(r, now)
	switch {
	case r.isStrict:
		b.failures = append(b.failures, now)
		return
	case now < b.delayedUntil:
		return // it began together with the one that caused the delay
	case b.delays == 0:
		b.failures = append(b.failures, now)
		if len(b.failures) < r.maxFailures {
			return
		}
		b.failures = nil
	}
	b.delays++
	b.delayedUntil = now + nthDelay(b.delays, r.maxDelay)
}

// nthDelay returns delay number n, from 1: one second, two, four, and so on up to longest.
func nthDelay(n int, longest time.Duration) time.Duration {
	d := firstDelay
	for ; n > 1 && d < longest; n-- {
		d *= 2
	}
	return min(d, longest)
}

// expire forgets failures and delays that are older than the window of the rule.
func (b *bucket) expire(r rule, now time.Duration) {
	if b.delays > 0 && now >= b.delayedUntil+r.window {
		b.clear()
	}
	old := 0
	for old < len(b.failures) && now-b.failures[old] >= r.window {
		old++
	}
	b.failures = b.failures[old:]
}

// clear forgets failures and delays.
func (b *bucket) clear() { b.failures, b.delays, b.delayedUntil = nil, 0, 0 }

func (b *bucket) isEmpty() bool { return len(b.failures) == 0 && b.delays == 0 && b.running == 0 }

// compare returns a negative number if b counts less than other, and a positive one if more.
func (b *bucket) compare(other *bucket) int {
	return cmp.Or(
		cmp.Compare(b.delays, other.delays), cmp.Compare(b.delayedUntil, other.delayedUntil),
		cmp.Compare(len(b.failures), len(other.failures)), cmp.Compare(b.running, other.running),
	)
}
