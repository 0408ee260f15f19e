package tokenserver_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver"
	"github.com/oauth-operator/oauth-operator/tokenserver/cluster/clustertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
)

const secret = "oas_0123456789abcdef0123456789abcdef"

// freeAddress returns a loopback address with a port that is not in use.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// writeKeys writes new keys into a directory, an Active one for each algorithm, and returns their
// entries in a server document.
func writeKeys(t *testing.T, dir string) []documents.Key {
	t.Helper()
	var listed []documents.Key
	for _, alg := range []string{"ES256", "RS256"} {
		kid, content, err := keys.GenerateSigning(alg, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, kid+".pem"), content)
		listed = append(listed, documents.Key{KID: kid, Algorithm: alg, Phase: documents.KeyActive})
	}
	kid, content, err := keys.GenerateSealing(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, kid+".sealing"), content)
	return append(listed, documents.Key{KID: kid, Algorithm: documents.AlgorithmSealing, Phase: documents.KeyActive})
}

func writeFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// serverDocument returns the document of a server that accepts everything from all namespaces.
func serverDocument(uid, issuer string, listed []documents.Key) documents.Server {
	return documents.Server{
		UID: uid, Namespace: clustertest.Namespace, Name: clustertest.ServerName, Issuer: issuer,
		AllowedClients: []documents.ClientRule{{
			Name: "all", Namespaces: documents.Namespaces{All: true},
			GrantTypes: []string{"authorization_code", "implicit", "password", "client_credentials", "refresh_token"},
			ClientIDs:  []string{"*"}, Scopes: []string{"*"}, RedirectHosts: []string{"*"}, Consent: []string{"Required"},
		}},
		AllowedResourceServers: []documents.ResourceServerRule{{
			Name: "all", Namespaces: documents.Namespaces{All: true}, Identifiers: []string{"*"}, Scopes: []string{"*"},
		}},
		AccessTokenLifetime: 300, AuthorizationCodeLifetime: 60,
		RefreshToken:        documents.RefreshToken{IdleLifetime: 3600, AbsoluteLifetime: 7200, ReuseGracePeriod: 60},
		SessionIdleLifetime: 3600, SessionAbsoluteLifetime: 7200,
		Algorithms: []string{"ES256", "RS256"}, Keys: listed,
	}
}

// serviceClient returns a client with the client_credentials grant.
func serviceClient() documents.Client {
	sum := sha256.Sum256([]byte(secret))
	return documents.Client{
		UID: "client-uid", Namespace: "apps", Name: "batch", ID: "apps.batch", GrantTypes: []string{"client_credentials"},
		AuthMethod: "client_secret_basic", PKCE: "Required", Consent: "Required", IDTokenAlg: "RS256",
		Credentials: []documents.Credential{{ID: "c1", SHA256: hex.EncodeToString(sum[:]), State: "Active"}},
	}
}

// testProgram is a token server that runs for a test, and its API server.
type testProgram struct {
	api      *clustertest.API
	options  tokenserver.Options
	keys     []documents.Key
	stop     func()
	finished chan error
}

func (r *testProgram) issuer() string { return "http://" + r.options.Listen }

func startProgram(t *testing.T) *testProgram {
	t.Helper()
	return startProgramWith(t, func(*testProgram) {})
}

// startProgramWith has change change the options before the program starts.
func startProgramWith(t *testing.T, change func(*testProgram)) *testProgram {
	t.Helper()
	listen := freeAddress(t)
	api := clustertest.Start(t, "http://"+listen)
	dir := t.TempDir()
	r := &testProgram{api: api, finished: make(chan error, 1), keys: writeKeys(t, dir)}
	r.options = tokenserver.Options{
		Namespace: clustertest.Namespace, ServerName: clustertest.ServerName, ServerUID: api.ServerUID, ReplicaName: "main-0",
		Listen: listen, StatusListen: freeAddress(t), KeysDir: dir, Storage: "kubernetes", Kubeconfig: api.Kubeconfig,
		Now: time.Now, Random: rand.Reader, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	change(r)
	r.run(t)
	return r
}

func (r *testProgram) run(t *testing.T) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	r.finished = make(chan error, 1)
	done := make(chan struct{})
	go func() { defer close(done); r.finished <- tokenserver.Run(ctx, r.options) }()
	r.stop = func() { cancel(); <-done }
	t.Cleanup(r.stop)
}

