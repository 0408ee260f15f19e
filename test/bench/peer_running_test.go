//go:build peers && postgres

package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/golang-jwt/jwt/v5"

	"github.com/oauth-operator/oauth-operator/hack/local/process"
)

// runningPeer is a server that runs, and its users.
type runningPeer struct {
	version string
	// pid of the server, and of its database or 0. Their children count too.
	pid, database int
	ready         time.Duration
	address       string
	endpoints     peerEndpoints
	keys          *oidc.RemoteKeySet
	service, web  peerClient
	username      string
	password      string
	// pages answers what the server asks of the pages that it leaves to others, and returns the
	// address that they send the user to. Nil for a server with pages.
	pages func(at *url.URL) (string, error)
	// size of the database in bytes; nil if there is none.
	size func(b *testing.B) float64

	users [workers]*peerUser
	last  [workers]peerTokens
}

type peerClient struct{ id, secret, scope string }

// peerEndpoints are those that a server publishes.
type peerEndpoints struct {
	Authorization string `json:"authorization_endpoint"`
	Token         string `json:"token_endpoint"`
	Keys          string `json:"jwks_uri"`
}

func (e peerEndpoints) tokenPath() string {
	u, err := url.Parse(e.Token)
	if err != nil {
		return ""
	}
	return u.RequestURI()
}

// peerTokens is what a worker got last.
type peerTokens struct {
	Access  string `json:"access_token"`
	ID      string `json:"id_token"`
	Refresh string `json:"refresh_token"`
}

// read reads an answer. One without a refresh token means that the last one stays.
func (t *peerTokens) read(body []byte) error {
	old := t.Refresh
	*t = peerTokens{}
	if err := json.Unmarshal(body, t); err != nil {
		return err
	}
	if t.Refresh == "" {
		t.Refresh = old
	}
	return nil
}

// discover waits until the server with the issuer answers, and reads what it publishes.
func (s *runningPeer) discover(issuer string, patience time.Duration, exited <-chan struct{}) error {
	began := time.Now()
	address := strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"
	for {
		response, err := http.Get(address)
		if err == nil {
			err = json.NewDecoder(response.Body).Decode(&s.endpoints)
			_ = response.Body.Close()
			if err == nil && s.endpoints.Token != "" {
				break
			}
		}
		select {
		case <-exited:
			return fmt.Errorf("it has exited\n%s", tail())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Since(began) > patience {
			return fmt.Errorf("it is not ready after %s\n%s", patience, tail())
		}
	}
	s.ready = time.Since(began)
	token, err := url.Parse(s.endpoints.Token)
	if err != nil {
		return err
	}
	s.address = token.Host
	s.keys = oidc.NewRemoteKeySet(context.Background(), s.endpoints.Keys)
	for worker := range s.users {
		s.users[worker] = newPeerUser()
	}
	return nil
}

// verify fails the benchmark unless a step brings a token with a valid ES256 signature, and an ID
// token with one if it brings one.
func (s *runningPeer) verify(b *testing.B, do step) {
	b.Helper()
	load := func(l *connection, worker int) error { return do(l, worker, 0) }
	onConnections(b, s.address, 1, load)
	for _, token := range []string{s.last[0].Access, s.last[0].ID} {
		if token == "" {
			continue
		}
		parsed, _, err := jwt.NewParser().ParseUnverified(token, jwt.MapClaims{})
		if err != nil {
			b.Fatalf("%q is no JWT: %v", token, err)
		}
		if alg := parsed.Method.Alg(); alg != "ES256" {
			b.Fatalf("want a token with ES256, got %s", alg)
		}
		if _, err := s.keys.VerifySignature(b.Context(), token); err != nil {
			b.Fatal(err)
		}
	}
	if s.last[0].Access == "" {
		b.Fatal("there is no access token")
	}
}

// memory is the resident memory of the server, in MiB.
func (s *runningPeer) memory(b *testing.B) (now, highest float64) {
	b.Helper()
	for _, pid := range family(s.pid) {
		n, h := memoryOf(b, pid)
		now, highest = now+n, highest+h
	}
	return now, highest
}

// clocks are the CPU times of processes.
type clocks map[int]time.Duration

// clocksOf are those of a process and its children. A child that ends is not counted any more.
func clocksOf(b *testing.B, pid int) clocks {
	b.Helper()
	all := clocks{}
	if pid == 0 {
		return all
	}
	for _, p := range family(pid) {
		if used, err := clockOf(p); err == nil {
			all[p] = used
		}
	}
	return all
}

func (c clocks) since(before clocks) (sum time.Duration) {
	for pid, used := range c {
		sum += used - before[pid]
	}
	return sum
}

// family is a process, its children and theirs.
func family(pid int) []int {
	all := []int{pid}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return all
	}
	children := map[int][]int{}
	for _, entry := range entries {
		child, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		// After the name, which may have spaces and brackets: the state and the parent.
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if parent, err := strconv.Atoi(fields[1]); err == nil {
			children[parent] = append(children[parent], child)
		}
	}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// run starts a server that has been built, until the benchmark ends, and waits until it answers.
func (s *runningPeer) run(b *testing.B, issuer string, c process.Command) error {
	b.Helper()
	p, err := process.Start(c)
	if err != nil {
		return err
	}
	b.Cleanup(func() { p.Stop(20 * time.Second) })
	s.pid = p.PID()
	return s.discover(issuer, 3*time.Minute, p.Done())
}
