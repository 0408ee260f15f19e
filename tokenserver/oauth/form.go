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

// Limits of the parameters of a request.
const (
	// MaxFormSize is the largest size of a form or query, in bytes.
	MaxFormSize = 64 << 10
	// MaxParameters is the largest number of parameters.
	MaxParameters = 100
)

// FormType is the content type of forms, which requests with parameters in the body must have (RFC
// 6749 section 3.2).
const FormType = "application/x-www-form-urlencoded"

// Params are the parameters of a request. Only resource may have more than one value.
type Params map[string][]string

// Get returns the value of a parameter; "" if it is absent. A parameter with an empty value counts
// as absent (RFC 6749 section 3.1).
func (p Params) Get(name string) string {
	if values := p[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// All returns the values of a parameter. Only resource may have more than one (RFC 8707 section 2).
func (p Params) All(name string) []string { return p[name] }

// Has reports whether a parameter was sent with a value.
func (p Params) Has(name string) bool { return len(p[name]) > 0 }

// ParseForm parses the parameters in the body of a request or, if body is false, in its query. It
// returns an error if a parameter is sent twice (RFC 6749 sections 3.1 and 3.2), is not UTF-8 or
// not well encoded. Every error is an *Error with code invalid_request.
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

// RefuseInQuery returns an error if the URL of a request contains one of the parameters, or cannot
// be parsed. URLs get into logs and histories, so they must not contain secrets (RFC 6749 section
// 2.3.1, RFC 9700 section 4.3.2).
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
	if err := checkFormType(types[0]); err != nil {
		return "", err
	}
	if r.Body == nil {
		return "", nil
	}
	if r.ContentLength > MaxFormSize {
		return "", errTooLarge() // without reading it
	}
	content, err := io.ReadAll(io.LimitReader(r.Body, MaxFormSize+1))
	var limit *http.MaxBytesError
	switch {
	case len(content) > MaxFormSize || errors.As(err, &limit):
		return "", errTooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "", Errorf(InvalidRequest, "the form did not arrive in time").WithStatus(http.StatusRequestTimeout)
	case err != nil:
		return "", Errorf(InvalidRequest, "the form could not be read") // the client closed the connection
	}
	return string(content), nil
}

// checkFormType returns an error if a content type is not that of forms.
func checkFormType(contentType string) error {
	if contentType == FormType {
		return nil
	}
	mediaType, attributes, err := mime.ParseMediaType(contentType)
	if err != nil || mediaType != FormType {
		return Errorf(InvalidRequest, "send the parameters as Content-Type: %s", FormType)
	}
	if charset, ok := attributes["charset"]; ok && !isUTF8(charset) {
		return Errorf(InvalidRequest, "send the parameters as Content-Type: %s; charset=utf-8", FormType)
	}
	return nil
}

// isUTF8 reports whether a charset is UTF-8, also without the hyphen, as many clients send it, and
// in single quotes, which the syntax of media types does not have but some clients send.
func isUTF8(charset string) bool {
	charset = strings.Trim(charset, "'")
	return strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "utf8")
}

// errTooLarge returns a 413 that closes the connection, so that the rest of the form is not read.
func errTooLarge() *Error {
	return Errorf(InvalidRequest, "the form is larger than %d bytes", MaxFormSize).WithStatus(http.StatusRequestEntityTooLarge).
		WithHeader("Connection", "close")
}

// parse parses a form strictly: url.ParseQuery continues after an error and accepts repeated
// parameters.
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
		if _, isRepeated := params[name]; isRepeated && name != "resource" {
			return nil, Errorf(InvalidRequest, "%s was sent more than once", describeParameter(name))
		}
		// An empty value counts as absent, but sending the parameter again is an error all the
		// same.
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

// DecodePair decodes one name=value of a form or query. Together with an error it returns the name
// if it could decode that. Every error is an *Error with code invalid_request.
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
		return name, "", Errorf(InvalidRequest, "%s is not well encoded", describeParameter(name))
	}
	if !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
		return name, "", Errorf(InvalidRequest, "%s is not valid UTF-8", describeParameter(name))
	}
	return name, value, nil
}

// describeParameter returns what error descriptions call a parameter: its name, if it looks like
// one. In a form that is not encoded, a name may be a part of a secret.
func describeParameter(name string) string {
	if len(name) > 32 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return "a parameter"
	}
	return "the parameter " + name
}
