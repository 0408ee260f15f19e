package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestTheSourceIsTheFirstAddressFromTheRightThatIsNoTrustedProxys(t *testing.T) {
	proxies := []string{"10.0.0.0/8", "192.0.2.1/32", "2001:db8:0:1::/64"}
	for _, c := range []struct {
		name, peer string
		trusted    []string
		forwarded  []string
		want       string
	}{
		{"no proxy is trusted", "203.0.113.9:4711", nil, []string{"198.51.100.1"}, "203.0.113.9/32"},
		{"the peer is not trusted", "203.0.113.9:4711", proxies, []string{"198.51.100.1"}, "203.0.113.9/32"},
		{"one proxy", "10.1.2.3:4711", proxies, []string{"198.51.100.1"}, "198.51.100.1/32"},
		{"one proxy, and what the client wrote", "10.1.2.3:4711", proxies, []string{"198.51.100.2, 198.51.100.1"}, "198.51.100.1/32"},
		{"the client wrote a proxy's address", "10.1.2.3:4711", proxies, []string{"198.51.100.2, 10.9.9.9, 198.51.100.1"}, "198.51.100.1/32"},
		{"two proxies", "10.1.2.3:4711", proxies, []string{"198.51.100.1, 192.0.2.1"}, "198.51.100.1/32"},
		{"two headers", "10.1.2.3:4711", proxies, []string{"198.51.100.2", "198.51.100.1,10.0.0.1"}, "198.51.100.1/32"},
		{"all are proxies", "10.1.2.3:4711", proxies, []string{"10.0.0.7, 10.0.0.8"}, "10.0.0.7/32"},
		{"no header", "10.1.2.3:4711", proxies, nil, "10.1.2.3/32"},
		{"an empty header", "10.1.2.3:4711", proxies, []string{""}, "10.1.2.3/32"},
		{"nonsense", "10.1.2.3:4711", proxies, []string{"198.51.100.1, unknown"}, "10.1.2.3/32"},
		{"nonsense left of a proxy", "10.1.2.3:4711", proxies, []string{"198.51.100.1, _hidden, 192.0.2.1"}, "192.0.2.1/32"},
		{"a port", "10.1.2.3:4711", proxies, []string{"198.51.100.1:1234"}, "198.51.100.1/32"},
		{"IPv6", "[2001:db8:0:1::5]:4711", proxies, []string{"2001:db8:7:8:9:a:b:c"}, "2001:db8:7:8::/64"},
		{"IPv6 with a port", "[2001:db8:0:1::5]:4711", proxies, []string{"[2001:db8:7:8:9:a:b:c]:1"}, "2001:db8:7:8::/64"},
		{"IPv6 in brackets", "[2001:db8:0:1::5]:4711", proxies, []string{"[2001:db8:7:8:9:a:b:c]"}, "2001:db8:7:8::/64"},
		{"an IPv6 peer with a zone", "[fe80::1%eth0]:4711", nil, nil, "fe80::/64"},
		{"IPv4 in IPv6", "[::ffff:10.1.2.3]:4711", proxies, []string{"::ffff:198.51.100.1"}, "198.51.100.1/32"},
		{"no address", "@", proxies, []string{"198.51.100.1"}, "invalid Prefix"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/login", nil)
			r.RemoteAddr = c.peer
			for _, value := range c.forwarded {
				r.Header.Add("X-Forwarded-For", value)
			}
			r.Header.Set("Forwarded", "for=198.51.100.99")
			r.Header.Set("X-Real-Ip", "198.51.100.98")
			if got := Source(r, c.trusted).String(); got != c.want {
				t.Errorf("the source is %s, want %s", got, c.want)
			}
		})
	}
}

func TestAddressesOfOneIPv6NetworkAreOneSource(t *testing.T) {
	seen := map[string]bool{}
	for _, peer := range []string{"[2001:db8:7:8::1]:1", "[2001:db8:7:8:ffff::2]:1"} {
		r := httptest.NewRequest(http.MethodPost, "/login", nil)
		r.RemoteAddr = peer
		seen[Source(r, nil).String()] = true
	}
	if len(seen) != 1 {
		t.Errorf("two addresses of one /64 are %v", seen)
	}
}

func TestTheLogNamesTheSourceOnlyWhereItWasNoted(t *testing.T) {
	e, log, _ := newAdapter(t)
	for noted, h := range map[bool]http.Handler{
		false: e.ForAPI("token", func(w http.ResponseWriter, _ *http.Request) error { return NoBody(w, 204) }),
		true: e.ForAPI("login", func(w http.ResponseWriter, r *http.Request) error {
			NoteSource(r.Context(), Source(r, nil))
			return NoBody(w, 204)
		}),
	} {
		log.Reset()
		request(h, "POST", "/")
		if got := strings.Contains(log.String(), `"source":"192.0.2.1/32"`); got != noted {
			t.Errorf("noted: %v; the log: %s", noted, log)
		}
	}
}
