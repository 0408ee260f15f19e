// Package throttle makes guessing passwords slow. It counts failed attempts, and refuses the next one, unhashed, while it is too early for it.
//
//	throttle.go  Throttle: who is counted, and Attempt: one password on its way to being verified
//	bucket.go    the failures of one name, device, source or client, and how long to wait after them
//	table.go     a fixed number of buckets, whoever comes
//	device.go    the cookie of a browser that somebody has signed in with before
//
// A failure counts against the username, whether there is such a user or not, and against where it came from: the network address at the login
// page, the client at the token endpoint. A browser that has signed a user in before has a bucket of its own for that user and counts for
// nothing else, so that others who guess cannot keep the owner out.
//
// What is not refused waits in the queue of package password, where no name and no source has more
// than a part, whether its passwords are right or wrong: one user with many connections keeps no
// other out. A browser that is known has a place of its own there too.
//
// A refusal is an answer and not a pause: a connection that is held costs the server more than the one who guesses.
//
// The counters are those of one process. With several replicas a guesser has so many times the attempts; a counter that they share would be a
// write for each anonymous request.
package throttle

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"io"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oauth-operator/oauth-operator/tokenserver/password"
)

// namePlaces is how many attempts for one name may be in the queue at once, right or wrong: one
// account must not lock out the others.
const namePlaces = 2

// window in which failures are counted, and for which a delay is remembered after it is over.
const window = 10 * time.Minute

// What is counted. A name that everybody knows must be hard to guess for; a source or a client may be many people, who should not wait long
// for one among them.
var (
	perName   = rule{by: "name", failures: 10, longest: 15 * time.Minute, buckets: 1 << 15}
	perDevice = rule{by: "device", failures: 10, longest: 15 * time.Minute, buckets: 1 << 13}
	perSource = rule{by: "source", failures: 100, longest: time.Minute, buckets: 1 << 13}
	perClient = rule{by: "client", failures: 1000, longest: time.Minute, buckets: 1 << 10}
)

// rule says what one kind of bucket bears: so many failures in the window, then delays of a second, two, four and so on up to the longest.
type rule struct {
	by       string
	failures int
	longest  time.Duration
	buckets  int
}

// Refused says that it is too early for another attempt. Nothing was verified.
type RefusedError struct {
	// After is how long to wait: more than zero.
	Wait time.Duration
}

func (r *RefusedError) Error() string {
	return "too many failed attempts; try again in " + r.RetryAfter() + " seconds"
}

// RetryAfter is After in whole seconds, rounded up, for the header of that name (RFC 9110 section 10.2.3).
func (r *RefusedError) RetryAfter() string { return strconv.Itoa(r.Seconds()) }

// Seconds is After, rounded up.
func (r *RefusedError) Seconds() int { return int(math.Ceil(r.Wait.Seconds())) }

// Throttle counts failures. It is safe for use by many.
type Throttle struct {
	now     func() time.Time
	started time.Time
	// key of the HMAC that buckets are found by: no name is kept, and nobody can choose which bucket a name falls into.
	key     [sha256.Size]byte
	refused *prometheus.CounterVec
	shared  *prometheus.CounterVec

	mu                               sync.Mutex
	names, devices, sources, clients *table
}

