// Package upstreams is the content of the Secret with the credentials for the identity providers of
// a server: which file has which credential, and how long one that was replaced stays. It is pure.
//
// A file is "<UID of the provider>.<random id>", and its content never changes, so that the document
// of a provider can name it before the file has reached the token servers.
package upstreams

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Overlap is how long a credential stays after it was replaced. A token server that has read the
// document, and not yet the new file, uses it meanwhile: the kubelet takes a minute or two.
const Overlap = 10 * time.Minute

// MaxSize is the size of the largest credential in bytes: token servers read none that is larger.
const MaxSize = 4096

// maxReplaced is how many replaced credentials of one provider stay at most.
const maxReplaced = 3

// idSize is the size of the random part of a file's name, in bytes.
const idSize = 16

// ErrInvalid is returned for an annotation that no manager has written.
var ErrInvalid = errors.New("the annotation is not valid")

// Credentials are those of all providers of a server.
type Credentials struct {
	files map[string][]byte
	// replaced holds, for each file that is not the present one of its provider, since when, in
	// seconds since 1970.
	replaced map[string]int64
}

// Decode returns the credentials in a Secret: its data, and the annotation that Encode returned.
func Decode(data map[string][]byte, annotation string) (Credentials, error) {
	c := Credentials{files: maps.Clone(data), replaced: map[string]int64{}}
	if c.files == nil {
		c.files = map[string][]byte{}
	}
	if annotation != "" {
		if err := json.Unmarshal([]byte(annotation), &c.replaced); err != nil || c.replaced == nil {
			return Credentials{}, ErrInvalid
		}
	}
	maps.DeleteFunc(c.replaced, func(name string, _ int64) bool { return c.files[name] == nil })
	return c, nil
}

// Encode returns the data and the annotation of the Secret.
func (c Credentials) Encode() (data map[string][]byte, annotation string) {
	text, _ := json.Marshal(c.replaced) // strings and numbers are always JSON
	return maps.Clone(c.files), string(text)
}

// Equal reports whether both have the same files.
func (c Credentials) Equal(other Credentials) bool {
	return maps.EqualFunc(c.files, other.files, bytes.Equal) && maps.Equal(c.replaced, other.replaced)
}

// Clone returns a copy that changes alone.
func (c Credentials) Clone() Credentials {
	return Credentials{files: maps.Clone(c.files), replaced: maps.Clone(c.replaced)}
}

// Set makes value the present credential of a provider, and removes those whose Overlap is over. A
// value that the provider had a moment ago keeps its file.
func (c Credentials) Set(provider types.UID, value []byte, now time.Time, random io.Reader) error {
	present := ""
	for _, name := range c.filesOf(provider) {
		if bytes.Equal(c.files[name], value) {
			present = name
			break
		}
	}
	if present == "" {
		id := make([]byte, idSize)
		if _, err := io.ReadFull(random, id); err != nil {
			return fmt.Errorf("generating the name of a credential: %w", err)
		}
		present = prefixOf(provider) + hex.EncodeToString(id)
		c.files[present] = slices.Clone(value)
	}
	for _, name := range c.filesOf(provider) {
		if _, marked := c.replaced[name]; !marked && name != present {
			c.replaced[name] = now.Unix()
		}
	}
	delete(c.replaced, present)
	c.Expire(provider, now)
	return nil
}

// Expire removes the replaced credentials of a provider whose Overlap is over, and the oldest if
// there are too many.
func (c Credentials) Expire(provider types.UID, now time.Time) {
	for i, name := range c.Names(provider) {
		since, isReplaced := c.replaced[name]
		if isReplaced && (i > maxReplaced || !now.Before(time.Unix(since, 0).Add(Overlap))) {
			c.remove(name)
		}
	}
}

// Names returns the files of a provider: first the present one, then those that were replaced, the
// latest first.
func (c Credentials) Names(provider types.UID) []string {
	names := c.filesOf(provider)
	slices.SortFunc(names, func(a, b string) int {
		since, isReplaced := c.replaced[a]
		other, isOtherReplaced := c.replaced[b]
		switch {
		case isReplaced != isOtherReplaced && isReplaced:
			return 1
		case isReplaced != isOtherReplaced:
			return -1
		}
		return cmp.Or(cmp.Compare(other, since), cmp.Compare(a, b))
	})
	return names
}

// Next returns when the next of the replaced credentials of a provider is to be removed; zero: there
// is none.
func (c Credentials) Next(provider types.UID) time.Time {
	var next time.Time
	for _, name := range c.filesOf(provider) {
		if since, isReplaced := c.replaced[name]; isReplaced {
			if due := time.Unix(since, 0).Add(Overlap); next.IsZero() || due.Before(next) {
				next = due
			}
		}
	}
	return next
}

// KeepOnly removes the credentials of all providers but these, and what else is in the Secret.
func (c Credentials) KeepOnly(providers []types.UID) {
	for name := range c.files {
		if !slices.ContainsFunc(providers, func(uid types.UID) bool { return strings.HasPrefix(name, prefixOf(uid)) }) {
			c.remove(name)
		}
	}
}

func (c Credentials) remove(name string) {
	delete(c.files, name)
	delete(c.replaced, name)
}

func (c Credentials) filesOf(provider types.UID) []string {
	var names []string
	for name := range c.files {
		if strings.HasPrefix(name, prefixOf(provider)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func prefixOf(provider types.UID) string { return string(provider) + "." }
