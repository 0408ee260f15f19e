//go:build postgres

package replicas

import (
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres/postgrestest"
)

// The primary is killed in the middle of what clients do, and its synchronous standby is promoted.
func TestAStandbyThatIsPromotedKnowsAllThatWasAnswered(t *testing.T) {
	for _, commit := range []string{"on", "remote_apply"} {
		t.Run("synchronous_commit="+commit, func(t *testing.T) { testFailover(t, commit) })
	}
}

func testFailover(t *testing.T, commit string) {
	primary := postgrestest.Start(t, "synchronous_commit="+commit)
	standby := primary.StartStandby(t, "standby", "synchronous_commit="+commit)
	primary.Exec(t, "postgres", "ALTER SYSTEM SET synchronous_standby_names = 'standby'")
	primary.Exec(t, "postgres", "SELECT pg_reload_conf()")
	eventually.True(t, "the standby is synchronous", func() bool {
		return postgrestest.QueryValue[int](t, primary, "postgres", "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == 1
	})
	dsn := postgrestest.HostsDSN("postgres", "sslmode=disable", primary.Address(), standby.Address())
	s := newReplicatedServer(t, usePostgreSQL(t, dsn), func(server *v1alpha1.AuthorizationServer) {
		server.Spec.Tokens = &v1alpha1.TokenSettings{AuthorizationCodeLifetime: &metav1.Duration{Duration: 10 * time.Minute}}
	})
	s.dumpRecords = func() string { return standby.Dump(t, "postgres") }
	pids := map[int]bool{}
	for _, replica := range s.replicas() {
		pids[replica.PID()] = true
	}

	l := newFailoverLoad(s)
	stop := l.start()
	time.Sleep(2 * time.Second)
	primary.Kill()
	killed := time.Now()
	time.Sleep(time.Second) // a failure is not noticed at once
	standby.Promote(t)
	promoted := time.Now()
	before := l.refreshed.Load()
	s.Eventually("clients to be served", time.Minute, func() (bool, string) { return l.refreshed.Load() > before, "none is" })
	t.Logf("clients were served again %v after the kill, %v after the promotion", time.Since(killed), time.Since(promoted))
	time.Sleep(2 * time.Second)
	stop()
	l.check()
	for _, replica := range s.replicas() {
		if !pids[replica.PID()] {
			t.Error("a replica was restarted")
		}
	}
}

// failoverLoad is what clients do while the primary is killed.
type failoverLoad struct {
	*replicatedServer // for the refreshes
	chains            []*refreshLoop
	replaced          [][]string // the tokens of each chain, each replaced by the next
	codes             []*codeLoop
	revoked           []*endLoop // each ends the grant of a refresh token
	signedOut         []*endLoop // each ends a session and its refresh token
	// Requests of the clients that have the codes and these tokens.
	redeemedBy, revokedBy, leftBy *replicatedServer

	refreshed, unavailable, machines atomic.Int64
}

// codeLoop is a client that redeems a code until it is told how that ended.
type codeLoop struct {
	code, verifier    string
	redeemed, refused atomic.Int64
}

// endLoop is a client that ends something until that is acknowledged.
type endLoop struct {
	token   string // a refresh token that ends with it
	cookies []*http.Cookie
	end     func(replica int) (status int)
	ended   atomic.Bool
}

// of returns the server with requests of another client. A user has twenty grants at one client.
func (s *replicatedServer) of(name string) *replicatedServer {
	s.T.Helper()
	client := s.ReadyClient(name, v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"authorization_code", "refresh_token", "client_credentials"}, TokenEndpointAuthMethod: "client_secret_basic",
		RedirectURIs: []string{s.Callback}, Scopes: []string{"openid", "profile", "offline_access"},
	})
	other := *s
	other.config = s.Config(client, "openid", "profile", "offline_access")
	s.leaks.record("client secret", other.config.ClientSecret)
	for replica := range replicaCount {
		s.Eventually("the client to be known", time.Minute, func() (bool, string) {
			a := other.post(replica, "/token", url.Values{"grant_type": {"client_credentials"}})
			return a.status == http.StatusOK, "it is not"
		})
	}
	return &other
}

func newFailoverLoad(s *replicatedServer) *failoverLoad {
	s.T.Helper()
	l := &failoverLoad{replicatedServer: s}
	for i := range 8 {
		l.chains = append(l.chains, &refreshLoop{token: s.issueTokens(i).token("refresh_token")})
	}
	l.replaced = make([][]string, len(l.chains))
	codes := s.of("codes")
	for range 16 {
		code, verifier := codes.authorize()
		l.codes = append(l.codes, &codeLoop{code: code, verifier: verifier})
	}
	revoked := s.of("revoked")
	for i := range 12 {
		token := revoked.issueTokens(i).token("refresh_token")
		l.revoked = append(l.revoked, &endLoop{token: token, end: func(replica int) int {
			return revoked.post(replica, "/revoke", url.Values{"token": {token}}).status
		}})
	}
	left := s.of("left")
	for i := range 8 {
		left.alice = s.NewBrowser()
		got := left.issueTokens(i, "openid", "profile")
		e := &endLoop{token: got.token("refresh_token"), cookies: left.cookies()}
		e.end = func(replica int) int {
			_, status := left.open(replica, "/logout", url.Values{"id_token_hint": {got.token("id_token")}}, e.cookies)
			return status
		}
		l.signedOut = append(l.signedOut, e)
	}
	l.revokedBy, l.leftBy, l.redeemedBy = revoked, left, codes
	return l
}

