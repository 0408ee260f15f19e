package controllers

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// secretPrefix lets secret scanners know a generated client secret. It and base64url have
// characters only that need no encoding in HTTP Basic.
const secretPrefix = "oauthop_"

// minSecret is the length below which a client secret that the operator did not make is refused: it
// is stored under a fast hash, which is right for random values only.
const minSecret = 32

// newSecret is a client secret of 256 random bits.
func newSecret(random io.Reader) (string, error) {
	b := make([]byte, 32)
	if _, err := io.ReadFull(random, b); err != nil {
		return "", fmt.Errorf("making a client secret: %w", err)
	}
	return secretPrefix + base64.RawURLEncoding.EncodeToString(b), nil
}

// pendingSecrets are secrets that were generated and are in no Secret yet, by the client. Another
// try goes on with the one that there is, whose hash may be served already. They are in memory
// only: one that is lost with the manager was given to no client.
type pendingSecrets struct {
	mu sync.Mutex
	of map[client.ObjectKey]pendingSecret
}

type pendingSecret struct {
	client types.UID
	value  string
}

func newPendingSecrets() *pendingSecrets {
	return &pendingSecrets{of: map[client.ObjectKey]pendingSecret{}}
}

// value is the client's pending secret; a new one if there is none.
func (p *pendingSecrets) value(c metav1.Object, random io.Reader) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := client.ObjectKey{Namespace: c.GetNamespace(), Name: c.GetName()}
	if found, ok := p.of[key]; ok && found.client == c.GetUID() {
		return found.value, nil
	}
	value, err := newSecret(random)
	if err == nil {
		p.of[key] = pendingSecret{c.GetUID(), value}
	}
	return value, err
}

func (p *pendingSecrets) forget(c client.ObjectKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.of, c)
}

// newCredential is the hash of a secret, under an id that says nothing about it.
func newCredential(secret, state string, now time.Time, random io.Reader) (documents.Credential, error) {
	id := make([]byte, 8)
	if _, err := io.ReadFull(random, id); err != nil {
		return documents.Credential{}, fmt.Errorf("making a credential: %w", err)
	}
	return documents.Credential{
		ID: "c-" + hex.EncodeToString(id), SHA256: hashSecret(secret), State: state, NotBefore: now.Unix(),
	}, nil
}

func hashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// credentialOf is the credential that a secret is the value of; nil if there is none.
func credentialOf(credentials []documents.Credential, secret string) *documents.Credential {
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

func inState(credentials []documents.Credential, state string) *documents.Credential {
	for i := range credentials {
		if credentials[i].State == state {
			return &credentials[i]
		}
	}
	return nil
}

// withPending puts a credential beside the one that is Active, in place of one that an interrupted
// attempt left.
func withPending(credentials []documents.Credential, pending documents.Credential) []documents.Credential {
	kept := slices.DeleteFunc(slices.Clone(credentials), func(c documents.Credential) bool { return c.State == documents.CredentialPending })
	return append([]documents.Credential{pending}, kept...)
}

// activated makes one credential the only one, since the Secret holds it now.
func activated(c documents.Credential, source string) []documents.Credential {
	c.State, c.Source = documents.CredentialActive, source
	return []documents.Credential{c}
}

// sourceOf names one version of a Secret and what was read from it.
func sourceOf(secret metav1.Object, detail string) string {
	source := string(secret.GetUID()) + "/" + secret.GetResourceVersion()
	if detail != "" {
		source += "/" + detail
	}
	return source
}

// sourcePart is what a source says of the Secret that was read, without the Secret that it was
// copied to.
func sourcePart(source string) string {
	read, _, _ := strings.Cut(source, " ")
	return read
}

// checkSecret says what is wrong with a client secret that the operator did not make; empty:
// nothing. RFC 6749 appendix A.2: client_secret = *VSCHAR.
func checkSecret(value string) (weak bool, problem string) {
	if len(value) < minSecret {
		return true, fmt.Sprintf("is shorter than %d characters: use a random value, such as of openssl rand -hex 32", minSecret)
	}
	if len(value) > 1024 {
		return false, "is longer than 1024 characters"
	}
	for i := range len(value) {
		if value[i] < 0x20 || value[i] > 0x7e {
			return false, "has characters other than printable ASCII; a line break at its end, maybe (echo -n)"
		}
	}
	return false, ""
}
