package replicas

import (
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

const grantsResource = "oauthgrants"

func TestWhatIsLostBetweenAReplicaAndTheStoreIsFoundAgain(t *testing.T) {
	s := newReplicatedServer(t)
	for name, inject := range map[string]injection{
		"a lost response": loseResponse, "a lost request": loseRequest, "a repeated request": repeatRequest,
	} {
		code, verifier := s.authorize()
		apiProxy.failNext(http.MethodPost, grantsResource, inject)
		got := s.post(0, "/token", redemption(s, code, verifier))
		if got.status != http.StatusOK {
			t.Fatalf("%s: the redemption is answered %d %v", name, got.status, got.body)
		}
		apiProxy.failNext(http.MethodPut, grantsResource, inject)
		next := s.post(1, "/token", refresh(got.token("refresh_token")))
		if next.status != http.StatusOK {
			t.Fatalf("%s: the refresh is answered %d %v", name, next.status, next.body)
		}
		if !s.isActive(2, next.token("access_token")) {
			t.Errorf("%s: the token is inactive", name)
		}
		// That was this request's own write, and the next one is a replay all the same.
		if a := s.post(2, "/token", redemption(s, code, verifier)); !a.isError(http.StatusBadRequest, "invalid_grant") {
			t.Errorf("%s: the code a second time is answered %d %v", name, a.status, a.body["error"])
		}
		s.waitUntilInactive(next.token("access_token"))
	}
}

// killReplicaDuring kills a replica when the store has done its write and before the replica has
// the response.
func killReplicaDuring(t *testing.T, s *replicatedServer, method string, send func() answer) {
	t.Helper()
	done, release := make(chan struct{}), make(chan struct{})
	apiProxy.failNext(method, grantsResource, holdResponse(done, release))
	answered := make(chan answer)
	go func() { answered <- send() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("the write did not come")
	}
	victim := s.replicas()[0]
	if err := victim.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	close(release)
	if a := <-answered; a.err == nil {
		t.Fatalf("the dead replica has answered %d", a.status)
	}
}

func TestAClientWhoseReplicaWasKilledRefreshesAtAnother(t *testing.T) {
	s := newReplicatedServer(t)
	token := s.issueTokens(0).token("refresh_token")
	killReplicaDuring(t, s, http.MethodPut, func() answer { return s.post(0, "/token", refresh(token)) })
	if g := s.grants()[0]; g.Spec.RefreshTokenNumber != 2 {
		t.Fatalf("the current refresh token has the number %d, want the one that was written", g.Spec.RefreshTokenNumber)
	}
	next := s.requireOK(s.post(1, "/token", refresh(token)))
	again := s.requireOK(s.post(2, "/token", refresh(token)))
	if next.token("refresh_token") == "" || next.token("refresh_token") != again.token("refresh_token") {
		t.Error("the retries have different successors")
	}
	s.waitUntilReady(0)
	last := s.requireOK(s.post(0, "/token", refresh(next.token("refresh_token"))))
	if !s.isActive(1, last.token("access_token")) {
		t.Error("what the replica issues that came back is inactive")
	}
}

// Whether the first redemption was answered is unknown. To honour the code again would
// be to honour a stolen one.
func TestACodeWhoseReplicaWasKilledIsRefusedAndTheNextLoginWorks(t *testing.T) {
	s := newReplicatedServer(t)
	code, verifier := s.authorize()
	killReplicaDuring(t, s, http.MethodPost, func() answer { return s.post(0, "/token", redemption(s, code, verifier)) })
	if a := s.post(1, "/token", redemption(s, code, verifier)); !a.isError(http.StatusBadRequest, "invalid_grant") {
		t.Errorf("the retry at another replica is answered %d %v", a.status, a.body["error"])
	}
	if g := s.grants()[0]; g.Spec.EndReason != "CodeReuse" {
		t.Errorf("the grant of the lost response ended for %q", g.Spec.EndReason)
	}
	s.waitUntilReady(0)
	if got := s.issueTokens(1); !s.isActive(0, got.token("access_token")) {
		t.Error("after the next login the token is inactive at the replica that came back")
	}
}

// A replica that is killed before the store has heard of the code has used nothing up.
func TestACodeThatTheStoreNeverHeardOfIsGoodAtAnotherReplica(t *testing.T) {
	s := newReplicatedServer(t)
	code, verifier := s.authorize()
	reached, release := make(chan struct{}), make(chan struct{})
	apiProxy.failNext(http.MethodPost, grantsResource, func(func() (*http.Response, error)) (*http.Response, error) {
		close(reached)
		<-release
		return nil, errLost
	})
	answered := make(chan answer)
	go func() { answered <- s.post(0, "/token", redemption(s, code, verifier)) }()
	<-reached
	if err := s.replicas()[0].Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	close(release)
	if a := <-answered; a.err == nil {
		t.Fatalf("the dead replica has answered %d", a.status)
	}
	s.requireOK(s.post(1, "/token", redemption(s, code, verifier)))
	s.waitUntilReady(0)
}

// refreshLoop is a client that refreshes again and again, and keeps the last token that it
// received.
type refreshLoop struct {
	token    string
	answered int
	unknown  int
}

func (c *refreshLoop) refresh(t testing.TB, s *replicatedServer, replica int) {
	a := s.post(replica, "/token", refresh(c.token))
	switch {
	case a.err != nil:
		t.Errorf("a replica does not answer: %v", a.err)
	case a.status == http.StatusOK:
		c.token = a.token("refresh_token")
		c.answered++
	case a.isError(http.StatusServiceUnavailable, "temporarily_unavailable") && a.retryAfter != "":
		c.unknown++
	default:
		t.Errorf("during an outage a refresh is answered %d %v, Retry-After %q", a.status, a.body, a.retryAfter)
	}
}

// The store goes away twice, in the middle of what ten clients do.
func TestWhatWasAnsweredBeforeAndDuringAnOutageHoldsAfterIt(t *testing.T) {
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) { testOutage(t, b.open(t)) })
	}
}

