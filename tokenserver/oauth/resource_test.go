package oauth

import "testing"

func TestAnEmptyPathHasOneForm(t *testing.T) {
	for uri, want := range map[string]string{
		"https://h":          "https://h",
		"https://h/":         "https://h",
		"https://h:8443/":    "https://h:8443",
		"https://h/?x=1":     "https://h?x=1",
		"https://h?x=/":      "https://h?x=/",
		"https://h?x=://y/":  "https://h?x=://y/",
		"https://[::1]/":     "https://[::1]",
		"https://h//":        "https://h//",
		"https://h/a":        "https://h/a",
		"https://h/a/":       "https://h/a/",
		"https://H/":         "https://H",
		"api://orders/":      "api://orders",
		"urn:x://h/":         "urn:x://h/",
		"urn:a/b://h/":       "urn:a/b://h/",
		"urn:example:orders": "urn:example:orders",
		"file:///":           "file:///",
		"://":                "://",
		"":                   "",
	} {
		if got := CanonicalResource(uri); got != want {
			t.Errorf("%q: %q, want %q", uri, got, want)
		}
		if again := CanonicalResource(CanonicalResource(uri)); again != CanonicalResource(uri) {
			t.Errorf("%q: the form of its form is %q", uri, again)
		}
	}
}
