package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestARequestIsWhatCurlWouldSend(t *testing.T) {
	var got *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		got = r
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_request"}`))
	}))
	defer server.Close()

	var out bytes.Buffer
	err := requestCommand(t.Context(), []string{
		"-u", "id:a:b", "-d", "grant_type=password", "-d", "a=1&b=2", "--data-urlencode", "password=x&y=z +%", "-H", "Accept: text/plain", server.URL + "/token",
	}, &out)
	if err != nil {
		t.Fatalf("an answer with an HTTP error is an answer: %v", err)
	}
	if user, password, ok := got.BasicAuth(); !ok || user != "id" || password != "a:b" {
		t.Errorf("authenticated as %q with %q", user, password)
	}
	for name, want := range map[string]string{"grant_type": "password", "a": "1", "b": "2", "password": "x&y=z +%"} {
		if value := got.PostForm.Get(name); value != want {
			t.Errorf("%s is %q, want %q", name, value, want)
		}
	}
	if got.Header.Get("Accept") != "text/plain" || got.URL.Path != "/token" {
		t.Errorf("asked %s with %v", got.URL, got.Header)
	}
	if out.String() != `{"error":"invalid_request"}`+"\n" {
		t.Errorf("printed %q", out.String())
	}
}
