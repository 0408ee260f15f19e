package issuer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// callback receives the authorization response at a loopback address.
type callback struct {
	redirectURI string
	path        string
	listener    net.Listener
}

// RedirectURI returns the first redirect URI that leads to this machine, preferring those with a
// loopback IP literal: these have a free port (RFC 8252 section 7.3), so that no other program can
// have it already.
func RedirectURI(registered []string) (string, error) {
	named := ""
	for _, uri := range registered {
		u, err := url.Parse(uri)
		if err != nil || u.Scheme != "http" || !isLoopback(u.Hostname()) {
			continue
		}
		if net.ParseIP(u.Hostname()) != nil {
			return uri, nil
		}
		if named == "" {
			named = uri
		}
	}
	if named == "" {
		return "", errors.New("the client has no redirect URI at a loopback address: add one such as http://127.0.0.1/callback to spec.redirectURIs")
	}
	return named, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// listen listens where a redirect URI leads to: at a free port if its host is an IP literal, and
// else at its port, since only the port of an IP literal may differ from the registered one.
func listen(registered string) (*callback, error) {
	u, err := url.Parse(registered)
	if err != nil || u.Scheme != "http" || !isLoopback(u.Hostname()) {
		return nil, fmt.Errorf("the redirect URI %q does not lead to a loopback address of this machine", registered)
	}
	free, port := net.ParseIP(u.Hostname()) != nil, u.Port()
	switch {
	case free:
		port = "0"
	case port == "":
		port = "80"
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return nil, fmt.Errorf("listening for the answer at %s: %w", registered, err)
	}
	if free {
		u.Host = net.JoinHostPort(u.Hostname(), fmt.Sprint(listener.Addr().(*net.TCPAddr).Port))
	}
	path := u.Path
	if path == "" {
		path = "/"
	}
	return &callback{redirectURI: u.String(), path: path, listener: listener}, nil
}

func (c *callback) close() { _ = c.listener.Close() }

// wait returns the parameters of the authorization response to the request with the state. What has
// another state is none of this login's: any page in the browser can send it, so it ends nothing.
func (c *callback) wait(ctx context.Context, state string) (url.Values, error) {
	answers := make(chan url.Values, 1)
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			query := r.URL.Query()
			switch {
			case r.URL.Path != c.path || r.Method != http.MethodGet:
				http.NotFound(w, r)
			case query.Get("state") != state:
				http.Error(w, "This is no answer to the login that is under way.", http.StatusBadRequest)
			default:
				showDone(w, query.Get("error") != "")
				select {
				case answers <- query:
				default: // the browser has loaded the page again
				}
			}
		}),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(c.listener) }()
	select {
	case answer := <-answers:
		// The page is still being sent.
		shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if err := server.Shutdown(shutdown); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return nil, err
		}
		return answer, nil
	case err := <-failed:
		return nil, err
	case <-ctx.Done():
		return nil, errors.Join(fmt.Errorf("waiting for the answer of the browser: %w", context.Cause(ctx)), server.Close())
	}
}

// showDone shows a page without the code, which is in the URL, in a link or a request to others.
func showDone(w http.ResponseWriter, failed bool) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	text := "You are signed in. Go on in the terminal; this page can be closed."
	if failed {
		text = "You are not signed in. The terminal says why; this page can be closed."
	}
	_, _ = io.WriteString(w, "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>kubectl oauth</title><p>"+text+"</p></html>\n")
}
