// Package password hashes and verifies users' passwords, and normalises passwords and usernames.
// The manager hashes and checks hashes with it, the token server verifies; both must agree on what
// a password and a name are.
//
//	password.go   hashes and their verification
//	phc.go        reads hashes and bounds their parameters
//	decoy.go      makes hashes for names that are nobody's
//	normalize.go  the one form of a password and of a username
//	verifier.go   Verifier: verifies within limits of CPUs and memory
//	queue.go      what waits for its turn, and who may have how much of the queue
//	cost.go       what a hash takes, and how long
package password

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// MaxLength of a password in bytes; a longer one is refused unhashed.
const MaxLength = 1024

// OwnMemory is how much a hash that this package makes takes, in bytes.
const HashMemory = ownMemory << 10

const ownMemory = 19456 // KiB

// Cost of the hashes that this package makes: the second choice of the OWASP password storage cheat sheet for argon2id, 19 MiB and two passes.
var ownCost = argon2Params{memory: ownMemory, time: 2, threads: 1}

const (
	saltLength = 16
	hashLength = 32
)

// ErrTooLong: the password has more than MaxLength bytes.
var ErrTooLong = errors.New("password is too long")

// Hash returns an argon2id hash of the normalised password in PHC string format, with a salt from
// random.
func Hash(password string, random io.Reader) (phc string, err error) {
	if len(password) > MaxLength {
		return "", fmt.Errorf("%w: more than %d bytes", ErrTooLong, MaxLength)
	}
	salt := make([]byte, saltLength)
	if _, err := io.ReadFull(random, salt); err != nil {
		return "", fmt.Errorf("make a salt: %w", err)
	}
	sum := argon2.IDKey([]byte(normalize(password)), salt, ownCost.time, ownCost.memory, ownCost.threads, hashLength)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, ownCost.memory, ownCost.time, ownCost.threads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(sum)), nil
}

// Verify says whether phc, an argon2id or bcrypt hash, is the normalised password's. The error
// wraps ErrHash if phc is no hash that CheckHash passes: it is never computed then. A bcrypt hash
// sees only the first 72 bytes of a password.
func Verify(phc, password string) (bool, error) {
	if len(password) > MaxLength {
		return false, nil
	}
	h, err := parse(phc)
	if err != nil {
		return false, err
	}
	password = normalize(password)
	if h.bcrypt {
		// The parameters were checked, so the only error left is that the password is another.
		return bcrypt.CompareHashAndPassword([]byte(phc), []byte(password)) == nil, nil
	}
	sum := argon2.IDKey([]byte(password), h.salt, h.params.time, h.params.memory, h.params.threads, uint32(len(h.sum)))
	return subtle.ConstantTimeCompare(sum, h.sum) == 1, nil
}
