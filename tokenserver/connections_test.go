package tokenserver

import (
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/httpserver"
	"github.com/oauth-operator/oauth-operator/tokenserver/httpserver/httpservertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry/registrytest"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/memory"
)

// serveEndpoints serves the endpoints of newTestRouter.
func serveEndpoints(t *testing.T, change func(*httpserver.Config)) (*httpservertest.Server, *router) {
	t.Helper()
	endpoints := newTestRouter(t)
	return httpservertest.Start(t, endpoints, change), endpoints
}

// newTestRouter returns the endpoints of an issuer with one client that may use passwords.
func newTestRouter(t *testing.T) *router {
	t.Helper()
	store, err := memory.New(time.Now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	server := &Server{
		Registry: registry.New(time.Now), Keys: keys.NewSet(rand.Reader), Store: store, Now: time.Now, Random: rand.Reader,
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
	r, err := server.newRouter()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// expectNoWork fails the test if secrets of clients were compared or passwords hashed.
func expectNoWork(t *testing.T, endpoints *router, description string) {
	t.Helper()
	if compared, hashed := endpoints.token.Clients.Comparisons(), endpoints.token.Passwords.CountHashed(); compared+hashed != 0 {
		t.Errorf("%s: %d secrets were compared and %d passwords hashed", description, compared, hashed)
	}
}

// basic has the headers with which the client authenticates, client its form.
const (
	basic  = "Authorization: Basic YXBwcy5sZWdhY3k6eA==\r\nContent-Type: application/x-www-form-urlencoded\r\n"
	client = "grant_type=password&username=alice&password=x"
)

// post returns a request with the form of the client, and what is added to it.
func post(path, header, added string) string {
	form := client + added
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\n%s%sContent-Length: %d\r\n\r\n%s", path, basic, header, len(form), form)
}

func TestWhatIsTooLargeIsRefusedBeforeAnyWork(t *testing.T) {
	h, endpoints := serveEndpoints(t, nil)
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
		"a body of 64 KiB and a byte":      {post("/token", "", "&x="+strings.Repeat("x", oauth.MaxFormSize+1-len(client+"&x="))), 413},
		"a body that says it is a GiB":     {"POST /token HTTP/1.1\r\nHost: x\r\n" + basic + "Content-Length: 1073741824\r\n\r\n", 413},
		"chunks of more than 64 KiB":       {chunked + chunk(60<<10) + chunk(5<<10), 413},
		"101 parameters":                   {post("/token", "", many), 400},
		"a header of 16 KiB":               {post("/token", "X: "+strings.Repeat("x", 16<<10)+"\r\n", ""), 431},
		"many headers":                     {post("/token", strings.Repeat("Cookie: a=b\r\n", 1500), ""), 431},
		"a query of 16 KiB":                {"GET /authorize?state=" + strings.Repeat("x", 16<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n", 431},
		"101 parameters in the query":      {"GET /authorize?client_id=apps.legacy" + strings.Repeat("&x=1", 101) + " HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		"a body of two lengths":            {"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef", 400},
		"a login form of 64 KiB and a bit": {post("/login", "", "&x="+strings.Repeat("x", oauth.MaxFormSize)), 413},
	} {
		if status, body := httpservertest.ReadResponse(httpservertest.Send(h.Dial(), c.request)); status != c.status {
			t.Errorf("%s: %d %s, want %d", name, status, body, c.status)
		}
	}
	expectNoWork(t, endpoints, "all of these")
	// The largest request that the authorization endpoint takes, with every byte of its parameters
	// escaped.
	escaped := func(n int) string { return strings.Repeat("%3C", n) }
	largest := "GET /authorize?client_id=unknown&state=" + escaped(3000) + "&nonce=" + escaped(512) + "&login_hint=" + escaped(512) + " HTTP/1.1\r\nHost: x\r\n" +
		"Cookie: session=" + strings.Repeat("x", 2<<10) + "\r\n\r\n"
	if status, body := httpservertest.ReadResponse(httpservertest.Send(h.Dial(), largest)); status != http.StatusBadRequest || !strings.Contains(body, "not known to this server") {
		t.Errorf("the largest request for an authorization: %d %s, want the page that says that the client is unknown", status, body)
	}
	for name, request := range map[string]string{
		"a body of 64 KiB":   post("/token", "", "&x="+strings.Repeat("x", oauth.MaxFormSize-len(client+"&x="))),
		"100 parameters":     post("/token", "", strings.TrimSuffix(many, "&p97=1")),
		"a header of 15 KiB": post("/token", "X: "+strings.Repeat("x", 15<<10)+"\r\n", ""),
	} {
		before := endpoints.token.Clients.Comparisons()
		if status, body := httpservertest.ReadResponse(httpservertest.Send(h.Dial(), request)); status != http.StatusUnauthorized || endpoints.token.Clients.Comparisons() == before {
			t.Errorf("%s: %d %s, want 401 after a look at the client", name, status, body)
		}
	}
}

func TestSlowAndIdleClientsAreCutOffBeforeAnyWork(t *testing.T) {
	h, endpoints := serveEndpoints(t, httpservertest.ShortLimits)
	const length = basic + "Content-Length: 100\r\n\r\n"
	for name, request := range map[string]string{
		"nothing":       "",
		"half a header": "POST /token HTTP/1.1\r\nHost:",
		"no body":       "POST /token HTTP/1.1\r\nHost: x\r\n" + length,
		"half a body":   "POST /token HTTP/1.1\r\nHost: x\r\n" + length + "grant_type=password&client_id=apps.legacy",
	} {
		c := httpservertest.Send(h.Dial(), request)
		if strings.HasSuffix(name, "body") {
			if status, body := httpservertest.ReadResponse(c); status != http.StatusRequestTimeout {
				t.Errorf("%s: %d %s, want 408", name, status, body)
			}
		}
		if !httpservertest.IsClosed(c, 5*time.Second) {
			t.Errorf("%s: the connection stays", name)
		}
		expectNoWork(t, endpoints, name)
	}
	// A byte now and then does not keep it open.
	c := httpservertest.Send(h.Dial(), "GET /jwks HTTP/1.1\r\nX: ")
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
	c = httpservertest.Send(h.Dial(), "GET /jwks HTTP/1.1\r\nHost: x\r\n\r\n")
	if status, _ := httpservertest.ReadResponse(c); status == 0 {
		t.Fatal("no answer")
	}
	if !httpservertest.IsClosed(c, 5*time.Second) {
		t.Error("an idle connection stays")
	}
}

func TestConnectionsThatReadNoAnswersYieldToNewOnes(t *testing.T) {
	const connections = 8
	const getRequest = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	const metadata = "GET /.well-known/openid-configuration HTTP/1.1\r\nHost: x\r\n\r\n"
	unsent := func(path string) func(*httpservertest.Server) {
		const header = " HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 200000\r\n\r\n"
		return func(h *httpservertest.Server) { httpservertest.Send(h.Dial(), "POST "+path+header) }
	}
	large := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) })
	for what, c := range map[string]struct {
		handler http.Handler // nil: the endpoints
		hoard   func(*httpservertest.Server)
	}{
		"many error pages": {nil, func(h *httpservertest.Server) {
			h.SendEndlessly("GET /authorize?client_id=unknown HTTP/1.1\r\nHost: x\r\n\r\n")
		}},
		"metadata many times":                 {nil, func(h *httpservertest.Server) { h.SendEndlessly(metadata) }},
		"the answer to an unsent login":       {nil, unsent("/login")},
		"that to an unsent request":           {nil, unsent("/authorize")},
		"that to an unsent logout":            {nil, unsent("/logout")},
		"that to an unsent token request":     {nil, unsent("/token")},
		"that to an unsent UserInfo request":  {nil, unsent("/userinfo")},
		"an answer that no socket can hold":   {large, func(h *httpservertest.Server) { httpservertest.Send(h.Dial(), getRequest) }},
		"such answers, while more is pending": {large, func(h *httpservertest.Server) { h.SendEndlessly(getRequest) }},
	} {
		handler := c.handler
		if handler == nil {
			handler = newTestRouter(t)
		}
		h := httpservertest.Start(t, handler, func(c *httpserver.Config) { c.Limits.Connections, c.Limits.Request = connections, time.Minute })
		var all sync.WaitGroup
		for range connections {
			all.Go(func() { c.hoard(h) })
		}
		all.Wait()
		h.Eventually("all wait for their clients, that do not read "+what, func() bool {
			stats := h.Stats()
			return stats.Open == connections && stats.Waiting == connections
		})
		for range 3 * connections {
			if status, body := httpservertest.ReadResponse(httpservertest.Send(h.Dial(), metadata)); status != http.StatusOK {
				t.Errorf("%s: another client is answered %d %.200s", what, status, body)
			}
		}
	}
}

func TestFewLargeBodiesAreReadAtOnceAndASlowOneYieldsToTheNext(t *testing.T) {
	const large = 8 << 10
	h, endpoints := serveEndpoints(t, func(c *httpserver.Config) { c.Limits.IncompleteBytes = 5 * large / 2 })
	sending := func() int { return h.Stats().IncompleteBytes / large }
	form := strings.Repeat("x", large)
	slowly := make([]net.Conn, 3)
	for i := range slowly {
		slowly[i] = httpservertest.Send(h.Dial(), "POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 60000\r\n\r\n"+form)
		h.Eventually("a large body is being read", func() bool {
			return sending() == min(i+1, 2) && (i < 2 || httpservertest.IsClosed(slowly[0], time.Millisecond))
		})
	}
	if httpservertest.IsClosed(slowly[2], 50*time.Millisecond) || h.Stats().Open != 2 {
		t.Errorf("%d are open, want the last two", h.Stats().Open)
	}
	expectNoWork(t, endpoints, "large bodies")
	for range 3 {
		if status, _ := httpservertest.ReadResponse(httpservertest.Send(h.Dial(), post("/token", "", "&x="+form))); status != http.StatusUnauthorized {
			t.Errorf("one that is sent at once: %d, want 401", status)
		}
	}
	if status, _ := httpservertest.ReadResponse(httpservertest.Send(h.Dial(), post("/token", "", ""))); status != http.StatusUnauthorized {
		t.Errorf("a small one: %d, want 401", status)
	}
	_ = slowly[2].Close()
	h.Eventually("none is read any more", func() bool { return sending() == 0 })
}
