package replicas

import (
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/browser"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// backend is where a server keeps its records.
type backend struct {
	name string
	open func(t *testing.T) records
}

// records are the records of a server.
type records struct {
	// change makes the server keep its records there.
	change func(*v1alpha1.AuthorizationServer)
	// dump returns all records as text.
	dump func() string
	// stop stops the store without a warning.
	stop  func()
	start func() error
	// backUp returns a function that puts the records of a namespace's server back as they are now,
	// in the place of those that there are then.
	backUp func(t *testing.T, namespace string) (restore func())
	// loseIdentities loses what the token server has recorded of users from elsewhere, and not what
	// the owner of the server says of them.
	loseIdentities func(t *testing.T, namespace string)
}

var backends = []backend{{"Kubernetes", func(t *testing.T) records {
	return records{
		change: func(*v1alpha1.AuthorizationServer) {},
		dump:   func() string { return "" },
		stop:   testenv.ControlPlane.StopAPIServer,
		start:  func() error { return testenv.ControlPlane.StartAPIServer(t.Context()) },
		backUp: backUpObjects, loseIdentities: loseStatusOfIdentities,
	}
}}}

// forEachBackend runs a test with records in each of the backends.
func forEachBackend(t *testing.T, test func(t *testing.T, s *replicatedServer)) {
	t.Helper()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			r := b.open(t)
			s := newReplicatedServer(t, r.change)
			s.dumpRecords, s.records = r.dump, r
			test(t, s)
		})
	}
}

// sendFifty sends fifty requests at once, distributed over all replicas.
func sendFifty(send func(i int) answer) []answer {
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
	forEachBackend(t, raceForCodes)
}

func raceForCodes(t *testing.T, s *replicatedServer) {
	for range *rounds {
		code, verifier := s.authorize()
		var won []answer
		for _, a := range sendFifty(func(i int) answer { return s.post(i, "/token", redemption(s, code, verifier)) }) {
			if a.status == http.StatusOK {
				won = append(won, a)
			} else if !a.isError(http.StatusBadRequest, "invalid_grant") {
				t.Errorf("a loser is answered %d %v (%v)", a.status, a.body, a.err)
			}
		}
		if len(won) != 1 {
			t.Fatalf("%d of 50 redeemed one code", len(won))
		}
		// The others passed every check as well: a code that is used twice may have been stolen
		// (RFC 6749 section 4.1.2).
		s.waitUntilInactive(won[0].token("access_token"))
		for replica := range replicaCount {
			if a := s.post(replica, "/token", refresh(won[0].token("refresh_token"))); !a.isError(http.StatusBadRequest, "invalid_grant") {
				t.Errorf("the winner's refresh token is answered %d %v", a.status, a.body["error"])
			}
		}
	}
}

func TestOfFiftyRefreshesOverThreeReplicasOneSuccessorLives(t *testing.T) {
	forEachBackend(t, raceForRefreshTokens)
}

func raceForRefreshTokens(t *testing.T, s *replicatedServer) {
	token := s.issueTokens(0).token("refresh_token")
	for range *rounds {
		successors, access := map[string]bool{}, map[string]bool{}
		for _, a := range sendFifty(func(i int) answer { return s.post(i, "/token", refresh(token)) }) {
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
			if !s.isActive(len(access), a) {
				t.Fatal("an access token is inactive")
			}
			delete(access, a)
		}
	}
}

func TestAFreshTokenIsGoodAtEveryReplicaAtOnce(t *testing.T) {
	forEachBackend(t, func(t *testing.T, s *replicatedServer) {
		for i := range 3 * *rounds {
			got := s.issueTokens(i)
			for other := range replicaCount {
				if !s.isActive(other, got.token("access_token")) || !s.isActive(other, got.token("refresh_token")) {
					t.Fatalf("at replica %d a token that replica %d has just issued is inactive", other, i%replicaCount)
				}
			}
			next := s.requireOK(s.post(i+1, "/token", refresh(got.token("refresh_token"))))
			for other := range replicaCount {
				if !s.isActive(other, next.token("access_token")) || !s.isActive(other, next.token("refresh_token")) {
					t.Fatalf("at replica %d a token that replica %d has just refreshed is inactive", other, (i+1)%replicaCount)
				}
			}
			s.requireOK(s.post(i+2, "/revoke", url.Values{"token": {next.token("refresh_token")}}))
		}
	})
}

