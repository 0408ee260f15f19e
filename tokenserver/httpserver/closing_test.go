package httpserver_test

import (
	"bufio"
	"net/http"
	"testing"

	"github.com/oauth-operator/oauth-operator/tokenserver/httpserver/httpservertest"
)

// A connection that a client keeps is not closed while a request may be on its way; the response to
// the next one tells the client to leave it.
func TestEachConnectionEndsWithTheNextResponseOnceTheServerIsToEnd(t *testing.T) {
	s := httpservertest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) }), nil)
	kept := s.Dial()
	reader := bufio.NewReader(kept)
	ask := func() *http.Response {
		t.Helper()
		httpservertest.Send(kept, get)
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		return response
	}
	if ask().Close {
		t.Fatal("the connection is not kept while the server serves")
	}
	s.CloseAfterResponses()
	if response := ask(); response.StatusCode != http.StatusOK || !response.Close {
		t.Errorf("the response is %s, Connection: close: %t", response.Status, response.Close)
	}
	if !httpservertest.IsClosed(kept, 5e9) {
		t.Error("the connection stays open")
	}
	if status, _ := httpservertest.ReadResponse(httpservertest.Send(s.Dial(), get)); status != http.StatusOK {
		t.Errorf("on a new connection it answers %d", status)
	}
}
