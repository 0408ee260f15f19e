package password

import (
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Decoy is a hash that costs what phc costs, and that nobody knows a password of: salt and sum are all zero. Verifying it takes the time that
// a user takes, for a name that is nobody's. Hashes of the same costs have the same decoy; that of the empty string, or of what is no hash
// that CheckHash passes, has the costs of Hash.
func DummyHash(phc string) string {
	h, err := parse(phc)
	switch {
	case err != nil:
		return argon2Decoy(ownCost)
	case h.bcrypt:
		return "$2a$" + phc[len("$2a$"):len("$2a$00$")] + strings.Repeat(".", 53)
	default:
		return argon2Decoy(h.params)
	}
}

func argon2Decoy(cost argon2Params) string {
	zero := func(n int) string { return base64.RawStdEncoding.EncodeToString(make([]byte, n)) }
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, cost.memory, cost.time, cost.threads, zero(saltLength), zero(hashLength))
}
