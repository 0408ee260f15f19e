package password

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/text/secure/precis"
)

// maxUsername is how many bytes a username may have, before and after normalization.
const maxUsername = 256

// ErrUsername means that a string is no username.
var ErrUsername = errors.New("not a username")

// NormalizeUsername returns the form of a username in which it is reserved, stored and compared:
// the PRECIS profile UsernameCaseMapped (RFC 8265 section 3.3), with at most 256 bytes and no
// spaces. It removes white space around the name, which the keyboards of phones add. The error
// wraps ErrUsername.
func NormalizeUsername(name string) (string, error) {
	name = strings.TrimSpace(name)
	if name == "" || len(name) > maxUsername {
		return "", fmt.Errorf("%w: it must have 1 to %d bytes", ErrUsername, maxUsername)
	}
	once, err := precis.UsernameCaseMapped.String(name)
	if err != nil {
		return "", fmt.Errorf("%w: it has characters that RFC 8265 section 3.3 does not allow", ErrUsername)
	}
	// A form that normalizing changes again would be two names (RFC 8264 section 7).
	twice, err := precis.UsernameCaseMapped.String(once)
	if err != nil || twice != once || len(once) > maxUsername {
		return "", fmt.Errorf("%w: its normal form is unstable or longer than %d bytes", ErrUsername, maxUsername)
	}
	return once, nil
}

// normalize returns the form of a password that is hashed: the PRECIS profile OpaqueString (RFC
// 8265 section 4.2), in which a character that keyboards encode in several ways has one encoding.
// It returns a password that the profile refuses as it is.
func normalize(password string) string {
	normal, err := precis.OpaqueString.String(password)
	if err != nil {
		return password
	}
	return normal
}
