package tokenserver

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry/registrytest"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/memory"
)

// house is a listener on a loopback port, with the endpoints of an issuer or a handler of the test's behind it.
type house struct {
	*listener
	t     *testing.T
	rooms *rooms
}

// open a house. Change is made to the listener before it listens.
func open(t *testing.T, handler http.Handler, change func(*listener)) *house {
	t.Helper()
	h := &house{t: t}
	if handler == nil {
		h.rooms = furnish(t)
		handler = h.rooms
	}
	h.listener = newListener("127.0.0.1:0", handler, slog.New(slog.DiscardHandler), func() {})
	if change != nil {
		change(h.listener)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() { defer close(done); h.run(ctx) }()
	t.Cleanup(func() {
		stop()
		ended, end := context.WithCancel(context.WithoutCancel(t.Context()))
		end()
		h.shutdown(ended)
		<-done
	})
	h.until("it listens", func() bool { _, bound := h.state(); return bound != "" })
	return h
}

func (h *house) until(sentence string, holds func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("not within 10 seconds: %s", sentence)
		}
	}
}

// furnish the rooms of an issuer with one client that may use passwords.
func furnish(t *testing.T) *rooms {
	t.Helper()
	store, err := memory.New(time.Now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	server := &Server{
		Registry: registry.New(), Keys: keys.NewSet(rand.Reader), Store: store, Now: time.Now, Random: rand.Reader,
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	}
	all := documents.Namespaces{All: true}
	registrytest.Fill(t, server.Registry, documents.Namespace{Name: "apps"}, documents.Server{
		UID: "server-uid", Issuer: "http://127.0.0.1", AllowedClients: []documents.ClientRule{{
			Name: "all", Namespaces: all, GrantTypes: []string{oauth.GrantPassword}, Scopes: []string{documents.Any}, Consent: []string{"Required"},
		}},
	}, documents.Client{
		UID: "client-uid", Namespace: "apps", Name: "legacy", ID: "apps.legacy", GrantTypes: []string{oauth.GrantPassword},
		AuthMethod: oauth.AuthMethodSecretBasic, PKCE: "Required", Consent: "Required", IDTokenAlg: "RS256",
	})
	r, err := server.rooms()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// worked reports work that was done: secrets of clients compared, or passwords hashed.
func (h *house) worked(what string) {
	h.t.Helper()
	if compared, hashed := h.rooms.token.Clients.Work(), h.rooms.token.Passwords.Work(); compared+hashed != 0 {
		h.t.Errorf("%s: %d secrets were compared and %d passwords hashed", what, compared, hashed)
	}
}

// dial a connection.
func (h *house) dial() net.Conn {
	h.t.Helper()
	_, bound := h.state()
	c, err := net.Dial("tcp", bound)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

// say something on a connection. What the other side closes while it is said is found out by whoever listens.
func saying(c net.Conn, text string) net.Conn {
	_, _ = io.WriteString(c, text)
	return c
}

// hear the next answer; 0 if the connection is closed without one.
func hear(c net.Conn) (status int, body string) {
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	content, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(content)
}

// closed says whether the other side closes the connection within the time; what is still to be read is read.
func closed(c net.Conn, within time.Duration) bool {
	_ = c.SetReadDeadline(time.Now().Add(within))
	_, err := io.Copy(io.Discard, c)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// basic is how the client presents itself, and client what it wants.
const (
	basic  = "Authorization: Basic YXBwcy5sZWdhY3k6eA==\r\nContent-Type: application/x-www-form-urlencoded\r\n"
	client = "grant_type=password&username=alice&password=x"
)

// post is a request with a form of the client and what is added to it.
func post(path, header, added string) string {
	form := client + added
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\n%s%sContent-Length: %d\r\n\r\n%s", path, basic, header, len(form), form)
}

func TestWhatIsTooLargeIsRefusedBeforeAnyWork(t *testing.T) {
	h := open(t, nil, nil)
	many := "" // and with the three of the client, one too many
	for i := range 98 {
		many += fmt.Sprintf("&p%d=1", i)
	}
	chunk := func(n int) string { return fmt.Sprintf("%x\r\n%s\r\n", n, strings.Repeat("x", n)) }
	const chunked = "POST /token HTTP/1.1\r\nHost: x\r\n" + basic + "Transfer-Encoding: chunked\r\n\r\n"
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"a body of 64 KiB and a byte":      {post("/token", "", "&x="+strings.Repeat("x", oauth.MaxForm+1-len(client+"&x="))), 413},
		"a body that says it is a GiB":     {"POST /token HTTP/1.1\r\nHost: x\r\n" + basic + "Content-Length: 1073741824\r\n\r\n", 413},
		"chunks of more than 64 KiB":       {chunked + chunk(60<<10) + chunk(5<<10), 413},
		"101 parameters":                   {post("/token", "", many), 400},
		"a header of 16 KiB":               {post("/token", "X: "+strings.Repeat("x", 16<<10)+"\r\n", ""), 431},
		"many headers":                     {post("/token", strings.Repeat("Cookie: a=b\r\n", 1500), ""), 431},
		"a query of 16 KiB":                {"GET /authorize?state=" + strings.Repeat("x", 16<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n", 431},
		"101 parameters in the query":      {"GET /authorize?client_id=apps.legacy" + strings.Repeat("&x=1", 101) + " HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		"a body of two lengths":            {"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef", 400},
		"a login form of 64 KiB and a bit": {post("/login", "", "&x="+strings.Repeat("x", oauth.MaxForm)), 413},
	} {
		if status, body := hear(saying(h.dial(), c.request)); status != c.status {
			t.Errorf("%s: %d %s, want %d", name, status, body, c.status)
		}
	}
	h.worked("all of these")
	// The largest request that the authorization endpoint takes, with every byte of its parameters
	// escaped.
	escaped := func(n int) string { return strings.Repeat("%3C", n) }
	largest := "GET /authorize?client_id=nobody&state=" + escaped(3000) + "&nonce=" + escaped(512) + "&login_hint=" + escaped(512) + " HTTP/1.1\r\nHost: x\r\n" +
		"Cookie: session=" + strings.Repeat("x", 2<<10) + "\r\n\r\n"
	if status, body := hear(saying(h.dial(), largest)); status != http.StatusBadRequest || !strings.Contains(body, "not known to this server") {
		t.Errorf("the largest request for an authorization: %d %s, want the page that says that the client is unknown", status, body)
	}
	for name, request := range map[string]string{
		"a body of 64 KiB":   post("/token", "", "&x="+strings.Repeat("x", oauth.MaxForm-len(client+"&x="))),
		"100 parameters":     post("/token", "", strings.TrimSuffix(many, "&p97=1")),
		"a header of 15 KiB": post("/token", "X: "+strings.Repeat("x", 15<<10)+"\r\n", ""),
	} {
		before := h.rooms.token.Clients.Work()
		if status, body := hear(saying(h.dial(), request)); status != http.StatusUnauthorized || h.rooms.token.Clients.Work() == before {
			t.Errorf("%s: %d %s, want 401 after a look at the client", name, status, body)
		}
	}
}

// quick has the timeouts of a server whose clients are near, so that a test need not wait for long.
func quick(l *listener) {
	l.server.ReadHeaderTimeout, l.server.ReadTimeout, l.server.WriteTimeout, l.server.IdleTimeout =
		200*time.Millisecond, 400*time.Millisecond, 600*time.Millisecond, 300*time.Millisecond
}

func TestSlowAndIdleClientsAreCutOffBeforeAnyWork(t *testing.T) {
	for _, l := range []*listener{newListener("", nil, slog.New(slog.DiscardHandler), nil)} {
		for what, timeout := range map[string]time.Duration{
			"a header": l.server.ReadHeaderTimeout, "a request": l.server.ReadTimeout, "an answer": l.server.WriteTimeout, "silence": l.server.IdleTimeout,
		} {
			if timeout <= 0 || timeout > time.Minute {
				t.Errorf("%s may take %s", what, timeout)
			}
		}
	}
	h := open(t, nil, quick)
	const length = basic + "Content-Length: 100\r\n\r\n"
	for name, request := range map[string]string{
		"nothing":       "",
		"half a header": "POST /token HTTP/1.1\r\nHost:",
		"no body":       "POST /token HTTP/1.1\r\nHost: x\r\n" + length,
		"half a body":   "POST /token HTTP/1.1\r\nHost: x\r\n" + length + "grant_type=password&client_id=apps.legacy",
	} {
		c := saying(h.dial(), request)
		if strings.HasSuffix(name, "body") {
			if status, body := hear(c); status != http.StatusRequestTimeout {
				t.Errorf("%s: %d %s, want 408", name, status, body)
			}
		}
		if !closed(c, 5*time.Second) {
			t.Errorf("%s: the connection stays", name)
		}
		h.worked(name)
	}
	// A byte now and then does not keep it open.
	c := saying(h.dial(), "GET /jwks HTTP/1.1\r\nX: ")
	stop := time.After(5 * time.Second)
	for dripping := true; dripping; {
		select {
		case <-stop:
			t.Fatal("a client that sends a byte at a time is waited for")
		case <-time.After(20 * time.Millisecond):
			_, err := io.WriteString(c, "x")
			dripping = err == nil
		}
	}
	c = saying(h.dial(), "GET /jwks HTTP/1.1\r\nHost: x\r\n\r\n")
	if status, _ := hear(c); status == 0 {
		t.Fatal("no answer")
	}
	if !closed(c, 5*time.Second) {
		t.Error("an idle connection stays")
	}
}

// unread asks without end and reads no answer, until nothing more goes out.
func (h *house) unread(request string) net.Conn {
	h.t.Helper()
	c := h.dial()
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	for {
		if _, err := io.WriteString(c, request); err != nil {
			return c
		}
	}
}

func TestAClientThatDoesNotReadItsAnswerIsCutOff(t *testing.T) {
	for what, request := range map[string]string{"one answer": get, "many answers": strings.Repeat(get, 100)} {
		h := open(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 8<<20)) }), quick)
		saying(h.dial(), request)
		h.until("it is open", func() bool { return h.opened() == 1 })
		h.until(what+" not read: the connection is closed", func() bool { return h.opened() == 0 })
	}
}

func TestConnectionsThatReadNoAnswersYieldToNewOnes(t *testing.T) {
	const connections = 8
	const metadata = "GET /.well-known/openid-configuration HTTP/1.1\r\nHost: x\r\n\r\n"
	const form = "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 200000\r\n\r\n"
	large := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) })
	for what, c := range map[string]struct {
		handler http.Handler
		hoard   func(*house)
	}{
		"many error pages":                    {nil, func(h *house) { h.unread("GET /authorize?client_id=nobody HTTP/1.1\r\nHost: x\r\n\r\n") }},
		"metadata many times":                 {nil, func(h *house) { h.unread(metadata) }},
		"a page that answers an unsent form":  {nil, func(h *house) { saying(h.dial(), form) }},
		"an answer that no socket can hold":   {large, func(h *house) { saying(h.dial(), get) }},
		"such answers, while more is pending": {large, func(h *house) { h.unread(get) }},
	} {
		h := open(t, c.handler, func(l *listener) { l.door.limit = connections })
		var all sync.WaitGroup
		for range connections {
			all.Go(func() { c.hoard(h) })
		}
		all.Wait()
		h.until("all wait for their clients, that do not read "+what, func() bool {
			h.door.mu.Lock()
			defer h.door.mu.Unlock()
			return h.door.open == connections && h.door.waiting.Len() == connections
		})
		for range 3 * connections {
			if status, body := hear(saying(h.dial(), metadata)); status != http.StatusOK {
				t.Errorf("%s: another client is answered %d %.200s", what, status, body)
			}
		}
	}
}

