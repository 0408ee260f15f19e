package kubernetes_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"k8s.io/client-go/rest"

	"github.com/oauth-operator/oauth-operator/tokenserver/kubeclient"
)

// fault is what goes wrong with one request. With the zero value no connection is made.
type fault struct {
	arrives       bool // the API server receives the request
	status        int  // what a proxy on the way answers instead; 0: the connection is closed without an answer
	cutsAnswer    bool // the connection is closed within the answer
	isSilent      bool // no answer comes back
	isOtherAnswer bool // the answer to an earlier request comes back instead
}

var (
	unreachable = fault{}
	lostAnswer  = fault{arrives: true}
	cutAnswer   = fault{arrives: true, cutsAnswer: true}
	noAnswer    = fault{arrives: true, isSilent: true}
	otherAnswer = fault{arrives: true, isOtherAnswer: true}
)

// network is the transport of one replica to the API server. A test can make requests fail and hold
// back the events of watches.
type network struct {
	next http.RoundTripper

	mu             sync.Mutex
	faults         []fault
	eventsHeld     chan struct{}           // closed by release; nil: events are not held back
	watchesBlocked chan struct{}           // closed by release; nil: watches can be opened, and their lists read
	watches        map[*watchBody]struct{} // that are open
	listings       int                     // number of lists that reflectors have begun
	lastAnswer     []byte                  // the last answer to a request for records that was no error
	disconnected   bool                    // no request arrives
	laterPage      laterPage               // nil: reflectors list all at once
	pagesLost      map[string]int          // how often a page was lost, by the path of its list
}

// newNetwork returns a configuration that uses a network of its own.
func newNetwork(api *rest.Config) (*rest.Config, *network) {
	n := &network{watches: map[*watchBody]struct{}{}}
	api = rest.CopyConfig(api)
	api.Wrap(func(next http.RoundTripper) http.RoundTripper { n.next = next; return n })
	return api, n
}

// failNext queues faults, one for each of the next requests for records.
func (n *network) failNext(faults ...fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = append(n.faults, faults...)
}

// disconnect has every request fail from now on, and open watches send nothing.
func (n *network) disconnect() {
	n.holdEvents()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.disconnected = true
}

func (n *network) clearFaults() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = nil
}

// holdEvents holds back the events of watches and the lists before them, until release.
func (n *network) holdEvents() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.eventsHeld = make(chan struct{})
}

// blockWatches keeps reflectors from listing and from opening watches, until release.
func (n *network) blockWatches() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watchesBlocked = make(chan struct{})
}

// laterPage is what becomes of a page of a list that is not the first.
type laterPage func(*http.Response) (*http.Response, error)

// loseLaterPages has reflectors list two objects at a time, and lose what comes after the first two.
// With nil it is over.
func (n *network) loseLaterPages(lose laterPage) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.laterPage, n.pagesLost = lose, map[string]int{}
}

// countLost returns how often pages were lost of the list of which that happened least, of those of
// which it happened.
func (n *network) countLost() (lists, least int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, lost := range n.pagesLost {
		if lists == 0 || lost < least {
			least = lost
		}
		lists++
	}
	return lists, least
}

func (n *network) release() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range []*chan struct{}{&n.eventsHeld, &n.watchesBlocked} {
		if *c != nil {
			close(*c)
			*c = nil
		}
	}
}

// closeWatches closes the open watches, so that the reflectors list all objects again.
func (n *network) closeWatches() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for w := range n.watches {
		close(w.closed)
		_ = w.ReadCloser.Close()
	}
	clear(n.watches)
}

// countListings returns how many lists reflectors have begun.
func (n *network) countListings() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.listings
}

// takeFault removes the fault for a request from the queue.
func (n *network) takeFault(r *http.Request) (fault, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.disconnected {
		return unreachable, true
	}
	if len(n.faults) == 0 || !isForRecords(r) {
		return fault{}, false
	}
	f := n.faults[0]
	n.faults = n.faults[1:]
	return f, true
}

