package throttle

import (
	"encoding/binary"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/password"
)

// tag is what a bucket is found by: an HMAC under a key that nobody knows, so that tags spread evenly whatever names are sent.
type tag [16]byte

// places in the queue that all with this tag share.
func (g tag) places(n int) password.Quota { return password.FixedQuota(string(g[:]), n) }

// ways is how many buckets a tag may be in.
const ways = 8

// table is a fixed number of buckets. Each tag has a set of eight, which is made when it is first used.
//
// When a set is full, a newcomer takes the bucket that has least to lose, and goes on from the failures that are in it (the Space-Saving
// algorithm of Metwally, Agrawal and El Abbadi). So no number of made-up names makes the server forget a failure, or grow; while more names
// fail than there are buckets, some wait for the failures of others.
type table struct {
	rule
	sets []*[ways]bucket
}

func newTable(r rule) *table { return &table{rule: r, sets: make([]*[ways]bucket, r.buckets/ways)} }

// look gives the bucket that a tag counts in: its own, or an empty one, or the coldest of its set.
func (t *table) look(g tag, now time.Duration) *bucket {
	set := t.set(g)
	var coldest *bucket
	for i := range set {
		b := &set[i]
		b.age(now)
		if b.tag == g {
			return b
		}
		if coldest == nil || b.colder(coldest) {
			coldest = b
		}
	}
	return coldest
}

// take is look, and makes the bucket the tag's. Shared says that another's failures are in it.
func (t *table) take(g tag, now time.Duration) (b *bucket, shared bool) {
	b = t.look(g, now)
	shared = b.tag != g && !b.empty()
	b.tag = g
	return b, shared
}

func (t *table) set(g tag) *[ways]bucket {
	at := binary.BigEndian.Uint64(g[:8]) % uint64(len(t.sets))
	if t.sets[at] == nil {
		t.sets[at] = new([ways]bucket)
	}
	return t.sets[at]
}
