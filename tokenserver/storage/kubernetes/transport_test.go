package kubernetes_test

import (
	"bytes"
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
	mixed   bool // the answer to an earlier request comes back
}

var (
	unreachable = fault{}
	lostAnswer  = fault{arrives: true}
	cutAnswer   = fault{arrives: true, within: true}
	silence     = fault{arrives: true, silent: true}
	mixedUp     = fault{arrives: true, mixed: true}
)

// network is the way of one replica to the API server. A test can make requests fail and hold back
// what watches bring.
type network struct {
	next http.RoundTripper

	mu      sync.Mutex
	faults  []fault
	held    chan struct{}       // closed when watches go on; nil: they are not held
	barred  chan struct{}       // closed when watches can be opened again; nil: they can
	watches map[*gated]struct{} // that are open
	lists   int                 // watches that were opened to bring first what there is
	earlier []byte              // the last good answer to a request for records
	left    bool                // no request arrives any more
}

// via is a configuration that goes by a network of its own.
func via(api *rest.Config) (*rest.Config, *network) {
	n := &network{watches: map[*gated]struct{}{}}
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

// leave the network: no request arrives any more, of whatever kind, and what is open says nothing.
func (n *network) leave() {
	n.hold()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.left = true
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

// bar keeps new watches from being opened, until release.
func (n *network) bar() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.barred = make(chan struct{})
}

func (n *network) release() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range []*chan struct{}{&n.held, &n.barred} {
		if *c != nil {
			close(*c)
			*c = nil
		}
	}
}

// cut the watches that are open, so that all there is has to be listed again.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for w := range n.watches {
		close(w.cut)
		_ = w.ReadCloser.Close()
	}
	clear(n.watches)
}

// listing is how many watches were opened to bring first what there is.
func (n *network) listing() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lists
}

// take the fault that is for a request.
func (n *network) take(r *http.Request) (fault, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.left {
		return unreachable, true
	}
	if len(n.faults) == 0 || !records(r) {
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
		return n.watch(r)
	}
	f, fails := n.take(r)
	if !fails {
		return n.remember(n.next.RoundTrip(r))
	}
	if f.arrives {
		response, err := n.next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		if f.mixed {
			n.mu.Lock()
			response.StatusCode, response.Body = http.StatusOK, io.NopCloser(bytes.NewReader(n.earlier))
			n.mu.Unlock()
			return response, nil
		}
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

// watch opens one.
func (n *network) watch(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	barred := n.barred
	n.mu.Unlock()
	if barred != nil {
		select {
		case <-barred:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	response, err := n.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	w := &gated{ReadCloser: response.Body, network: n, gone: r.Context().Done(), cut: make(chan struct{})}
	response.Body = w
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watches[w] = struct{}{}
	if r.URL.Query().Get("sendInitialEvents") == "true" {
		n.lists++
	}
	return response, nil
}

// remember a good answer about records.
func (n *network) remember(response *http.Response, err error) (*http.Response, error) {
	if err != nil || response.StatusCode >= http.StatusMultipleChoices || !records(response.Request) {
		return response, err
	}
	content, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(content))
	n.mu.Lock()
	defer n.mu.Unlock()
	n.earlier = content
	return response, nil
}

// records says whether a request is for records.
func records(r *http.Request) bool {
	return strings.Contains(r.URL.Path, "/oauth") || strings.Contains(r.URL.Path, "/marks")
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errCut }

// gated is the body of a watch.
type gated struct {
	io.ReadCloser
	network *network
	gone    <-chan struct{}
	cut     chan struct{}
}

func (g *gated) Read(p []byte) (int, error) {
	count, err := g.ReadCloser.Read(p)
	g.network.mu.Lock()
	held := g.network.held
	g.network.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-g.cut:
		case <-g.gone:
			return 0, io.ErrUnexpectedEOF
		}
	}
	select {
	case <-g.cut:
		return 0, errCut
	default:
		return count, err
	}
}

func (g *gated) Close() error {
	g.network.mu.Lock()
	delete(g.network.watches, g)
	g.network.mu.Unlock()
	return g.ReadCloser.Close()
}
