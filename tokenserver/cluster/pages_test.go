package cluster_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/cluster/clustertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/kubeclient"
)

// pages is the transport of one replica. It has the API server list two Entries in a page, and a test
// decides what becomes of the pages after the first.
type pages struct {
	next http.RoundTripper

	mu      sync.Mutex
	later   func(*http.Response) (*http.Response, error) // nil: they arrive as they are
	asked   int                                          // how many pages after the first were asked for
	watch   io.Closer                                    // the body of the watch that is open
	expired bool                                         // the next watch is refused, so that all is listed again
}

// connectByPages connects a replica that lists two Entries at a time.
func connectByPages(t *testing.T, api *clustertest.API, name string, later func(*http.Response) (*http.Response, error)) (*connection, *pages) {
	t.Helper()
	p := &pages{later: later}
	config := api.AdminConfig()
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { p.next = next; return p })
	return connectBy(t, config, api, name), p
}

// RoundTrip implements http.RoundTripper.
func (p *pages) RoundTrip(r *http.Request) (*http.Response, error) {
	q := r.URL.Query()
	switch {
	case !strings.HasSuffix(r.URL.Path, "/entries") || r.Method != http.MethodGet:
		return p.next.RoundTrip(r)
	case q.Get("watch") == "true":
		return p.openWatch(r)
	case q.Get("limit") != strconv.Itoa(kubeclient.PageSize): // all at once, after a page has expired
		return p.next.RoundTrip(r)
	}
	q.Set("limit", "2")
	r = r.Clone(r.Context())
	r.URL.RawQuery = q.Encode()
	if q.Get("continue") == "" {
		return p.next.RoundTrip(r)
	}
	p.mu.Lock()
	p.asked++
	later := p.later
	p.mu.Unlock()
	response, err := p.next.RoundTrip(r)
	if err != nil || later == nil {
		return response, err
	}
	return later(response)
}

func (p *pages) openWatch(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	expired := p.expired
	p.expired = false
	p.mu.Unlock()
	if expired {
		return newAnswer(r, http.StatusGone, goneStatus), nil
	}
	response, err := p.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watch = response.Body
	return response, nil
}

// listAgain ends the watch, and has what follows be a list.
func (p *pages) listAgain(t *testing.T) {
	t.Helper()
	eventually.True(t, "the watch is open", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.watch != nil
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expired = true
	_ = p.watch.Close()
}

func (p *pages) setLater(later func(*http.Response) (*http.Response, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.later, p.asked = later, 0
}

func (p *pages) countAsked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

const goneStatus = `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","message":"the continue token is too old","code":410}`

var errLost = errors.New("the page was lost")

// newAnswer is complete, as far as HTTP goes.
func newAnswer(r *http.Request, status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r, ContentLength: -1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)),
	}
}

// answerInstead answers with something else than the page.
func answerInstead(status int, body string) func(*http.Response) (*http.Response, error) {
	return func(response *http.Response) (*http.Response, error) {
		_ = response.Body.Close()
		return newAnswer(response.Request, status, body), nil
	}
}

// changePage changes the body of a page.
func changePage(change func(body string) string) func(*http.Response) (*http.Response, error) {
	return func(response *http.Response) (*http.Response, error) {
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		return newAnswer(response.Request, http.StatusOK, change(string(body))), err
	}
}

// lostPages are ways for a page to be lost.
var lostPages = map[string]func(*http.Response) (*http.Response, error){
	"the connection is cut": func(r *http.Response) (*http.Response, error) { _ = r.Body.Close(); return nil, errLost },
	"a proxy answers":       answerInstead(http.StatusBadGateway, "upstream trouble"),
	"it is half there":      changePage(func(body string) string { return body[:len(body)/2] }),
	"nothing is there":      answerInstead(http.StatusOK, ""),
	"a Status is there":     answerInstead(http.StatusOK, `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success"}`),
	"its metadata are lost": changePage(func(body string) string { return body[:strings.LastIndex(body, `"metadata"`)] + `"metadata":{}}` }),
	"its Entries are lost": changePage(func(body string) string {
		return `{"apiVersion":"internal.oauth-operator.dev/v1alpha1"` + body[strings.LastIndex(body, `,"kind":"EntryList"`):]
	}),
}

