package ldap

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/oauth-operator/oauth-operator/tokenserver/password"
)

// maxUsername is the size of the longest username, in bytes.
const maxUsername = 256

// maySend reports whether a password may be sent to a directory. With one that is empty, also once
// the directory has prepared it (RFC 4513 section 5.1.2, RFC 4013 section 2), a bind is
// unauthenticated, and may succeed for every name. A NUL ends a password early in some directories.
func maySend(secret string) bool {
	return len(secret) <= password.MaxLength && !strings.ContainsRune(secret, 0) &&
		strings.ContainsFunc(secret, func(r rune) bool { return !isBlank(r) })
}

// isBlank reports whether a character may be nothing or a space once a string is prepared: white
// space, control and format characters, and what RFC 3454 table B.1 maps to nothing.
func isBlank(r rune) bool {
	return unicode.In(r, unicode.White_Space, unicode.Cc, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point) ||
		r == '\u034f' || r == '\u1806'
}

// typedName returns a username as it is searched for; false if it is none.
func typedName(typed string) (string, bool) {
	name := strings.TrimSpace(typed)
	isUsable := name != "" && len(name) <= maxUsername && utf8.ValidString(name) &&
		strings.ContainsFunc(name, func(r rune) bool { return !isBlank(r) })
	return name, isUsable
}

// countedName returns the form of a username in which wrong passwords are counted before it is known
// whose they are. Directories ignore case, white space and accents.
func countedName(name string) string {
	folded := cases.Fold().String(norm.NFKD.String(name))
	return strings.Map(func(r rune) rune {
		if isBlank(r) || unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, folded)
}
