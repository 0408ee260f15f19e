package oauth

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// newFormRequest returns a POST with a body.
func newFormRequest(contentType, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/token", strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

// expectInvalidRequest fails the test unless err is an invalid_request with the status, whose
// description keeps to RFC 6749 section 5.2.
func expectInvalidRequest(t *testing.T, what string, err error, status int) {
	t.Helper()
	var known *Error
	if !errors.As(err, &known) || known.Code != InvalidRequest || known.Status != status {
		t.Errorf("%s: the error is %v, want invalid_request with %d", what, err, status)
		return
	}
	if !descriptions.MatchString(known.Description) {
		t.Errorf("%s: the description %q is none", what, known.Description)
	}
}

var descriptions = regexp.MustCompile(`^[\x20-\x21\x23-\x5b\x5d-\x7e]+$`)

func TestParametersAreRead(t *testing.T) {
	for raw, want := range map[string]Params{
		"":                         {},
		"a=1":                      {"a": {"1"}},
		"a=1&b=2":                  {"a": {"1"}, "b": {"2"}},
		"a=x+y%20z%2B%26%3D%C3%A4": {"a": {"x y z+&=ä"}},
		"a=b=c":                    {"a": {"b=c"}},
		"&&a=1&&":                  {"a": {"1"}},
		"=x&a=1":                   {"a": {"1"}},
		"%61=1":                    {"a": {"1"}},
		"A=1&a=2":                  {"A": {"1"}, "a": {"2"}},
		"a=%2541":                  {"a": {"%41"}}, // decoded once
		"resource=a&resource=b":    {"resource": {"a", "b"}},
		"resource=&resource=b":     {"resource": {"b"}},
		"code=%e2%82%ac":           {"code": {"€"}},
	} {
		for what, read := range map[string]func() (Params, error){
			"query": func() (Params, error) {
				return ParseForm(httptest.NewRequest(http.MethodGet, "/authorize?"+raw, nil), false)
			},
			"body": func() (Params, error) { return ParseForm(newFormRequest(FormType, raw), true) },
		} {
			if got, err := read(); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("the %s %q is %v (%v), want %v", what, raw, got, err, want)
			}
		}
	}
}

func TestAParameterWithoutAValueIsAbsent(t *testing.T) {
	params, err := ParseForm(newFormRequest(FormType, "a=&b&c=1"), true)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "never sent"} {
		if params.Has(name) || params.Get(name) != "" || len(params.All(name)) != 0 {
			t.Errorf("%s is there", name)
		}
	}
	if !params.Has("c") || params.Get("c") != "1" {
		t.Error("c is not there")
	}
}

func TestAParameterSentTwiceIsRefusedHoweverItIsWritten(t *testing.T) {
	for _, raw := range []string{
		"a=1&a=1", "a=1&a=2", "a=1&b=2&a=3", "a=&a=1", "a=1&a=", "a&a", "a=1&%61=1", "client_id=x&client_id=x", "unknown=1&unknown=2",
		"scope=a&scope=b", "redirect_uri=a&redirect_uri=b",
	} {
		_, err := ParseForm(newFormRequest(FormType, raw), true)
		expectInvalidRequest(t, raw, err, 400)
		_, err = ParseForm(httptest.NewRequest(http.MethodGet, "/?"+raw, nil), false)
		expectInvalidRequest(t, raw, err, 400)
	}
}

func TestWhatIsNotWellEncodedIsRefused(t *testing.T) {
	for _, raw := range []string{
		"a=%", "a=%4", "a=%zz", "%=1", "a=%ff", "a=%c3", "%ff=1", "a=\xff", "a=%00", "a=x%00y", "a=1;b=2", "a=1;", ";", "a;b=1", "a=%ed%a0%80", "a=%c0%af",
	} {
		_, err := parse(raw)
		expectInvalidRequest(t, fmt.Sprintf("%q", raw), err, 400)
	}
	_, err := parse("a=1&secret-part-of-a-password%=x")
	if err == nil || strings.Contains(err.Error(), "password") {
		t.Errorf("the error quotes what was sent: %v", err)
	}
}

func TestSizesAreBounded(t *testing.T) {
	fits := "a=" + strings.Repeat("x", MaxFormSize-2)
	if params, err := ParseForm(newFormRequest(FormType, fits), true); err != nil || len(params.Get("a")) != MaxFormSize-2 {
		t.Errorf("a form of 64 KiB is refused: %v", err)
	}
	_, err := ParseForm(newFormRequest(FormType, fits+"x"), true)
	expectInvalidRequest(t, "a form of 64 KiB and a byte", err, 413)
	long := httptest.NewRequest(http.MethodGet, "/", nil)
	long.URL.RawQuery = fits + "x"
	_, err = ParseForm(long, false)
	expectInvalidRequest(t, "a query of 64 KiB and a byte", err, 400)

	var pairs []string
	for i := range MaxParameters {
		pairs = append(pairs, fmt.Sprintf("p%d=%d", i, i))
	}
	if _, err := parse(strings.Join(pairs, "&")); err != nil {
		t.Errorf("100 parameters are refused: %v", err)
	}
	_, err = parse(strings.Join(append(pairs, "one=more"), "&"))
	expectInvalidRequest(t, "101 parameters", err, 400)
	_, err = parse(strings.Repeat("resource=x&", MaxParameters+1))
	expectInvalidRequest(t, "101 resources", err, 400)
}

