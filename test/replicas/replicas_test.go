package replicas

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/hack/local/node"
	"github.com/oauth-operator/oauth-operator/test/browser"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// replicaCount is how many replicas each server has.
const replicaCount = 3

// replicatedServer is an Env whose server has three replicas, a client of it, and the browser of
// alice, who is signed in and has consented.
type replicatedServer struct {
	*testenv.Env
	config *oauth2.Config
	alice  *browser.Browser
	leaks  *leakDetector
	// dumpRecords returns all records that are not objects of the namespace.
	dumpRecords func() string
	records     records // of a test that runs with each backend
	// The lengths of the logs at the beginning of the test.
	logStart   int
	auditStart int64
}

// rotateAlways has a server replace the refresh tokens of confidential clients too, so that their
// refreshes race.
func rotateAlways(server *v1alpha1.AuthorizationServer) {
	if server.Spec.Tokens == nil {
		server.Spec.Tokens = &v1alpha1.TokenSettings{}
	}
	if server.Spec.Tokens.RefreshToken == nil {
		server.Spec.Tokens.RefreshToken = &v1alpha1.RefreshTokenSettings{}
	}
	server.Spec.Tokens.RefreshToken.Rotation = v1alpha1.RotateAlways
}

// newReplicatedServer creates one, which replaces all refresh tokens. When the test ends, it fails if a code, token or secret is in an
// object, a record, a log or a metric.
func newReplicatedServer(t *testing.T, change ...func(*v1alpha1.AuthorizationServer)) *replicatedServer {
	t.Helper()
	logged, audited := len(testenv.Logs.String()), auditLogSize(t)
	env := testenv.New(t, append(change, rotateAlways)...)
	s := &replicatedServer{
		Env: env, leaks: &leakDetector{transport: env.HTTP.Transport, values: map[string]string{}}, dumpRecords: func() string { return "" },
		logStart: logged, auditStart: audited,
	}
	env.HTTP.Transport = s.leaks
	env.HTTP.Timeout = time.Minute
	client := env.ReadyClient("web", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"authorization_code", "refresh_token", "password", "client_credentials"}, TokenEndpointAuthMethod: "client_secret_basic",
		RedirectURIs: []string{env.Callback}, Scopes: []string{"openid", "profile", "offline_access"},
	})
	s.config = env.Config(client, "openid", "profile", "offline_access")
	s.leaks.record("client secret", s.config.ClientSecret)
	for i := range replicaCount {
		s.waitUntilReady(i)
	}
	s.alice = env.NewBrowser()
	s.authorize()
	t.Cleanup(func() { s.checkLeaks(t) })
	return s
}

// waitUntilReady returns the replica with the index once it is ready.
func (s *replicatedServer) waitUntilReady(index int) *node.Replica {
	s.T.Helper()
	var found *node.Replica
	s.Eventually("a replica to be ready", time.Minute, func() (bool, string) {
		running := testenv.Operator.Node.Replicas(s.ServerNamespace, "main")
		if len(running) != replicaCount {
			return false, "not all are running"
		}
		found = running[index]
		response, err := http.Get("http://" + found.Status() + "/readyz")
		if err != nil {
			return false, err.Error()
		}
		defer func() { _ = response.Body.Close() }()
		body, _ := io.ReadAll(response.Body)
		return response.StatusCode == http.StatusOK, string(body)
	})
	return found
}

// authorize returns an authorization code from alice's browser and its PKCE verifier, for the
// scopes or for all that the client requests.
func (s *replicatedServer) authorize(scopes ...string) (code, verifier string) {
	s.T.Helper()
	verifier = oauth2.GenerateVerifier()
	config := *s.config
	if len(scopes) > 0 {
		config.Scopes = scopes
	}
	at := s.SignInWith(s.alice, config.AuthCodeURL("xyz", oauth2.S256ChallengeOption(verifier)), testenv.Password)
	if code = at.Query().Get("code"); code == "" {
		s.T.Fatalf("the browser is at %s", at)
	}
	s.leaks.record("code", code)
	s.leaks.record("verifier", verifier)
	return code, verifier
}

// answer of a replica.
type answer struct {
	status     int
	retryAfter string
	body       map[string]any
	err        error
}

func (a answer) token(name string) string {
	token, _ := a.body[name].(string)
	return token
}

// isError reports whether the response is this error.
func (a answer) isError(status int, code string) bool {
	return a.status == status && a.body["error"] == code
}

