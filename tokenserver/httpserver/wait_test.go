package httpserver_test

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/httpserver"
	"github.com/oauth-operator/oauth-operator/tokenserver/httpserver/httpservertest"
)

// patientHandler waits for another server, which answers when it is released. A request of the path
// /work is answered at once.
type patientHandler struct {
	asked, abandoned, ended atomic.Int64
	release                 chan struct{}
}

func (h *patientHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/work" {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	defer h.ended.Add(1)
	httpserver.Wait(r.Context(), func(ctx context.Context) {
		httpserver.Wait(ctx, func(context.Context) {}) // one more on the way ends nothing
		h.asked.Add(1)
		select {
		case <-h.release:
			w.WriteHeader(http.StatusOK)
		case <-ctx.Done():
			h.abandoned.Add(1)
		}
	})
}

func TestAHandlerThatWaitsForAnotherServerYieldsToANewConnectionAndEnds(t *testing.T) {
	const connections = 3
	for what, more := range map[string]string{"": "", ", while more is sent": "G", ", while another request is sent": get} {
		handler := &patientHandler{release: make(chan struct{})}
		h := httpservertest.Start(t, handler, func(c *httpserver.Config) { c.Limits.Connections = connections })
		var waiting []net.Conn
		for i := range connections {
			waiting = append(waiting, httpservertest.Send(h.Dial(), get+more))
			h.Eventually("a handler waits", func() bool { return handler.asked.Load() == int64(i+1) })
		}
		for range 2 {
			if status, _ := httpservertest.ReadResponse(httpservertest.Send(h.Dial(), "GET /work HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")); status != http.StatusNoContent {
				t.Errorf("another client, while all wait%s: status %d", what, status)
			}
			h.Eventually("the place is free again", func() bool { return h.Stats().Open < connections })
		}
		h.Eventually("one handler has ended", func() bool { return handler.abandoned.Load() == 1 && handler.ended.Load() == 1 })
		if !httpservertest.IsClosed(waiting[0], 5*time.Second) {
			t.Errorf("the connection that waited longest%s stays", what)
		}
		close(handler.release)
		for _, c := range slices.Backward(waiting[1:]) {
			if status, _ := httpservertest.ReadResponse(c); status != http.StatusOK {
				t.Errorf("one that went on waiting%s: status %d", what, status)
			}
		}
		if n := handler.abandoned.Load(); n != 1 {
			t.Errorf("%d handlers were given up%s", n, what)
		}
	}
}

func TestAHandlerDoesNotYieldOnceItHasWaited(t *testing.T) {
	began, release := make(chan struct{}), make(chan struct{})
	h := httpservertest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		httpserver.Wait(r.Context(), func(context.Context) {})
		close(began)
		<-release
		w.WriteHeader(http.StatusOK)
	}), func(c *httpserver.Config) { c.Limits.Connections = 1 })
	working := httpservertest.Send(h.Dial(), get)
	<-began
	if status, _ := httpservertest.ReadResponse(httpservertest.Send(h.Dial(), get)); status != 0 {
		t.Errorf("another client: status %d", status)
	}
	close(release)
	if status, _ := httpservertest.ReadResponse(working); status != http.StatusOK {
		t.Errorf("the one that works: status %d", status)
	}
}
