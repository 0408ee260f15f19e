package redirecturi

import (
	"net/url"
	"strings"
	"testing"
)

// FuzzRedirect: whatever a request names, it leads nowhere but where something registered leads, as
// a browser reads it.
func FuzzRedirect(f *testing.F) {
	for _, seed := range [][2]string{
		{"https://app.example.com/cb", "https://app.example.com/cb"},
		{"https://app.example.com/cb", "https://app.example.com/cb/../evil"},
		{"https://app.example.com/cb", "https://app.example.com@evil.example/cb"},
		{"http://127.0.0.1/cb", "http://127.0.0.1:49152/cb"},
		{"http://127.0.0.1/cb", "http://127.0.0.1:49152@evil.example/cb"},
		{"http://127.0.0.1/cb", "http://127.0.0.1.evil.example/cb"},
		{"http://127.0.0.1/cb", "http://127.0.0.1:\t80/cb"},
		{"http://[::1]/cb?a=b", "http://[::1]:8080/cb?a=b"},
		{"http://localhost/cb", "http://localhost:8080/cb"},
		{"com.example.app:/cb", "com.example.app:/cb"},
		{"https://app.example.com\\@evil.example/", "https://app.example.com/"},
		{"https://app.example.com/cb;code=1", "https://app.example.com/cb?code=1"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, registered, requested string) {
		if found, ok := Match([]string{registered}, registered); !ok || found != registered {
			t.Errorf("%q is not itself", registered)
		}
		kind, name := Classify(registered)
		if kind == Invalid {
			if name != "" {
				t.Errorf("%q is not allowed, and leads to %q", registered, name)
			}
			return
		}
		found, ok := Match([]string{registered}, requested)
		if !ok || requested == registered {
			return
		}
		if found != registered {
			t.Fatalf("%q is taken for %q, which is not registered", requested, found)
		}
		// Only the port of a loopback IP literal may differ.
		was, err1 := url.Parse(registered)
		is, err2 := url.Parse(requested)
		if err1 != nil || err2 != nil {
			t.Fatalf("%q for %q: %v, %v", requested, registered, err1, err2)
		}
		if is.Scheme != "http" || is.Hostname() != was.Hostname() || is.Hostname() != "127.0.0.1" && is.Hostname() != "::1" ||
			is.RequestURI() != was.RequestURI() || is.User != nil || strings.Contains(requested, "#") {
			t.Errorf("%q is taken for %q", requested, registered)
		}
	})
}
