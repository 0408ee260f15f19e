package fetch_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
)

// network stands for the internet: names resolve to addresses of the test's choice, every address
// is a server on the loopback interface, and what was connected to is recorded.
type network struct {
	server    *httptest.Server
	names     map[string][]string
	lookups   atomic.Int64
	connected []string
}

func newNetwork(t *testing.T, handler http.HandlerFunc) *network {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	return &network{server: server, names: map[string][]string{}}
}

func (n *network) client(rules *documents.Fetch) *fetch.Client {
	return &fetch.Client{
		Document: func() documents.Server { return documents.Server{Fetch: rules} },
		Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
			n.lookups.Add(1)
			var addresses []netip.Addr
			for _, a := range n.names[host] {
				addresses = append(addresses, netip.MustParseAddr(a))
			}
			if addresses == nil {
				return nil, &net.DNSError{Err: "no such host", Name: host}
			}
			return addresses, nil
		},
		Dial: func(ctx context.Context, _, address string) (net.Conn, error) {
			n.connected = append(n.connected, address)
			return (&net.Dialer{}).DialContext(ctx, "tcp", n.server.Listener.Addr().String())
		},
	}
}

func (n *network) bundle() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: n.server.Certificate().Raw}))
}

func answerOK(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) }

func checkReason(t *testing.T, what string, err error, want fetch.Reason) {
	t.Helper()
	var known *fetch.Error
	if !errors.As(err, &known) || known.Reason != want {
		t.Errorf("%s: %v, want %s", what, err, want)
	}
}

func TestAnAddressInsideIsNotConnectedToUnlessItIsListed(t *testing.T) {
	for _, address := range []string{
		"127.0.0.1", "127.255.0.1", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "100.127.255.255", "192.0.0.1", "192.0.2.1",
		"198.18.0.1", "198.51.100.1", "203.0.113.1", "::1", "fc00::1", "fd12::1", "2001:db8::1", "2001:2::1", "3fff::1", "4000::1", "1::1",
	} {
		checkListed(t, address, true)
	}
	for _, address := range []string{
		"0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.0.1", "192.0.0.192", "168.63.129.16", "100.100.100.200", "192.88.99.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
		"::", "::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2001:0:1::1", "2002:7f00:1::1", "fe80::1", "fec0::1",
		"fd00:ec2::254", "fd20:ce::254", "ff02::1", "100::1",
	} {
		checkListed(t, address, false)
	}
}

// checkListed checks that an address is connected to only where it is listed, if at all.
func checkListed(t *testing.T, address string, listable bool) {
	t.Helper()
	all := &documents.Fetch{AllowedNetworks: []string{"0.0.0.0/0", "::/0"}, JWKSHosts: []string{"keys.example.com"}}
	for _, test := range []struct {
		rules   *documents.Fetch
		purpose fetch.Purpose
		want    bool
	}{
		{nil, fetch.ForClient, false}, {nil, fetch.ForIssuer, false}, {all, fetch.ForClient, listable}, {all, fetch.ForIssuer, listable},
		{&documents.Fetch{JWKSHosts: []string{"other.example.com", "*"}, AllowedNetworks: all.AllowedNetworks}, fetch.ForClient, false},
		{&documents.Fetch{JWKSHosts: []string{"KEYS.example.com."}}, fetch.ForClient, listable},
		{&documents.Fetch{JWKSHosts: []string{"keys.example.com"}}, fetch.ForIssuer, false},
		{&documents.Fetch{AllowedNetworks: []string{"11.0.0.0/8", "nonsense"}}, fetch.ForIssuer, false},
	} {
		n := newNetwork(t, answerOK)
		n.names["keys.example.com"] = []string{address}
		_, err := n.client(test.rules).Get(t.Context(), test.purpose, "https://keys.example.com/jwks")
		if connected := len(n.connected) > 0; connected != test.want {
			t.Errorf("%s with %+v: connected is %v (%v)", address, test.rules, connected, err)
		}
		if !test.want && !errors.Is(err, fetch.ErrNotAllowed) {
			t.Errorf("%s with %+v: %v", address, test.rules, err)
		}
		if !test.want {
			checkReason(t, address, err, fetch.Unreachable)
		}
	}
}

