package issuer

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
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

	"github.com/oauth-operator/oauth-operator/tokenserver/jwks/jwkstest"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// newServer returns an issuer that says what a hostile one may, and the client that reads it. The
// metadata has the endpoints in place of the usual ones; bodies has what other paths answer.
func newServer(t *testing.T, endpoints string, bodies map[string]func() string) (issuer string, h *http.Client) {
	t.Helper()
	mux := http.NewServeMux()
	for path, body := range bodies {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, body())
		})
	}
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
		issuer, h := newServer(t, endpoints, nil)
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

// OpenID Connect Core sections 3.1.3.7 and 12.2.
func TestALoginWhoseIDTokenProvesNothingIsRefused(t *testing.T) {
	const endpoints = `"authorization_endpoint":"ISSUER/authorize","token_endpoint":"ISSUER/token","jwks_uri":"ISSUER/jwks"`
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	signer, other := jwkstest.NewSigner("RS256", "a"), jwkstest.Of(key, "RS256", "a")
	unsigned := func(claims map[string]any) string {
		return jwkstest.Encode(t, map[string]any{"alg": "none"}) + "." + jwkstest.Encode(t, claims) + "."
	}
	for what, test := range map[string]struct {
		change         map[string]any // of the claims; nil: removed
		sign           func(claims map[string]any) string
		login, refresh bool // whether the answer to it is accepted
	}{
		"nothing":          {login: true, refresh: true},
		"another key":      {sign: func(claims map[string]any) string { return other.Sign(t, claims) }},
		"no signature":     {sign: unsigned},
		"no ID token":      {sign: func(map[string]any) string { return "" }},
		"another issuer":   {change: map[string]any{"iss": "https://evil.example"}},
		"another audience": {change: map[string]any{"aud": "another"}},
		"an end":           {change: map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}},
		"another nonce":    {change: map[string]any{"nonce": "another"}, refresh: true},
		"no nonce":         {change: map[string]any{"nonce": nil}, refresh: true},
		"another user":     {change: map[string]any{"sub": "bob"}, login: true},
	} {
		claims := map[string]any{"sub": "alice", "aud": "cli", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix()}
		issuer, h := newServer(t, endpoints, map[string]func() string{
			"/jwks": func() string { return jwkstest.SetOf(signer) },
			"/token": func() string {
				for name, value := range test.change {
					if claims[name] = value; value == nil {
						delete(claims, name)
					}
				}
				sign := test.sign
				if sign == nil {
					sign = func(claims map[string]any) string { return signer.Sign(t, claims) }
				}
				return fmt.Sprintf(`{"access_token":"a","token_type":"Bearer","id_token":%q}`, sign(claims))
			},
		})
		claims["iss"] = issuer
		login := Login{HTTP: h, Issuer: issuer, ClientID: "cli", RedirectURI: "http://127.0.0.1/callback", Scopes: []string{"openid"}}
		tokens, idToken, err := login.InBrowser(t.Context(), func(address string) error {
			u, err := url.Parse(address)
			if err != nil {
				return err
			}
			q := u.Query()
			claims["nonce"] = q.Get("nonce")
			go func() { // it is answered once the login waits for it
				response, err := http.Get(q.Get("redirect_uri") + "?" + url.Values{"code": {"c"}, "state": {q.Get("state")}, "iss": {issuer}}.Encode())
				if err != nil {
					t.Error(err)
					return
				}
				_ = response.Body.Close()
			}()
			return nil
		})
		checkLogin(t, "a login, wrong with which is "+what, test.login, tokens, idToken, err)
		tokens, idToken, err = login.Refresh(t.Context(), "r", "alice")
		checkLogin(t, "a refresh, wrong with which is "+what, test.refresh, tokens, idToken, err)
	}
}

func checkLogin(t *testing.T, what string, want bool, tokens Tokens, idToken *oidc.IDToken, err error) {
	t.Helper()
	if ok := err == nil && idToken != nil && tokens.AccessToken != ""; ok != want || err != nil && idToken != nil {
		t.Errorf("%s: %+v, %v", what, idToken, err)
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
