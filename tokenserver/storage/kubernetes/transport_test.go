package kubernetes_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"k8s.io/client-go/rest"
)

// fault is what goes wrong with one request. The zero value: no connection is made.
type fault struct {
	arrives bool // the API server gets it
	status  int  // what somebody on the way answers instead; 0: nobody does, and the connection is cut
	within  bool // the connection is cut within the answer
	silent  bool // nothing comes back
}

var (
	unreachable = fault{}
	lostAnswer  = fault{arrives: true}
	cutAnswer   = fault{arrives: true, within: true}
	silence     = fault{arrives: true, silent: true}
)

// network is the way of one replica to the API server. A test can make requests fail and hold back what watches bring.
type network struct {
	next http.RoundTripper

	mu     sync.Mutex
	faults []fault
	held   chan struct{} // closed when watches go on; nil: they are not held
}

// via is a configuration that goes by a network of its own.
func via(api *rest.Config) (*rest.Config, *network) {
	n := &network{}
	api = rest.CopyConfig(api)
	api.Wrap(func(next http.RoundTripper) http.RoundTripper { n.next = next; return n })
	return api, n
}

// fail queues faults, one for each request for records that follows.
func (n *network) fail(faults ...fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = append(n.faults, faults...)
}

func (n *network) clear() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = nil
}

// hold back what watches bring, until release.
func (n *network) hold() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.held = make(chan struct{})
}

func (n *network) release() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.held != nil {
		close(n.held)
		n.held = nil
	}
}

// take the fault that is for a request.
func (n *network) take(r *http.Request) (fault, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.faults) == 0 || !strings.Contains(r.URL.Path, "/oauth") && !strings.Contains(r.URL.Path, "/marks") {
		return fault{}, false
	}
	f := n.faults[0]
	n.faults = n.faults[1:]
	return f, true
}

var errCut = errors.New("the connection was cut")

// RoundTrip implements http.RoundTripper.
func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Query().Has("watch") {
		response, err := n.next.RoundTrip(r)
		if err == nil {
			response.Body = &gated{ReadCloser: response.Body, network: n, gone: r.Context().Done()}
		}
		return response, err
	}
	f, fails := n.take(r)
	if !fails {
		return n.next.RoundTrip(r)
	}
	if f.arrives {
		response, err := n.next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		if f.within {
			response.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"kind":`), failing{}))
			return response, nil
		}
	}
	switch {
	case f.status != 0:
		return &http.Response{
			StatusCode: f.status, Status: http.StatusText(f.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
			Header: http.Header{"Content-Type": {"text/plain"}, "Retry-After": {"1"}}, Body: io.NopCloser(strings.NewReader("upstream trouble")),
		}, nil
	case f.silent:
		<-r.Context().Done()
		return nil, r.Context().Err()
	default:
		return nil, errCut
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errCut }

// gated is the body of a watch.
type gated struct {
	io.ReadCloser
	network *network
	gone    <-chan struct{}
}

func (g *gated) Read(p []byte) (int, error) {
	count, err := g.ReadCloser.Read(p)
	g.network.mu.Lock()
	held := g.network.held
	g.network.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-g.gone:
			return 0, io.ErrUnexpectedEOF
		}
	}
	return count, err
}
