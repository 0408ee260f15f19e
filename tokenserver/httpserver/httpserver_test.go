package httpserver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/httpserver"
	"github.com/oauth-operator/oauth-operator/tokenserver/httpserver/httpservertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

func TestEachLimitIsSetAndNoClientIsWaitedForLongerThanAMinute(t *testing.T) {
	limits := httpserver.DefaultLimits()
	for what, timeout := range map[string]time.Duration{
		"a header": limits.Header, "a request": limits.Request, "an answer": limits.Response, "silence": limits.Idle,
	} {
		if timeout <= 0 || timeout > time.Minute {
			t.Errorf("%s may take %s", what, timeout)
		}
	}
	if limits.Connections <= 0 || limits.IncompleteBytes < 4*(oauth.MaxFormSize+16<<10) {
		t.Errorf("%d connections, %d bytes of incomplete requests", limits.Connections, limits.IncompleteBytes)
	}
}

func TestAClientThatDoesNotReadItsAnswerIsCutOff(t *testing.T) {
	for what, request := range map[string]string{"one answer": get, "many answers": strings.Repeat(get, 100)} {
		h := httpservertest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 8<<20)) }), httpservertest.ShortLimits)
		httpservertest.Send(h.Dial(), request)
		h.Eventually("it is open", func() bool { return h.Stats().Open == 1 })
		h.Eventually(what+" not read: the connection is closed", func() bool { return h.Stats().Open == 0 })
	}
}

func TestTheKernelKeepsLittleForAClientThatReadsNothing(t *testing.T) {
	var served atomic.Int64
	h := httpservertest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		served.Add(1)
		_, _ = w.Write(make([]byte, 8<<10))
	}), nil)
	h.SendEndlessly(get)
	// Some of the answers are in this side's buffer of 128 KiB or so; the kernel would keep 4 MiB
	// more.
	if n := served.Load(); n < 2 || n > 64 {
		t.Errorf("%d answers of 8 KiB were written and not read", n)
	}
}

// blockingHandler answers requests once they are released.
type blockingHandler struct {
	began   atomic.Int64
	release chan struct{}
}

func (s *blockingHandler) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.began.Add(1)
	<-s.release
	w.WriteHeader(http.StatusNoContent)
}

const get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

