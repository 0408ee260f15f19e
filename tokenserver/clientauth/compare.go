package clientauth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// Every authentication hashes two spellings of the secret and compares each with at least this many hashes, whoever the client is and
// whatever it sent: as many as a client has while it rotates.
const (
	comparedSecrets = 2
	comparedHashes  = 4
)

// compare says which credential one of the secrets is. Without a client it does the same work and says no.
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
		stored, usable := a.usable(credential)
		for j, hash := range hashes {
			a.comparisons.Add(1)
			equal := subtle.ConstantTimeCompare(hash[:], stored[:]) == 1
			if equal && usable && j < len(secrets) && secrets[j] != "" {
				found, matches = credential, true
			}
		}
	}
	return found, matches
}

// afterRetiring is how much later than its time a Retiring credential ends here. Its end is when the
// manager takes it out of the document, by one clock for all replicas; the clock of this one, which may
// be minutes off, only ends what a manager that is away did not.
const retiringTolerance = 10 * time.Minute

// usable gives the hash of a credential, and whether it authenticates now.
func (a *Authenticator) usable(c documents.Credential) (stored [sha256.Size]byte, ok bool) {
	n, err := hex.Decode(stored[:], fitted(c.SHA256))
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

// fitted is a hash in hexadecimal; anything of another length is none.
func fitted(s string) []byte {
	if len(s) != hex.EncodedLen(sha256.Size) {
		return nil
	}
	return []byte(s)
}
