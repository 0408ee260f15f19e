package redirecturi

import (
	"fmt"
	"testing"
)

func TestARedirectURIIsComparedExactly(t *testing.T) {
	registered := []string{"https://app.example.com/cb", "com.example.app:/cb"}
	for _, uri := range registered {
		if got, ok := Match(registered, uri); !ok || got != uri {
			t.Errorf("Match(%q) = %q, %v", uri, got, ok)
		}
	}
	for _, uri := range []string{
		"https://app.example.com/cb/", "https://app.example.com/CB", "https://APP.example.com/cb", "https://app.example.com/cb?x=1",
		"https://app.example.com:443/cb", "https://app.example.com/%63b", "https://app.example.com/x/../cb", "https://app.example.com//cb",
		"https://app.example.com/..;/cb", "https://app.example.com@evil.example/cb", "https://evil.example\\@app.example.com/cb",
		"https://app.example.com/cb\t", " https://app.example.com/cb", "https://app.example.com/cb#", "http://app.example.com/cb",
		"https%3A%2F%2Fapp.example.com%2Fcb", "https://app.example.com./cb", "com.example.app:/cb2", "com.example.app://cb", "",
	} {
		if got, ok := Match(registered, uri); ok {
			t.Errorf("Match(%q) = %q, want no match", uri, got)
		}
	}
}

func TestOnlyALoopbackIPLiteralHasAFreePort(t *testing.T) {
	registered := []string{"http://127.0.0.1/cb", "http://[::1]:7777/cb?a=b", "http://localhost/cb", "http://localhost:3000/cb", "https://127.0.0.1/tls"}
	for uri, want := range map[string]string{
		"http://127.0.0.1/cb":         "http://127.0.0.1/cb",
		"http://127.0.0.1:1/cb":       "http://127.0.0.1/cb",
		"http://127.0.0.1:65535/cb":   "http://127.0.0.1/cb",
		"http://[::1]:50000/cb?a=b":   "http://[::1]:7777/cb?a=b",
		"http://[::1]/cb?a=b":         "http://[::1]:7777/cb?a=b",
		"http://localhost:3000/cb":    "http://localhost:3000/cb",
		"http://localhost:3001/cb":    "",
		"http://127.0.0.1:80/cb/":     "",
		"http://127.0.0.1:80/cb?x":    "",
		"http://127.0.0.1:/cb":        "",
		"http://127.0.0.1:0/cb":       "",
		"http://127.0.0.1:080/cb":     "",
		"http://127.0.0.1:65536/cb":   "",
		"http://127.0.0.1:99999/cb":   "",
		"http://127.0.0.1:1e3/cb":     "",
		"http://127.0.0.1:-1/cb":      "",
		"http://127.0.0.1:80@evil/cb": "",
		"http://127.0.0.1@evil/cb":    "",
		"http://127.0.0.1.evil/cb":    "",
		"http://127.0.0.10/cb":        "",
		"http://127.0.0.2:80/cb":      "",
		"http://127.1:80/cb":          "",
		"http://[0:0::1]:80/cb?a=b":   "",
		"http://[::1].evil/cb?a=b":    "",
		"http://127.0.0.1:80\\cb":     "",
		"http://127.0.0.1:80/cb#f":    "",
		"HTTP://127.0.0.1:80/cb":      "",
		"https://127.0.0.1:80/cb":     "",
		"https://127.0.0.1:80/tls":    "",
	} {
		if got, ok := Match(registered, uri); got != want || ok != (want != "") {
			t.Errorf("Match(%q) = %q, %v, want %q", uri, got, ok, want)
		}
	}
}

func TestTheCharactersAfterALoopbackPortAreThoseOfAURI(t *testing.T) {
	// Whatever was registered, a request that a browser reads in its own way has no free port.
	for _, rest := range []string{"/cb\\x", "/c b", "/cb\n", "/cb#x"} {
		if _, ok := Match([]string{"http://127.0.0.1" + rest}, "http://127.0.0.1:80"+rest); ok {
			t.Errorf("%q has a free port", rest)
		}
	}
}