func TestConnectionsWithoutARequestYieldToNewOnes(t *testing.T) {
	s := &blockingHandler{release: make(chan struct{})}
	h := httpservertest.Start(t, s, func(c *httpserver.Config) { c.Limits.Connections = 3 })
	busy := httpservertest.Send(h.Dial(), get)
	h.Eventually("a request is served", func() bool { return s.began.Load() == 1 })
	close(s.release)
	if status, _ := httpservertest.ReadResponse(busy); status != http.StatusNoContent {
		t.Fatalf("status %d", status)
	}
	s.release = make(chan struct{})
	busy = httpservertest.Send(busy, get)
	h.Eventually("another request is served on the same connection", func() bool { return s.began.Load() == 2 })

	silent := h.Dial()
	h.Eventually("two are open", func() bool { return h.Stats().Open == 2 })
	halfSaid := httpservertest.Send(h.Dial(), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
	h.Eventually("three are open", func() bool { return h.Stats().Open == 3 })
	served := []net.Conn{busy}
	for i, c := range []net.Conn{silent, halfSaid} {
		served = append(served, httpservertest.Send(h.Dial(), get))
		h.Eventually("the next one is served", func() bool { return s.began.Load() == int64(3+i) })
		if !httpservertest.IsClosed(c, 5*time.Second) {
			t.Errorf("connection %d of those that wait stays", i+1)
		}
	}
	// All three have requests: there is no place.
	if status, _ := httpservertest.ReadResponse(httpservertest.Send(h.Dial(), get)); status != 0 || s.began.Load() != 4 {
		t.Errorf("one more is answered %d, and %d were served", status, s.began.Load())
	}
	if h.Stats().Open != 3 {
		t.Errorf("%d are open, want 3", h.Stats().Open)
	}
	close(s.release)
	for i, c := range served {
		if status, _ := httpservertest.ReadResponse(c); status != http.StatusNoContent {
			t.Errorf("request %d of those that were under way is answered %d", i+1, status)
		}
	}
	// And then there is.
	if status, _ := httpservertest.ReadResponse(httpservertest.Send(h.Dial(), get)); status != http.StatusNoContent {
		t.Errorf("after all that: %d", status)
	}
}

func TestAConnectionThatIsClosedLeavesItsPlace(t *testing.T) {
	h := httpservertest.Start(t, http.NotFoundHandler(), func(c *httpserver.Config) { c.Limits.Connections = 3 })
	for i := range 50 {
		c := httpservertest.Send(h.Dial(), get)
		if status, _ := httpservertest.ReadResponse(c); status != http.StatusNotFound {
			t.Fatalf("connection %d is answered %d", i, status)
		}
		_ = c.Close()
	}
	h.Eventually("all are gone", func() bool { return h.Stats().Open == 0 })
	if n := h.Stats().Waiting; n != 0 {
		t.Errorf("%d still wait", n)
	}
}

func TestRequestsThatAreNotCompleteHoldLittleMemory(t *testing.T) {
	certificate, header := writeCertificate(t), longHeader("POST /")
	hello := "\x01\x00\xff\xf0" + strings.Repeat("\x00", 0xfff0-1) // of TLS, and a byte too short
	var handshake []byte
	for record := range slices.Chunk([]byte(hello), 1<<14) {
		handshake = append(append(handshake, 22, 3, 1, byte(len(record)>>8), byte(len(record))), record...)
	}
	form := "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n\r\n" + strings.Repeat("x", 64<<10-1)
	for what, c := range map[string]struct {
		request string
		tlsDir  string
	}{
		"headers":               {header, ""},
		"headers before a body": {header + "Content-Length: 1\r\n\r\n", ""},
		"bodies":                {form, ""},
		"handshakes":            {string(handshake), certificate},
	} {
		h := httpservertest.Start(t, http.NotFoundHandler(), func(config *httpserver.Config) {
			config.TLSDir, config.Limits.Header, config.Limits.Request = c.tlsDir, time.Minute, time.Minute
		})
		before := heapSize()
		const connections = 500
		var all sync.WaitGroup
		for range connections {
			all.Go(func() { httpservertest.Send(h.Dial(), c.request) })
		}
		all.Wait()
		h.Eventually("the first "+what+" are closed, and what is left takes less than 128 MiB", func() bool {
			return h.Stats().Open < connections && heapSize()-before < 128<<20
		})
	}
}

// sendAhead sends a request and, behind it in one record of TLS, the beginning of the next.
func sendAhead(t *testing.T, h *httpservertest.Server, next string) {
	t.Helper()
	c := tls.Client(h.Dial(), &tls.Config{InsecureSkipVerify: true, DynamicRecordSizingDisabled: true})
	httpservertest.Send(c, get+next)
	if status, _ := httpservertest.ReadResponse(c); status != http.StatusNotFound {
		t.Errorf("the request is answered %d", status)
	}
}

func TestHeadersThatAreSentAheadHoldLittleMemory(t *testing.T) {
	certificate, next := writeCertificate(t), longHeader("POST /")
	h := httpservertest.Start(t, http.NotFoundHandler(), func(c *httpserver.Config) { c.TLSDir, c.Limits.Header = certificate, time.Minute })
	before := heapSize()
	const connections = 500
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range connections / 8 {
				sendAhead(t, h, next)
			}
		})
	}
	all.Wait()
	h.Eventually("the first are closed, and what is left takes less than 128 MiB", func() bool {
		return h.Stats().Open < connections/2 && heapSize()-before < 128<<20
	})
}

