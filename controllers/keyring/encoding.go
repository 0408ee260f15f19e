package keyring

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// ErrInvalid is returned where a text is not a ring, and where there are keys of which nothing is
// known.
var ErrInvalid = errors.New("the ring of keys is not valid or is missing")

// ErrNewer is returned for a ring with fields that this version does not know: they would be lost
// when the ring is written again.
var ErrNewer = errors.New("a newer version wrote the ring of keys")

// Encode returns the ring as JSON.
func (ring Ring) Encode() (string, error) {
	text, err := json.Marshal(ring)
	if err != nil {
		return "", fmt.Errorf("encoding the ring of keys: %w", err)
	}
	return string(text), nil
}

// Decode parses what Encode returns. It returns the zero Ring for the empty text, and ErrInvalid or
// ErrNewer.
func Decode(text string) (Ring, error) {
	var ring Ring
	if text == "" {
		return ring, nil
	}
	if err := json.Unmarshal([]byte(text), &ring); err != nil || !ring.isValid() {
		return Ring{}, ErrInvalid
	}
	strict := json.NewDecoder(strings.NewReader(text))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&Ring{}); err != nil {
		return Ring{}, ErrNewer
	}
	return ring, nil
}

// isValid reports whether each key has an id of its own and a known phase, and each algorithm has
// at most one Active key.
func (ring Ring) isValid() bool {
	kids, active := map[string]bool{}, map[string]bool{}
	for _, k := range ring.Keys {
		if k.KID == "" || k.Algorithm == "" || kids[k.KID] || k.Phase == documents.KeyActive && active[k.Algorithm] {
			return false
		}
		switch k.Phase {
		case documents.KeyActive:
			active[k.Algorithm] = true
		case documents.KeyPublished, documents.KeyRetiring:
		default:
			return false
		}
		kids[k.KID] = true
	}
	return true
}
