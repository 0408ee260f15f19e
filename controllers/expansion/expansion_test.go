package expansion

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"
)

const limit = 1 << 10

func newExpander() *Expander {
	return &Expander{Limit: limit, Variables: map[string]Variable{
		"client_id": {Value: "shop.web"}, "client_secret": {Value: `a "&+/secret`}, "empty": {},
		"redirect_uri": {Missing: "has no value: the client has no redirectURIs"},
	}}
}

func TestReferencesAreReplacedAndAllElseStaysAsItIs(t *testing.T) {
	for text, want := range map[string]string{
		"":                                      "",
		"plain":                                 "plain",
		"$(client_id)":                          "shop.web",
		"a$(client_id)b$(client_id)c":           "ashop.webbshop.webc",
		"$(empty)":                              "",
		"$$(client_id)":                         "$(client_id)",
		"$$$(client_id)":                        "$$(client_id)",
		"$$$((client_id)":                       "$$((client_id)",
		"$$(":                                   "$(",
		"$":                                     "$",
		"$$":                                    "$$",
		"$5 and ${HOME} {{ .x }}":               "$5 and ${HOME} {{ .x }}",
		"$$(client_id)$(client_id)":             "$(client_id)shop.web",
		"é$(client_id)é":                        "éshop.webé",
		"$(client_secret|b64enc)":               base64.StdEncoding.EncodeToString([]byte(`a "&+/secret`)),
		"$(client_secret|urlquery)":             url.QueryEscape(`a "&+/secret`),
		"$(client_secret|json)":                 `"a \"&+/secret"`,
		"$(client_secret|json|urlquery|b64enc)": base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(`"a \"&+/secret"`))),
	} {
		if got, err := newExpander().Expand(text); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", text, got, err, want)
		}
	}
}

func TestAMistakeIsToldWithItsPlaceAndWhatToChange(t *testing.T) {
	for text, want := range map[string]string{
		"ab$(nope)":                             `at offset 2: there is no variable "nope"`,
		"$()":                                   `at offset 0: there is no variable ""`,
		"$( client_id)":                         `at offset 0: there is no variable " client_id"`,
		"é$(client_id":                          "at offset 2: the reference is not closed: add a ), or write $$(",
		"$(client_id)$(":                        "at offset 12: the reference is not closed",
		"x$(redirect_uri|json)":                 "at offset 1: $(redirect_uri) has no value: the client has no redirectURIs",
		"$(client_id|)":                         `at offset 0: there is no encoding ""`,
		"$(client_id|base64)":                   `at offset 0: there is no encoding "base64": use b64enc, urlquery or json`,
		"$(client_id|json|)":                    `there is no encoding ""`,
		"$(client_id|json|$(x))":                `there is no encoding "$(x"`,
		"$(client_id|json|json|json|json|json)": "more than 4 encodings",
		"$(" + strings.Repeat("x", 100) + ")":   `"` + strings.Repeat("x", 40) + `"...`,
	} {
		got, err := newExpander().Expand(text)
		var mistake *Error
		if !errors.As(err, &mistake) || got != "" || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v; want %s", text, got, err, want)
		}
	}
}

func TestAllResultsTogetherAreBounded(t *testing.T) {
	e := newExpander()
	if _, err := e.Expand(strings.Repeat("x", limit-8) + "$(client_id)"); err != nil {
		t.Errorf("as much as there may be: %v", err)
	}
	if _, err := e.Expand("y"); err == nil || !strings.Contains(err.Error(), "all keys together may have 1024 bytes") {
		t.Errorf("one byte more: %v", err)
	}
	if got, err := newExpander().Expand(strings.Repeat("$(client_id)", limit)); err == nil {
		t.Errorf("%d bytes", len(got))
	}
	long := &Expander{Limit: limit, Variables: map[string]Variable{"long": {Value: strings.Repeat("%", limit)}}}
	if got, err := long.Expand("$(long|urlquery|urlquery|urlquery|urlquery)"); err == nil {
		t.Errorf("%d bytes", len(got))
	}
}

// Whatever the text is, there is a result within the limit that holds what it should, or a mistake
// at a place in the text.
func FuzzNoTextMakesALargeResultOrRevealsWhatItMayNot(f *testing.F) {
	for _, text := range []string{
		"$(client_id)", "$$(client_id)", "$(client_secret|b64enc|urlquery|json)", "$(", "$)", "$$$((", "$(redirect_uri)", "$(client_id|", "\xff$(client_id|json)",
		"$(client_$(client_secret))", "$(client_secret$(client_id))", "$$$(client_secret)",
	} {
		f.Add(text, "value")
	}
	const secret = "kept-0123456789-abcdefghijklmnopqrstuvwxyz"
	encoded, err := json.Marshal(secret)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		e := &Expander{Limit: limit, Variables: map[string]Variable{
			"client_id": {Value: value}, "client_secret": {Value: secret, Missing: "must not be here"},
		}}
		got, err := e.Expand(text)
		var mistake *Error
		switch {
		case err == nil && len(got) > limit:
			t.Errorf("the result has %d bytes", len(got))
		case err != nil && (!errors.As(err, &mistake) || mistake.Offset < 0 || mistake.Offset >= len(text) || got != ""):
			t.Errorf("%q and the error %v", got, err)
		case len(textOf(err)) > 1024:
			t.Errorf("the message has %d bytes", len(textOf(err)))
		}
		for _, form := range []string{secret, string(encoded), base64.StdEncoding.EncodeToString([]byte(secret)), url.QueryEscape(secret)} {
			if strings.Contains(got+textOf(err), form) && !strings.Contains(text+value, secret) {
				t.Errorf("%q has what must not be there", got)
			}
		}
		if !strings.Contains(text, "$") && len(text) <= limit && got != text {
			t.Errorf("a text without references became %q", got)
		}
		if again, _ := (&Expander{Limit: limit, Variables: e.Variables}).Expand(text); again != got {
			t.Errorf("%q, and then %q", got, again)
		}
	})
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
