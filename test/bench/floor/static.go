package main

import (
	"net/http"
	"strconv"
	"strings"
)

// maxDocument is the size of the largest document, in bytes.
const maxDocument = 64 << 10

// static answers with a document of as many bytes as the last segment of the path says.
func static() http.Handler {
	document := []byte(strings.Repeat("x", maxDocument))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		length := strings.TrimPrefix(r.URL.Path, "/static/")
		size, err := strconv.Atoi(length)
		if err != nil || size < 0 || size > len(document) {
			http.Error(w, "no such size", http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", length)
		w.Header().Set("Cache-Control", "public, max-age=300")
		_, _ = w.Write(document[:size]) // the client may be gone
	})
}
