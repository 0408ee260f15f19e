package interaction

import (
	"encoding/binary"
	"errors"
)

// encodingVersion is the first byte of an encoded flow. The fields follow in a fixed order, strings
// after their length: unlike in JSON, no character of a request takes more than its own bytes.
const encodingVersion = 2

var errMalformed = errors.New("malformed flow")

// fields returns pointers to the fields in the order of their encoding.
func (f *Flow) fields() []any {
	return []any{
		(*int64)(&f.Step), &f.StartedAt, &f.BrowserHash, &f.ClientUID, &f.RedirectHash, &f.RedirectPort,
		&f.RedirectURISent, &f.ResponseType, (*int64)(&f.ResponseMode), &f.State, &f.Nonce, &f.Scopes,
		&f.Resources, &f.CodeChallenge, &f.Claims, &f.LoginHint, &f.Subjects, &f.Prompt, &f.MaxAge,
		&f.LoginSession, &f.ShownConsent, &f.ConsentingUser, &f.Denied,
	}
}

func (f *Flow) encode() []byte {
	out := []byte{encodingVersion}
	for _, field := range f.fields() {
		switch v := field.(type) {
		case *int64:
			out = binary.AppendVarint(out, *v)
		case *bool:
			out = binary.AppendVarint(out, map[bool]int64{true: 1}[*v])
		case *Hash:
			out = append(out, v[:]...)
		case *string:
			out = appendString(out, *v)
		case *[]string:
			out = binary.AppendVarint(out, int64(len(*v)))
			for _, s := range *v {
				out = appendString(out, s)
			}
		}
	}
	return out
}

func appendString(out []byte, s string) []byte {
	return append(binary.AppendVarint(out, int64(len(s))), s...)
}

func decodeFlow(data []byte) (*Flow, error) {
	f := &Flow{}
	r := reader{rest: data}
	if version := r.take(1); r.failed || version[0] != encodingVersion {
		return nil, errMalformed
	}
	for _, field := range f.fields() {
		switch v := field.(type) {
		case *int64:
			*v = r.int()
		case *bool:
			*v = r.int() == 1
		case *Hash:
			copy(v[:], r.take(len(v)))
		case *string:
			*v = r.string()
		case *[]string:
			for n := r.int(); n > 0 && !r.failed; n-- {
				*v = append(*v, r.string())
			}
		}
	}
	if r.failed || len(r.rest) != 0 {
		return nil, errMalformed
	}
	return f, nil
}

// reader reads fields from the front of rest. It sets failed when a field is missing.
type reader struct {
	rest   []byte
	failed bool
}

func (r *reader) take(n int) []byte {
	if r.failed || n < 0 || n > len(r.rest) {
		r.failed = true
		return nil
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) int() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.failed = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) string() string { return string(r.take(int(r.int()))) }