var errClosed = errors.New("the connection was cut")

// RoundTrip implements http.RoundTripper.
func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	if isOfReflector(r) {
		return n.openWatch(r)
	}
	f, fails := n.takeFault(r)
	if !fails {
		return n.rememberAnswer(n.next.RoundTrip(r))
	}
	if f.arrives {
		response, err := n.next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		if f.isOtherAnswer {
			n.mu.Lock()
			response.StatusCode, response.Body = http.StatusOK, io.NopCloser(bytes.NewReader(n.lastAnswer))
			n.mu.Unlock()
			return response, nil
		}
		if f.cutsAnswer {
			response.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"kind":`), failingReader{}))
			return response, nil
		}
	}
	switch {
	case f.status != 0:
		return &http.Response{
			StatusCode: f.status, Status: http.StatusText(f.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
			Header: http.Header{"Content-Type": {"text/plain"}, "Retry-After": {"1"}}, Body: io.NopCloser(strings.NewReader("upstream trouble")),
		}, nil
	case f.isSilent:
		<-r.Context().Done()
		return nil, r.Context().Err()
	default:
		return nil, errClosed
	}
}

func (n *network) openWatch(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	barred := n.watchesBlocked
	n.mu.Unlock()
	if barred != nil {
		select {
		case <-barred:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	response, err := n.listPage(r)
	if err != nil {
		return nil, err
	}
	w := &watchBody{ReadCloser: response.Body, network: n, done: r.Context().Done(), closed: make(chan struct{})}
	response.Body = w
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watches[w] = struct{}{}
	if !r.URL.Query().Has("watch") {
		n.listings++
	}
	return response, nil
}

// listPage sends a request of a reflector.
func (n *network) listPage(r *http.Request) (*http.Response, error) {
	q := r.URL.Query()
	n.mu.Lock()
	later := n.laterPage
	if later != nil && q.Get("continue") != "" {
		n.pagesLost[r.URL.Path]++
	}
	n.mu.Unlock()
	if later == nil || q.Has("watch") {
		return n.next.RoundTrip(r)
	}
	isFirst := q.Get("continue") == ""
	q.Set("limit", "2")
	r = r.Clone(r.Context())
	r.URL.RawQuery = q.Encode()
	response, err := n.next.RoundTrip(r)
	if err != nil || isFirst {
		return response, err
	}
	return later(response)
}

// rememberAnswer keeps the answer to a request for records, if it is not an error.
func (n *network) rememberAnswer(response *http.Response, err error) (*http.Response, error) {
	if err != nil || response.StatusCode >= http.StatusMultipleChoices || !isForRecords(response.Request) {
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
	n.lastAnswer = content
	return response, nil
}

// isOfReflector reports whether a request is a watch, or the list before one.
func isOfReflector(r *http.Request) bool {
	q := r.URL.Query()
	return q.Has("watch") || q.Get("limit") == strconv.Itoa(kubeclient.PageSize)
}

// isForRecords reports whether a request is for records, rather than a lease or an event.
func isForRecords(r *http.Request) bool {
	return strings.Contains(r.URL.Path, "/oauth") || strings.Contains(r.URL.Path, "/marks")
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errClosed }

// watchBody is the body of the answer to a watch, or to the list before it.
type watchBody struct {
	io.ReadCloser
	network *network
	done    <-chan struct{}
	closed  chan struct{}
}

func (g *watchBody) Read(p []byte) (int, error) {
	count, err := g.ReadCloser.Read(p)
	g.network.mu.Lock()
	held := g.network.eventsHeld
	g.network.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-g.closed:
		case <-g.done:
			return 0, io.ErrUnexpectedEOF
		}
	}
	select {
	case <-g.closed:
		return 0, errClosed
	default:
		return count, err
	}
}

func (g *watchBody) Close() error {
	g.network.mu.Lock()
	delete(g.network.watches, g)
	g.network.mu.Unlock()
	return g.ReadCloser.Close()
}