func TestTheKernelKeepsLittleForAClientThatReadsNothing(t *testing.T) {
	var served atomic.Int64
	h := open(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		served.Add(1)
		_, _ = w.Write(make([]byte, 8<<10))
	}), nil)
	h.unread(get)
	// Some of the answers are in this side's buffer of 128 KiB or so; the kernel would keep 4 MiB
	// more.
	if n := served.Load(); n < 2 || n > 64 {
		t.Errorf("%d answers of 8 KiB were written and not read", n)
	}
}

// slow is a handler that serves requests until they are released.
type slow struct {
	began   atomic.Int64
	release chan struct{}
}

func (s *slow) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.began.Add(1)
	<-s.release
	w.WriteHeader(http.StatusNoContent)
}

const get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

func TestConnectionsWithoutARequestYieldToNewOnes(t *testing.T) {
	s := &slow{release: make(chan struct{})}
	h := open(t, s, func(l *listener) { l.door.limit = 3 })
	busy := saying(h.dial(), get)
	h.until("a request is served", func() bool { return s.began.Load() == 1 })
	close(s.release)
	if status, _ := hear(busy); status != http.StatusNoContent {
		t.Fatalf("status %d", status)
	}
	s.release = make(chan struct{})
	busy = saying(busy, get)
	h.until("another request is served on the same connection", func() bool { return s.began.Load() == 2 })

	silent := h.dial()
	h.until("two are open", func() bool { return h.opened() == 2 })
	halfSaid := saying(h.dial(), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
	h.until("three are open", func() bool { return h.opened() == 3 })
	for i, c := range []net.Conn{silent, halfSaid} {
		next := saying(h.dial(), get)
		h.until("the next one is served", func() bool { return s.began.Load() == int64(3+i) })
		if !closed(c, 5*time.Second) {
			t.Errorf("connection %d of those that wait stays", i+1)
		}
		defer func() {
			if status, _ := hear(next); status != http.StatusNoContent {
				t.Errorf("the new one is answered %d", status)
			}
		}()
	}
	// All three have requests: there is no place.
	if status, _ := hear(saying(h.dial(), get)); status != 0 || s.began.Load() != 4 {
		t.Errorf("one more is answered %d, and %d were served", status, s.began.Load())
	}
	if h.opened() != 3 {
		t.Errorf("%d are open, want 3", h.opened())
	}
	close(s.release)
	if status, _ := hear(busy); status != http.StatusNoContent {
		t.Errorf("one whose request was under way is answered %d", status)
	}
	// And then there is.
	if status, _ := hear(saying(h.dial(), get)); status != http.StatusNoContent {
		t.Errorf("after all that: %d", status)
	}
}

func (h *house) opened() int {
	h.door.mu.Lock()
	defer h.door.mu.Unlock()
	return h.door.open
}

func TestAConnectionThatIsClosedLeavesItsPlace(t *testing.T) {
	h := open(t, http.NotFoundHandler(), func(l *listener) { l.door.limit = 3 })
	for i := range 50 {
		c := saying(h.dial(), get)
		if status, _ := hear(c); status != http.StatusNotFound {
			t.Fatalf("connection %d is answered %d", i, status)
		}
		_ = c.Close()
	}
	h.until("all are gone", func() bool { return h.opened() == 0 })
	if h.door.waiting.Len() != 0 {
		t.Errorf("%d still wait", h.door.waiting.Len())
	}
}

func TestFewLargeBodiesAreReadAtOnceAndASlowOneYieldsToTheNext(t *testing.T) {
	h := open(t, nil, func(l *listener) { l.door.largeLimit = 2 })
	sending := func() int {
		h.door.mu.Lock()
		defer h.door.mu.Unlock()
		return h.door.large.Len()
	}
	form := strings.Repeat("x", smallBody)
	slowly := make([]net.Conn, 3)
	for i := range slowly {
		slowly[i] = saying(h.dial(), "POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 60000\r\n\r\n"+form)
		h.until("a large body is being read", func() bool { return sending() == min(i+1, 2) && (i < 2 || closed(slowly[0], time.Millisecond)) })
	}
	if closed(slowly[2], 50*time.Millisecond) || h.opened() != 2 {
		t.Errorf("%d are open, want the last two", h.opened())
	}
	h.worked("large bodies")
	for range 3 {
		if status, _ := hear(saying(h.dial(), post("/token", "", "&x="+form))); status != http.StatusUnauthorized {
			t.Errorf("one that is sent at once: %d, want 401", status)
		}
	}
	if status, _ := hear(saying(h.dial(), post("/token", "", ""))); status != http.StatusUnauthorized {
		t.Errorf("a small one: %d, want 401", status)
	}
	_ = slowly[2].Close()
	h.until("none is read any more", func() bool { return sending() == 0 })
}

func TestOnlyHTTP1IsServedAndConnectionsAreBoundedWithTLSToo(t *testing.T) {
	dir := selfSigned(t)
	h := open(t, http.NotFoundHandler(), func(l *listener) {
		l.certificate = &certificate{dir: dir}
		if _, err := l.certificate.load(); err != nil {
			t.Fatal(err)
		}
		l.door.limit = 2
	})
	silent := h.dial()
	h.until("one is open", func() bool { return h.opened() == 1 })
	for range 3 {
		c := tls.Client(h.dial(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
		if status, body := hear(saying(c, get)); status != http.StatusNotFound {
			t.Errorf("status %d %s", status, body)
		}
		if protocol := c.ConnectionState().NegotiatedProtocol; protocol != "http/1.1" {
			t.Errorf("the protocol is %q", protocol)
		}
		if h.opened() > 2 {
			t.Errorf("%d are open", h.opened())
		}
	}
	if !closed(silent, 5*time.Second) {
		t.Error("the one that waited longest stays")
	}
}

// selfSigned makes a directory with a certificate.
func selfSigned(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: der}, "tls.key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
