package main

import (
	"net/http"
	"strconv"
	"strings"
)

// static answers with a document of the size of a discovery document.
func static() http.Handler {
	document := []byte(`{"keys":"` + strings.Repeat("x", 1500) + `"}`)
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(document)))
		w.Header().Set("Cache-Control", "public, max-age=300")
		_, _ = w.Write(document) // the client may be gone
	})
}