func (r *testProgram) get(t *testing.T, address, path string) (int, string) {
	t.Helper()
	response, err := http.Get("http://" + address + path)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func (r *testProgram) readiness(t *testing.T) string {
	_, body := r.get(t, r.options.StatusListen, "/readyz")
	return strings.TrimSpace(body)
}

// tokenRequest returns a token request of the client.
func (r *testProgram) tokenRequest(ctx context.Context, t *testing.T, form url.Values) *http.Request {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.issuer()+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Error(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth("apps.batch", secret)
	return request
}

// token requests a token with client credentials.
func (r *testProgram) token(t *testing.T) (int, map[string]any) {
	t.Helper()
	response, err := http.DefaultClient.Do(r.tokenRequest(t.Context(), t, url.Values{"grant_type": {"client_credentials"}}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var answer map[string]any
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, answer
}

func TestATokenServerServesWhatTheClusterSaysFromReadinessToItsEnd(t *testing.T) {
	r := startProgram(t)
	eventually.True(t, "not ready without a server document", func() bool {
		return strings.Contains(r.readiness(t), "the server's document has not arrived")
	})
	if status, _ := r.get(t, r.options.StatusListen, "/livez"); status != http.StatusOK {
		t.Errorf("/livez answers %d", status)
	}
	if connection, err := net.Dial("tcp", r.options.Listen); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("before the server is known, a client gets a connection (%v), and would be answered with an error: %v", connection, err)
	}

	r.api.Put(t, serverDocument(r.api.ServerUID, r.issuer(), r.keys), documents.Namespace{Name: "apps"}, serviceClient())
	eventually.True(t, "ready", func() bool { return r.readiness(t) == "ok" })
	eventually.True(t, "a token", func() bool { status, _ := r.token(t); return status == http.StatusOK })
	eventually.True(t, "a Replica that says ready", func() bool {
		replica := r.api.Replica(t, "main-0")
		return replica != nil && replica.Spec.Ready && len(replica.Spec.Keys) == 3
	})

	elsewhere := serverDocument(r.api.ServerUID, r.issuer(), r.keys)
	elsewhere.Storage = documents.StorageMemory
	r.api.Put(t, elsewhere)
	eventually.True(t, "not ready for another storage", func() bool { return strings.Contains(r.readiness(t), "--storage=memory") })
	elsewhere.Storage = documents.StorageKubernetes
	r.api.Put(t, elsewhere)
	eventually.True(t, "ready for its own storage", func() bool { return r.readiness(t) == "ok" })

	suspended := serviceClient()
	suspended.Suspended = true
	began := time.Now()
	r.api.Put(t, suspended)
	eventually.True(t, "a suspended client is refused", func() bool { status, _ := r.token(t); return status == http.StatusUnauthorized })
	if took := time.Since(began); took > time.Second {
		t.Errorf("a suspended client was served for %s", took)
	}

	r.stop()
	if err := <-r.finished; err != nil {
		t.Error(err)
	}
	if r.api.Replica(t, "main-0") != nil {
		t.Error("the Replica outlives the orderly end of its process")
	}
}

// introspect asks whether a token of the client's own is active.
func (r *testProgram) introspect(t *testing.T, token string) (status int, active any) {
	t.Helper()
	request := r.tokenRequest(t.Context(), t, url.Values{"token": {token}})
	request.URL.Path = "/introspect"
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	var answer map[string]any
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, answer["active"]
}

// A server that is created again has the keys of the one before, and so does one with another
// storage. What was revoked, redeemed and ended before they do not know.
func TestAServerThatIsCreatedAgainOrHasAnotherStorageTakesNoTokenFromBefore(t *testing.T) {
	r := startProgram(t)
	serve := func() string {
		t.Helper()
		r.api.Put(t, serverDocument(r.api.ServerUID, r.issuer(), r.keys), documents.Namespace{Name: "apps"}, serviceClient())
		eventually.True(t, "ready", func() bool { return r.readiness(t) == "ok" })
		var answer map[string]any
		eventually.True(t, "a token", func() bool {
			var status int
			status, answer = r.token(t)
			return status == http.StatusOK
		})
		token, _ := answer["access_token"].(string)
		if status, active := r.introspect(t, token); status != http.StatusOK || active != true {
			t.Fatalf("introspection says %d %v", status, active)
		}
		return token
	}
	before := serve()
	r.stop()
	r.api.ServerUID, r.options.ServerUID = "created-again", "created-again"
	r.run(t)
	again := serve()
	if status, active := r.introspect(t, before); status != http.StatusOK || active != false {
		t.Errorf("of a token of the server before, introspection says %d %v", status, active)
	}
	r.stop()
	dsn := filepath.Join(t.TempDir(), "dsn")
	writeFile(t, dsn, []byte("postgres://unknown:nothing@127.0.0.1:1/none")) // need not be there to say so
	r.options.Storage, r.options.DSNFile = "postgresql", dsn
	r.run(t)
	var status int
	var active any
	eventually.True(t, "introspection answers without the storage", func() bool {
		status, active = r.introspect(t, again)
		return status == http.StatusOK
	})
	if active != false {
		t.Errorf("with another storage, introspection says %v", active)
	}
}

func TestProbesStayGreenWhileNoMorePasswordsMayWait(t *testing.T) {
	r := startProgram(t)
	legacy := serviceClient()
	legacy.GrantTypes = []string{"password"}
	r.api.Put(t, serverDocument(r.api.ServerUID, r.issuer(), r.keys), documents.Namespace{Name: "apps"}, legacy)
	eventually.True(t, "ready", func() bool { return r.readiness(t) == "ok" })
	eventually.True(t, "a Replica that says ready", func() bool {
		replica := r.api.Replica(t, "main-0")
		return replica != nil && replica.Spec.Ready
	})

	// Passwords of users that do not exist, each of another name, cost what any cost, and make no
	// name wait.
	ctx, stop := context.WithCancel(t.Context())
	connections := &http.Transport{MaxIdleConnsPerHost: 40 * runtime.GOMAXPROCS(0)}
	var load sync.WaitGroup
	defer func() { stop(); load.Wait(); connections.CloseIdleConnections() }()
	var name, refused atomic.Int64
	for range 40 * runtime.GOMAXPROCS(0) { // more than may wait
		load.Go(func() {
			for ctx.Err() == nil {
				user := "unknown-" + strconv.FormatInt(name.Add(1), 10)
				request := r.tokenRequest(ctx, t, url.Values{"grant_type": {"password"}, "username": {user}, "password": {"a wrong password"}})
				response, err := connections.RoundTrip(request)
				if err != nil {
					continue
				}
				if response.StatusCode == http.StatusServiceUnavailable && response.Header.Get("Retry-After") != "" {
					refused.Add(1)
				}
				_, _ = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
			}
		})
	}
	for range 5 {
		before := refused.Load()
		eventually.True(t, "passwords are refused", func() bool { return refused.Load() > before })
		for _, path := range []string{"/livez", "/readyz"} {
			if status, said := r.get(t, r.options.StatusListen, path); status != http.StatusOK {
				t.Errorf("%s answers %d %s", path, status, said)
			}
		}
		if replica := r.api.Replica(t, "main-0"); replica == nil || !replica.Spec.Ready {
			t.Errorf("the Replica says %+v", replica)
		}
	}
}