// A client can send as much as it likes while a handler works for it.
func TestWhatIsSentAheadWhileHandlersWorkClosesNoOtherConnection(t *testing.T) {
	certificate, working := writeCertificate(t), &blockingHandler{release: make(chan struct{})}
	h := httpservertest.Start(t, working, func(c *httpserver.Config) { c.TLSDir, c.Limits.IncompleteBytes = certificate, 40<<10 })
	const connections = 4
	for range connections {
		c := tls.Client(h.Dial(), &tls.Config{InsecureSkipVerify: true, DynamicRecordSizingDisabled: true})
		httpservertest.Send(httpservertest.Send(c, get), longHeader("POST /"))
	}
	h.Eventually("all handlers work", func() bool { return working.began.Load() == connections })
	time.Sleep(100 * time.Millisecond) // net/http reads on meanwhile
	other := httpservertest.Send(tls.Client(h.Dial(), &tls.Config{InsecureSkipVerify: true}), get[:10])
	if httpservertest.IsClosed(other, 100*time.Millisecond) {
		t.Fatal("another connection is closed")
	}
	_ = other.SetReadDeadline(time.Now().Add(10 * time.Second))
	httpservertest.Send(other, get[10:])
	h.Eventually("its handler works too", func() bool { return working.began.Load() == connections+1 })
	close(working.release)
	if status, text := httpservertest.ReadResponse(other); status != http.StatusNoContent {
		t.Errorf("another request is answered %d %s", status, text)
	}
}

func TestConnectionsThatHaveOnlyShakenHandsCountLittle(t *testing.T) {
	const connections = 50
	certificate := writeCertificate(t)
	h := httpservertest.Start(t, http.NotFoundHandler(), func(c *httpserver.Config) { c.TLSDir = certificate })
	for range connections {
		if err := tls.Client(h.Dial(), &tls.Config{InsecureSkipVerify: true}).HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	limits := httpserver.DefaultLimits()
	if got := h.Stats(); got.Open != connections || got.IncompleteBytes > limits.IncompleteBytes/limits.Connections*connections/2 {
		t.Errorf("%d of them count as %d bytes", got.Open, got.IncompleteBytes)
	}
}

func TestAnAnswerThatIsNotReadHoldsNothingOfItsRequest(t *testing.T) {
	const connections, size = 100, 256 << 10
	var served atomic.Int64
	h := httpservertest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		defer served.Add(1)
		_, _ = w.Write(make([]byte, size))
	}), nil)
	request := longHeader("GET /") + "\r\n"
	before := heapSize()
	for range connections {
		httpservertest.Send(h.Dial(), request)
	}
	h.Eventually("all have been answered", func() bool { return served.Load() == connections && h.Stats().Waiting == connections })
	if held := heapSize() - before - connections*size; held > 10<<20 {
		t.Errorf("%d MiB are held beside the answers", held>>20)
	}
}

// longHeader returns a header of many short lines, which takes many times its bytes in memory. Its
// end is missing.
func longHeader(request string) string {
	var header strings.Builder
	header.WriteString(request + " HTTP/1.1\r\nHost: x\r\n")
	for i := range 2800 {
		header.WriteString(strconv.FormatInt(int64(36*36+i), 36) + ":\n")
	}
	return header.String()
}

// heapSize returns how many bytes of the heap are in use.
func heapSize() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

func TestOnlyHTTP1IsServedAndConnectionsAreBoundedWithTLSToo(t *testing.T) {
	dir := writeCertificate(t)
	h := httpservertest.Start(t, http.NotFoundHandler(), func(c *httpserver.Config) { c.TLSDir, c.Limits.Connections = dir, 2 })
	silent := h.Dial()
	h.Eventually("one is open", func() bool { return h.Stats().Open == 1 })
	for range 3 {
		c := tls.Client(h.Dial(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
		if status, body := httpservertest.ReadResponse(httpservertest.Send(c, get)); status != http.StatusNotFound {
			t.Errorf("status %d %s", status, body)
		}
		if protocol := c.ConnectionState().NegotiatedProtocol; protocol != "http/1.1" {
			t.Errorf("the protocol is %q", protocol)
		}
		if h.Stats().Open > 2 {
			t.Errorf("%d are open", h.Stats().Open)
		}
	}
	if !httpservertest.IsClosed(silent, 5*time.Second) {
		t.Error("the one that waited longest stays")
	}
}

// writeCertificate returns a directory with a self-signed certificate and its key.
func writeCertificate(t *testing.T) string {
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