// New returns a Throttle that has counted nothing. Its metrics are registered with the registerer.
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
			Help: "Counters of wrong passwords that another name, device, source or client had to share, because there are too many of them.",
		}, []string{"by"}),
	}
	if _, err := io.ReadFull(random, t.key[:]); err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	for _, c := range []*prometheus.CounterVec{t.refused, t.shared} {
		for _, r := range []rule{perName, perDevice, perSource, perClient} {
			c.WithLabelValues(r.by)
		}
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Attempt is one password on its way to being verified.
type Attempt struct {
	throttle *Throttle
	counted  []counted
	// shares of the queue of those who wait to be verified; reserve: a place in it is kept for
	// attempts like this one.
	shares  []password.Quota
	reserve bool
	begun   bool
}

// counted is a bucket of an attempt.
type counted struct {
	table  *table
	tag    tag
	bucket *bucket // once it has begun
	// resets says that a right password clears the bucket.
	resets bool
}

// Login is an attempt at the login page for a username, in its normal form, from a source. Device is what Devices.Known says; empty if the
// browser is not known to be this user's.
func (t *Throttle) NewLoginAttempt(name, source, device string) *Attempt {
	if device != "" {
		of := t.tag("device", device, name)
		return &Attempt{
			throttle: t, counted: []counted{{table: t.devices, tag: of, resets: true}},
			shares: []password.Quota{of.places(1), t.tag("devices", name).places(namePlaces)}, reserve: true,
		}
	}
	return t.attempt(name, counted{table: t.sources, tag: t.tag("source", source)}, t.tag("page", name))
}

// Grant is an attempt at the token endpoint, for a username in its normal form, by a client that has authenticated.
func (t *Throttle) NewGrantAttempt(name, clientUID string) *Attempt {
	return t.attempt(name, counted{table: t.clients, tag: t.tag("client", clientUID)}, t.tag("grant", clientUID, name))
}

// attempt from a source or by a client. The name's places are apart for the login page and for each
// client, so that none takes them from another.
func (t *Throttle) attempt(name string, from counted, waits tag) *Attempt {
	return &Attempt{
		throttle: t, counted: []counted{{table: t.names, tag: t.tag("name", name), resets: true}, from},
		shares: []password.Quota{waits.places(namePlaces), password.QuarterQuota(string(from.tag[:]))},
	}
}

// tag of a bucket or a share. No part but the last may have a zero byte.
func (t *Throttle) tag(parts ...string) tag {
	mac := hmac.New(sha256.New, t.key[:])
	for i, part := range parts {
		if i > 0 {
			mac.Write([]byte{0})
		}
		mac.Write([]byte(part))
	}
	return tag(mac.Sum(nil)[:len(tag{})])
}

// Verify is Verify of the verifier, unless it is too early: then the error is a *Refused, nothing
// is hashed, and no place in the queue taken. What comes out is counted. An attempt is good for one
// call.
func (a *Attempt) Verify(ctx context.Context, v *password.Verifier, phc, secret string) (bool, error) {
	if err := a.early(); err != nil {
		return false, err
	}
	right, err := v.Verify(ctx, password.Request{Hash: phc, Password: secret, Quotas: a.shares, UseReserve: a.reserve, BeforeHash: a.begin})
	a.end(right, err)
	return right, err
}

// early refuses an attempt that need not wait for its turn.
func (a *Attempt) early() error {
	t := a.throttle
	t.mu.Lock()
	defer t.mu.Unlock()
	return a.mayBegin(t.elapsed())
}

// begin an attempt whose turn has come: others may have failed while it waited. From here on it counts as one that may fail, so that many at
// once are not more than one after another.
func (a *Attempt) begin() error {
	t := a.throttle
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.elapsed()
	if err := a.mayBegin(now); err != nil {
		return err
	}
	for i := range a.counted {
		c := &a.counted[i]
		var shared bool
		if c.bucket, shared = c.table.take(c.tag, now); shared {
			t.shared.WithLabelValues(c.table.by).Inc()
		}
		c.bucket.running++
	}
	a.begun = true
	return nil
}

// mayBegin says by what it is too early, if it is. The caller has the lock.
func (a *Attempt) mayBegin(now time.Duration) error {
	var longest time.Duration
	var by string
	for _, c := range a.counted {
		if wait := c.table.look(c.tag, now).wait(c.table.rule, now); wait > longest {
			longest, by = wait, c.table.by
		}
	}
	if longest == 0 {
		return nil
	}
	a.throttle.refused.WithLabelValues(by).Inc()
	return &RefusedError{Wait: longest}
}

// end counts what came out. An error says nothing about the password.
func (a *Attempt) end(right bool, err error) {
	if !a.begun {
		return
	}
	t := a.throttle
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.elapsed()
	for _, c := range a.counted {
		c.bucket.running--
		switch {
		case err != nil:
		case !right:
			c.bucket.fail(c.table.rule, now)
		case c.resets:
			c.bucket.clear()
		}
	}
}

// elapsed since the Throttle was made: a clock that is set does not disturb it.
func (t *Throttle) elapsed() time.Duration { return t.now().Sub(t.started) }
