package throttle

import (
	"context"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/password"
)

// placesPerName is how many attempts for one name may be in the queue at once, so that one user
// cannot keep out others.
const placesPerName = 2

// Attempt is one password from its arrival to its verification. It is for one call of Verify.
type Attempt struct {
	throttle *Throttle
	buckets  []countedBucket
	// quotas are those of the queue, and useReserve lets the attempt into its reserve.
	quotas     []password.Quota
	useReserve bool
	hasBegun   bool
}

// countedBucket is a bucket that an attempt counts in.
type countedBucket struct {
	table  *table
	tag    tag
	bucket *bucket // nil until the attempt has begun
	// isCleared is true if a right password clears the bucket.
	isCleared bool
}

// NewLoginAttempt returns an attempt at the login page for a username, in its normal form, from a
// source. The deviceID is from Devices.KnownID.
func (t *Throttle) NewLoginAttempt(name, source, deviceID string) *Attempt {
	if deviceID != "" {
		device := t.newTag("device", deviceID, name)
		return &Attempt{
			throttle: t, buckets: []countedBucket{{table: t.devices, tag: device, isCleared: true}},
			quotas: []password.Quota{device.quota(1), t.newTag("devices", name).quota(placesPerName)}, useReserve: true,
		}
	}
	return t.newAttempt(name, countedBucket{table: t.sources, tag: t.newTag("source", source)}, t.newTag("page", name))
}

// NewGrantAttempt returns an attempt at the token endpoint for a username, in its normal form, by a
// client that has authenticated.
func (t *Throttle) NewGrantAttempt(name, clientUID string) *Attempt {
	return t.newAttempt(name, countedBucket{table: t.clients, tag: t.newTag("client", clientUID)}, t.newTag("grant", clientUID, name))
}

// newAttempt returns an attempt from a source or by a client. A name has places in the queue for
// the login page and for each client, so that none of them takes those of another.
func (t *Throttle) newAttempt(name string, origin countedBucket, places tag) *Attempt {
	return &Attempt{
		throttle: t, buckets: []countedBucket{{table: t.names, tag: t.newTag("name", name), isCleared: true}, origin},
		quotas: []password.Quota{places.quota(placesPerName), password.QuarterQuota(origin.tag.key())},
	}
}

// Verify verifies like v.Verify, and counts the result. If the attempt comes too soon, the error is
// a *RefusedError, and nothing is hashed.
func (a *Attempt) Verify(ctx context.Context, v *password.Verifier, phc, secret string) (bool, error) {
	if err := a.check(); err != nil {
		return false, err
	}
	isRight, err := v.Verify(ctx, password.Request{
		Hash: phc, Password: secret, Quotas: a.quotas, UseReserve: a.useReserve, BeforeHash: a.begin,
	})
	a.end(isRight, err)
	return isRight, err
}

// check returns an error if the attempt comes too soon, before it takes a place in the queue.
func (a *Attempt) check() error {
	t := a.throttle
	t.mu.Lock()
	defer t.mu.Unlock()
	return a.checkLocked(t.elapsed())
}

// begin begins the attempt at the end of the queue, unless others have failed while it waited. From
// here on it counts as one that may fail, so attempts at the same time are not more than one after
// another.
func (a *Attempt) begin() error {
	t := a.throttle
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.elapsed()
	if err := a.checkLocked(now); err != nil {
		return err
	}
	for i := range a.buckets {
		c := &a.buckets[i]
		var isShared bool
		if c.bucket, isShared = c.table.assign(c.tag, now); isShared {
			t.shared.WithLabelValues(c.table.by).Inc()
		}
		c.bucket.running++
	}
	a.hasBegun = true
	return nil
}

// checkLocked is check for a caller that holds the lock.
func (a *Attempt) checkLocked(now time.Duration) error {
	var longest time.Duration
	var by string
	for _, c := range a.buckets {
		if wait := c.table.find(c.tag, now).waitTime(c.table.rule, now); wait > longest {
			longest, by = wait, c.table.by
		}
	}
	if longest == 0 {
		return nil
	}
	a.throttle.refused.WithLabelValues(by).Inc()
	return &RefusedError{Wait: longest}
}

// end counts the result. An error says nothing about the password.
func (a *Attempt) end(isRight bool, err error) {
	if !a.hasBegun {
		return
	}
	t := a.throttle
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.elapsed()
	for _, c := range a.buckets {
		c.bucket.running--
		switch {
		case err != nil:
		case !isRight:
			c.bucket.addFailure(c.table.rule, now)
		case c.isCleared:
			c.bucket.clear()
		}
	}
}
