package main

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

// callback listens where a client's authorization responses go, as the application itself would.
type callback struct {
	redirectURI string
	path        string
	listener    net.Listener
}

// listenForCallback listens at the first of the redirect URIs that leads to the loopback address of
// this machine. One without a port has any (RFC 8252 section 7.3), so a free one.
func listenForCallback(redirectURIs []string) (*callback, error) {
	for _, registered := range redirectURIs {
		u, err := url.Parse(registered)
		if err != nil || u.Scheme != "http" {
			continue
		}
		ip := net.ParseIP(u.Hostname())
		if u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
			continue
		}
		port := u.Port()
		if port == "" {
			port = "0"
		}
		listener, err := net.Listen("tcp", net.JoinHostPort(u.Hostname(), port))
		if err != nil {
			return nil, fmt.Errorf("listening for the answer at %s: %w", registered, err)
		}
		if u.Port() == "" {
			u.Host = net.JoinHostPort(u.Hostname(), fmt.Sprint(listener.Addr().(*net.TCPAddr).Port))
		}
		return &callback{redirectURI: u.String(), path: u.Path, listener: listener}, nil
	}
	return nil, fmt.Errorf("none of the redirect URIs %q leads to this machine", redirectURIs)
}

func (c *callback) close() { _ = c.listener.Close() }

// wait returns the parameters of the authorization response. They are in the query of the redirect,
// or in its fragment (RFC 6749 section 4.2.2), which a browser keeps to itself: the page that
// answers sends it on.
func (c *callback) wait(ctx context.Context) (url.Values, error) {
	answers := make(chan url.Values, 1)
	deliver := func(w http.ResponseWriter, parameters url.Values) {
		select {
		case answers <- parameters:
		default: // one answer is all there is to wait for
		}
		_, _ = io.WriteString(w, "The answer has arrived. Go on in the terminal; this page can be closed.\n")
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+c.path, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "" {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, fragmentPage)
			return
		}
		deliver(w, r.URL.Query())
	})
	mux.HandleFunc("POST "+c.path, func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		deliver(w, r.PostForm)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(c.listener) }()
	select {
	case parameters := <-answers:
		// The answer's page is still being sent.
		shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if err := server.Shutdown(shutdown); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return nil, err
		}
		return parameters, nil
	case err := <-failed:
		return nil, err
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), server.Close())
	}
}

const fragmentPage = `<!doctype html>
<meta charset="utf-8">
<title>One moment</title>
<p id="text">One moment.</p>
<script>
fetch(location.pathname, {
  method: "POST",
  headers: {"Content-Type": "application/x-www-form-urlencoded"},
  body: location.hash.slice(1),
}).then(r => r.text()).then(t => {
  document.getElementById("text").textContent = t;
  history.replaceState(null, "", location.pathname);
});
</script>
`