// start starts the clients. Stop returns when all have an answer.
func (l *failoverLoad) start() (stop func()) {
	over := make(chan struct{})
	var all sync.WaitGroup
	for i, c := range l.chains {
		all.Go(func() {
			for replica := i; ; replica++ {
				select {
				case <-over:
					return
				case <-time.After(20 * time.Millisecond):
				}
				l.refresh(i, c, replica)
			}
		})
	}
	all.Go(func() {
		for replica := 0; ; replica++ {
			select {
			case <-over:
				return
			case <-time.After(10 * time.Millisecond):
			}
			if a := l.post(replica, "/token", url.Values{"grant_type": {"client_credentials"}}); a.status != http.StatusOK {
				l.T.Errorf("a token for a machine is answered %d %v", a.status, a.body["error"])
			}
			l.machines.Add(1)
		}
	})
	for i, c := range l.codes {
		for copies := range 1 + i%2 { // every other one was stolen
			all.Go(func() {
				time.Sleep(time.Duration(i) * 250 * time.Millisecond)
				l.redeem(c, i+copies)
			})
		}
	}
	for i, e := range append(append([]*endLoop(nil), l.revoked...), l.signedOut...) {
		all.Go(func() {
			time.Sleep(time.Duration(i%12) * 300 * time.Millisecond)
			l.end(e, i)
		})
	}
	return func() {
		close(over)
		all.Wait()
	}
}

func (l *failoverLoad) refresh(chain int, c *refreshLoop, replica int) {
	before := c.token
	answered := c.answered
	c.refresh(l.T, l.replicatedServer, replica)
	if c.answered == answered {
		l.unavailable.Add(1)
		return
	}
	l.refreshed.Add(1)
	l.replaced[chain] = append(l.replaced[chain], before)
}

// pause is how long a client waits that is told to come again.
const pause = 50 * time.Millisecond

func (l *failoverLoad) redeem(c *codeLoop, replica int) {
	for ; ; replica++ {
		switch a := l.redeemedBy.post(replica, "/token", redemption(l.redeemedBy, c.code, c.verifier)); {
		case a.status == http.StatusOK:
			c.redeemed.Add(1)
			return
		case a.isError(http.StatusBadRequest, "invalid_grant"):
			c.refused.Add(1)
			return
		case a.isError(http.StatusServiceUnavailable, "temporarily_unavailable") && a.retryAfter != "":
			l.unavailable.Add(1)
			time.Sleep(pause)
		default:
			l.T.Errorf("a code is answered %d %v (%v)", a.status, a.body, a.err)
			return
		}
	}
}

func (l *failoverLoad) end(e *endLoop, replica int) {
	for ; ; replica++ {
		switch status := e.end(replica); status {
		case http.StatusOK:
			e.ended.Store(true)
			return
		case http.StatusServiceUnavailable:
			l.unavailable.Add(1)
			time.Sleep(pause)
		default:
			l.T.Errorf("a revocation or sign-out is answered %d", status)
			return
		}
	}
}

// check fails the test unless everything that was answered holds at the server that was promoted.
func (l *failoverLoad) check() {
	t := l.T
	t.Helper()
	redeemed := int64(0)
	for i, c := range l.codes {
		if n := c.redeemed.Load(); n > 1 {
			t.Errorf("code %d was redeemed %d times", i, n)
		}
		redeemed += c.redeemed.Load()
		if a := l.redeemedBy.post(i, "/token", redemption(l.redeemedBy, c.code, c.verifier)); !a.isError(http.StatusBadRequest, "invalid_grant") {
			t.Errorf("code %d, which was answered, is answered %d %v", i, a.status, a.body["error"])
		}
	}
	for i, c := range l.chains {
		next := l.requireOK(l.post(i, "/token", refresh(c.token)))
		l.requireOK(l.post(i+1, "/token", refresh(next.token("refresh_token"))))
		for _, replaced := range l.replaced[i] {
			a := l.post(i, "/token", refresh(replaced))
			if !a.isError(http.StatusBadRequest, "invalid_grant") {
				t.Errorf("chain %d: a refresh token that was replaced is answered %d %v", i, a.status, a.body["error"])
			}
		}
	}
	for i, e := range l.revoked {
		if !e.ended.Load() {
			t.Errorf("revocation %d was never acknowledged", i)
		}
		if a := l.revokedBy.post(i, "/token", refresh(e.token)); !a.isError(http.StatusBadRequest, "invalid_grant") {
			t.Errorf("a refresh token that was revoked is answered %d %v", a.status, a.body["error"])
		}
	}
	for i, e := range l.signedOut {
		if answer := l.leftBy.authorizeSilently(i, e.cookies); answer.Get("error") != "login_required" {
			t.Errorf("a session that was ended is answered %v", answer)
		}
		if a := l.leftBy.post(i, "/token", refresh(e.token)); !a.isError(http.StatusBadRequest, "invalid_grant") {
			t.Errorf("the refresh token of a session that was ended is answered %d %v", a.status, a.body["error"])
		}
	}
	t.Logf("%d refreshes, %d of %d codes redeemed, %d revocations, %d sign-outs, %d tokens for machines; %d times 503",
		l.refreshed.Load(), redeemed, len(l.codes), len(l.revoked), len(l.signedOut), l.machines.Load(), l.unavailable.Load())
	if l.unavailable.Load() == 0 {
		t.Error("no client has noticed that the primary was killed")
	}
}
