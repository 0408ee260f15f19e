package replicas

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// auditLogFrom returns the audit log from an offset on.
func auditLogFrom(t testing.TB, from int64) string {
	t.Helper()
	f, err := os.Open(auditLog)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// auditLogSize returns the length of the audit log.
func auditLogSize(t testing.TB) int64 {
	t.Helper()
	info, err := os.Stat(auditLog)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// countWrites returns the writes of the replicas while do runs, by the API server's audit log: by
// "<verb> <resource>", with the status of those that failed. The periodic writes are counted apart:
// the renewal of Replicas, the Lease, and the hourly Usage.
func (s *replicatedServer) countWrites(do func()) (asked map[string]int, periodic int) {
	s.T.Helper()
	from := auditLogSize(s.T)
	do()
	time.Sleep(50 * time.Millisecond) // an event may be in the file a moment after its answer
	asked = map[string]int{}
	lines := bufio.NewScanner(strings.NewReader(auditLogFrom(s.T, from)))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event struct {
			Verb string
			User struct{ Username string }
			Ref  struct{ Resource string } `json:"objectRef"`
			Said struct{ Code int }        `json:"responseStatus"`
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			s.T.Fatal(err)
		}
		switch {
		case event.User.Username != "system:serviceaccount:"+s.ServerNamespace+":main-tokenserver":
		case event.Ref.Resource == "replicas" || event.Ref.Resource == "leases" || event.Ref.Resource == "usages":
			periodic++
		case event.Said.Code >= http.StatusBadRequest:
			asked[fmt.Sprint(event.Verb, " ", event.Ref.Resource, " ", event.Said.Code)]++
		default:
			asked[event.Verb+" "+event.Ref.Resource]++
		}
	}
	return asked, periodic
}

// sendAll sends n requests, which request makes, and returns how often each status was the answer.
func (s *replicatedServer) sendAll(n int, request func(i int) *http.Request) map[int]int {
	s.T.Helper()
	var next atomic.Int64
	var mu sync.Mutex
	answered := map[int]int{}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				a := s.statusOf(request(i))
				mu.Lock()
				answered[a]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return answered
}

// statusOf sends a request and returns the status, or 0 without a response. It follows no redirect.
func (s *replicatedServer) statusOf(request *http.Request) int {
	response, err := s.HTTP.Transport.RoundTrip(request)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	return response.StatusCode
}

func (s *replicatedServer) request(i int, method, path string, form url.Values) *http.Request {
	request, err := http.NewRequestWithContext(s.T.Context(), method, "http://"+s.address(i)+path, strings.NewReader(form.Encode()))
	if err != nil {
		panic(err)
	}
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return request
}

func TestStrangersCauseNoWrite(t *testing.T) {
	t.Parallel()
	s := newReplicatedServer(t)
	authorize := strings.TrimPrefix(s.config.AuthCodeURL("xyz"), s.Issuer)
	challenge := "&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256"
	what := []func(i int) *http.Request{
		func(i int) *http.Request { return s.request(i, http.MethodGet, authorize+challenge, nil) },
		func(i int) *http.Request { return s.request(i, http.MethodGet, authorize, nil) },
		func(i int) *http.Request {
			return s.request(i, http.MethodGet, "/authorize?client_id="+fmt.Sprint("unknown-", i), nil)
		},
		func(i int) *http.Request { return s.request(i, http.MethodGet, "/login?flow="+fmt.Sprint(i), nil) },
		func(i int) *http.Request { return s.request(i, http.MethodGet, "/logout", nil) },
		func(i int) *http.Request {
			return s.request(i, http.MethodPost, "/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {s.config.ClientID}, "client_secret": {fmt.Sprint("wrong", i)}})
		},
		func(i int) *http.Request {
			return s.request(i, http.MethodPost, "/token", url.Values{"grant_type": {"authorization_code"}, "code": {fmt.Sprint("guess", i)}, "client_id": {s.config.ClientID}})
		},
		func(i int) *http.Request {
			return s.request(i, http.MethodPost, "/introspect", url.Values{"token": {fmt.Sprint(i)}})
		},
		func(i int) *http.Request {
			return s.request(i, http.MethodPost, "/revoke", url.Values{"token": {fmt.Sprint(i)}})
		},
		func(i int) *http.Request {
			request := s.request(i, http.MethodGet, "/userinfo", nil)
			request.Header.Set("Authorization", fmt.Sprint("Bearer guess", i))
			return request
		},
	}
	began := time.Now()
	var answered map[int]int
	asked, periodic := s.countWrites(func() {
		answered = s.sendAll(*requests, func(i int) *http.Request { return what[i%len(what)](i) })
	})
	took := time.Since(began)
	if len(asked) > 0 {
		t.Errorf("%d requests of strangers caused writes: %v", *requests, asked)
	}
	checkBackgroundWrites(t, periodic, took)
	if answered[0] > 0 || answered[http.StatusOK] > *requests/5 || answered[http.StatusInternalServerError] > 0 {
		t.Errorf("they were answered %v", answered)
	}
	t.Logf("%d requests in %s: %v", *requests, took, answered)
}

func TestTokensOfMachinesCauseNoWrite(t *testing.T) {
	t.Parallel()
	s := newReplicatedServer(t)
	began := time.Now()
	var answered map[int]int
	asked, periodic := s.countWrites(func() {
		answered = s.sendAll(*requests, func(i int) *http.Request {
			request := s.request(i, http.MethodPost, "/token", url.Values{"grant_type": {"client_credentials"}})
			request.SetBasicAuth(url.QueryEscape(s.config.ClientID), url.QueryEscape(s.config.ClientSecret))
			return request
		})
	})
	took := time.Since(began)
	if len(asked) > 0 {
		t.Errorf("%d tokens of machines caused writes: %v", *requests, asked)
	}
	checkBackgroundWrites(t, periodic, took)
	if answered[http.StatusOK] != *requests {
		t.Errorf("they were answered %v", answered)
	}
	t.Logf("%d tokens in %s", *requests, took)
}

// checkBackgroundWrites allows what each replica writes periodically: its Replica every ten
// seconds, its Usage every hour (an update that fails and a creation the first time), and one
// Lease.
func checkBackgroundWrites(t *testing.T, writes int, took time.Duration) {
	t.Helper()
	if most := replicaCount*(int(took/(10*time.Second))+2+2) + 1; writes > most {
		t.Errorf("in %s the replicas wrote %d times by the clock, want at most %d", took, writes, most)
	}
}

func TestEachStepOfALoginCostsTheWritesItMust(t *testing.T) {
	t.Parallel()
	s := newReplicatedServer(t)
	stranger := s.NewBrowser()
	var code, verifier string
	var got answer
	step := func(what string, want map[string]int, do func()) {
		t.Helper()
		if asked, _ := s.countWrites(do); !maps.Equal(asked, want) {
			t.Errorf("%s wrote %v, want %v", what, asked, want)
		}
	}
	none := map[string]int{}
	step("an authorization of who is signed in and has agreed", none, func() { code, verifier = s.authorize() })
	step("a redemption", map[string]int{"create oauthgrants": 1}, func() { got = s.requireOK(s.post(0, "/token", redemption(s, code, verifier))) })
	step("the use of a token", none, func() {
		for replica := range replicaCount {
			s.isActive(replica, got.token("access_token"))
			request := s.request(replica, http.MethodGet, "/userinfo", nil)
			request.Header.Set("Authorization", "Bearer "+got.token("access_token"))
			s.requireOK(s.do(request))
		}
	})
	step("a refresh", map[string]int{"update oauthgrants": 1}, func() { got = s.requireOK(s.post(1, "/token", refresh(got.token("refresh_token")))) })
	step("an access token that is revoked", map[string]int{"create marks": 1}, func() {
		s.requireOK(s.post(2, "/revoke", url.Values{"token": {got.token("access_token")}}))
	})
	step("the same again", none, func() { s.requireOK(s.post(0, "/revoke", url.Values{"token": {got.token("access_token")}})) })
	step("a refresh token that is revoked", map[string]int{"update oauthgrants": 1}, func() {
		s.requireOK(s.post(0, "/revoke", url.Values{"token": {got.token("refresh_token")}}))
	})
	step("a replay of what has ended", map[string]int{"create oauthgrants 409": 1}, func() { s.post(1, "/token", redemption(s, code, verifier)) })
	step("a password", map[string]int{"create oauthgrants": 1}, func() {
		got = s.requireOK(s.post(2, "/token", url.Values{"grant_type": {"password"}, "username": {testenv.Username}, "password": {testenv.Password}}))
	})
	step("a login", none, func() {
		page := s.Open(stranger, s.config.AuthCodeURL("xyz")+"&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256")
		if _, err := stranger.Login(t.Context(), page, testenv.Username, testenv.Password); err != nil {
			t.Fatal(err)
		}
	})
	step("signing out", map[string]int{"create marks": 1}, func() {
		if _, err := stranger.Submit(t.Context(), s.Open(stranger, s.Issuer+"/logout"), "logout-confirm", nil); err != nil {
			t.Fatal(err)
		}
	})
}
