package features

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/hack/local/node"
	"github.com/oauth-operator/oauth-operator/test/testenv"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// outage is how long the API server is away. By default it is long enough that every watch has
// failed, and failed again. After storage.MaxRecentLag no token server can know whether a record is
// still current, and after 30 seconds a Replica that is not renewed counts as dead.
var outage = flag.Duration("outage", 6*time.Second, "how long the API server is away, five minutes at the most")

// recovery is how long the manager may take to see again.
const recovery = 15 * time.Second

func replica(env *testenv.Env) *node.Replica {
	env.T.Helper()
	replicas := testenv.Operator.Node.Replicas(env.ServerNamespace, "main")
	if len(replicas) != 1 {
		env.T.Fatalf("want one token server, there are %d", len(replicas))
	}
	return replicas[0]
}

// probe asks on the status port.
func probe(env *testenv.Env, address, path string) (int, string) {
	env.T.Helper()
	response, err := http.Get("http://" + address + path)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		env.T.Fatal(err)
	}
	return response.StatusCode, strings.TrimSpace(string(body))
}

// suspendManager suspends the process of the manager until resume is called or the test ends.
func suspendManager(env *testenv.Env) (resume func()) {
	env.T.Helper()
	if err := testenv.Operator.Manager.Signal(syscall.SIGSTOP); err != nil {
		env.T.Fatal(err)
	}
	resume = sync.OnceFunc(func() {
		if err := testenv.Operator.Manager.Signal(syscall.SIGCONT); err != nil {
			env.T.Error(err)
		}
	})
	env.T.Cleanup(resume)
	return resume
}

func TestWithoutTheAPIServerEverythingThatIsKnownIsServedAndNothingElseIsPretended(t *testing.T) {
	lasting := func(s *v1alpha1.AuthorizationServer) { // a code outlives the outage
		s.Spec.Tokens = &v1alpha1.TokenSettings{
			AuthorizationCodeLifetime: &metav1.Duration{Duration: 10 * time.Minute}, AccessTokenLifetime: &metav1.Duration{Duration: 10 * time.Minute},
		}
	}
	env := testenv.New(t, lasting)
	service, users := env.Config(env.ReadyClient("service", serviceSpec)), passwordClient(env)
	later := env.ReadyClient("later", serviceSpec)
	web := env.Config(env.ReadyClient("web", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"authorization_code"}, TokenEndpointAuthMethod: "client_secret_basic", Consent: "Skip",
		RedirectURIs: []string{env.Callback}, Scopes: []string{"openid"},
	}), "openid")
	server := replica(env)
	pid := server.PID()
	before := passwordTokens(env, users, testenv.Username)
	verifier := oauth2.GenerateVerifier()
	code := url.Values{
		"grant_type": {"authorization_code"}, "redirect_uri": {env.Callback}, "code_verifier": {verifier},
		"code": {env.SignIn(web.AuthCodeURL("xyz", oauth2.S256ChallengeOption(verifier))).Query().Get("code")},
	}
	refresh := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {before.RefreshToken}}

	testenv.ControlPlane.StopAPIServer()
	t.Cleanup(func() {
		if err := testenv.ControlPlane.StartAPIServer(context.Background()); err != nil { // for the tests that follow
			t.Error(err)
		}
	})
	for began := time.Now(); time.Since(began) < *outage; time.Sleep(250 * time.Millisecond) {
		if status, code := serviceToken(env, service); status != http.StatusOK {
			t.Fatalf("a service is answered %d %s", status, code)
		}
		for _, path := range []string{"/jwks", "/.well-known/openid-configuration"} {
			if status, _ := env.Get(path, ""); status != http.StatusOK {
				t.Fatalf("%s answers %d", path, status)
			}
		}
		for _, path := range []string{"/livez", "/readyz"} {
			if status, said := probe(env, server.Status(), path); status != http.StatusOK {
				t.Fatalf("%s answers %d %s", path, status, said)
			}
		}
		// What takes a record is refused for now, and uses nothing up.
		for c, form := range map[*oauth2.Config]url.Values{web: code, users: refresh} {
			if status, answer := env.Post("/token", c, form); status != http.StatusServiceUnavailable || answer["error"] != "temporarily_unavailable" {
				t.Fatalf("%s is answered %d %v", form.Get("grant_type"), status, answer["error"])
			}
		}
		// A record that cannot be read again is soon not known to hold; that it does not is never
		// said.
		unknown := time.Since(began) > storage.MaxRecentLag
		switch status, answer := env.Post("/introspect", users, url.Values{"token": {before.AccessToken}}); {
		case status == http.StatusOK && answer["active"] == true && !unknown:
		case status == http.StatusServiceUnavailable && answer["error"] == "temporarily_unavailable":
		default:
			t.Fatalf("after %s introspection answers %d %v", time.Since(began), status, answer)
		}
		if status, answer := env.Post("/revoke", users, url.Values{"token": {before.RefreshToken}}); status != http.StatusServiceUnavailable {
			t.Fatalf("revocation answers %d %v", status, answer)
		}
	}
	if age := servedStateAge(env, server); age < *outage/2 {
		t.Errorf("the metric says that what is served was confirmed %s ago", age)
	}

	if err := testenv.ControlPlane.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	for c, form := range map[*oauth2.Config]url.Values{web: code, users: refresh} {
		env.Eventually("the tokens for the "+form.Get("grant_type"), 20*time.Second, func() (bool, string) {
			status, answer := env.Post("/token", c, form)
			if status != http.StatusOK && status != http.StatusServiceUnavailable {
				t.Fatalf("the %s was used up: %d %v", form.Get("grant_type"), status, answer)
			}
			return status == http.StatusOK, "it is refused still"
		})
	}
	if !env.IsActive(users, before.AccessToken) {
		t.Error("the token from before the outage is inactive")
	}
	back := metav1.NowMicro()
	env.Update(later, func() { later.Spec.Suspended = true })
	suspended := env.Config(later)
	env.Eventually("the change after the outage", recovery, func() (bool, string) {
		status, code := serviceToken(env, suspended)
		return status == http.StatusUnauthorized, code
	})
	renewed := &internalv1alpha1.Replica{ObjectMeta: metav1.ObjectMeta{Namespace: env.ServerNamespace, Name: server.Name()}}
	env.WaitFor("the renewal of the Replica", renewed, func() bool { return back.Before(&renewed.Spec.RenewTime) })
	env.Eventually("the AuthorizationServer's return", recovery, func() (bool, string) {
		if err := testenv.Kube.Get(t.Context(), client.ObjectKeyFromObject(env.Server), env.Server); err != nil {
			return false, err.Error()
		}
		available := meta.FindStatusCondition(env.Server.Status.Conditions, v1alpha1.ConditionAvailable)
		return available != nil && available.Status == metav1.ConditionTrue, fmt.Sprint(available)
	})
	servedWithinASecond(env, env.Config(env.ReadyClient("new", serviceSpec)))
	if now := server.PID(); now != pid {
		t.Errorf("the token server was restarted: it was process %d and is %d", pid, now)
	}
}

