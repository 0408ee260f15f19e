package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientauthenticationv1 "k8s.io/client-go/pkg/apis/clientauthentication/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/issuer"
	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/tokencache"
	"github.com/oauth-operator/oauth-operator/test/browser"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// user reads what a login prints for people, and signs in at the URL.
type user struct {
	env    *testenv.Env
	logins atomic.Int64
	// open is what the user does with the URL. Default: signs in as alice.
	open func(address string) error

	mu   sync.Mutex
	seen bytes.Buffer
}

// Write implements io.Writer.
func (u *user) Write(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.seen.Write(p)
	// A copy: the caller of Write uses p again after it has returned.
	address := string(regexp.MustCompile(`http\S+/authorize\S+`).Find(p))
	if address == "" {
		return len(p), nil
	}
	u.logins.Add(1)
	open := u.open
	if open == nil {
		open = u.signIn
	}
	go func() {
		if err := open(address); err != nil {
			u.env.T.Error(err)
		}
	}()
	return len(p), nil
}

func (u *user) said() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.seen.String()
}

func (u *user) signIn(address string) error {
	page, err := browser.New(u.env.HTTP.Transport, "http").SignIn(u.env.T.Context(), address, testenv.Username, testenv.Password)
	if err == nil && (page.StatusCode != http.StatusOK || !strings.Contains(page.Body, "You are signed in")) {
		err = fmt.Errorf("the browser is at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
	return err
}

// login runs a login as a person, and the user signs in.
func (u *user) login(p *person, args ...string) result {
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(u.env.T.Context(), time.Minute)
	defer cancel()
	args = append([]string{"login", "--no-browser"}, args...)
	status := run(ctx, append(args, "--kubeconfig", p.kubeconfig), strings.NewReader(""), &out, u)
	return result{status, out.String(), u.said()}
}

var native = v1alpha1.OAuthClientSpec{
	GrantTypes: []v1alpha1.GrantType{"authorization_code", "refresh_token"}, TokenEndpointAuthMethod: "none",
	RedirectURIs: []string{"https://app.example.com/cb", "http://127.0.0.1/callback"}, Scopes: []string{"openid", "offline_access"},
}

func TestAUserSignsInAtAPublicClientAndGetsTheTokenAlone(t *testing.T) {
	env := testenv.New(t)
	env.ReadyClient("cli", native)
	env.ReadyClient("web", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"authorization_code"}, TokenEndpointAuthMethod: "client_secret_basic", RedirectURIs: native.RedirectURIs,
	})
	p := newPerson(env, "developer").may(env.AppNamespace, "get oauthclients").may(env.ServerNamespace, "get authorizationservers")
	u := &user{env: env}
	r := u.login(p, "client/cli")
	if status, _ := env.Get("/userinfo", strings.TrimSpace(r.out)); r.status != 0 || status != http.StatusOK {
		t.Errorf("status %d, and userinfo answers %d: %s%s", r.status, status, r.out, r.errOut)
	}
	r = u.login(p, "client/cli", "--scope", "openid", "-o", "json")
	if answer := decodeJSON[issuer.Tokens](t, r.out); answer.IDToken == "" || answer.Scope != "openid" {
		t.Errorf("the answer is %+v", answer)
	}
	if text := p.fail(exitFailed, "login", "client/web"); !strings.Contains(text, "is confidential (spec.tokenEndpointAuthMethod: client_secret_basic)") {
		t.Errorf("it says %s", text)
	}
	stranger := newPerson(env, "stranger").may(env.AppNamespace, "get oauthclients")
	if text := stranger.fail(exitFailed, "login", "client/cli"); !strings.Contains(text, "you may not get authorizationservers") || !strings.Contains(text, "--issuer") {
		t.Errorf("it says %s", text)
	}
}

func TestAnswersThatAreNotToThisLoginAreNotUsed(t *testing.T) {
	env := testenv.New(t)
	c := env.ReadyClient("cli", native)
	p := admin(env)
	// rewritten has the user sign in, and another program change the answer on its way.
	rewritten := func(change func(answer string) string) func(string) error {
		return func(address string) error {
			page, err := browser.New(nil, env.Issuer).SignIn(t.Context(), address, testenv.Username, testenv.Password)
			if err != nil {
				return err
			}
			response, err := http.Get(change(page.At.String()))
			if err != nil {
				return err
			}
			return response.Body.Close()
		}
	}
	iss := regexp.MustCompile(`iss=[^&]+`)
	u := &user{env: env, open: rewritten(func(answer string) string { return iss.ReplaceAllString(answer, "iss=https%3A%2F%2Fevil.example") })}
	if r := u.login(p, "client/cli"); r.status != exitFailed || !strings.Contains(r.errOut, "another issuer") || r.out != "" {
		t.Errorf("another issuer's answer: %d %s", r.status, r.errOut)
	}
	u = &user{env: env, open: rewritten(func(answer string) string { return iss.ReplaceAllString(answer, "x=y") })}
	if r := u.login(p, "client/cli"); r.status != exitFailed || !strings.Contains(r.errOut, "another issuer") {
		t.Errorf("an answer without iss: %d %s", r.status, r.errOut)
	}
	// An answer with another state is refused, and the login goes on.
	u = &user{env: env}
	u.open = func(address string) error {
		callback := regexp.MustCompile(`redirect_uri=([^&]+)`).FindStringSubmatch(address)[1]
		callback = strings.NewReplacer("%3A", ":", "%2F", "/").Replace(callback)
		response, err := http.Get(callback + "?code=stolen&state=another&iss=" + env.Issuer)
		if err != nil {
			return err
		}
		if response.StatusCode != http.StatusBadRequest {
			return fmt.Errorf("an answer with another state is answered %s", response.Status)
		}
		return errors.Join(response.Body.Close(), u.signIn(address))
	}
	if r := u.login(p, "client/cli"); r.status != 0 {
		t.Errorf("after another answer: %d %s", r.status, r.errOut)
	}
	// An error response is what the terminal says.
	env.Update(c, func() { c.Spec.Scopes = []string{"openid"} })
	u = &user{env: env, open: func(address string) error {
		b := browser.New(nil, "http")
		page, err := b.Get(t.Context(), address)
		if err == nil {
			page, err = b.Login(t.Context(), page, testenv.Username, testenv.Password)
		}
		if err == nil && page.IsConsent() {
			_, err = b.Submit(t.Context(), page, "consent-deny", nil)
		}
		return err
	}}
	if r := u.login(p, "client/cli"); r.status != exitFailed || !strings.Contains(r.errOut, "access_denied") {
		t.Errorf("after a refusal: %d %s", r.status, r.errOut)
	}
	u = &user{env: env, open: func(string) error { return nil }}
	if r := u.login(p, "client/cli", "--timeout", "100ms"); r.status != exitFailed || !strings.Contains(r.errOut, "has not signed in within 100ms") {
		t.Errorf("a user who does not come: %d %s", r.status, r.errOut)
	}
}

