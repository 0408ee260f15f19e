package replicas

import (
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/world"
)

// backend is where a server keeps its records.
type backend struct {
	name string
	// open it: how the server is told, and what anybody could read who reads it all.
	open func(t *testing.T) (change func(*v1alpha1.AuthorizationServer), dump func() string)
}

var backends = []backend{{"Kubernetes", func(*testing.T) (func(*v1alpha1.AuthorizationServer), func() string) {
	return func(*v1alpha1.AuthorizationServer) {}, func() string { return "" }
}}}

// onEach runs a test with records in each of the backends.
func onEach(t *testing.T, test func(t *testing.T, e *estate)) {
	t.Helper()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			change, dump := b.open(t)
			e := newEstate(t, change)
			e.records = dump
			test(t, e)
		})
	}
}

// fifty requests at once, over all replicas.
func fifty(send func(i int) answer) []answer {
	answers := make([]answer, 50)
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			<-start
			answers[i] = send(i)
		})
	}
	close(start)
	all.Wait()
	return answers
}

func TestOfFiftyRedemptionsOfACodeOverThreeReplicasOneSucceeds(t *testing.T) {
	onEach(t, func(t *testing.T, e *estate) {
		for range *rounds {
			code, verifier := e.code()
			var won []answer
			for _, a := range fifty(func(i int) answer { return e.post(i, "/token", redemption(e, code, verifier)) }) {
				if a.status == http.StatusOK {
					won = append(won, a)
				} else if !a.is(http.StatusBadRequest, "invalid_grant") {
					t.Errorf("a loser is answered %d %v (%v)", a.status, a.body, a.err)
				}
			}
			if len(won) != 1 {
				t.Fatalf("%d of 50 redeemed one code", len(won))
			}
			// The others passed every check as well: a code that is used twice may have been stolen (RFC 6749 section 4.1.2).
			e.dead(won[0].token("access_token"))
			for replica := range count {
				if a := e.post(replica, "/token", refresh(won[0].token("refresh_token"))); !a.is(http.StatusBadRequest, "invalid_grant") {
					t.Errorf("the winner's refresh token is answered %d %v", a.status, a.body["error"])
				}
			}
		}
	})
}

func TestOfFiftyRefreshesOverThreeReplicasOneSuccessorLives(t *testing.T) {
	onEach(t, func(t *testing.T, e *estate) {
		token := e.begin(0).token("refresh_token")
		for range *rounds {
			successors, access := map[string]bool{}, map[string]bool{}
			for _, a := range fifty(func(i int) answer { return e.post(i, "/token", refresh(token)) }) {
				if a.status != http.StatusOK {
					t.Fatalf("within the grace it is answered %d %v (%v)", a.status, a.body, a.err)
				}
				successors[a.token("refresh_token")], access[a.token("access_token")] = true, true
				token = a.token("refresh_token")
			}
			if len(successors) != 1 || len(access) != 50 {
				t.Fatalf("%d refresh tokens and %d access tokens, want 1 and 50", len(successors), len(access))
			}
			for a := range access {
				if !e.active(len(access), a) {
					t.Fatal("an access token is inactive")
				}
				delete(access, a)
			}
		}
	})
}

func TestAFreshTokenIsGoodAtEveryReplicaAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, e *estate) {
		for i := range 3 * *rounds {
			got := e.begin(i)
			for other := range count {
				if !e.active(other, got.token("access_token")) || !e.active(other, got.token("refresh_token")) {
					t.Fatalf("at replica %d a token that replica %d has just issued is inactive", other, i%count)
				}
			}
			next := e.good(e.post(i+1, "/token", refresh(got.token("refresh_token"))))
			for other := range count {
				if !e.active(other, next.token("access_token")) || !e.active(other, next.token("refresh_token")) {
					t.Fatalf("at replica %d a token that replica %d has just refreshed is inactive", other, (i+1)%count)
				}
			}
			e.good(e.post(i+2, "/revoke", url.Values{"token": {next.token("refresh_token")}}))
		}
	})
}

func TestWhatOneReplicaRevokedIsDeadAtAll(t *testing.T) {
	onEach(t, func(t *testing.T, e *estate) {
		var slowest time.Duration
		for i := range 3 * *rounds {
			got := e.begin(i)
			for other := range count { // so that each has it in mind
				e.active(other, got.token("access_token"))
			}
			e.good(e.post(i, "/revoke", url.Values{"token": {got.token("access_token")}}))
			slowest = max(slowest, e.dead(got.token("access_token")))
			next := e.good(e.post(i+1, "/token", refresh(got.token("refresh_token"))))
			e.good(e.post(i+2, "/revoke", url.Values{"token": {next.token("refresh_token")}}))
			for other := range count {
				if a := e.post(other, "/token", refresh(next.token("refresh_token"))); !a.is(http.StatusBadRequest, "invalid_grant") {
					t.Errorf("a revoked refresh token is answered %d %v", a.status, a.body["error"])
				}
			}
			slowest = max(slowest, e.dead(next.token("access_token")))
		}
		t.Logf("all replicas knew after %s at the latest", slowest)
	})
}

func TestAGrantThatIsDeletedByHandStaysDeadAtEveryReplica(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	for i := range *rounds {
		code, verifier := e.code()
		got := e.good(e.post(i, "/token", redemption(e, code, verifier)))
		if err := world.Kube.DeleteAllOf(t.Context(), &v1alpha1.OAuthGrant{}, client.InNamespace(e.Identity)); err != nil {
			t.Fatal(err)
		}
		for other := range count {
			if a := e.post(i+1+other, "/token", redemption(e, code, verifier)); !a.is(http.StatusBadRequest, "invalid_grant") {
				t.Errorf("the code of a grant that was deleted is answered %d %v", a.status, a.body["error"])
			}
			if a := e.post(i+1+other, "/token", refresh(got.token("refresh_token"))); !a.is(http.StatusBadRequest, "invalid_grant") {
				t.Errorf("the refresh token of a grant that was deleted is answered %d %v", a.status, a.body["error"])
			}
		}
		e.dead(got.token("access_token"))
		if left := e.grants(); len(left) > 0 {
			t.Errorf("there is a grant again: %+v", left[0].Spec)
		}
	}
}

func TestAUserHasTwentyGrantsAtAClientAndTheOldestEnds(t *testing.T) {
	onEach(t, func(t *testing.T, e *estate) {
		oldest := e.begin(0)
		second := e.begin(1)
		for i := range 19 {
			e.begin(i)
		}
		e.dead(oldest.token("access_token"))
		if a := e.post(2, "/token", refresh(oldest.token("refresh_token"))); !a.is(http.StatusBadRequest, "invalid_grant") {
			t.Errorf("the oldest is answered %d %v", a.status, a.body["error"])
		}
		e.good(e.post(2, "/token", refresh(second.token("refresh_token"))))
		if ended := e.metric("oauth_operator_tokenserver_grants_ended_total", `reason="Bound"`); ended != 1 {
			t.Errorf("the replicas count %v grants that ended for the bound, want 1", ended)
		}
	})
}