// servedStateAge is the metric that says how old is what is served.
func servedStateAge(env *testenv.Env, server *node.Replica) time.Duration {
	env.T.Helper()
	_, metrics := probe(env, server.Status(), "/metrics")
	for line := range strings.Lines(metrics) {
		if value, found := strings.CutPrefix(line, "oauth_operator_tokenserver_served_state_age_seconds "); found {
			seconds, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				env.T.Fatal(err)
			}
			return time.Duration(seconds * float64(time.Second))
		}
	}
	env.T.Fatal("there is no such metric")
	return 0
}

func TestWithoutTheManagerTokensAreIssuedEvenByATokenServerThatStartsOnlyThen(t *testing.T) {
	env := testenv.New(t)
	service, users := env.Config(env.ReadyClient("service", serviceSpec)), passwordClient(env)
	resume := suspendManager(env)
	servedWithinASecond(env, service)
	old := replica(env).PID()
	if err := replica(env).Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	env.Eventually("the next token server", 20*time.Second, func() (bool, string) {
		replicas := testenv.Operator.Node.Replicas(env.ServerNamespace, "main")
		if len(replicas) == 0 || replicas[0].PID() == old {
			return false, "none has started"
		}
		status, said := probe(env, replicas[0].Status(), "/readyz")
		return status == http.StatusOK, said
	})
	servedWithinASecond(env, service)
	if !env.IsActive(users, passwordTokens(env, users, testenv.Username).AccessToken) {
		t.Error("a user's token is inactive")
	}
	resume()
	servedWithinASecond(env, env.Config(env.ReadyClient("new", serviceSpec)))
}

// slowRequest is a token request whose server has begun to read it: it has said so by 100 Continue
// (RFC 9110 section 10.1.1), and waits for the rest.
type slowRequest struct {
	rest   *io.PipeWriter
	result chan error // nil for a token
}

