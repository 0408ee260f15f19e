package registry

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"math"

	"github.com/oauth-operator/oauth-operator/tokenserver/password"
)

// hashCosts counts users by how much verifying their passwords costs. Its keys are dummy hashes of
// that cost (password.DummyHash).
//
// Administrators bring hashes from other systems, so verifying one user's may take 5 ms and
// another's 200. Verifying a password for an unknown username must cost what it could cost for a
// user, and the same each time, or the time of the response would tell which usernames exist.
type hashCosts map[string]int

// add counts n more users with a hash, or fewer if n is negative.
func (c hashCosts) add(phc string, n int) {
	if phc == "" {
		return
	}
	dummy := password.DummyHash(phc)
	c[dummy] += n
	if c[dummy] <= 0 {
		delete(c, dummy)
	}
}

// pickDummy returns the dummy hash for an unknown username: each cost is as frequent as it is among
// users, and a username has the same while the counts are the same. When the counts change, only as
// many usernames change as the new frequencies require (weighted rendezvous hashing).
//
// All replicas, and all processes that follow them, return the same, since their key is the same:
// an identifier that only the cluster knows.
func (c hashCosts) pickDummy(key, name string) string {
	best, picked := math.Inf(1), password.DummyHash("")
	for dummy, users := range c {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write([]byte(dummy + "\x00" + name))
		// Uniform in (0, 1), from the 53 bits that a float64 holds exactly.
		uniform := (float64(binary.BigEndian.Uint64(mac.Sum(nil))>>11) + 0.5) / (1 << 53)
		if score := -math.Log(uniform) / float64(users); score < best {
			best, picked = score, dummy
		}
	}
	return picked
}
