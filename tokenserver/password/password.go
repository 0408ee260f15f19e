// Package password hashes and verifies the passwords of users, and normalizes passwords and
// usernames. The manager hashes passwords and checks hashes with it, the token server verifies
// passwords. Both have to agree on what a password and a username are.
//
//	password.go   Hash and Verify
//	phc.go        parses hashes, and limits their cost
//	dummy.go      DummyHash, for usernames that do not exist
//	normalize.go  the normal forms of passwords and usernames
//	verifier.go   Verifier, which verifies within limits of CPUs and memory
//	queue.go      the queue of the Verifier, and the quotas of users and sources
//	cost.go       how much memory and time a hash takes
//	metrics.go    metrics of the queue
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

// MaxLength is how many bytes a password may have.
const MaxLength = 1024

// DefaultHashMemory is how many bytes of memory a hash that Hash makes takes.
const DefaultHashMemory = defaultMemory << 10

const defaultMemory = 19456 // KiB

// defaultCost is the cost of the hashes that Hash makes: the second choice of the OWASP password
// storage cheat sheet for argon2id.
var defaultCost = argon2Params{memory: defaultMemory, time: 2, threads: 1}

const (
	saltLength = 16
	hashLength = 32
)

// ErrTooLong means that a password has more than MaxLength bytes.
var ErrTooLong = errors.New("password is too long")

// Hash returns an argon2id hash of the normalized password in PHC string format, with a salt from
// random. The error wraps ErrTooLong if the password is too long.
func Hash(password string, random io.Reader) (phc string, err error) {
	if len(password) > MaxLength {
		return "", fmt.Errorf("%w: more than %d bytes", ErrTooLong, MaxLength)
	}
	salt := make([]byte, saltLength)
	if _, err := io.ReadFull(random, salt); err != nil {
		return "", fmt.Errorf("reading randomness for a salt: %w", err)
	}
	sum := argon2.IDKey([]byte(normalize(password)), salt, defaultCost.time, defaultCost.memory, defaultCost.threads, hashLength)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, defaultCost.memory, defaultCost.time, defaultCost.threads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(sum)), nil
}

// Verify reports whether phc, an argon2id or bcrypt hash, is a hash of the normalized password. The
// error wraps ErrHash if CheckHash refuses phc, which is not computed then. bcrypt uses only the
// first 72 bytes of a password.
func Verify(phc, password string) (bool, error) {
	if len(password) > MaxLength {
		return false, nil
	}
	h, err := parseHash(phc)
	if err != nil {
		return false, err
	}
	password = normalize(password)
	if h.bcrypt {
		// The hash is well-formed, so the only possible error is that it does not match.
		return bcrypt.CompareHashAndPassword([]byte(phc), []byte(password)) == nil, nil
	}
	sum := argon2.IDKey([]byte(password), h.salt, h.params.time, h.params.memory, h.params.threads, uint32(len(h.sum)))
	return subtle.ConstantTimeCompare(sum, h.sum) == 1, nil
}
