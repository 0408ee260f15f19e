package replicas

import (
	"bytes"
	"context"
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

// faultProxy forwards the requests of the replicas and their node to the API server, and loses or
// repeats one when a test asks for it. A request without a token is the node's, which is an
// administrator.
type faultProxy struct {
	server *httptest.Server
	// Transports to the API server.
	byToken, byCertificate http.RoundTripper

	mu    sync.Mutex
	fault *fault
	// replicas are those of which a connection is, by its address, cutOff is the one that does not
	// reach the API server, and cancel ends the requests of each connection.
	replicas map[string]string
	cutOff   string
	cancel   map[string][]context.CancelFunc
}

// fault affects the first request with the method for the resource.
type fault struct {
	method, resource string
	inject           injection
}

// injection replaces the sending of a request.
type injection func(send func() (*http.Response, error)) (*http.Response, error)

var errLost = errors.New("lost on the way")

func newFaultProxy(admin *rest.Config) (*faultProxy, error) {
	p := &faultProxy{replicas: map[string]string{}, cancel: map[string][]context.CancelFunc{}}
	target, err := url.Parse(admin.Host)
	if err != nil {
		return nil, err
	}
	if p.byCertificate, err = rest.TransportFor(admin); err != nil {
		return nil, err
	}
	anonymous := rest.AnonymousClientConfig(admin)
	if p.byToken, err = rest.TransportFor(anonymous); err != nil {
		return nil, err
	}
	p.server = httptest.NewUnstartedServer(&httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     p,
		FlushInterval: -1, // watches
		ErrorLog:      log.New(io.Discard, "", 0),
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }, // as if the connection broke
	})
	p.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	p.server.EnableHTTP2 = true
	p.server.StartTLS()
	return p, nil
}

// config returns a configuration that reaches the API server through the proxy.
func (p *faultProxy) config() *rest.Config {
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw})
	return &rest.Config{Host: p.server.URL, TLSClientConfig: rest.TLSClientConfig{CAData: authority}}
}

func (p *faultProxy) close() {
	p.server.CloseClientConnections()
	p.server.Close()
}

// RoundTrip implements http.RoundTripper, towards the API server.
func (p *faultProxy) RoundTrip(r *http.Request) (*http.Response, error) {
	transport := p.byCertificate
	if r.Header.Get("Authorization") != "" {
		transport = p.byToken
		var reaches bool
		if r, reaches = p.track(r); !reaches {
			return nil, errLost
		}
	}
	f := p.takeFault(r)
	if f == nil {
		return transport.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	return f.inject(func() (*http.Response, error) {
		again := r.Clone(r.Context())
		again.Body = io.NopCloser(bytes.NewReader(body))
		return transport.RoundTrip(again)
	})
}

// takeFault returns the fault if it affects this request, and nil otherwise.
func (p *faultProxy) takeFault(r *http.Request) *fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.fault
	if f == nil || r.Method != f.method || !strings.Contains(r.URL.Path, "/"+f.resource) {
		return nil
	}
	p.fault = nil
	return f
}

// track learns from a request of which replica its connection is, and reports whether that one
// reaches the API server. The request it returns ends when the replica is cut off.
func (p *faultProxy) track(r *http.Request) (*http.Request, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, name, found := strings.Cut(r.URL.Path, "/replicas/"); found {
		p.replicas[r.RemoteAddr] = name
	}
	if p.cutOff != "" && p.replicas[r.RemoteAddr] == p.cutOff {
		return nil, false
	}
	ctx, cancel := context.WithCancel(r.Context())
	p.cancel[r.RemoteAddr] = append(p.cancel[r.RemoteAddr], cancel)
	return r.WithContext(ctx), true
}

// cutOffReplica cuts the connections of a replica to the API server until the result is called.
func (p *faultProxy) cutOffReplica(name string) (restore func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutOff = name
	for address, replica := range p.replicas {
		if replica == name {
			for _, cancel := range p.cancel[address] {
				cancel()
			}
		}
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.cutOff = ""
	}
}

// failNext injects a fault into the next request with the method for the resource.
func (p *faultProxy) failNext(method, resource string, inject injection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = &fault{method, resource, inject}
}

// loseResponse sends the request and loses the response.
func loseResponse(send func() (*http.Response, error)) (*http.Response, error) {
	response, err := send()
	if err != nil {
		return nil, err
	}
	_ = response.Body.Close()
	return nil, errLost
}

// loseRequest does not send the request.
func loseRequest(func() (*http.Response, error)) (*http.Response, error) { return nil, errLost }

// repeatRequest sends the request twice and returns the second response.
func repeatRequest(send func() (*http.Response, error)) (*http.Response, error) {
	response, err := send()
	if err != nil {
		return nil, err
	}
	_ = response.Body.Close()
	return send()
}

// holdResponse closes done when the API server has responded, and returns the response when release
// is closed.
func holdResponse(done chan<- struct{}, release <-chan struct{}) injection {
	return func(send func() (*http.Response, error)) (*http.Response, error) {
		response, err := send()
		close(done)
		<-release
		return response, err
	}
}