func TestWhatOneReplicaRevokedIsDeadAtAll(t *testing.T) {
	forEachBackend(t, func(t *testing.T, s *replicatedServer) {
		var slowest time.Duration
		for i := range 3 * *rounds {
			got := s.issueTokens(i)
			for other := range replicaCount { // so that each has it in mind
				s.isActive(other, got.token("access_token"))
			}
			s.requireOK(s.post(i, "/revoke", url.Values{"token": {got.token("access_token")}}))
			slowest = max(slowest, s.waitUntilInactive(got.token("access_token")))
			next := s.requireOK(s.post(i+1, "/token", refresh(got.token("refresh_token"))))
			s.requireOK(s.post(i+2, "/revoke", url.Values{"token": {next.token("refresh_token")}}))
			for other := range replicaCount {
				if a := s.post(other, "/token", refresh(next.token("refresh_token"))); !a.isError(http.StatusBadRequest, "invalid_grant") {
					t.Errorf("a revoked refresh token is answered %d %v", a.status, a.body["error"])
				}
			}
			slowest = max(slowest, s.waitUntilInactive(next.token("access_token")))
		}
		t.Logf("all replicas knew after %s at the latest", slowest)
	})
}

func TestALogoutAtOneReplicaHoldsAtOnceAtAll(t *testing.T) {
	forEachBackend(t, func(t *testing.T, s *replicatedServer) {
		for range min(*rounds, 20) { // a user may log in 30 times in ten minutes at each replica
			offline, online := s.issueTokens(0), s.issueTokens(1, "openid", "profile")
			cookies := s.cookies()
			for replica := range replicaCount { // so that each has it in mind
				if answer := s.authorizeSilently(replica, cookies); !answer.Has("code") {
					t.Fatalf("while she is signed in, replica %d answers %v", replica, answer)
				}
				online = s.requireOK(s.post(replica, "/token", refresh(online.token("refresh_token"))))
			}
			page, status := s.open(0, "/logout", url.Values{"id_token_hint": {online.token("id_token")}}, cookies)
			if status != http.StatusOK {
				t.Fatalf("the logout is answered %d %v", status, page)
			}
			for replica := replicaCount - 1; replica >= 0; replica-- {
				if answer := s.authorizeSilently(replica, cookies); answer.Get("error") != "login_required" {
					t.Errorf("a copy of the session's cookie at replica %d is answered %v", replica, answer)
				}
				if a := s.post(replica, "/token", refresh(online.token("refresh_token"))); !a.isError(http.StatusBadRequest, "invalid_grant") {
					t.Errorf("the online refresh token at replica %d is answered %d %v", replica, a.status, a.body["error"])
				}
				if s.isActive(replica, online.token("refresh_token")) {
					t.Errorf("at replica %d the online refresh token is active", replica)
				}
				offline = s.requireOK(s.post(replica, "/token", refresh(offline.token("refresh_token"))))
			}
			s.waitUntilInactive(online.token("access_token"))
		}
	})
}

// cookies of alice's browser: what a thief would copy.
func (s *replicatedServer) cookies() []*http.Cookie {
	s.T.Helper()
	issuer, err := url.Parse(s.Issuer)
	if err != nil {
		s.T.Fatal(err)
	}
	cookies := s.alice.Jar.Cookies(issuer)
	if len(cookies) == 0 {
		s.T.Fatal("the browser has no cookies")
	}
	return cookies
}

