// Package tokencache keeps the tokens of a login for the next call: as an exec credential plugin the
// program is called for each new connection, and the user wants to sign in once.
//
// Each login has a file that only the user can read, named by a hash of all that tells it from other
// logins, and a lock: two programs that refreshed at once would both use the refresh token, and the
// token server ends a grant whose refresh token comes twice.
package tokencache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// Key is what tells a login from others.
type Key struct {
	Issuer      string   `json:"issuer"`
	ClientID    string   `json:"clientID"`
	Scopes      []string `json:"scopes"`
	Resources   []string `json:"resources"`
	RedirectURI string   `json:"redirectURI"`
	// Authority is the content of the file that verifies the issuer's certificate: what one
	// authority vouched for is not to be shown to the server of another.
	Authority string `json:"authority"`
}

// Entry is what is kept.
type Entry struct {
	IDToken      string    `json:"idToken"`
	RefreshToken string    `json:"refreshToken,omitempty"`
	Subject      string    `json:"subject"`
	Expiry       time.Time `json:"expiry"`
}

// Cache is the file of one login, locked.
type Cache struct {
	path string
	lock *flock.Flock
}

// Dir returns where kubectl has its caches: KUBECACHEDIR, or .kube/cache in the home directory.
func Dir() (string, error) {
	if dir := os.Getenv("KUBECACHEDIR"); dir != "" {
		return filepath.Join(dir, "oauth-login"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("finding a place for the token cache: %w; name one with --token-cache-dir", err)
	}
	return filepath.Join(home, ".kube", "cache", "oauth-login"), nil
}

// lockRetry is how often a lock that another process has is tried again.
const lockRetry = 100 * time.Millisecond

// Open locks the file of a login in a directory, which it creates if need be. It waits while another
// process has it, which may be waiting for the user. The lock is a file of its own: the token file is
// replaced by each write.
func Open(ctx context.Context, dir string, key Key) (*Cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating the token cache: %w", err)
	}
	text, err := json.Marshal(key)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	path := filepath.Join(dir, hex.EncodeToString(sum[:]))
	lock := flock.New(path+".lock", flock.SetPermissions(0o600))
	if _, err := lock.TryLockContext(ctx, lockRetry); err != nil {
		return nil, fmt.Errorf("locking the token cache %s: %w", lock.Path(), err)
	}
	return &Cache{path: path, lock: lock}, nil
}

// Close unlocks the file. The lock's own file stays: if it were removed, another process could hold
// a lock on the removed one.
func (c *Cache) Close() error { return c.lock.Close() }

// Read returns what is kept; the zero Entry if there is nothing. A file that others may read or
// write, or that is not as Write left it, is not used.
func (c *Cache) Read() (Entry, error) {
	info, err := os.Lstat(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return Entry{}, nil
	}
	if err != nil {
		return Entry{}, fmt.Errorf("reading the token cache: %w", err)
	}
	if !isPrivate(info) {
		return Entry{}, fmt.Errorf("the token cache %s is not a file that you alone may read: delete it", c.path)
	}
	content, err := os.ReadFile(c.path)
	if err != nil {
		return Entry{}, fmt.Errorf("reading the token cache: %w", err)
	}
	var e Entry
	if err := json.Unmarshal(content, &e); err != nil {
		return Entry{}, nil //nolint:nilerr // written by another version, or cut off: the user signs in again
	}
	return e, nil
}

// Write replaces what is kept, at once: a process that is killed meanwhile leaves the old file.
func (c *Cache) Write(e Entry) error {
	content, err := json.Marshal(e)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(c.path), ".new-*") // has mode 0600
	if err != nil {
		return fmt.Errorf("writing the token cache: %w", err)
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), c.path)
	}
	if err != nil {
		return fmt.Errorf("writing the token cache: %w", errors.Join(err, os.Remove(file.Name())))
	}
	return nil
}
