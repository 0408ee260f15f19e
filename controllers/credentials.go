package controllers

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// secretPrefix lets secret scanners recognize a generated client secret. It and base64url have only
// characters that need no encoding in HTTP Basic.
const secretPrefix = "oauthop_"

// newClientSecret returns a client secret of 256 random bits.
func newClientSecret(random io.Reader) (string, error) {
	b := make([]byte, 32)
	if _, err := io.ReadFull(random, b); err != nil {
		return "", fmt.Errorf("generating a client secret: %w", err)
	}
	return secretPrefix + base64.RawURLEncoding.EncodeToString(b), nil
}

// newCredential returns the credential of a secret, under a random id. revision is that of
// spec.secret.rotation.
func newCredential(secret, state string, revision int64, now time.Time, random io.Reader) (documents.Credential, error) {
	id := make([]byte, 8)
	if _, err := io.ReadFull(random, id); err != nil {
		return documents.Credential{}, fmt.Errorf("generating the id of a credential: %w", err)
	}
	return documents.Credential{
		ID: "c-" + hex.EncodeToString(id), SHA256: hashSecret(secret), State: state, NotBefore: now.Unix(),
		Source: credentialSource{revision: revision}.String(),
	}, nil
}

func hashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// findBySecret returns the credential of a secret, or nil if there is none.
func findBySecret(credentials []documents.Credential, secret string) *documents.Credential {
	if secret == "" {
		return nil
	}
	hash := hashSecret(secret)
	for i := range credentials {
		if subtle.ConstantTimeCompare([]byte(credentials[i].SHA256), []byte(hash)) == 1 {
			return &credentials[i]
		}
	}
	return nil
}

// findByState returns the first credential in a state, or nil if there is none.
func findByState(credentials []documents.Credential, state string) *documents.Credential {
	for i := range credentials {
		if credentials[i].State == state {
			return &credentials[i]
		}
	}
	return nil
}

// addPending adds a Pending credential, in place of one that an interrupted pass has left.
func addPending(credentials []documents.Credential, pending documents.Credential) []documents.Credential {
	kept := slices.DeleteFunc(slices.Clone(credentials), func(c documents.Credential) bool { return c.State == documents.CredentialPending })
	return append([]documents.Credential{pending}, kept...)
}

// activate makes the credential with an id Active. The one that was Active retires, Retiring ones
// stay, and all others end. The Active one keeps what is remembered of rotations.
func activate(credentials []documents.Credential, id string, source credentialSource, old retirement) []documents.Credential {
	var before credentialSource
	if c := findByState(credentials, documents.CredentialActive); c != nil {
		before = parseCredentialSource(c.Source)
	}
	var active, replaced, retiring []documents.Credential
	for _, c := range credentials {
		switch {
		case c.ID == id:
			source.revision = max(before.revision, parseCredentialSource(c.Source).revision)
			c.State, c.RetireAfter, c.Source = documents.CredentialActive, 0, source.String()
			active = append(active, c)
		case c.State == documents.CredentialActive:
			replaced = append(replaced, old.retire(c))
		case c.State == documents.CredentialRetiring:
			retiring = append(retiring, c)
		}
	}
	return slices.Concat(active, replaced, retiring)
}
