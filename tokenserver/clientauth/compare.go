package clientauth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// Every authentication, for any client and any request, hashes two spellings of the secret and
// compares each with at least this many hashes, which is as many as a client has while its secret
// rotates.
const (
	comparedSecrets = 2
	comparedHashes  = 4
)

// findCredential returns the client's credential that has one of the secrets. Without a client it
// does the same work and finds none.
func (a *Authenticator) findCredential(client *registry.Client, secrets []string) (found documents.Credential, matches bool) {
	hashes := make([][sha256.Size]byte, comparedSecrets)
	for i := range hashes {
		if i < len(secrets) {
			hashes[i] = sha256.Sum256([]byte(secrets[i]))
		} else {
			hashes[i] = sha256.Sum256(nil)
		}
	}
	var credentials []documents.Credential
	if client != nil {
		credentials = client.Credentials
	}
	for i := range max(comparedHashes, len(credentials)) {
		var credential documents.Credential
		if i < len(credentials) {
			credential = credentials[i]
		}
		stored, valid := a.decodeHash(credential)
		for j, hash := range hashes {
			a.comparisons.Add(1)
			equal := subtle.ConstantTimeCompare(hash[:], stored[:]) == 1
			if equal && valid && j < len(secrets) && secrets[j] != "" {
				found, matches = credential, true
			}
		}
	}
	return found, matches
}

// retiringTolerance is how long after its time a Retiring credential is still accepted. Normally
// its end is when the manager removes it from the document, by one clock for all replicas. The
// clock of this replica, which may be minutes off, decides only while the manager is down.
const retiringTolerance = 10 * time.Minute

// decodeHash returns the hash of a credential, and whether the credential is valid now.
func (a *Authenticator) decodeHash(c documents.Credential) (stored [sha256.Size]byte, ok bool) {
	n, err := hex.Decode(stored[:], hashDigits(c.SHA256))
	ok = err == nil && n == sha256.Size
	switch c.State {
	case documents.CredentialPending, documents.CredentialActive:
	case documents.CredentialRetiring:
		ok = ok && a.Now().Before(time.Unix(c.RetireAfter, 0).Add(retiringTolerance))
	default:
		ok = false
	}
	return stored, ok
}

// hashDigits returns the hexadecimal digits of a hash, or nil if they are not as long as one.
func hashDigits(s string) []byte {
	if len(s) != hex.EncodedLen(sha256.Size) {
		return nil
	}
	return []byte(s)
}