// authorizeSilently returns the authorization response of a replica to a request with prompt=none
// (OpenID Connect Core section 3.1.2.1).
func (s *replicatedServer) authorizeSilently(replica int, cookies []*http.Cookie) url.Values {
	s.T.Helper()
	location, status := s.open(replica, "/authorize", url.Values{
		"client_id": {s.config.ClientID}, "redirect_uri": {s.Callback}, "response_type": {"code"}, "scope": {"openid profile"}, "state": {"xyz"},
		"prompt": {"none"}, "code_challenge": {oauth2.S256ChallengeFromVerifier(oauth2.GenerateVerifier())}, "code_challenge_method": {"S256"},
	}, cookies)
	if location == nil {
		s.T.Fatalf("a page is shown, %d", status)
	}
	return location.Query()
}

// open requests a page from a replica with the cookies. The location is that of a redirect, or nil.
func (s *replicatedServer) open(replica int, path string, query url.Values, cookies []*http.Cookie) (location *url.URL, status int) {
	s.T.Helper()
	request, err := http.NewRequestWithContext(s.T.Context(), http.MethodGet, "http://"+s.address(replica)+path+"?"+query.Encode(), nil)
	if err != nil {
		s.T.Fatal(err)
	}
	request.Header.Set("Accept", browser.Accept)
	for _, cookie := range cookies {
		request.AddCookie(cookie)
	}
	response, err := s.HTTP.Transport.RoundTrip(request)
	if err != nil {
		s.T.Fatal(err)
	}
	if err := response.Body.Close(); err != nil {
		s.T.Fatal(err)
	}
	if location, err = response.Location(); err != nil {
		return nil, response.StatusCode
	}
	return location, response.StatusCode
}

func TestAGrantThatIsDeletedByHandStaysDeadAtEveryReplica(t *testing.T) {
	t.Parallel()
	s := newReplicatedServer(t)
	for i := range *rounds {
		code, verifier := s.authorize()
		got := s.requireOK(s.post(i, "/token", redemption(s, code, verifier)))
		if err := testenv.Kube.DeleteAllOf(t.Context(), &v1alpha1.OAuthGrant{}, client.InNamespace(s.ServerNamespace)); err != nil {
			t.Fatal(err)
		}
		for other := range replicaCount {
			if a := s.post(i+1+other, "/token", redemption(s, code, verifier)); !a.isError(http.StatusBadRequest, "invalid_grant") {
				t.Errorf("the code of a grant that was deleted is answered %d %v", a.status, a.body["error"])
			}
			if a := s.post(i+1+other, "/token", refresh(got.token("refresh_token"))); !a.isError(http.StatusBadRequest, "invalid_grant") {
				t.Errorf("the refresh token of a grant that was deleted is answered %d %v", a.status, a.body["error"])
			}
		}
		s.waitUntilInactive(got.token("access_token"))
		if left := s.grants(); len(left) > 0 {
			t.Errorf("there is a grant again: %+v", left[0].Spec)
		}
	}
}

func TestAUserHasTwentyGrantsAtAClientAndTheOldestEnds(t *testing.T) {
	forEachBackend(t, func(t *testing.T, s *replicatedServer) {
		oldest := s.issueTokens(0)
		second := s.issueTokens(1)
		for i := range 19 {
			s.issueTokens(i)
		}
		s.waitUntilInactive(oldest.token("access_token"))
		if a := s.post(2, "/token", refresh(oldest.token("refresh_token"))); !a.isError(http.StatusBadRequest, "invalid_grant") {
			t.Errorf("the oldest is answered %d %v", a.status, a.body["error"])
		}
		s.requireOK(s.post(2, "/token", refresh(second.token("refresh_token"))))
		if ended := s.metric("oauth_operator_tokenserver_grants_ended_total", `reason="Bound"`); ended != 1 {
			t.Errorf("the replicas count %v grants that ended for the bound, want 1", ended)
		}
	})
}
