// Package subjects derives the subjects of users from elsewhere. The token server does so at each
// sign-in, and the plugin of kubectl for users who have not signed in. The package is pure.
package subjects

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// domain is the first of the values that subjects are derived from. Another way of deriving
// them needs another value.
const domain = "oauth-operator/sub/1"

// maxSize is the size in bytes of the longest subject that a provider may give a user, that
// of a sub in OpenID Connect Core section 2.
const maxSize = 255

// ErrUpstream is returned for what is not the subject of a user at a provider.
var ErrUpstream = errors.New("the provider's subject of the user is empty or longer than 255 bytes")

// Derive returns the subject of a user from elsewhere, which is the user's UID too: oauth.IdentityPrefix
// and 43 characters of base64url. It is derived from the issuer of this server, the type and the
// realm of the provider, the name of the attribute that the provider knows the user by, and its
// value. Who knows the subject does not know the value, and the same person has another subject at
// another server.
func Derive(issuer, providerType, realm, attribute string, upstream []byte) (string, error) {
	if len(upstream) == 0 || len(upstream) > maxSize {
		return "", ErrUpstream
	}
	for _, part := range []struct{ name, value string }{
		{"issuer", issuer}, {"type of the provider", providerType}, {"realm", realm}, {"subject attribute", attribute},
	} {
		if part.value == "" {
			return "", fmt.Errorf("deriving the subject of a user: the %s is empty", part.name)
		}
	}
	sum := sha256.New()
	for _, value := range [][]byte{[]byte(domain), []byte(issuer), []byte(providerType), []byte(realm), []byte(attribute), upstream} {
		// The length comes first, so that no two lists of values have the same hash.
		sum.Write(binary.BigEndian.AppendUint64(nil, uint64(len(value))))
		sum.Write(value)
	}
	return oauth.IdentityPrefix + base64.RawURLEncoding.EncodeToString(sum.Sum(nil)), nil
}

// IsValid reports whether a text has the form of a subject that Derive returns.
func IsValid(text string) bool {
	hash, isIdentity := strings.CutPrefix(text, oauth.IdentityPrefix)
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(hash)
	return isIdentity && err == nil && base64.RawURLEncoding.EncodeToString(decoded) == hash && len(decoded) == sha256.Size // it ignores line breaks
}
