package sharedstrings

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"unsafe"
)

// shared returns a string that is equal to another one, in memory of its own if the table has none.
func shared(t *Table, s string) string {
	s = strings.Clone(s)
	Share(t, &s)
	return s
}

func isSame(a, b string) bool { return a == b && unsafe.StringData(a) == unsafe.StringData(b) }

func TestEqualStringsHaveOneMemoryAlsoAfterAGarbageCollection(t *testing.T) {
	var table Table
	one := shared(&table, "token requests succeed")
	runtime.GC()
	if other := shared(&table, "token requests succeed"); !isSame(one, other) {
		t.Error("the second has a copy of its own")
	}
	if another := shared(&table, "token requests fail"); another != "token requests fail" {
		t.Errorf("another became %q", another)
	}
}

func TestAStringIsNotSharedWithWhatItIsPartOf(t *testing.T) {
	var table Table
	document := strings.Clone("a document with the word active in it")
	part := document[len("a document with the word "):][:len("active")]
	original := part
	Share(&table, &part)
	if part != "active" || unsafe.StringData(part) == unsafe.StringData(original) {
		t.Error("the table keeps the document")
	}
}

func TestATableForgetsWhatOneObjectSays(t *testing.T) {
	var table Table
	common, long := shared(&table, "in common"), strings.Repeat("x", maxLength+1)
	if isSame(shared(&table, long), shared(&table, long)) {
		t.Error("a string that is too long is kept")
	}
	for i := range maxBytes / 100 {
		shared(&table, fmt.Sprintf("%0100d", i))
		if table.bytes > maxBytes || len(table.known)*(100+overhead) > maxBytes+100 {
			t.Fatalf("it keeps %d bytes, in %d strings", table.bytes, len(table.known))
		}
	}
	if again := shared(&table, "in common"); isSame(common, again) || !isSame(again, shared(&table, "in common")) {
		t.Error("what was forgotten is not known again")
	}
}
