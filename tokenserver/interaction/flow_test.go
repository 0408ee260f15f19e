package interaction

import (
	"reflect"
	"slices"
	"testing"
)

// fullFlow returns a flow without an empty field.
func fullFlow() *Flow {
	return &Flow{
		Step: StepDecision, StartedAt: 1_800_000_000, BrowserHash: HashOf("browser"), ClientUID: "uid", RedirectHash: HashOf("https://a/b"), RedirectPort: ":8000",
		RedirectURISent: true, ResponseType: []string{"id_token", "token"}, ResponseMode: ModeFormPost, State: "state\x00\"", Nonce: "nonce", Scopes: []string{"a", "b"},
		Resources: []string{"https://api"}, CodeChallenge: "challenge", Claims: "{}", LoginHint: "alice", Subjects: []string{"sub", "another"}, Prompt: []string{"login"},
		MaxAge: NoMaxAge, LoginSession: "session", ShownConsent: "hash", ConsentingUser: "uid-b", Denied: true,
		Way: "uid-p", Departed: true, Failure: FailureDenied,
	}
}

func TestEveryFieldOfAFlowSurvivesItsEncoding(t *testing.T) {
	f := fullFlow()
	for i := range reflect.TypeFor[Flow]().NumField() {
		if reflect.ValueOf(*f).Field(i).IsZero() {
			t.Errorf("the test leaves %s empty", reflect.TypeFor[Flow]().Field(i).Name)
		}
	}
	if n := len(f.fields()) + len(f.providerFields()); n != reflect.TypeFor[Flow]().NumField() {
		t.Errorf("%d fields are encoded", n)
	}
	decoded, err := decodeFlow(f.encode())
	if err != nil || !reflect.DeepEqual(decoded, f) {
		t.Errorf("got %+v, %v\nwant %+v", decoded, err, f)
	}
	f.Way, f.Departed, f.Failure = "", false, 0
	if decoded, err = decodeFlow(f.encode()); err != nil || !reflect.DeepEqual(decoded, f) || f.encode()[0] != versionLocal {
		t.Errorf("without a way: got %+v, %v\nwant %+v", decoded, err, f)
	}
	empty, err := decodeFlow((&Flow{}).encode())
	if err != nil || !reflect.DeepEqual(empty, &Flow{}) {
		t.Errorf("the empty flow became %+v, %v", empty, err)
	}
}

func TestAMutilatedFlowIsNone(t *testing.T) {
	data := fullFlow().encode()
	for i := range data {
		if _, err := decodeFlow(data[:i]); err == nil {
			t.Errorf("the first %d bytes are a flow", i)
		}
	}
	if _, err := decodeFlow(append(slices.Clone(data), 0)); err == nil {
		t.Error("a flow with something behind it is a flow")
	}
	if _, err := decodeFlow(append([]byte{versionProvider + 1}, data[1:]...)); err == nil {
		t.Error("a flow of another version is a flow")
	}
}

func FuzzDecodingAFlowNeverPanics(f *testing.F) {
	f.Add(fullFlow().encode())
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = decodeFlow(data) })
}

func TestARedirectURIIsRestoredFromItsReference(t *testing.T) {
	registered := []string{"https://a.example/cb", "http://127.0.0.1/cb", "http://[::1]:8000/cb?x=1", "com.example:/cb", "http://127.0.0.1"}
	for _, requested := range []string{
		"https://a.example/cb", "http://127.0.0.1/cb", "http://127.0.0.1:1/cb", "http://127.0.0.1:65535/cb", "http://[::1]:8000/cb?x=1",
		"http://[::1]:9000/cb?x=1", "http://[::1]/cb?x=1", "com.example:/cb", "http://127.0.0.1:80", "http://127.0.0.1",
	} {
		f := &Flow{}
		if !f.SetRedirectURI(registered, requested) {
			t.Errorf("%s does not match", requested)
			continue
		}
		shuffled := slices.Clone(registered)
		slices.Reverse(shuffled)
		if got, ok := f.ResolveRedirectURI(shuffled); !ok || got != requested {
			t.Errorf("%s was restored as %q", requested, got)
		}
		if got, ok := f.ResolveRedirectURI([]string{"https://b.example/cb"}); ok {
			t.Errorf("%s was restored as %q though it is no longer registered", requested, got)
		}
	}
}
