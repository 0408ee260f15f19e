package issuer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// newServer returns an issuer that says what a hostile one may, and the client that reads it. The
// metadata has the endpoints in place of the usual ones.
func newServer(t *testing.T, endpoints string) (issuer string, h *http.Client) {
	t.Helper()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":%q,%s}`, server.URL, strings.ReplaceAll(endpoints, "ISSUER", server.URL))
	})
	h, err := NewHTTPClient("")
	if err != nil {
		t.Fatal(err)
	}
	return server.URL, h
}

func TestABrowserOpensAndTokensGoToNothingButHTTPS(t *testing.T) {
	for _, endpoints := range []string{
		`"authorization_endpoint":"file:///c:/windows/system32/calc.exe","token_endpoint":"ISSUER/token","jwks_uri":"ISSUER/jwks"`,
		`"authorization_endpoint":"ms-msdt:/id","token_endpoint":"ISSUER/token","jwks_uri":"ISSUER/jwks"`,
		`"authorization_endpoint":"--help","token_endpoint":"ISSUER/token","jwks_uri":"ISSUER/jwks"`,
		`"authorization_endpoint":"http://evil.example/authorize","token_endpoint":"ISSUER/token","jwks_uri":"ISSUER/jwks"`,
		`"authorization_endpoint":"ISSUER/authorize","token_endpoint":"http://evil.example/token","jwks_uri":"ISSUER/jwks"`,
		`"authorization_endpoint":"ISSUER/authorize","token_endpoint":"ISSUER/token","jwks_uri":"http://evil.example/jwks"`,
	} {
		issuer, h := newServer(t, endpoints)
		login := Login{HTTP: h, Issuer: issuer, ClientID: "cli", RedirectURI: "http://127.0.0.1/callback"}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, _, err := login.InBrowser(ctx, func(address string) error {
			t.Errorf("with %s the browser opens %s", endpoints, address)
			return errors.New("stopped")
		})
		cancel()
		if err == nil || !strings.Contains(err.Error(), "metadata") {
			t.Errorf("with %s the error is %v", endpoints, err)
		}
	}
}

func TestAnAnswerWithoutEndIsNotReadToTheEnd(t *testing.T) {
	sent := make(chan int64, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n, _ := io.Copy(w, io.LimitReader(spaces{}, 64<<20))
		sent <- n
	}))
	defer server.Close()
	h, err := NewHTTPClient("")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := oidc.NewProvider(oidc.ClientContext(t.Context(), h), server.URL); err == nil {
		t.Error("it is metadata")
	}
	if n := <-sent; n > 16<<20 {
		t.Errorf("%d MiB of metadata were read", n>>20)
	}
}

type spaces struct{}

// Read implements io.Reader.
func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestAnAnswerOfAServerCannotControlTheTerminal(t *testing.T) {
	answers := []struct {
		status int
		body   string
	}{
		{http.StatusBadRequest, `{"error":"x\u001b[2J","error_description":"\u001b]0;owned\u0007\u009b31m\u202e\nerror: fine"}`},
		{http.StatusOK, `{"access_token":"a\u001b[2J"}`},
		{http.StatusOK, `{"access_token":"a\nrm -rf"}`},
	}
	for _, answer := range answers {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(answer.status)
			_, _ = io.WriteString(w, answer.body)
		}))
		h, err := NewHTTPClient("")
		if err != nil {
			t.Fatal(err)
		}
		tokens, err := Request(t.Context(), h, server.URL, Credentials{ClientID: "cli", Method: oauth.AuthMethodNone}, url.Values{})
		server.Close()
		if err == nil {
			t.Errorf("%s: the token is %q", answer.body, tokens.AccessToken)
			continue
		}
		if strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%s: the error is %q", answer.body, err)
		}
	}
}
