package registry

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"math"

	"github.com/oauth-operator/oauth-operator/tokenserver/password"
)

// mix counts users by what verifying their passwords costs: by the decoy of their hash.
//
// Hashes come from here and there, so that one user's takes 5 ms and another's 200. A name that is nobody's must cost what a user's could, and
// always the same, or the time of an answer would tell who exists.
type hashCosts map[string]int

// add n users with this hash; a negative n takes them away.
func (m hashCosts) add(phc string, n int) {
	if phc == "" {
		return
	}
	decoy := password.DummyHash(phc)
	m[decoy] += n
	if m[decoy] <= 0 {
		delete(m, decoy)
	}
}

// pick a decoy for a name: each with the frequency of its costs among users, and always the same one while the mix is the same. When the mix
// changes, only those names change that the new frequencies ask for (weighted rendezvous hashing), as little as users change their passwords.
//
// Replicas, and processes one after another, pick the same, since the key is the same: an identifier that outsiders do not know.
func (m hashCosts) pickDummy(key, name string) string {
	best, picked := math.Inf(1), password.DummyHash("")
	for decoy, users := range m {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write([]byte(decoy + "\x00" + name))
		// Uniform in (0, 1), from the 53 bits that a float64 holds exactly.
		uniform := (float64(binary.BigEndian.Uint64(mac.Sum(nil))>>11) + 0.5) / (1 << 53)
		if score := -math.Log(uniform) / float64(users); score < best {
			best, picked = score, decoy
		}
	}
	return picked
}