func TestOtherSpellingsOfAnAddressDoNotGetPastTheCheck(t *testing.T) {
	n := newNetwork(t, answerOK)
	client := n.client(nil)
	for _, host := range []string{
		"127.0.0.1", "127.1", "0177.0.0.1", "2130706433", "0x7f.1", "0x7f000001", "127.0.0.1.", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:169.254.169.254]",
		"[64:ff9b::127.0.0.1]", "[fe80::1%25eth0]", "[::1%25lo]", "localhost", "LOCALHOST", "169.254.169.254", "metadata.google.internal", "①②⑦.⓪.⓪.①",
	} {
		// What a resolver of the C library would make of it.
		n.names[strings.ToLower(host)], n.names[host] = []string{"127.0.0.1"}, []string{"127.0.0.1"}
		_, err := client.Get(t.Context(), fetch.ForClient, "https://"+host+"/jwks")
		checkReason(t, host, err, fetch.Unreachable)
	}
	if len(n.connected) > 0 {
		t.Errorf("connected to %v", n.connected)
	}
}

func TestTheAddressThatWasCheckedIsTheOneThatIsConnectedTo(t *testing.T) {
	n := newNetwork(t, answerOK)
	client := n.client(nil)
	answers := [][]string{{"93.184.215.14"}, {"127.0.0.1"}}
	lookup := client.Lookup
	client.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
		n.names[host] = answers[min(int(n.lookups.Load()), 1)]
		return lookup(ctx, host)
	}
	_, _ = client.Get(t.Context(), fetch.ForClient, "https://rebind.example.com/jwks")
	if len(n.connected) != 1 || n.connected[0] != "93.184.215.14:443" || n.lookups.Load() != 1 {
		t.Errorf("connected to %v after %d look-ups", n.connected, n.lookups.Load())
	}
	_, err := client.Get(t.Context(), fetch.ForClient, "https://rebind.example.com/jwks")
	if !errors.Is(err, fetch.ErrNotAllowed) || len(n.connected) != 1 {
		t.Errorf("the second fetch connected to %v: %v", n.connected, err)
	}
	// Of several addresses those that are allowed are tried.
	n.names["both.example.com"] = []string{"10.0.0.1", "93.184.215.14"}
	client.Lookup = lookup
	n.connected = nil
	_, _ = client.Get(t.Context(), fetch.ForClient, "https://both.example.com:8443/jwks")
	if len(n.connected) != 1 || n.connected[0] != "93.184.215.14:8443" {
		t.Errorf("connected to %v", n.connected)
	}
}

func TestTheCABundleCountsForPrivateAddressesOnly(t *testing.T) {
	n := newNetwork(t, answerOK)
	n.names["example.com"] = []string{"10.0.0.1"}
	rules := &documents.Fetch{JWKSHosts: []string{"example.com"}, AllowedNetworks: []string{"10.0.0.0/8"}, CABundle: n.bundle()}
	for _, purpose := range []fetch.Purpose{fetch.ForClient, fetch.ForIssuer} {
		response, err := n.client(rules).Get(t.Context(), purpose, "https://example.com/jwks")
		if err != nil || string(response.Body) != "ok" {
			t.Errorf("at a private address: %q, %v", response.Body, err)
		}
	}
	n.names["example.com"] = []string{"93.184.215.14"}
	_, err := n.client(rules).Get(t.Context(), fetch.ForClient, "https://example.com/jwks")
	checkReason(t, "at a public address", err, fetch.BadCertificate)
	n.names["example.com"] = []string{"10.0.0.1"}
	_, err = n.client(&documents.Fetch{JWKSHosts: rules.JWKSHosts}).Get(t.Context(), fetch.ForClient, "https://example.com/jwks")
	checkReason(t, "without the bundle", err, fetch.BadCertificate)
	n.names["other.internal"], rules.JWKSHosts = []string{"10.0.0.1"}, []string{"other.internal"}
	_, err = n.client(rules).Get(t.Context(), fetch.ForClient, "https://other.internal/jwks")
	checkReason(t, "a certificate for another host", err, fetch.BadCertificate)
}

