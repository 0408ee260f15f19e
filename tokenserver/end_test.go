package tokenserver_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// Clients that keep their connections ask for tokens all the time, while one of two token servers
// ends and, a while after it said that it is not ready, new connections go to the other alone.
func TestNoRequestOfAClientThatKeepsConnectionsFailsWhileATokenServerEnds(t *testing.T) {
	ending := startProgram(t)
	ending.api.Put(t, serverDocument(ending.api.ServerUID, ending.issuer(), ending.keys), documents.Namespace{Name: "apps"}, serviceClient())
	ending.stop()
	ending.options.ShutdownDelay = 1500 * time.Millisecond
	ending.run(t)
	other := *ending
	other.options.ReplicaName, other.options.Listen, other.options.StatusListen = "main-1", freeAddress(t), freeAddress(t)
	other.run(t)
	for _, r := range []*testProgram{ending, &other} {
		eventually.True(t, r.options.ReplicaName+" is ready", func() bool { return r.readiness(t) == "ok" })
	}

	var target atomic.Pointer[string] // where the Service leads
	target.Store(&ending.options.Listen)
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, *target.Load())
	}
	var served, kept atomic.Int64
	done := make(chan struct{})
	var clients sync.WaitGroup
	for range 16 {
		transport := &http.Transport{DialContext: dial}
		t.Cleanup(transport.CloseIdleConnections)
		clients.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				response, err := transport.RoundTrip(ending.tokenRequest(t.Context(), t, url.Values{"grant_type": {"client_credentials"}}))
				if err != nil {
					t.Errorf("after %d responses: %v", served.Load(), err)
					return
				}
				_, err = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
				if err != nil || response.StatusCode != http.StatusOK {
					t.Errorf("%s (%v)", response.Status, err)
				}
				served.Add(1)
				if !response.Close {
					kept.Add(1)
				}
			}
		})
	}
	eventually.True(t, "connections are kept", func() bool { return kept.Load() > 100 })
	stopped := make(chan struct{})
	go func() { defer close(stopped); ending.stop() }()
	eventually.True(t, "it is not ready, and serves", func() bool { return ending.readiness(t) == "shutting down" })
	time.Sleep(500 * time.Millisecond) // until the Service has noticed
	target.Store(&other.options.Listen)
	<-stopped
	time.Sleep(200 * time.Millisecond)
	close(done)
	clients.Wait()
	t.Logf("%d responses, %d on connections that were kept", served.Load(), kept.Load())
}