const tokenForm = "grant_type=client_credentials"

// beginTokenRequest sends all of a token request but the end of its body, over a connection of its
// own. An error means that no server has accepted it.
func beginTokenRequest(env *testenv.Env, c *oauth2.Config) (*slowRequest, error) {
	body, rest := io.Pipe()
	accepted, result := make(chan struct{}), make(chan error, 1)
	ctx := httptrace.WithClientTrace(env.T.Context(), &httptrace.ClientTrace{Got100Continue: func() { close(accepted) }})
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, env.Issuer+"/token", body)
	if err != nil {
		env.T.Fatal(err)
	}
	request.ContentLength = int64(len(tokenForm))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Expect", "100-continue")
	request.SetBasicAuth(url.QueryEscape(c.ClientID), url.QueryEscape(c.ClientSecret))
	go func() {
		transport := &http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: time.Minute}
		response, err := transport.RoundTrip(request)
		if err == nil {
			var answer []byte
			answer, err = io.ReadAll(response.Body)
			err = errors.Join(err, response.Body.Close())
			if err == nil && (response.StatusCode != http.StatusOK || !strings.Contains(string(answer), "access_token")) {
				err = errors.New(response.Status + " " + string(answer))
			}
		}
		result <- err
	}()
	select {
	case <-accepted:
		return &slowRequest{rest, result}, nil
	case err := <-result:
		return nil, errors.Join(errors.New("not accepted"), err)
	}
}

// finish sends the end of the body and returns what became of the request.
func (r *slowRequest) finish() error {
	if _, err := io.WriteString(r.rest, tokenForm); err != nil {
		return err
	}
	return errors.Join(r.rest.Close(), <-r.result)
}

func TestAReplicaThatIsToldToEndUnderLoadAnswersEveryRequestThatItHasAccepted(t *testing.T) {
	env := testenv.New(t)
	config := env.Config(env.ReadyClient("service", serviceSpec))
	server := replica(env)
	status, listen, old := server.Status(), server.Listen(), server.PID()

	var load sync.WaitGroup
	t.Cleanup(load.Wait)
	var answered atomic.Int64
	for range 4 {
		load.Go(func() {
			for {
				request, err := beginTokenRequest(env, config)
				if err != nil {
					return // not accepted: a load balancer sends it to another replica
				}
				if err := request.finish(); err != nil {
					t.Errorf("an accepted request: %v", err)
				}
				answered.Add(1)
			}
		})
	}
	var held []*slowRequest
	for range 20 {
		request, err := beginTokenRequest(env, config)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, request)
	}
	if err := server.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	env.Eventually("the closed port", 5*time.Second, func() (bool, string) {
		connection, err := net.DialTimeout("tcp", listen, time.Second)
		if err == nil {
			_ = connection.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED), "it takes new connections"
	})
	if code, said := probe(env, status, "/readyz"); code != http.StatusServiceUnavailable || said != "shutting down" {
		t.Errorf("readiness: %d %s", code, said)
	}
	for _, request := range held {
		if err := request.finish(); err != nil {
			t.Errorf("a request that was accepted before the signal: %v", err)
		}
	}
	load.Wait()
	if answered.Load() == 0 {
		t.Error("there was no load")
	}
	env.Eventually("the next token server", 20*time.Second, func() (bool, string) {
		if server.PID() == old || server.PID() == 0 {
			return false, "none has started"
		}
		code, said := probe(env, server.Status(), "/readyz")
		return code == http.StatusOK, said
	})
	servedWithinASecond(env, config)
}

// documentEntryOf returns the Entry with the document of an object.
func documentEntryOf(env *testenv.Env, o client.Object) *internalv1alpha1.Entry {
	env.T.Helper()
	var list internalv1alpha1.EntryList
	if err := testenv.Kube.List(env.T.Context(), &list, client.InNamespace(env.ServerNamespace)); err != nil {
		env.T.Fatal(err)
	}
	i := slices.IndexFunc(list.Items, func(e internalv1alpha1.Entry) bool { return e.Spec.Owner.UID == o.GetUID() && e.Spec.Format != "" })
	if i < 0 {
		env.T.Fatalf("%s has no document", o.GetName())
	}
	return &list.Items[i]
}