func TestACertificateThatHasExpiredIsRefused(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "old"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(-time.Minute),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(answerOK))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	server.StartTLS()
	t.Cleanup(server.Close)
	client := &fetch.Client{Document: func() documents.Server {
		return documents.Server{Fetch: &documents.Fetch{
			JWKSHosts: []string{"127.0.0.1"}, CABundle: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		}}
	}}
	_, err = client.Get(t.Context(), fetch.ForClient, server.URL)
	checkReason(t, "an old certificate", err, fetch.BadCertificate)
}

// proxied counts the requests that a proxy got in all tests.
var proxied atomic.Int64

// TestMain has a proxy in the environment: net/http reads it once in a process.
func TestMain(m *testing.M) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		proxied.Add(1)
		w.WriteHeader(http.StatusBadGateway)
	}))
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY"} {
		if err := os.Setenv(name, proxy.URL); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	proxy.Close()
	os.Exit(code)
}

func TestNoProxyIsUsedWhateverTheEnvironmentSays(t *testing.T) {
	if u, err := http.ProxyFromEnvironment(httptest.NewRequest(http.MethodGet, "https://example.com/jwks", nil)); err != nil || u == nil {
		t.Fatalf("there is no proxy to pass by: %v, %v", u, err)
	}
	n := newNetwork(t, answerOK)
	n.names["example.com"] = []string{"10.0.0.1"}
	if _, err := n.client(&documents.Fetch{JWKSHosts: []string{"example.com"}, CABundle: n.bundle()}).Get(t.Context(), fetch.ForClient, "https://example.com/jwks"); err != nil {
		t.Error(err)
	}
	if proxied.Load() > 0 || len(n.connected) != 1 || n.connected[0] != "10.0.0.1:443" {
		t.Errorf("the proxy got %d requests, connected to %v", proxied.Load(), n.connected)
	}
}

func TestWhatIsNoAnswerWithinTheLimitsIsRefused(t *testing.T) {
	for what, test := range map[string]struct {
		handler http.HandlerFunc
		want    fetch.Reason
	}{
		"404":          {http.NotFound, fetch.BadAnswer},
		"no content":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, fetch.BadAnswer},
		"a redirect":   {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }, fetch.BadAnswer},
		"500":          {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, fetch.BadAnswer},
		"a large body": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, fetch.MaxSize+1)) }, fetch.BadAnswer},
		"a cut body": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			_, _ = w.Write([]byte("x"))
		}, fetch.Unreachable},
		"a large header":      {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 64<<10)) }, fetch.Unreachable},
		"a closed connection": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, fetch.Unreachable},
	} {
		n := newNetwork(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				t.Errorf("%s: it was followed", what)
			}
			test.handler(w, r)
		})
		n.names["example.com"] = []string{"10.0.0.1"}
		_, err := n.client(&documents.Fetch{JWKSHosts: []string{"example.com"}, CABundle: n.bundle()}).Get(t.Context(), fetch.ForClient, "https://example.com/jwks")
		checkReason(t, what, err, test.want)
	}
	exact := newNetwork(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, fetch.MaxSize)) })
	exact.names["example.com"] = []string{"10.0.0.1"}
	rules := &documents.Fetch{JWKSHosts: []string{"example.com"}, CABundle: exact.bundle()}
	if r, err := exact.client(rules).Get(t.Context(), fetch.ForClient, "https://example.com/jwks"); err != nil || len(r.Body) != fetch.MaxSize {
		t.Errorf("the largest body: %d bytes, %v", len(r.Body), err)
	}
}

