// Package fetch gets key sets and discovery documents from servers that others name. It is written
// for URLs that an attacker may have chosen (RFC 9700 section 4.18.2, OWASP SSRF): it connects to
// public addresses, and to private ones only where the server's document lists them.
//
//	fetch.go      Client: one GET
//	provider.go   an http.Client for an identity provider, under the same rules
//	directory.go  connections to a directory, under the same rules
//	rules.go      which addresses may be connected to
//	connect.go    resolving, checking and connecting, with TLS
//	errors.go     why a fetch failed, and what of that others may know
//	problem.go    what of that the owner of an identity provider may know
//
// Every fetch resolves the name of the host anew, and connects to the address that it has checked,
// so that a name that resolves to another address in between changes nothing. It sends no
// credentials, uses no proxy whatever the environment says, and follows no redirect.
package fetch

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// Limits of one fetch.
const (
	// MaxSize is the size of the largest body, in bytes.
	MaxSize = 256 << 10
	// Timeout bounds a fetch, from the resolution of the name to the end of the body.
	Timeout = 5 * time.Second
	// maxHeaderSize is the size of the largest header of a response, in bytes.
	maxHeaderSize = 16 << 10
	// maxURL is how long a URL may be.
	maxURL = 2048
)

// Purpose is what a URL is for, which decides the private addresses that it may name.
type Purpose int

const (
	// ForClient is for the jwksURI of a client: its host has to be among Fetch.JWKSHosts if it is
	// at a private address.
	ForClient Purpose = iota
	// ForIssuer is for the documents of a workload issuer: its address has to be in
	// Fetch.AllowedNetworks if it is private.
	ForIssuer
	// forProvider is for what an identity provider serves. The rules are those of ForIssuer, but
	// whom to trust is the provider's own setting, for public addresses too.
	forProvider
)

// Client fetches. Document is required.
type Client struct {
	// Document returns the server's document, whose Fetch is in force.
	Document func() documents.Server
	// Lookup resolves names. Default: that of the system.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Dial connects to an address. Default: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	mu       sync.Mutex
	built    *rules
	revision int // of built
}

// Response is the answer to a fetch.
type Response struct {
	Body []byte
	// MaxAge is how long the response may be cached (RFC 9111 section 5.2.2.1), 0 if it says
	// nothing.
	MaxAge time.Duration
}

// Get fetches a URL. Every error is an *Error.
func (c *Client) Get(ctx context.Context, purpose Purpose, rawURL string) (Response, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	target, err := parseURL(rawURL)
	if err != nil {
		return Response{}, &Error{BadAnswer, err}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return Response{}, &Error{BadAnswer, err}
	}
	request.Header.Set("Accept", "application/json, application/jwk-set+json")
	request.Header.Set("User-Agent", "oauth-operator")
	response, err := roundTrip(request, connector{client: c, rules: c.rules(), purpose: purpose, host: target.Hostname()})
	if err != nil {
		return Response{}, err
	}
	defer func() { _ = response.Body.Close() }() // the connection is closed in any case
	if response.StatusCode != http.StatusOK {
		return Response{}, &Error{BadAnswer, errors.New("the status is " + strconv.Itoa(response.StatusCode) + ", not 200")}
	}
	body, err := readBody(response)
	if err != nil {
		return Response{}, err
	}
	return Response{body, maxAge(response.Header)}, nil
}

// roundTrip sends a request over a connection of its own, which ends with the body of the response.
// Every error is an *Error. It follows no redirect, as no http.RoundTripper does.
func roundTrip(request *http.Request, connector connector) (*http.Response, error) {
	transport := &http.Transport{
		DialTLSContext:         connector.connect,
		DisableKeepAlives:      true,
		DisableCompression:     true, // MaxSize is of what comes over the wire and of what is read
		MaxResponseHeaderBytes: maxHeaderSize,
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return nil, classify(err)
	}
	return response, nil
}

// readBody reads the body of a response. Every error is an *Error.
func readBody(response *http.Response) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(response.Body, MaxSize+1))
	switch {
	case err != nil:
		return nil, classify(err)
	case len(body) > MaxSize:
		return nil, &Error{BadAnswer, errors.New("the body is larger than " + strconv.Itoa(MaxSize) + " bytes")}
	}
	return body, nil
}

// parseURL parses a URL that may be fetched: https, without user and fragment.
func parseURL(raw string) (*url.URL, error) {
	if len(raw) > maxURL {
		return nil, errors.New("the URL is too long")
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, errors.New("not a URL")
	case u.Scheme != "https" || u.Opaque != "":
		return nil, errors.New("the URL does not begin with https://")
	case u.Hostname() == "":
		return nil, errors.New("the URL has no host")
	case u.User != nil:
		return nil, errors.New("the URL has a user name or password")
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// maxAge returns the max-age of a Cache-Control header; 0 if there is none.
func maxAge(header http.Header) time.Duration {
	for directive := range strings.SplitSeq(strings.Join(header.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		if !strings.EqualFold(name, "max-age") {
			continue
		}
		if seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
			return time.Duration(seconds) * time.Second
		}
	}
	return 0
}

// HostOf returns the host of a URL, in lower case and without its port; empty if it has none.
func HostOf(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	return canonicalHost(u.Hostname())
}