func TestAsAnExecCredentialPluginItSignsInOnceAndRefreshes(t *testing.T) {
	env := testenv.New(t)
	c := env.ReadyClient("kubernetes", native)
	cache := filepath.Join(t.TempDir(), "cache")
	p := &person{env: env, kubeconfig: "/does/not/exist"} // it has to work before there is access to a cluster
	args := []string{"--exec-credential", "--issuer", env.Issuer, "--client-id", c.Status.ClientID, "--scope", "openid", "--scope", "offline_access", "--token-cache-dir", cache}

	t.Setenv("KUBERNETES_EXEC_INFO", `{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","spec":{}}`)
	u := &user{env: env}
	if r := u.login(p, args...); r.status != exitFailed || !strings.Contains(r.errOut, "set it to client.authentication.k8s.io/v1") {
		t.Errorf("another version: %d %s", r.status, r.errOut)
	}
	t.Setenv("KUBERNETES_EXEC_INFO", `{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":false}}`)

	// Eight at once, as kubectl and its friends are: one of them signs the user in.
	results := make(chan result, 8)
	for range cap(results) {
		go func() { results <- u.login(p, args...) }()
	}
	tokens := map[string]bool{}
	var credential clientauthenticationv1.ExecCredential
	for range cap(results) {
		r := <-results
		if r.status != 0 {
			t.Fatalf("status %d: %s", r.status, r.errOut)
		}
		credential = decodeJSON[clientauthenticationv1.ExecCredential](t, r.out)
		tokens[credential.Status.Token] = true
	}
	if len(tokens) != 1 || u.logins.Load() != 1 {
		t.Errorf("%d logins, and %d tokens", u.logins.Load(), len(tokens))
	}
	if left := time.Until(credential.Status.ExpirationTimestamp.Time); left < time.Minute || credential.APIVersion != "client.authentication.k8s.io/v1" || credential.Kind != "ExecCredential" {
		t.Errorf("the credential is %+v", credential)
	}
	file := checkPrivate(t, cache)

	// An expired ID token is refreshed without the user; a refresh token that is over is not.
	changeEntry(t, file, func(e *tokencache.Entry) { e.Expiry = time.Now() })
	r := u.login(p, args...)
	if refreshed := decodeJSON[clientauthenticationv1.ExecCredential](t, r.out); refreshed.Status.Token == credential.Status.Token || u.logins.Load() != 1 {
		t.Errorf("%d logins; the same token: %v", u.logins.Load(), refreshed.Status.Token == credential.Status.Token)
	}
	checkPrivate(t, cache)
	changeEntry(t, file, func(e *tokencache.Entry) { e.Expiry, e.Subject = time.Now(), "another user" })
	if r := u.login(p, args...); r.status != 0 || u.logins.Load() != 2 {
		t.Errorf("another user's refresh token: status %d, %d logins: %s", r.status, u.logins.Load(), r.errOut)
	}
	changeEntry(t, file, func(e *tokencache.Entry) { e.Expiry, e.RefreshToken = time.Now(), "over" })
	if r := u.login(p, args...); r.status != 0 || u.logins.Load() != 3 {
		t.Errorf("a refresh token that is over: status %d, %d logins: %s", r.status, u.logins.Load(), r.errOut)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if r := u.login(p, args...); r.status != exitFailed || !strings.Contains(r.errOut, "is not a file that you alone may read") {
		t.Errorf("a file that others may read: status %d %s", r.status, r.errOut)
	}
}

// checkPrivate returns the one token file of a cache in which only its owner may read.
func checkPrivate(t *testing.T, dir string) string {
	t.Helper()
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory has the mode %s (%v)", info.Mode(), err)
	}
	file := ""
	if err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has the mode %s", path, info.Mode())
		}
		if filepath.Ext(path) == "" {
			if file != "" {
				t.Errorf("there are %s and %s", file, path)
			}
			file = path
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return file
}

func changeEntry(t *testing.T, file string, change func(*tokencache.Entry)) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var e tokencache.Entry
	if err := json.Unmarshal(content, &e); err != nil {
		t.Fatal(err)
	}
	change(&e)
	if content, err = json.Marshal(e); err == nil {
		err = os.WriteFile(file, content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
