package password

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/text/secure/precis"
)

// maxUsername is the length of a username in bytes, before and after normalisation.
const maxUsername = 256

// ErrUsername: the string is no username.
var ErrUsername = errors.New("not a username")

// NormalizeUsername brings a username into the one form in which it is claimed, stored and
// compared: the PRECIS profile UsernameCaseMapped (RFC 8265 section 3.3). It has no spaces and at
// most 256 bytes. White space around the name is no part of it: phone keyboards add it.
func NormalizeUsername(name string) (string, error) {
	name = strings.TrimSpace(name)
	if name == "" || len(name) > maxUsername {
		return "", fmt.Errorf("%w: it must have 1 to %d bytes", ErrUsername, maxUsername)
	}
	once, err := precis.UsernameCaseMapped.String(name)
	if err != nil {
		return "", fmt.Errorf("%w: it has characters that RFC 8265 section 3.3 does not allow", ErrUsername)
	}
	// A form that changes again when it is normalised again would be two names (RFC 8264 section
	// 7).
	twice, err := precis.UsernameCaseMapped.String(once)
	if err != nil || twice != once || len(once) > maxUsername {
		return "", fmt.Errorf("%w: its normal form is unstable or longer than %d bytes", ErrUsername, maxUsername)
	}
	return once, nil
}

// normalize brings a password into the form that is hashed: the PRECIS profile OpaqueString (RFC
// 8265 section 4.2), so that a character that keyboards write in several ways is one. A password
// that the profile refuses is taken as typed.
func normalize(password string) string {
	normal, err := precis.OpaqueString.String(password)
	if err != nil {
		return password
	}
	return normal
}
