package password

import (
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// DummyHash returns a hash that costs as much as phc, and that no known password has: its salt and
// its sum are zero. Verifying a password for an unknown username against it takes as long as for a
// user. Hashes of the same cost have the same dummy. That of the empty string, or of a string that
// CheckHash refuses, has the cost of the hashes that Hash makes.
func DummyHash(phc string) string {
	h, err := parseHash(phc)
	switch {
	case err != nil:
		return dummyArgon2Hash(defaultCost)
	case h.bcrypt:
		return "$2a$" + phc[len("$2a$"):len("$2a$00$")] + strings.Repeat(".", 53)
	default:
		return dummyArgon2Hash(h.params)
	}
}

func dummyArgon2Hash(cost argon2Params) string {
	zeros := func(n int) string { return base64.RawStdEncoding.EncodeToString(make([]byte, n)) }
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version,
		cost.memory, cost.time, cost.threads, zeros(saltLength), zeros(hashLength))
}
