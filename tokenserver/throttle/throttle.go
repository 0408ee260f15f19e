// Package throttle slows down guessing passwords. It counts failed attempts, and refuses the next
// one, without hashing its password, while it comes too soon.
//
//	throttle.go  Throttle: what counts failures, and its metrics
//	attempt.go   Attempt: one password from its arrival to its verification
//	bucket.go    the failures of one name, device, source or client, and the delays after them
//	table.go     a fixed number of buckets
//	directory.go Directory: what counts wrong passwords for users of a directory
//	device.go    Devices: the cookie of a browser that a user has signed in with before
//
// A failure counts for the username, whether or not there is such a user, and for where it came
// from: the network address at the login page, the client at the token endpoint. A browser that the
// user has signed in with before has a bucket of its own instead, so attackers who guess cannot
// lock the user out.
//
// An attempt that is not refused waits in the queue of package password. No name and no source may
// have more than a part of the queue, whether its passwords are right or wrong, so one user with
// many connections does not keep others out. A known browser has a quota of its own there, and a
// reserve of the queue is for known browsers only.
//
// A refusal is a response, not a pause: a connection that is held costs the server more than the
// attacker.
//
// The counters are those of one process. With several replicas an attacker has as many times the
// attempts; a shared counter would need a write for each anonymous request.
package throttle

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"io"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// failureWindow is how long failures count. Delays are forgotten as long after the last one ends.
const failureWindow = 10 * time.Minute

// The rules. Anyone may know a username, so it must be hard to guess for. A source or a client may
// stand for many users, who should not wait long because of one of them.
var (
	perName   = rule{by: "name", maxFailures: 10, window: failureWindow, maxDelay: 15 * time.Minute, buckets: 1 << 15}
	perDevice = rule{by: "device", maxFailures: 10, window: failureWindow, maxDelay: 15 * time.Minute, buckets: 1 << 13}
	perSource = rule{by: "source", maxFailures: 100, window: failureWindow, maxDelay: time.Minute, buckets: 1 << 13}
	perClient = rule{by: "client", maxFailures: 1000, window: failureWindow, maxDelay: time.Minute, buckets: 1 << 10}
)

// rule says how many failures within the window one kind of bucket allows. Delays of one second, two,
// four, and so on up to maxDelay follow; or, if it is strict, no attempt until a failure is forgotten.
type rule struct {
	by          string // the value of the label
	maxFailures int
	window      time.Duration
	maxDelay    time.Duration
	isStrict    bool
	buckets     int // in the table
}

// RefusedError is the error of an attempt that comes too soon. Nothing was hashed.
type RefusedError struct {
	// Wait is how long to wait, more than 0.
	Wait time.Duration
}

func (r *RefusedError) Error() string {
	return "too many failed attempts; try again in " + r.RetryAfter() + " seconds"
}

// RetryAfter returns the value of the header of that name (RFC 9110 section 10.2.3): Wait in
// seconds, rounded up.
func (r *RefusedError) RetryAfter() string { return strconv.Itoa(r.Seconds()) }

// Seconds returns Wait in seconds, rounded up.
func (r *RefusedError) Seconds() int { return int(math.Ceil(r.Wait.Seconds())) }

// Throttle counts failures. It is safe for concurrent use.
type Throttle struct {
	now     func() time.Time
	started time.Time
	// key is the key of the tags: the server keeps no username, and no client can choose which
	// bucket a username falls into.
	key     [sha256.Size]byte
	refused *prometheus.CounterVec
	shared  *prometheus.CounterVec

	mu                               sync.Mutex
	names, devices, sources, clients *table
}

// New returns a Throttle without failures, and registers its metrics. Its key is read from random.
func New(now func() time.Time, random io.Reader, registerer prometheus.Registerer) (*Throttle, error) {
	const namespace, subsystem = "oauth_operator", "tokenserver"
	t := &Throttle{
		now: now, started: now(),
		names: newTable(perName), devices: newTable(perDevice), sources: newTable(perSource), clients: newTable(perClient),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "password_attempts_refused_total",
			Help: "Passwords that were not verified because too many others had been wrong, by what had failed too often.",
		}, []string{"by"}),
		shared: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "password_counters_shared_total",
			Help: "Counters of wrong passwords that another name, device, source, client or entry of a directory had to share, because there are too many of them.",
		}, []string{"by"}),
	}
	if _, err := io.ReadFull(random, t.key[:]); err != nil {
		return nil, fmt.Errorf("reading randomness for a key: %w", err)
	}
	for _, c := range []*prometheus.CounterVec{t.refused, t.shared} {
		for _, r := range []rule{perName, perDevice, perSource, perClient, {by: byEntry}} {
			c.WithLabelValues(r.by)
		}
		if err := registerer.Register(c); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return t, nil
}

// newTag returns the tag of a bucket or a quota. No part but the last may have a NUL.
func (t *Throttle) newTag(parts ...string) tag {
	mac := hmac.New(sha256.New, t.key[:])
	for i, part := range parts {
		if i > 0 {
			mac.Write([]byte{0})
		}
		mac.Write([]byte(part))
	}
	return tag(mac.Sum(nil)[:len(tag{})])
}

// elapsed returns the time since the Throttle was made. It does not change when the clock is set.
func (t *Throttle) elapsed() time.Duration { return t.now().Sub(t.started) }
