package interaction

import (
	"encoding/binary"
	"errors"
)

// The first byte of an encoded flow is the version of the encoding. The fields follow in a fixed
// order, strings after their length: unlike in JSON, no character of a request takes more than its
// own bytes. A flow without providerFields is encoded without them, as replicas from before they
// existed do, which open it.
const (
	versionLocal    = 2
	versionProvider = 3
)

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

// providerFields are fields about identity providers, which follow in versionProvider.
func (f *Flow) providerFields() []any { return []any{&f.Way, &f.Departed, (*int64)(&f.Failure)} }

func (f *Flow) encode() []byte {
	if f.Way == "" && !f.Departed && f.Failure == 0 {
		return appendFields([]byte{versionLocal}, f.fields())
	}
	return appendFields([]byte{versionProvider}, append(f.fields(), f.providerFields()...))
}

func appendFields(out []byte, fields []any) []byte {
	for _, field := range fields {
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
	version := r.take(1)
	switch {
	case r.failed:
		return nil, errMalformed
	case version[0] == versionLocal:
		r.fields(f.fields())
	case version[0] == versionProvider:
		r.fields(append(f.fields(), f.providerFields()...))
	default:
		return nil, errMalformed
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

func (r *reader) fields(fields []any) {
	for _, field := range fields {
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
