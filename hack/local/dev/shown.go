package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// shownTransport prints each request as it is sent, secrets included, and its answer.
type shownTransport struct {
	next http.RoundTripper
	out  io.Writer
}

// RoundTrip implements http.RoundTripper.
func (s *shownTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		if err := r.Body.Close(); err != nil {
			return nil, err
		}
		r = r.Clone(r.Context()) // a RoundTripper may not change the request
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	printLine(s.out, "%s %s", r.Method, r.URL)
	for _, name := range []string{"Authorization", "Content-Type"} {
		if value := r.Header.Get(name); value != "" {
			printLine(s.out, "%s: %s", name, value)
		}
	}
	printLine(s.out, "")
	if len(body) > 0 {
		printLine(s.out, "%s\n", strings.ReplaceAll(string(body), "&", "\n  &")) // one parameter a line
	}
	response, err := s.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if closed := response.Body.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return nil, err
	}
	printLine(s.out, "%s %s", response.Proto, response.Status)
	var parsed any
	if err := json.Unmarshal(answer, &parsed); err == nil {
		printLine(s.out, "%s\n", indented(parsed))
	} else {
		printLine(s.out, "%s\n", answer)
	}
	response.Body = io.NopCloser(bytes.NewReader(answer))
	return response, nil
}

func indented(value any) string {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(text)
}
