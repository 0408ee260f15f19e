package oauth

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strings"
	"unicode/utf8"
)

// Bounds of what is read from a request.
const (
	// MaxFormSize is the size of a form or query, in bytes.
	MaxFormSize = 64 << 10
	// MaxParameters is the number of parameters.
	MaxParameters = 100
)

// FormType is the only content type of a request with a body (RFC 6749 section 3.2).
const FormType = "application/x-www-form-urlencoded"

// Params are the parameters of one request: each name once, but for resource, and none empty.
type Params map[string][]string

// Get gives the value of a parameter, "" if it is absent. A parameter without a value is absent (RFC 6749 section 3.1).
func (p Params) Get(name string) string {
	if values := p[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// All gives every value of a parameter. Only resource may have more than one (RFC 8707 section 2).
func (p Params) All(name string) []string { return p[name] }

// Has says whether a parameter was sent with a value.
func (p Params) Has(name string) bool { return len(p[name]) > 0 }

// ParseForm reads the parameters of a request: those of its body if body, else those of its query. A parameter that is sent twice is
// refused (RFC 6749 sections 3.1 and 3.2), and so is what is not UTF-8 or not well encoded. Every error is an *Error with the code
// invalid_request.
func ParseForm(r *http.Request, body bool) (Params, error) {
	raw := r.URL.RawQuery
	if body {
		var err error
		if raw, err = readBody(r); err != nil {
			return nil, err
		}
	}
	if len(raw) > MaxFormSize {
		return nil, Errorf(InvalidRequest, "the parameters are larger than %d bytes", MaxFormSize)
	}
	return parse(raw)
}

// RefuseInQuery refuses a request whose URL holds one of the parameters: URLs end up in logs and histories, so no secret may be in one (RFC
// 6749 section 2.3.1, RFC 9700 section 4.3.2). A query that cannot be read could hold any of them.
func RefuseInQuery(r *http.Request, names ...string) error {
	if r.URL.RawQuery == "" {
		return nil
	}
	query, err := ParseForm(r, false)
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, sent := query[name]; sent {
			return Errorf(InvalidRequest, "send %s in the body or a header, never in the URL", name)
		}
	}
	return nil
}

func readBody(r *http.Request) (string, error) {
	types := r.Header.Values("Content-Type")
	if len(types) != 1 {
		return "", Errorf(InvalidRequest, "send the parameters as Content-Type: %s", FormType)
	}
	mediaType, attributes, err := mime.ParseMediaType(types[0])
	if err != nil || mediaType != FormType {
		return "", Errorf(InvalidRequest, "send the parameters as Content-Type: %s", FormType)
	}
	if charset, ok := attributes["charset"]; ok && !isUTF8(charset) {
		return "", Errorf(InvalidRequest, "send the parameters as Content-Type: %s; charset=utf-8", FormType)
	}
	if r.Body == nil {
		return "", nil
	}
	if r.ContentLength > MaxFormSize {
		return "", tooLarge() // unread
	}
	content, err := io.ReadAll(io.LimitReader(r.Body, MaxFormSize+1))
	var limit *http.MaxBytesError
	switch {
	case len(content) > MaxFormSize || errors.As(err, &limit):
		return "", tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "", Errorf(InvalidRequest, "the form did not come in time").WithStatus(http.StatusRequestTimeout)
	case err != nil:
		return "", Errorf(InvalidRequest, "the form could not be read") // the client went away, which is no failure of ours
	}
	return string(content), nil
}

// isUTF8 reports whether a charset is UTF-8, by its name or by the one without a hyphen that many
// clients send. Single quotes, unlike double ones, are not part of the syntax of a media type, and
// are sent all the same.
func isUTF8(charset string) bool {
	charset = strings.Trim(charset, "'")
	return strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "utf8")
}

// tooLarge closes the connection: the rest of the form is not waited for.
func tooLarge() *Error {
	return Errorf(InvalidRequest, "the form is larger than %d bytes", MaxFormSize).WithStatus(http.StatusRequestEntityTooLarge).
		WithHeader("Connection", "close")
}

// parse is url.ParseQuery with nothing forgiven: the standard one goes on after an error and keeps repeated parameters.
func parse(raw string) (Params, error) {
	params := Params{}
	count := 0
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		if count++; count > MaxParameters {
			return nil, Errorf(InvalidRequest, "there are more than %d parameters", MaxParameters)
		}
		name, value, err := DecodePair(pair)
		if err != nil {
			return nil, err
		}
		if name == "" {
			continue
		}
		if _, twice := params[name]; twice && name != "resource" {
			return nil, Errorf(InvalidRequest, "%s was sent more than once", spoken(name))
		}
		// An empty value counts as absent, but it has been sent: a second one is refused all the same.
		if value == "" {
			if params[name] == nil {
				params[name] = []string{}
			}
			continue
		}
		params[name] = append(params[name], value)
	}
	return params, nil
}

// DecodePair reads one name=value of a form or query. With an error it still gives the name, if that much can be read. Every error is an *Error
// with the code invalid_request.
func DecodePair(pair string) (name, value string, err error) {
	rawName, rawValue, _ := strings.Cut(pair, "=")
	name, err = url.QueryUnescape(rawName)
	if err != nil || !utf8.ValidString(name) {
		return "", "", Errorf(InvalidRequest, "the name of a parameter is not well encoded")
	}
	if strings.Contains(pair, ";") {
		return name, "", Errorf(InvalidRequest, "encode the character ; in a parameter as %%3B")
	}
	if value, err = url.QueryUnescape(rawValue); err != nil {
		return name, "", Errorf(InvalidRequest, "%s is not well encoded", spoken(name))
	}
	if !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
		return name, "", Errorf(InvalidRequest, "%s is not valid UTF-8", spoken(name))
	}
	return name, value, nil
}

// spoken is how an error speaks of a parameter: by its name, if it looks like one. A form that was not encoded may have parts of a secret for
// names.
func spoken(name string) string {
	if len(name) > 32 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return "a parameter"
	}
	return "the parameter " + name
}
