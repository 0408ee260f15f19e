package replicas

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/hack/local/node"
	"github.com/oauth-operator/oauth-operator/test/person"
	"github.com/oauth-operator/oauth-operator/test/world"
)

// count of replicas that each server has.
const count = 3

// estate is a World whose server has three replicas, a client of it, and alice, who is signed in and has agreed.
type estate struct {
	*world.World
	config *oauth2.Config
	alice  *person.Browser
	seen   *witness
	// records are what is kept elsewhere than in the namespace, whole.
	records func() string
	// Where the logs were when it began.
	logged  int
	audited int64
}

// newEstate makes one. When the test is over, everything that anybody could read is searched for what passed between clients and replicas.
func newEstate(t *testing.T, change ...func(*v1alpha1.AuthorizationServer)) *estate {
	t.Helper()
	logged, audited := len(world.Logs.String()), auditedSoFar(t)
	w := world.New(t, change...)
	e := &estate{
		World: w, seen: &witness{inner: w.HTTP.Transport, values: map[string]string{}}, records: func() string { return "" },
		logged: logged, audited: audited,
	}
	w.HTTP.Transport = e.seen
	w.HTTP.Timeout = time.Minute
	client := w.Client("web", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"authorization_code", "refresh_token", "password", "client_credentials"}, TokenEndpointAuthMethod: "client_secret_basic",
		RedirectURIs: []string{w.Callback}, Scopes: []string{"openid", "profile", "offline_access"},
	})
	e.config = w.Config(client, "openid", "profile", "offline_access")
	e.seen.note("client secret", e.config.ClientSecret)
	for i := range count {
		e.ready(i)
	}
	e.alice = w.Browser()
	e.alice.Follow(w.Issuer)
	e.code()
	t.Cleanup(func() { e.search(t) })
	return e
}