// A token server that serves some of the clients fails the others, and one that has the clients and
// not what limits them could serve them wider.
func TestAReplicaServesNothingBeforeItHasEveryPageOfItsEntries(t *testing.T) {
	api := clustertest.Start(t, issuer)
	version := api.Put(t, server(api.ServerUID), client(1), client(2), client(3), client(4))
	for how, lose := range lostPages {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			c, p := connectByPages(t, api, "starts-"+strings.ReplaceAll(strings.ToLower(how), " ", "-"), lose)
			eventually.True(t, "the page is asked for again and again", func() bool { return p.countAsked() >= 3 })
			if c.registry.HasSynced() {
				t.Error("the replica is ready")
			}
			for n := range 5 {
				if _, ok := c.registry.Client(fmt.Sprint("shop.c", n)); ok {
					t.Errorf("client %d is served", n)
				}
			}
			if applied := c.replicaSpec(t).AppliedResourceVersion; applied != "" {
				t.Errorf("the Replica says that version %s is applied", applied)
			}
			p.setLater(nil)
			c.waitForApplied(t, version)
			for n := 1; n < 5; n++ {
				if _, ok := c.registry.Client(fmt.Sprint("shop.c", n)); !ok {
					t.Errorf("once the page has arrived, client %d is refused", n)
				}
			}
		})
	}
}

func TestWhileAPageIsLostAReplicaServesAllThatItServedAndThenExactlyTheNewList(t *testing.T) {
	api := clustertest.Start(t, issuer)
	version := api.Put(t, server(api.ServerUID), client(1), client(2), client(3), client(4))
	type replica struct {
		*connection
		*pages
		refused atomic.Int64 // looks at which a client was refused that nothing happens to
	}
	replicas, stops := map[string]*replica{}, []func(){}
	for how, lose := range lostPages {
		r := &replica{}
		r.connection, r.pages = connectByPages(t, api, "lists-again-"+strings.ReplaceAll(strings.ToLower(how), " ", "-"), nil)
		r.waitForApplied(t, version)
		stops = append(stops, looksAt(func() {
			if _, ok := r.registry.Client("shop.c4"); !ok {
				r.refused.Add(1)
			}
		}))
		r.setLater(lose)
		r.listAgain(t)
		replicas[how] = r
	}
	for how, r := range replicas {
		eventually.True(t, how+": the page is asked for again and again", func() bool { return r.countAsked() >= 3 })
	}
	api.Delete(t, client(1))
	suspended := client(2)
	suspended.Suspended = true
	version = api.Put(t, suspended, client(5))
	for how, r := range replicas {
		if said := r.replicaSpec(t).AppliedResourceVersion; isAtLeast(said, version) {
			t.Errorf("%s: the Replica says that version %s is applied, and it has not been read", how, said)
		}
		r.setLater(nil)
	}
	for how, r := range replicas {
		r.waitForApplied(t, version)
		t.Run(how, func(t *testing.T) { checkServed(t, r.connection, "shop.c3", "shop.c4", "shop.c5") })
	}
	for _, stop := range stops {
		stop()
	}
	for how, r := range replicas {
		if n := r.refused.Load(); n > 0 {
			t.Errorf("%s: a client that nothing happened to was refused at %d looks", how, n)
		}
	}
}

func TestWhatChangesBetweenTwoPagesIsServedAsItIsOnceTheReplicaSaysSo(t *testing.T) {
	api := clustertest.Start(t, issuer)
	for how, page := range map[string]func(*http.Response) (*http.Response, error){
		"the pages are of one moment":  func(r *http.Response) (*http.Response, error) { return r, nil },
		"the second page has expired":  answerInstead(http.StatusGone, goneStatus), //nolint:bodyclose // the list that asked for the page closes it
		"the second page is lost once": nil,
	} {
		t.Run(how, func(t *testing.T) {
			api.Put(t, server(api.ServerUID), client(1), client(2), client(3), client(4))
			changed, isLost := make(chan string, 1), page == nil
			change := sync.OnceFunc(func() { // of each Entry it is not known which page has it
				for n := 1; n < 4; n++ {
					api.Delete(t, client(n))
				}
				suspended := client(4)
				suspended.Suspended = true
				changed <- api.Put(t, suspended, client(5))
			})
			c, _ := connectByPages(t, api, "between-"+strings.ReplaceAll(how, " ", "-"), func(r *http.Response) (*http.Response, error) {
				change()
				if page != nil {
					return page(r)
				}
				if isLost {
					isLost = false
					return lostPages["the connection is cut"](r)
				}
				return r, nil
			})
			c.waitForApplied(t, <-changed)
			checkServed(t, c, "shop.c5")
			api.Delete(t, client(5))
		})
	}
}

// checkServed fails the test unless the clients are served, and of the others from 1 to 5 none.
func checkServed(t *testing.T, c *connection, want ...string) {
	t.Helper()
	for n := 1; n < 6; n++ {
		id := fmt.Sprint("shop.c", n)
		if _, ok := c.registry.Client(id); ok != slices.Contains(want, id) {
			t.Errorf("%s is served: %v", id, ok)
		}
	}
}

// looksAt calls look again and again until it is stopped.
func looksAt(look func()) (stop func()) {
	over := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for {
			select {
			case <-over:
				return
			case <-time.After(time.Millisecond):
				look()
			}
		}
	})
	return func() { close(over); all.Wait() }
}
