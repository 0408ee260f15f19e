package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"

	"github.com/oauth-operator/oauth-operator/test/browser"
)

// loginCommand opens an authorization request in a browser and tries to sign in. It prints where the
// browser is then, as JSON.
func loginCommand(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("login", flag.ContinueOnError)
	authorize := flags.String("authorize", "", "URL of the authorization request")
	username := flags.String("username", "", "who signs in")
	password := flags.String("password", "", "her password")
	caFile := flags.String("ca", "", "file of the certificate authority")
	connect := flags.String("connect", "", "host and port to send all requests to, in plain HTTP, as a proxy would")
	provider := flags.String("provider", "", "URL of the identity provider where she signs in; default: the server itself")
	forwardedFor := flags.String("forwarded-for", "", "X-Forwarded-For to send")
	if err := flags.Parse(args); err != nil {
		return err
	}
	address, err := url.Parse(*authorize)
	if err != nil {
		return fmt.Errorf("reading the URL of the authorization request: %w", err)
	}
	transport, err := newTransport(*caFile, true)
	if err != nil {
		return err
	}
	servers := []string{"https://" + address.Host}
	if *provider != "" {
		servers = append(servers, *provider)
	}
	b := browser.New(wire{transport, *connect, *forwardedFor}, servers...)
	page, err := b.Get(ctx, *authorize)
	if err != nil {
		return err
	}
	if !page.IsLogin() {
		return fmt.Errorf("%s is no login page: %s", page.URL, page.Body)
	}
	if page, err = b.Login(ctx, page, *username, *password); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"at": page.At.String(), "isLogin": page.IsLogin(), "status": page.StatusCode})
}

// wire sends requests where they are to go, whatever their URL says.
type wire struct {
	http.RoundTripper
	connect, forwardedFor string
}

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if w.forwardedFor != "" {
		r.Header.Set("X-Forwarded-For", w.forwardedFor)
	}
	if w.connect != "" {
		r.Host = r.URL.Host
		r.URL.Scheme, r.URL.Host = "http", w.connect
	}
	return w.RoundTripper.RoundTrip(r)
}