// replica with the index, once it is ready.
func (e *estate) ready(index int) *node.Replica {
	e.T.Helper()
	var found *node.Replica
	e.Eventually("a replica to be ready", time.Minute, func() (bool, string) {
		running := world.Operator.Node.Replicas(e.Identity, "main")
		if len(running) != count {
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

// code that alice's browser brings, and its verifier. It is for the scopes, or for all that the client asks for.
func (e *estate) code(scopes ...string) (code, verifier string) {
	e.T.Helper()
	verifier = oauth2.GenerateVerifier()
	config := *e.config
	if len(scopes) > 0 {
		config.Scopes = scopes
	}
	if err := e.alice.SignIn(config.AuthCodeURL("xyz", oauth2.S256ChallengeOption(verifier)), e.Issuer, world.Username, world.Password); err != nil {
		e.T.Fatal(err)
	}
	code = e.alice.At.Query().Get("code")
	if code == "" {
		e.T.Fatalf("sent to %s", e.alice.At)
	}
	e.seen.note("code", code)
	e.seen.note("verifier", verifier)
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

// is the answer this error?
func (a answer) is(status int, code string) bool {
	return a.status == status && a.body["error"] == code
}

// redemption of a code.
func redemption(e *estate, code, verifier string) url.Values {
	return url.Values{"grant_type": {"authorization_code"}, "redirect_uri": {e.Callback}, "code": {code}, "code_verifier": {verifier}}
}

func refresh(token string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
}

// post a form to a replica as the client.
func (e *estate) post(replica int, endpoint string, form url.Values) answer {
	request, err := http.NewRequestWithContext(e.T.Context(), http.MethodPost, "http://"+e.address(replica)+endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return answer{err: err}
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(url.QueryEscape(e.config.ClientID), url.QueryEscape(e.config.ClientSecret))
	return e.do(request)
}

// address (host:port) of a replica, whether it runs or not: it keeps its port.
func (e *estate) address(replica int) string { return e.replicas()[replica%count].Listen() }

func (e *estate) replicas() []*node.Replica {
	running := world.Operator.Node.Replicas(e.Identity, "main")
	for len(running) < count { // one was killed, and is being started again
		time.Sleep(10 * time.Millisecond)
		running = world.Operator.Node.Replicas(e.Identity, "main")
	}
	return running
}

func (e *estate) do(request *http.Request) answer {
	response, err := e.HTTP.Do(request)
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

// good stops the test unless the answer is a 200.
func (e *estate) good(a answer) answer {
	e.T.Helper()
	if a.err != nil || a.status != http.StatusOK {
		e.T.Fatalf("the answer is %d %v (%v)", a.status, a.body["error"], a.err)
	}
	return a
}

// begin an authorization at a replica, for the scopes or for all that the client asks for.
func (e *estate) begin(replica int, scopes ...string) answer {
	e.T.Helper()
	code, verifier := e.code(scopes...)
	return e.good(e.post(replica, "/token", redemption(e, code, verifier)))
}

// metrics of all replicas.
func (e *estate) metrics() string {
	e.T.Helper()
	var all strings.Builder
	for _, replica := range e.replicas() {
		response, err := http.Get("http://" + replica.Status() + "/metrics")
		if err != nil {
			e.T.Fatal(err)
		}
		_, err = io.Copy(&all, response.Body)
		_ = response.Body.Close()
		if err != nil {
			e.T.Fatal(err)
		}
	}
	return all.String()
}

// metric is the sum over the replicas of the samples that have the name and the label.
func (e *estate) metric(name, label string) (sum float64) {
	e.T.Helper()
	for line := range strings.Lines(e.metrics()) {
		if !strings.HasPrefix(line, name+"{") || !strings.Contains(line, label) {
			continue
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndex(line, " "):]), 64)
		if err != nil {
			e.T.Fatal(err)
		}
		sum += value
	}
	return sum
}

// active asks a replica whether a token is active.
func (e *estate) active(replica int, token string) bool {
	e.T.Helper()
	return e.good(e.post(replica, "/introspect", url.Values{"token": {token}})).body["active"] == true
}

// dead waits until a token is inactive at every replica, and says how long that took.
func (e *estate) dead(token string) time.Duration {
	e.T.Helper()
	began := time.Now()
	for replica := range count {
		e.Eventually("the end of a token at every replica", 3*time.Second, func() (bool, string) { return !e.active(replica, token), "it is active" })
	}
	return time.Since(began)
}

// witness is between clients and replicas, and remembers what must not be found anywhere: codes, tokens and secrets.
type witness struct {
	inner http.RoundTripper

	mu     sync.Mutex
	values map[string]string // what it is, by value
}

func (s *witness) note(what, value string) {
	if len(value) < head { // a cookie that is taken away
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values[value] = what
}

// RoundTrip implements http.RoundTripper.
func (s *witness) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := s.inner.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	for _, cookie := range response.Cookies() {
		s.note("cookie "+cookie.Name, cookie.Value)
	}
	if location, err := response.Location(); err == nil {
		s.note("code", location.Query().Get("code"))
	}
	if !strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") {
		return response, nil
	}
	content, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(content))
	var body map[string]any
	if json.Unmarshal(content, &body) == nil {
		for _, name := range []string{"access_token", "refresh_token", "id_token"} {
			if token, ok := body[name].(string); ok {
				s.note(name, token)
			}
		}
	}
	return response, nil
}

// search what anybody could read for what nobody may find there.
func (e *estate) search(t *testing.T) {
	t.Helper()
	objects, metrics := dump(t, e.Identity), e.metrics()
	if !strings.Contains(objects, string(e.Server.UID)) || !strings.Contains(metrics, "oauth_operator_") {
		t.Fatal("the dump is empty")
	}
	e.seen.note("password", world.Password)
	for where, text := range map[string]string{
		"an object of the namespace": objects, "an object of the applications": dump(t, e.Apps), "the records": e.records(),
		"the log": world.Logs.String()[e.logged:], "the audit log": audited(t, e.audited), "the metrics": metrics,
	} {
		for what, value := range e.seen.found(text) {
			t.Errorf("the %s %q is in %s", what, value, where)
		}
	}
}

// head is how many bytes of a value are looked for first.
const head = 16

// found are the values of which something usable is in the text, by what they are.
func (s *witness) found(text string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	byHead := map[string][]string{}
	whole := map[string]string{}
	for value := range s.values {
		for _, form := range []string{usable(value), base64.StdEncoding.EncodeToString([]byte(value))} {
			byHead[form[:head]] = append(byHead[form[:head]], form)
			whole[form] = value
		}
	}
	found := map[string]string{}
	for i := range max(0, len(text)-head+1) {
		for _, form := range byHead[text[i:i+head]] {
			if strings.HasPrefix(text[i:], form) {
				found[s.values[whole[form]]] = whole[form]
			}
		}
	}
	return found
}

// usable is the part of a value without which it is worth nothing. What stands before the last dot names a key, or can be read in every token.
func usable(value string) string {
	if i := strings.LastIndex(value, "."); i >= 0 && len(value)-i > 20 {
		return value[i+1:]
	}
	return value
}

// dump, after a test as well, is every object of a namespace as JSON, but the Secrets that the namespace's owners put there.
func dump(t *testing.T, namespace string) string {
	t.Helper()
	admin := rest.CopyConfig(world.Cluster.AdminConfig())
	admin.WarningHandler, admin.QPS = rest.NoWarnings{}, -1
	kinds, err := discovery.NewDiscoveryClientForConfig(admin)
	if err != nil {
		t.Fatal(err)
	}
	lists, err := discovery.ServerPreferredNamespacedResources(kinds)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := dynamic.NewForConfig(admin)
	if err != nil {
		t.Fatal(err)
	}
	byVersion, err := discovery.GroupVersionResources(discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list"}}, lists))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for resource := range byVersion {
		if resource.Group == "" && resource.Resource == "secrets" {
			continue
		}
		list, err := objects.Resource(resource).Namespace(namespace).List(context.Background(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		content, err := list.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		all.Write(content)
	}
	return all.String()
}

// grants are the records of the server that are objects.
func (e *estate) grants() []v1alpha1.OAuthGrant {
	e.T.Helper()
	var list v1alpha1.OAuthGrantList
	if err := world.Kube.List(e.T.Context(), &list, client.InNamespace(e.Identity)); err != nil {
		e.T.Fatal(err)
	}
	return list.Items
}

// What the search of every test relies on.
func TestTheSearchFindsWhatIsThere(t *testing.T) {
	s := &witness{values: map[string]string{}}
	s.note("refresh token", "kid.c29tZXRoaW5nIHRoYXQgbm9ib2R5IG1heSBzZWU")
	s.note("password", "a long enough pass-phrase")
	for text, want := range map[string]int{
		`{"spec":{"a":"c29tZXRoaW5nIHRoYXQgbm9ib2R5IG1heSBzZWU"}}`:                               1,
		`{"b":"` + base64.StdEncoding.EncodeToString([]byte("a long enough pass-phrase")) + `"}`: 1,
		`{"kid":"kid."}`: 0,
	} {
		if got := s.found(text); len(got) != want {
			t.Errorf("in %s it finds %v", text, got)
		}
	}
}
