package httpserver_test

import (
	"bufio"
	"net/http"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/httpserver/httpservertest"
)

// A connection that a client keeps is not closed while a request may be on its way; the response to
// the next one tells the client to leave it.
func TestEachConnectionEndsWithTheNextResponseOnceTheServerIsToEnd(t *testing.T) {
	s := httpservertest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) }), nil)
	kept := s.Dial()
	reader := bufio.NewReader(kept)
	ask := func() (status int, closes bool) {
		t.Helper()
		httpservertest.Send(kept, get)
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		return response.StatusCode, response.Close
	}
	if _, closes := ask(); closes {
		t.Fatal("the connection is not kept while the server serves")
	}
	s.CloseAfterResponses()
	if status, closes := ask(); status != http.StatusOK || !closes {
		t.Errorf("the response has status %d, Connection: close: %t", status, closes)
	}
	if !httpservertest.IsClosed(kept, 5*time.Second) {
		t.Error("the connection stays open")
	}
	if status, _ := httpservertest.ReadResponse(httpservertest.Send(s.Dial(), get)); status != http.StatusOK {
		t.Errorf("on a new connection it answers %d", status)
	}
}