func TestARedirectLeadsToAHostAMachineOrAnApplication(t *testing.T) {
	for uri, want := range map[string]struct {
		kind Kind
		name string
	}{
		"https://app.example.com/cb":       {Web, "app.example.com"},
		"https://App.Example.com:8443/cb":  {Web, "app.example.com"},
		"https://[2001:db8::1]/cb":         {Web, "2001:db8::1"},
		"http://127.0.0.1/cb":              {Loopback, "127.0.0.1"},
		"https://127.0.0.1/cb":             {Loopback, "127.0.0.1"},
		"http://[::1]:8080/cb":             {Loopback, "::1"},
		"http://localhost/cb":              {Loopback, "localhost"},
		"com.example.app:/cb":              {PrivateUse, "com.example.app"},
		"com.example.app://host/cb":        {PrivateUse, "com.example.app"},
		"http://app.example.com/cb":        {},
		"https:///cb":                      {},
		"https:cb":                         {},
		"//app.example.com/cb":             {},
		"/cb":                              {},
		"javascript:alert(1)":              {},
		"data:text/html,x":                 {},
		"https://u@app.example.com/cb":     {},
		"https://app.example.com/cb#f":     {},
		"https://app.example.com\\@evil/":  {},
		"https://app.exa%6dple.com/cb":     {},
		"https://*.example.com/cb":         {},
		"https://app.example.com/cb?q=1":   {Web, "app.example.com"},
		"https://app.example.com/cb?code":  {},
		"https://app.example.com/?a&iss=1": {},
		"https://app.example.com/?a;b=1":   {},
		"https://app.example.com/?scopes":  {Web, "app.example.com"},
		"com.example.app:/cb?state=1":      {},
		"http://localhost.evil.example/cb": {},
		"http://127.0.0.1.evil/cb":         {},
	} {
		if kind, name := Classify(uri); kind != want.kind || name != want.name {
			t.Errorf("Classify(%q) = %v, %q, want %v, %q", uri, kind, name, want.kind, want.name)
		}
		if got := IsNative(uri); got != (want.kind != Web) {
			t.Errorf("IsNative(%q) = %v", uri, got)
		}
	}
}

func TestARedirectURIWithAParameterOfTheResponseIsInvalid(t *testing.T) {
	for _, name := range []string{
		"code", "state", "iss", "error", "error_description", "error_uri", "id_token", "response", "access_token", "token_type", "expires_in", "scope",
	} {
		for _, uri := range []string{
			"https://app.example.com/cb?" + name + "=1", "https://app.example.com/cb?a=b&" + name, "com.example.app:/cb?" + name + "=",
			fmt.Sprintf("http://127.0.0.1/cb?%%%02x%s=1", name[0], name[1:]),
		} {
			if kind, _ := Classify(uri); kind != Invalid {
				t.Errorf("%s is %v", uri, kind)
			}
		}
	}
}

// A code that is sent there without a word could go to any program on the machine.
func TestAHostThatBrowsersTakeForThisMachineIsLoopbackOrNone(t *testing.T) {
	for host, want := range map[string]Kind{
		"localhost.": Loopback, "app.localhost": Loopback, "a.b.LOCALHOST.": Loopback, "0.0.0.0": Loopback,
		"[::]": Loopback, "[::ffff:127.0.0.1]": Loopback, "127.255.0.1": Loopback,
		"127.1": Invalid, "2130706433": Invalid, "0x7f000001": Invalid, "0177.0.0.1": Invalid,
		"127.0.0.1.": Invalid, "0x7f.0.0.1": Invalid, "0": Invalid, "127.0.0.0x1": Invalid, "0x": Invalid,
		"10.1": Invalid, "app.example.1": Invalid,
		"localhost.example.com": Web, "notlocalhost": Web, "10.0.0.1": Web, "1.example.com": Web,
		"0x7f.example.com": Web, "app.1a": Web, "0xg": Web, "[2001:db8::1]": Web,
	} {
		if kind, name := Classify("https://" + host + "/cb"); kind != want {
			t.Errorf("%s is %v, %q, want %v", host, kind, name, want)
		}
		if kind, _ := Classify("http://" + host + "/cb"); kind == Loopback && host != "127.255.0.1" && host != "[::ffff:127.0.0.1]" {
			t.Errorf("http://%s is loopback", host)
		}
	}
}
