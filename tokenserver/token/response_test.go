package token

import (
	"encoding/json"
	"testing"
	"testing/quick"
)

// A field that is new and not appended fails it too: the random values have it.
func TestTheJSONOfResponsesIsThatOfEncodingJSON(t *testing.T) {
	same := func(r response) bool {
		got := r.AppendJSON(nil)
		want, err := json.Marshal(r)
		if err != nil || string(got) != string(want) {
			t.Errorf("%s, want %s (%v)", got, want, err)
		}
		return !t.Failed()
	}
	same(response{})
	same(response{AccessToken: "e30.e30.c2ln", TokenType: "Bearer", ExpiresIn: 300, Scope: "orders:read a<b>&c"})
	if err := quick.Check(same, nil); err != nil {
		t.Error(err)
	}
}
