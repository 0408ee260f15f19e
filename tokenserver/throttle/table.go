package throttle

import (
	"encoding/binary"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/password"
)

// tag identifies a bucket. It is an HMAC with a random key, so tags are spread evenly whatever
// usernames clients send.
type tag [16]byte

// key returns the tag as the key of a quota.
func (g tag) key() string { return string(g[:]) }

// quota returns a quota of n places in the queue for all attempts with this tag.
func (g tag) quota(n int) password.Quota { return password.FixedQuota(g.key(), n) }

// setSize is how many buckets a tag may be in.
const setSize = 8

// table has a fixed number of buckets. Each tag belongs to a set of setSize buckets, which is
// allocated when it is first used.
//
// When a set is full, a new tag takes over the bucket that counts least, with the failures in it
// (the Space-Saving algorithm of Metwally, Agrawal and El Abbadi). So made-up usernames, however
// many, make the server neither forget a failure nor use more memory. While more usernames fail
// than there are buckets, some wait for the failures of others.
type table struct {
	rule
	sets []*[setSize]bucket
}

func newTable(r rule) *table {
	return &table{rule: r, sets: make([]*[setSize]bucket, r.buckets/setSize)}
}

// find returns the bucket that a tag counts in: its own, or the one of its set that counts least.
func (t *table) find(g tag, now time.Duration) *bucket {
	set := t.setOf(g)
	var least *bucket
	for i := range set {
		b := &set[i]
		b.expire(t.rule, now)
		if b.tag == g {
			return b
		}
		if least == nil || b.compare(least) < 0 {
			least = b
		}
	}
	return least
}

// assign makes the bucket that find returns the tag's own. It reports whether failures of another
// tag are in it.
func (t *table) assign(g tag, now time.Duration) (b *bucket, isShared bool) {
	b = t.find(g, now)
	isShared = b.tag != g && !b.isEmpty()
	b.tag = g
	return b, isShared
}

func (t *table) setOf(g tag) *[setSize]bucket {
	i := binary.BigEndian.Uint64(g[:8]) % uint64(len(t.sets))
	if t.sets[i] == nil {
		t.sets[i] = new([setSize]bucket)
	}
	return t.sets[i]
}