func testOutage(t *testing.T, r records) {
	s := newReplicatedServer(t, r.change, func(server *v1alpha1.AuthorizationServer) {
		server.Spec.Tokens = &v1alpha1.TokenSettings{AuthorizationCodeLifetime: &metav1.Duration{Duration: 10 * time.Minute}}
	})
	s.dumpRecords = r.dump
	chains := make([]*refreshLoop, 10)
	for i := range chains {
		chains[i] = &refreshLoop{token: s.issueTokens(i).token("refresh_token")}
	}
	code, verifier := s.authorize()
	var pids []int
	for _, replica := range s.replicas() {
		pids = append(pids, replica.PID())
	}
	over := make(chan struct{})
	var all sync.WaitGroup
	for i, c := range chains {
		all.Go(func() {
			for replica := i; ; replica++ {
				c.refresh(t, s, replica)
				select {
				case <-over:
					return
				case <-time.After(50 * time.Millisecond):
				}
			}
		})
	}
	for range 2 {
		time.Sleep(time.Second)
		r.stop()
		time.Sleep(*outage)
		// What takes a record is refused, and uses nothing up.
		if a := s.post(0, "/token", redemption(s, code, verifier)); !a.isError(http.StatusServiceUnavailable, "temporarily_unavailable") || a.retryAfter == "" {
			t.Errorf("without a store a code is answered %d %v, Retry-After %q", a.status, a.body["error"], a.retryAfter)
		}
		if err := r.start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
	}
	close(over)
	all.Wait()
	s.Eventually("the code to be redeemed", 30*time.Second, func() (bool, string) {
		a := s.post(0, "/token", redemption(s, code, verifier))
		if a.status != http.StatusOK && a.status != http.StatusServiceUnavailable {
			t.Fatalf("the code was used up: %d %v", a.status, a.body["error"])
		}
		return a.status == http.StatusOK, "it is refused still"
	})
	for i, c := range chains {
		if c.answered == 0 || c.unknown == 0 {
			t.Errorf("chain %d: %d answers and %d times unknown: it has not seen an outage", i, c.answered, c.unknown)
		}
		a := s.post(i, "/token", refresh(c.token))
		if a.status != http.StatusOK || !s.isActive(i+1, a.token("access_token")) {
			t.Errorf("chain %d: the token that it got last is answered %d %v", i, a.status, a.body["error"])
		}
	}
	for i, replica := range s.replicas() {
		if replica.PID() != pids[i] {
			t.Errorf("replica %d was restarted", i)
		}
	}
}
