// Package expansion replaces references such as $(client_id) in texts that users write. It is pure.
//
// The form is the one that Kubernetes has for the commands of containers, which Helm and other
// templates leave alone:
//
//	$(name)           the value of a variable
//	$(name|b64enc)    the value in base64 (RFC 4648 section 4)
//	$(name|urlquery)  the value as a form has it (application/x-www-form-urlencoded)
//	$(name|json)      the value as a JSON string, with its quotation marks
//	$$(               a plain $(
//
// Up to four encodings may follow one another, and apply from left to right. Any other $ stands for
// itself. Unlike in Kubernetes, a name that does not exist is a mistake.
package expansion

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxEncodings is how many encodings may follow one another. Each makes its text longer, so that
// many of them would grow it exponentially.
const maxEncodings = 4

// maxQuoted is how many bytes of a reference an error quotes.
const maxQuoted = 40

// Variable is what a name in a reference stands for.
type Variable struct {
	Value string
	// Missing says why there is no value, as a predicate of the variable with advice; empty: there
	// is one.
	Missing string
	// StandsIn reports that Value stands for any text in ASCII that is no longer: so do the results of
	// its encodings, and none of such a text is longer. It must consist of line feeds, of which each
	// encoding makes the most bytes.
	StandsIn bool
}

// Error is a mistake in a text.
type Error struct {
	// Offset is where the mistake is, in bytes from the beginning of the text.
	Offset int
	// Problem says what is wrong and what to change.
	Problem string
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("at offset %d: %s", e.Offset, e.Problem) }

// Expander expands texts. The results have at most Limit bytes together; the time that it takes is
// linear in Limit and in the length of the texts.
type Expander struct {
	Variables map[string]Variable
	Limit     int

	size int // of the results so far
}

// Expand returns a text with its references replaced. An error is of type *Error.
func (e *Expander) Expand(text string) (string, error) {
	var result strings.Builder
	for at := 0; at < len(text); {
		piece, length, problem := e.next(text[at:])
		if problem == "" && len(piece) > e.Limit-e.size {
			problem = fmt.Sprintf("the result is too large: all keys together may have %d bytes", e.Limit)
		}
		if problem != "" {
			return "", &Error{Offset: at, Problem: problem}
		}
		e.size += len(piece)
		result.WriteString(piece)
		at += length
	}
	return result.String(), nil
}

// next expands what a text begins with, and returns how long that is in the text: a reference, an
// escaped one, or anything up to the next $.
func (e *Expander) next(text string) (piece string, length int, problem string) {
	switch {
	case strings.HasPrefix(text, "$$("):
		return "$(", len("$$("), ""
	case strings.HasPrefix(text, "$("):
		end := strings.IndexByte(text, ')')
		if end < 0 {
			return "", 0, "the reference is not closed: add a ), or write $$( for a plain $("
		}
		piece, problem = e.resolve(text[len("$("):end])
		return piece, end + 1, problem
	}
	length = len(text)
	if next := strings.IndexByte(text[1:], '$'); next >= 0 {
		length = next + 1
	}
	return text[:length], length, ""
}

// resolve returns what a reference stands for.
func (e *Expander) resolve(reference string) (value, problem string) {
	name, encodings, _ := strings.Cut(reference, "|")
	variable, exists := e.Variables[name]
	switch {
	case !exists:
		return "", fmt.Sprintf("there is no variable %s: use one of %s, or write $$( for a plain $(", quote(name), strings.Join(e.names(), ", "))
	case variable.Missing != "":
		return "", fmt.Sprintf("$(%s) %s", name, variable.Missing)
	case reference == name:
		return variable.Value, ""
	}
	return e.encode(variable, encodings)
}

// names returns the names of the variables that have a value.
func (e *Expander) names() []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(e.Variables)) {
		if e.Variables[name].Missing == "" {
			names = append(names, name)
		}
	}
	return names
}

// encode applies encodings, which are separated by |.
func (e *Expander) encode(variable Variable, encodings string) (encoded, problem string) {
	value := variable.Value
	if strings.Count(encodings, "|") >= maxEncodings {
		return "", fmt.Sprintf("the reference has more than %d encodings: remove some", maxEncodings)
	}
	for name := range strings.SplitSeq(encodings, "|") {
		switch name {
		case "b64enc":
			value = base64.StdEncoding.EncodeToString([]byte(value))
		case "urlquery":
			value = url.QueryEscape(value)
		case "json":
			value = encodeJSON(value)
		default:
			return "", fmt.Sprintf("there is no encoding %s: use b64enc, urlquery or json", quote(name))
		}
		if variable.StandsIn { // of other texts, base64 has more characters that a query escapes
			value = strings.Repeat("\n", len(value))
		}
		if len(value) > e.Limit { // the caller refuses it
			return value, ""
		}
	}
	return value, ""
}

// encodeJSON returns a JSON string in which <, > and & are not escaped: URLs stay readable.
func encodeJSON(value string) string {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return `""` // not reached: every string can be encoded
	}
	return strings.TrimSuffix(buffer.String(), "\n")
}

// quote quotes a name for a message, or the beginning of a long one.
func quote(name string) string {
	if len(name) > maxQuoted {
		return strconv.Quote(name[:maxQuoted]) + "..."
	}
	return strconv.Quote(name)
}
