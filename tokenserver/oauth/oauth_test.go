package oauth

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestEveryErrorHasItsStatus(t *testing.T) {
	for code, want := range map[string]int{
		InvalidRequest: 400, InvalidGrant: 400, UnauthorizedClient: 400, UnsupportedGrantType: 400, InvalidScope: 400, InvalidTarget: 400,
		UnsupportedTokenType: 400, AccessDenied: 400,
		InvalidClient: 401, InvalidToken: 401, InsufficientScope: 403, ServerError: 500, TemporarilyUnavailable: 503,
	} {
		if got := Errorf(code, "x").Status; got != want {
			t.Errorf("%s has the status %d, want %d", code, got, want)
		}
	}
}

func TestADescriptionKeepsToItsCharacters(t *testing.T) {
	var every strings.Builder
	for r := rune(0); r < 0x200; r++ {
		every.WriteRune(r)
	}
	err := Errorf(InvalidRequest, "%s", every.String()+"\u2028\xff")
	for i := range len(err.Description) {
		if c := err.Description[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			t.Errorf("the description has the byte %x", c)
		}
	}
	if got := Errorf(InvalidRequest, "say %q", "hi").Description; got != "say 'hi'" {
		t.Errorf("the description is %s", got)
	}
}

func TestAnErrorCarriesItsCauseAndHeaders(t *testing.T) {
	err := Errorf(ServerError, "x").WithCause(io.ErrUnexpectedEOF).WithHeader("Retry-After", "2").WithStatus(http.StatusBadGateway)
	if !errors.Is(err, io.ErrUnexpectedEOF) || err.Headers.Get("Retry-After") != "2" || err.Status != 502 {
		t.Errorf("the error is %+v", err)
	}
	if strings.Contains(err.Error(), "EOF") {
		t.Error("the cause is in the text that a client may see")
	}
}

func TestAScopeIsItsWordsOnceInTheirOrder(t *testing.T) {
	for value, want := range map[string][]string{
		"": nil, " ": nil, "a": {"a"}, "b a": {"b", "a"}, "a a b a": {"a", "b"}, "  a   b ": {"a", "b"}, "A a": {"A", "a"},
		"orders:read https://x/y#z": {"orders:read", "https://x/y#z"}, "!~": {"!~"},
	} {
		got, err := ParseScope(value)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q is %q (%v), want %q", value, got, err, want)
		}
	}
	for _, value := range []string{"\"", "a\\b", "a\tb", "a\nb", "ä", "a \x7f", "\x00", "a\u00a0b"} {
		_, err := ParseScope(value)
		var known *Error
		if !errors.As(err, &known) || known.Code != InvalidScope {
			t.Errorf("%q: the error is %v, want invalid_scope", value, err)
		}
	}
}

func TestScopesAreBounded(t *testing.T) {
	var scopes []string
	for i := range MaxScopes {
		scopes = append(scopes, strings.Repeat("x", i+1))
	}
	if got, err := ParseScope(strings.Join(scopes, " ")); err != nil || len(got) != MaxScopes {
		t.Errorf("%d scopes are %d (%v)", MaxScopes, len(got), err)
	}
	if _, err := ParseScope(strings.Join(append(scopes, "y"), " ")); err == nil {
		t.Errorf("%d scopes are accepted", MaxScopes+1)
	}
}

func FuzzScope(f *testing.F) {
	for _, seed := range []string{"", "openid profile", "a  a b", "\"", "ä\x00", "orders:read\ttab", strings.Repeat("a b ", 200)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		scopes, err := ParseScope(value)
		if err != nil {
			return
		}
		again, err := ParseScope(FormatScope(scopes))
		if err != nil || !slices.Equal(again, scopes) || len(scopes) > MaxScopes {
			t.Errorf("%q is %q, and that is %q (%v)", value, scopes, again, err)
		}
		for i, scope := range scopes {
			if scope == "" || slices.Contains(scopes[:i], scope) || !strings.Contains(value, scope) {
				t.Errorf("%q has the scopes %q", value, scopes)
			}
		}
	})
}