func TestADocumentThatCannotBeReadIsRejectedAloneAndMendedByTheManager(t *testing.T) {
	env := testenv.New(t)
	rejected := env.ReadyClient("rejected", serviceSpec)
	other, config := env.Config(env.ReadyClient("other", serviceSpec)), env.Config(rejected)
	servedWithinASecond(env, config)
	entry := documentEntryOf(env, rejected)
	resume := suspendManager(env)
	env.Update(entry, func() { entry.Spec.Document = `{"noSuchField":true}` })
	refusedWithinASecond(env, config)
	servedWithinASecond(env, other)
	waitForRejection(env, entry, "noSuchField")
	resume()
	env.Eventually("the client's return", 10*time.Second, func() (bool, string) {
		status, code := serviceToken(env, config)
		return status == http.StatusOK, code
	})
}

func TestADocumentOfAnUnknownFormatIsRejectedAloneAndTheManagerWaitsForAnUpgrade(t *testing.T) {
	env := testenv.New(t)
	rejected := env.ReadyClient("rejected", serviceSpec)
	other, config := env.Config(env.ReadyClient("other", serviceSpec)), env.Config(rejected)
	servedWithinASecond(env, config)
	entry := documentEntryOf(env, rejected)
	env.Update(entry, func() { entry.Spec.Format = "client/v999" })
	refusedWithinASecond(env, config)
	servedWithinASecond(env, other)
	waitForRejection(env, entry, "client/v999")
	env.WaitFor("the condition", rejected, func() bool {
		c := meta.FindStatusCondition(rejected.Status.Conditions, v1alpha1.ConditionProgrammed)
		return c != nil && c.Status == metav1.ConditionFalse && c.Reason == v1alpha1.ReasonManagerTooOld
	})
	if code, _ := serviceToken(env, config); code != http.StatusUnauthorized {
		t.Errorf("a client whose document the manager does not know: %d", code)
	}
	if err := testenv.Kube.Delete(t.Context(), entry); err != nil {
		t.Fatal(err)
	}
	env.Eventually("the client's return with its secret", 10*time.Second, func() (bool, string) {
		status, code := serviceToken(env, config)
		return status == http.StatusOK, code
	})
}

// waitForRejection waits until the token server says that it rejects this version of an Entry, for
// a reason that holds the text.
func waitForRejection(env *testenv.Env, entry *internalv1alpha1.Entry, text string) {
	env.T.Helper()
	of := &internalv1alpha1.Replica{ObjectMeta: metav1.ObjectMeta{Namespace: env.ServerNamespace, Name: replica(env).Name()}}
	env.WaitFor("the rejection", of, func() bool {
		return slices.ContainsFunc(of.Spec.Rejected, func(r internalv1alpha1.RejectedEntry) bool {
			return r.Name == entry.Name && r.ResourceVersion == entry.ResourceVersion && strings.Contains(r.Reason, text)
		})
	})
}

func TestAReplicaThatCannotReadADocumentKeepsItsClientFromReadyAndNoOther(t *testing.T) {
	env := testenv.New(t)
	unreadable, readable := env.ReadyClient("unreadable", serviceSpec), env.ReadyClient("readable", serviceSpec)
	entry := documentEntryOf(env, unreadable)
	// What a token server of an older version says beside the one that runs.
	old := &internalv1alpha1.Replica{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: env.ServerNamespace, Name: "of-an-older-version", Labels: map[string]string{internalv1alpha1.ServerUIDLabel: string(env.Server.UID)},
		},
		Spec: internalv1alpha1.ReplicaSpec{
			ServerUID: env.Server.UID, RenewTime: metav1.NowMicro(), AppliedResourceVersion: entry.ResourceVersion, Ready: true,
			Rejected: []internalv1alpha1.RejectedEntry{{Name: entry.Name, ResourceVersion: entry.ResourceVersion, Reason: "unknown format"}},
		},
	}
	env.Create(old)
	env.WaitFor("the finding", unreadable, func() bool {
		found := meta.FindStatusCondition(unreadable.Status.Conditions, v1alpha1.ConditionProgrammed)
		return found != nil && found.Status == metav1.ConditionFalse && found.Reason == v1alpha1.ReasonEntryRejected &&
			strings.Contains(found.Message, old.Name) && strings.Contains(found.Message, "unknown format") &&
			!testenv.IsTrue(unreadable.Status.Conditions, v1alpha1.ConditionReady)
	})
	env.WaitFor("the other client", readable, func() bool { return testenv.IsTrue(readable.Status.Conditions, v1alpha1.ConditionReady) })
	env.Delete(old)
	env.WaitFor("the client's return", unreadable, func() bool { return testenv.IsTrue(unreadable.Status.Conditions, v1alpha1.ConditionReady) })
}
