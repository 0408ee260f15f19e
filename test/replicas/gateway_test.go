package replicas

import (
	"bytes"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"

	"k8s.io/client-go/rest"
)

// gateway passes on what the replicas and their node say to the API server, and loses or repeats what a test wants lost or repeated. Who has a
// token is known by it to the API server; who has none is the node, which is an administrator.
type gateway struct {
	server *httptest.Server
	// ByToken and byCertificate reach the API server.
	byToken, byCertificate http.RoundTripper

	mu       sync.Mutex
	accident *accident
}

// accident happens to the first request that it is about.
type accident struct {
	method, resource string
	happen           what
}

// what happens instead of sending a request and giving its answer.
type what func(send func() (*http.Response, error)) (*http.Response, error)

var errLost = errors.New("lost on the way")

func newGateway(admin *rest.Config) (*gateway, error) {
	g := &gateway{}
	target, err := url.Parse(admin.Host)
	if err != nil {
		return nil, err
	}
	if g.byCertificate, err = rest.TransportFor(admin); err != nil {
		return nil, err
	}
	nobody := rest.AnonymousClientConfig(admin)
	if g.byToken, err = rest.TransportFor(nobody); err != nil {
		return nil, err
	}
	g.server = httptest.NewUnstartedServer(&httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     g,
		FlushInterval: -1, // watches
		ErrorLog:      log.New(io.Discard, "", 0),
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }, // as if the connection broke
	})
	g.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	g.server.EnableHTTP2 = true
	g.server.StartTLS()
	return g, nil
}

// config reaches the API server through the gateway.
func (g *gateway) config() *rest.Config {
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: g.server.Certificate().Raw})
	return &rest.Config{Host: g.server.URL, TLSClientConfig: rest.TLSClientConfig{CAData: authority}}
}

func (g *gateway) close() {
	g.server.CloseClientConnections()
	g.server.Close()
}

// RoundTrip implements http.RoundTripper, towards the API server.
func (g *gateway) RoundTrip(r *http.Request) (*http.Response, error) {
	transport := g.byCertificate
	if r.Header.Get("Authorization") != "" {
		transport = g.byToken
	}
	a := g.take(r)
	if a == nil {
		return transport.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	return a.happen(func() (*http.Response, error) {
		again := r.Clone(r.Context())
		again.Body = io.NopCloser(bytes.NewReader(body))
		return transport.RoundTrip(again)
	})
}

// take the accident, if it is about this request.
func (g *gateway) take(r *http.Request) *accident {
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.accident
	if a == nil || r.Method != a.method || !strings.Contains(r.URL.Path, "/"+a.resource) {
		return nil
	}
	g.accident = nil
	return a
}

// next says what happens to the next request with the method and for the resource.
func (g *gateway) next(method, resource string, happen what) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.accident = &accident{method, resource, happen}
}

// loseAnswer: the API server does it, and nobody hears of it.
func loseAnswer(send func() (*http.Response, error)) (*http.Response, error) {
	response, err := send()
	if err != nil {
		return nil, err
	}
	_ = response.Body.Close()
	return nil, errLost
}

// loseRequest: the API server never hears of it.
func loseRequest(func() (*http.Response, error)) (*http.Response, error) { return nil, errLost }

// repeat: the API server hears of it twice, and its second answer is what arrives.
func repeat(send func() (*http.Response, error)) (*http.Response, error) {
	response, err := send()
	if err != nil {
		return nil, err
	}
	_ = response.Body.Close()
	return send()
}

// hold the answer: done is closed once the API server has done it, and the answer arrives when release is closed.
func hold(done chan<- struct{}, release <-chan struct{}) what {
	return func(send func() (*http.Response, error)) (*http.Response, error) {
		response, err := send()
		close(done)
		<-release
		return response, err
	}
}
