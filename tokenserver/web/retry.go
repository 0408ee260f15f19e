package web

import (
	"strconv"
	"sync/atomic"
)

// minRetryAfter and maxRetryAfter bound how many seconds a client waits before it retries after a
// temporary error.
const minRetryAfter, maxRetryAfter = 2, 8

// retryAfterFull is the same where the store is full, which passes only as grants expire.
const retryAfterFull = "60"

// temporaryAnswers counts the calls of RetryAfter.
var temporaryAnswers atomic.Uint64

// RetryAfter returns the seconds for Retry-After (RFC 9110 section 10.2.3) after a temporary error.
// One call after the other returns each value of the range: clients that are refused at one moment,
// such as all that waited for a database that failed, do not come again at one moment.
func RetryAfter() int {
	const values = maxRetryAfter - minRetryAfter + 1
	return minRetryAfter + int(temporaryAnswers.Add(1)%values)
}

// RetryAfterHeader returns RetryAfter as the value of the header.
func RetryAfterHeader() string { return strconv.Itoa(RetryAfter()) }
