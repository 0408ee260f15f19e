package upstreams

import (
	"crypto/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

var start = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func set(t *testing.T, c Credentials, provider types.UID, value string, now time.Time) []string {
	t.Helper()
	if err := c.Set(provider, []byte(value), now, rand.Reader); err != nil {
		t.Fatal(err)
	}
	return c.Names(provider)
}

func empty(t *testing.T) Credentials {
	t.Helper()
	c, err := Decode(nil, "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAReplacedCredentialStaysBehindThePresentOneForTenMinutes(t *testing.T) {
	c := empty(t)
	first := set(t, c, "a", "one", start)
	both := set(t, c, "a", "two", start.Add(time.Hour))
	if len(first) != 1 || len(both) != 2 || both[1] != first[0] {
		t.Fatalf("first %q, then %q", first, both)
	}
	if next := c.Next("a"); !next.Equal(start.Add(time.Hour + Overlap)) {
		t.Errorf("next is %s", next)
	}
	c.Expire("a", c.Next("a").Add(-time.Second))
	if got := c.Names("a"); !slices.Equal(got, both) {
		t.Errorf("before the time %q", got)
	}
	c.Expire("a", c.Next("a"))
	if got := c.Names("a"); !slices.Equal(got, both[:1]) || !c.Next("a").IsZero() {
		t.Errorf("after the time %q", got)
	}
}

func TestAPassThatSeesNoNewValueChangesNothing(t *testing.T) {
	c := empty(t)
	set(t, c, "a", "one", start)
	set(t, c, "a", "two", start)
	data, annotation := c.Encode()
	again, err := Decode(data, annotation)
	if err != nil {
		t.Fatal(err)
	}
	set(t, again, "a", "two", start.Add(time.Minute))
	if !again.Equal(c) {
		t.Error("the credentials differ")
	}
}

func TestAValueThatComesBackKeepsItsFile(t *testing.T) {
	c := empty(t)
	first := set(t, c, "a", "one", start)
	set(t, c, "a", "two", start.Add(time.Second))
	if got := set(t, c, "a", "one", start.Add(2*time.Second)); len(got) != 2 || got[0] != first[0] {
		t.Errorf("%q, want %q first", got, first)
	}
}

func TestAFewReplacedCredentialsStayHoweverOftenItChanges(t *testing.T) {
	c := empty(t)
	for i := range 20 {
		set(t, c, "a", strings.Repeat("x", i+1), start.Add(time.Duration(i)*time.Second))
	}
	if got := c.Names("a"); len(got) != 1+maxReplaced || len(c.files[got[0]]) != 20 || len(c.files[got[1]]) != 19 {
		t.Errorf("%d files stay", len(got))
	}
}

func TestCredentialsOfAnotherProviderAreLeftAlone(t *testing.T) {
	c := empty(t)
	a := set(t, c, "a", "one", start)
	b := set(t, c, "b", "one", start) // the same value is another file
	if a[0] == b[0] || !strings.HasPrefix(b[0], "b.") {
		t.Errorf("files %q and %q", a, b)
	}
	c.KeepOnly([]types.UID{"b"})
	if len(c.Names("a")) > 0 || !slices.Equal(c.Names("b"), b) {
		t.Errorf("a has %q, b has %q", c.Names("a"), c.Names("b"))
	}
}

func TestTheNameOfAFileSaysNothingAboutItsContent(t *testing.T) {
	c, d := empty(t), empty(t)
	if set(t, c, "a", "one", start)[0] == set(t, d, "a", "one", start)[0] {
		t.Error("the same credential has the same name twice")
	}
}

func TestAnAnnotationThatNoManagerWroteIsRefused(t *testing.T) {
	for _, text := range []string{"null", "[]", "{", `{"a":"b"}`} {
		if _, err := Decode(nil, text); err == nil {
			t.Errorf("%s is accepted", text)
		}
	}
}