// endlessBody is a body that never ends.
type endlessBody struct{ read int }

func (e *endlessBody) Read(b []byte) (int, error) {
	e.read += len(b)
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

func TestABodyIsNotReadFurtherThanItsBound(t *testing.T) {
	body := &endlessBody{}
	r := newFormRequest(FormType, "")
	r.Body = io.NopCloser(body)
	_, err := ParseForm(r, true)
	expectInvalidRequest(t, "an endlessBody form", err, 413)
	if body.read > 2*MaxFormSize {
		t.Errorf("%d bytes were read", body.read)
	}

	r = newFormRequest(FormType, strings.Repeat("x", 100))
	r.Body = http.MaxBytesReader(httptest.NewRecorder(), r.Body, 10)
	_, err = ParseForm(r, true)
	expectInvalidRequest(t, "a form over the server's own bound", err, 413)

	r = newFormRequest(FormType, "")
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader("a=1&b="), broken{}))
	_, err = ParseForm(r, true)
	expectInvalidRequest(t, "a form that breaks off", err, 400)
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestOnlyAFormIsAForm(t *testing.T) {
	for _, contentType := range []string{
		FormType, FormType + ";charset=utf-8", FormType + "; charset=UTF-8", FormType + `; charset="utf-8"`, strings.ToUpper(FormType),
		FormType + ";charset=utf8", FormType + "; charset=UTF8", FormType + `; Charset="UTF8"`, FormType + ` ; charset="utf8"`, FormType + "; charset='utf-8'",
		FormType + ";", FormType + "; charset=utf-8;",
	} {
		if params, err := ParseForm(newFormRequest(contentType, "a=1"), true); err != nil || params.Get("a") != "1" {
			t.Errorf("%q is refused: %v", contentType, err)
		}
	}
	for _, contentType := range []string{
		"", "application/json", "text/plain", "multipart/form-data; boundary=x", FormType + "; charset=iso-8859-1", FormType + "; charset=utf-16",
		FormType + "; charset=utf-88", FormType + "; charset=utf", FormType + "; charset=''", FormType + `; charset=""`,
		FormType + "; charset", FormType + ", application/json", "x" + FormType,
	} {
		_, err := ParseForm(newFormRequest(contentType, "a=1"), true)
		expectInvalidRequest(t, contentType, err, 400)
	}
	twice := newFormRequest(FormType, "a=1")
	twice.Header.Add("Content-Type", "application/json")
	_, err := ParseForm(twice, true)
	expectInvalidRequest(t, "two types", err, 400)
	none := newFormRequest(FormType, "")
	none.Body = nil
	if params, err := ParseForm(none, true); err != nil || len(params) != 0 {
		t.Errorf("without a body the form is %v (%v)", params, err)
	}
}

func TestTheURLOfAFormIsNotItsForm(t *testing.T) {
	r := newFormRequest(FormType, "a=1")
	r.URL.RawQuery = "b=2&a=3"
	params, err := ParseForm(r, true)
	if err != nil || !reflect.DeepEqual(params, Params{"a": {"1"}}) {
		t.Errorf("the form is %v (%v)", params, err)
	}
}

func TestSecretsInTheURLAreRefused(t *testing.T) {
	for _, query := range []string{"token=x", "token=", "token", "%74oken=x", "a=1&token=x", "token=x;y", "a=%", "a=1&a=2"} {
		r := newFormRequest(FormType, "")
		r.URL.RawQuery = query
		expectInvalidRequest(t, query, RefuseInQuery(r, "token"), 400)
	}
	r := newFormRequest(FormType, "")
	r.URL.RawQuery = "tokens=x&Token=x"
	if err := RefuseInQuery(r, "token"); err != nil {
		t.Errorf("other parameters are refused: %v", err)
	}
}

func FuzzForm(f *testing.F) {
	for _, seed := range []string{
		"", "a=1", "grant_type=authorization_code&code=x.y&redirect_uri=https%3A%2F%2Fa.example%2Fcb&code_verifier=abc",
		"a=&a=1", "%61=1&a=2", "a=%zz", "a=1;b=2", "resource=a&resource=b", "=&&=", "a=%ff%00", "client_secret=%2B+%2b", "a\x00=\xff",
		strings.Repeat("a=1&", 120),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		params, err := parse(raw)
		if err != nil {
			expectInvalidRequest(t, fmt.Sprintf("%q", raw), err, 400)
			return
		}
		lenient, err := url.ParseQuery(raw)
		if err != nil {
			t.Fatalf("%q is accepted, and not by the standard library: %v", raw, err)
		}
		delete(lenient, "")
		if len(params) != len(lenient) || len(params) > MaxParameters {
			t.Errorf("%q has the parameters %v, by the standard library %v", raw, params, lenient)
		}
		for name, values := range params {
			want := slices.DeleteFunc(slices.Clone(lenient[name]), func(value string) bool { return value == "" })
			if !slices.Equal(values, want) || len(values) > 1 && name != "resource" {
				t.Errorf("%q: %q is %q, by the standard library %q", raw, name, values, lenient[name])
			}
			if !utf8.ValidString(name) || slices.ContainsFunc(values, func(value string) bool { return !utf8.ValidString(value) || strings.Contains(value, "\x00") }) {
				t.Errorf("%q: %q is %q", raw, name, values)
			}
		}
	})
}