// redemption of a code.
func redemption(s *replicatedServer, code, verifier string) url.Values {
	return url.Values{"grant_type": {"authorization_code"}, "redirect_uri": {s.Callback}, "code": {code}, "code_verifier": {verifier}}
}

func refresh(token string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
}

// post a form to a replica as the client.
func (s *replicatedServer) post(replica int, endpoint string, form url.Values) answer {
	request, err := http.NewRequestWithContext(s.T.Context(), http.MethodPost, "http://"+s.address(replica)+endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return answer{err: err}
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(url.QueryEscape(s.config.ClientID), url.QueryEscape(s.config.ClientSecret))
	return s.do(request)
}

// address (host:port) of a replica, whether it runs or not: it keeps its port.
func (s *replicatedServer) address(replica int) string {
	return s.replicas()[replica%replicaCount].Listen()
}

func (s *replicatedServer) replicas() []*node.Replica {
	running := testenv.Operator.Node.Replicas(s.ServerNamespace, "main")
	for len(running) < replicaCount { // one was killed, and is being started again
		time.Sleep(10 * time.Millisecond)
		running = testenv.Operator.Node.Replicas(s.ServerNamespace, "main")
	}
	return running
}

func (s *replicatedServer) do(request *http.Request) answer {
	response, err := s.HTTP.Do(request)
	if err != nil {
		return answer{err: err}
	}
	defer func() { _ = response.Body.Close() }()
	a := answer{status: response.StatusCode, retryAfter: response.Header.Get("Retry-After")}
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{err: err}
	}
	if strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") {
		a.err = json.Unmarshal(content, &a.body)
	}
	return a
}

// requireOK ends the test unless the status is 200.
func (s *replicatedServer) requireOK(a answer) answer {
	s.T.Helper()
	if a.err != nil || a.status != http.StatusOK {
		s.T.Fatalf("the answer is %d %v (%v)", a.status, a.body["error"], a.err)
	}
	return a
}

// issueTokens returns the token response of a replica to a new code, for the scopes or for all that
// the client requests.
func (s *replicatedServer) issueTokens(replica int, scopes ...string) answer {
	s.T.Helper()
	code, verifier := s.authorize(scopes...)
	return s.requireOK(s.post(replica, "/token", redemption(s, code, verifier)))
}

// metrics of all replicas.
func (s *replicatedServer) metrics() string {
	s.T.Helper()
	var all strings.Builder
	for _, replica := range s.replicas() {
		response, err := http.Get("http://" + replica.Status() + "/metrics")
		if err != nil {
			s.T.Fatal(err)
		}
		_, err = io.Copy(&all, response.Body)
		_ = response.Body.Close()
		if err != nil {
			s.T.Fatal(err)
		}
	}
	return all.String()
}

// metric is the sum over the replicas of the samples that have the name and the label.
func (s *replicatedServer) metric(name, label string) (sum float64) {
	s.T.Helper()
	for line := range strings.Lines(s.metrics()) {
		if !strings.HasPrefix(line, name+"{") && !strings.HasPrefix(line, name+" ") || !strings.Contains(line, label) {
			continue
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndex(line, " "):]), 64)
		if err != nil {
			s.T.Fatal(err)
		}
		sum += value
	}
	return sum
}

// isActive reports whether a replica's introspection endpoint says that a token is active.
func (s *replicatedServer) isActive(replica int, token string) bool {
	s.T.Helper()
	return s.requireOK(s.post(replica, "/introspect", url.Values{"token": {token}})).body["active"] == true
}

// waitUntilInactive waits until a token is inactive at every replica, and returns how long that
// took.
func (s *replicatedServer) waitUntilInactive(token string) time.Duration {
	s.T.Helper()
	began := time.Now()
	for replica := range replicaCount {
		s.Eventually("the end of a token at every replica", 3*time.Second, func() (bool, string) { return !s.isActive(replica, token), "it is active" })
	}
	return time.Since(began)
}

// grants are the records of the server that are objects.
func (s *replicatedServer) grants() []v1alpha1.OAuthGrant {
	s.T.Helper()
	var list v1alpha1.OAuthGrantList
	if err := testenv.Kube.List(s.T.Context(), &list, client.InNamespace(s.ServerNamespace)); err != nil {
		s.T.Fatal(err)
	}
	return list.Items
}