func TestAServerThatIsSlowIsGivenUp(t *testing.T) {
	release := make(chan struct{})
	n := newNetwork(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("{"))
		w.(http.Flusher).Flush()
		<-release
	})
	t.Cleanup(func() { close(release) })
	n.names["example.com"] = []string{"10.0.0.1"}
	start := time.Now()
	_, err := n.client(&documents.Fetch{JWKSHosts: []string{"example.com"}, CABundle: n.bundle()}).Get(t.Context(), fetch.ForClient, "https://example.com/jwks")
	checkReason(t, "a slow body", err, fetch.Unreachable)
	if took := time.Since(start); took > fetch.Timeout+2*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestTheRequestSaysNothingAboutWhoAsks(t *testing.T) {
	var got http.Header
	n := newNetwork(t, func(w http.ResponseWriter, r *http.Request) { got = r.Header; answerOK(w, r) })
	n.names["example.com"] = []string{"10.0.0.1"}
	if _, err := n.client(&documents.Fetch{JWKSHosts: []string{"example.com"}, CABundle: n.bundle()}).Get(t.Context(), fetch.ForClient, "https://example.com/jwks#fragment"); err != nil {
		t.Fatal(err)
	}
	for name := range got {
		if name != "Accept" && name != "User-Agent" && name != "Connection" {
			t.Errorf("the request has %s: %v", name, got[name])
		}
	}
}

func TestAURLThatIsNotPlainHTTPSIsNotFetched(t *testing.T) {
	n := newNetwork(t, answerOK)
	client := n.client(&documents.Fetch{JWKSHosts: []string{"127.0.0.1"}})
	for _, raw := range []string{
		"", "http://127.0.0.1/", "HTTP://127.0.0.1/", "file:///etc/passwd", "https:127.0.0.1", "https://", "https:///x", "//127.0.0.1/", "https://user@127.0.0.1/",
		"https://user:password@127.0.0.1/", "https://127.0.0.1/" + strings.Repeat("a", 2048), "https://127.0.0.1:port/", "https://a b/", "gopher://127.0.0.1",
	} {
		if _, err := client.Get(t.Context(), fetch.ForClient, raw); err == nil {
			t.Errorf("%.40q is fetched", raw)
		}
	}
	if len(n.connected) > 0 {
		t.Errorf("connected to %v", n.connected)
	}
}

func TestTheAnswerSaysHowLongItCounts(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": 0, "no-store": 0, "max-age=60": time.Minute, "public, Max-Age = 60": 0, `public, max-age="60", x`: time.Minute, "max-age=-1": 0, "max-age=99999999999": 0, "s-maxage=60": 0,
	} {
		n := newNetwork(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Cache-Control", header); answerOK(w, r) })
		n.names["example.com"] = []string{"10.0.0.1"}
		response, err := n.client(&documents.Fetch{JWKSHosts: []string{"example.com"}, CABundle: n.bundle()}).Get(t.Context(), fetch.ForClient, "https://example.com/")
		if err != nil || response.MaxAge != want {
			t.Errorf("%q: %v, %v, want %v", header, response.MaxAge, err, want)
		}
	}
}

func TestRulesThatChangeCountForTheNextFetch(t *testing.T) {
	n := newNetwork(t, answerOK)
	n.names["example.com"] = []string{"10.0.0.1"}
	var rules atomic.Pointer[documents.Fetch]
	client := n.client(nil)
	client.Document = func() documents.Server { return documents.Server{Fetch: rules.Load()} }
	before := client.Revision()
	rules.Store(&documents.Fetch{JWKSHosts: []string{"example.com"}, CABundle: n.bundle()})
	if _, err := client.Get(t.Context(), fetch.ForClient, "https://example.com/"); err != nil {
		t.Errorf("once it is listed: %v", err)
	}
	if after := client.Revision(); after == before || after != client.Revision() {
		t.Errorf("the revision is %d, was %d", after, before)
	}
	rules.Store(&documents.Fetch{})
	if _, err := client.Get(t.Context(), fetch.ForClient, "https://example.com/"); !errors.Is(err, fetch.ErrNotAllowed) {
		t.Errorf("once it is not: %v", err)
	}
}
