//go:build peers && postgres

package bench

import (
	"bytes"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/test/bench/results"
)

// peer is a server that is compared with others.
type peer struct {
	name string
	// settings is how it is set up: what it signs with, where its records are, what it logs.
	settings string
	// warmUp is how long it gets each load before it is measured. What a virtual machine compiles
	// meanwhile is not counted.
	warmUp time.Duration
	// start installs and starts it. An error says why it cannot be measured here.
	start func(b *testing.B) (*runningPeer, error)
}

const (
	warmUpCompiled = 2 * time.Second
	warmUpVM       = 15 * time.Second
)

// peersBriefly is for changes of the comparison itself: its figures mean nothing.
var peersBriefly = flag.Bool("peers-briefly", false, "load each server only as much as shows that it works")

var peers = []peer{
	{"oauth-operator, records in memory", "its defaults; tokens and ID tokens with ES256; a line in the log for each request; refresh tokens of confidential clients stay the same", warmUpCompiled, startOursInMemory},
	{"oauth-operator, records in PostgreSQL", "the same", warmUpCompiled, startOursInPostgreSQL},
	{"zitadel/oidc", "its example server; all tokens with ES256; records in memory; a line in the log for each request; no session, so that a user signs in each time, with a password that is not hashed; refresh tokens are replaced", warmUpCompiled, startZitadel},
	{"node-oidc-provider", "all tokens with ES256; records in memory, its default, which it says is for development; no log of requests; refresh tokens of confidential clients stay the same until they have used 70 % of their time", warmUpVM, startNodeOIDCProvider},
	{"Ory Hydra", "development mode, which alone takes plain HTTP; tokens with ES256; PostgreSQL, with 32 connections; secrets of clients by PBKDF2 with 25,000 iterations at each request, its default; lines in the log for each request; the pages of login and consent are others': the calls of their API are counted, a session too; refresh tokens are replaced", warmUpCompiled, startHydra},
	{"Spring Authorization Server", "as its guide says; all tokens with ES256; clients and records by JDBC in PostgreSQL, with indexes that its schema leaves to others; secrets of clients not hashed, where its default is bcrypt at each request; no log of requests; refresh tokens stay the same", warmUpVM, startSpring},
	{"Keycloak", "production mode; all tokens with ES256, refresh tokens with HS512; PostgreSQL; its default log, which has no requests; a new refresh token each time, the old one stays valid", warmUpVM, startKeycloak},
}

// BenchmarkPeers compares servers: the same loads, with the same number of connections, one server
// after the other. One that cannot be measured here has a row that says why.
func BenchmarkPeers(b *testing.B) {
	for _, p := range peers {
		if !b.Run(strings.ReplaceAll(p.name, "/", "-"), p.benchmark) {
			p.describe(b, "not measured: it failed under the load")
		}
	}
}

func (p peer) describe(b *testing.B, note string) {
	b.Helper()
	table.add(b, results.Row{Group: peerRows, Name: p.name, Note: note})
}

func (p peer) benchmark(b *testing.B) {
	server, err := p.start(b)
	if err != nil {
		b.Log(err)
		reason, _, _ := strings.Cut(err.Error(), "\n")
		p.describe(b, "not measured: "+reason)
		return
	}
	if *peersBriefly {
		p.warmUp = time.Second
	}
	time.Sleep(3 * time.Second) // what it still does after it is ready
	idle, _ := server.memory(b)
	server.openSessions(b)
	conversations := []struct {
		name    string
		prepare func() step
	}{
		{"a token for a machine", constantly(server.token)},
		{"a refresh", func() step { server.signIn(b); return server.refresh }},
		{"a code flow", constantly(server.codeFlow)},
	}
	var rows []results.Row
	row := func(what, unit string, value float64) {
		rows = append(rows, results.Row{Group: peerRows, Name: p.name + ": " + what, Unit: unit, Value: value})
	}
	for _, c := range conversations {
		each := server.warmUp(b, p.warmUp, c.prepare())
		servers, databases := server.measure(b, each, c.prepare)
		rows = append(rows, inMicroseconds(p.name+": "+c.name, servers))
		if server.database != 0 {
			rows = append(rows, inMicroseconds(p.name+": "+c.name+", in the database", databases))
		}
	}
	loaded, highest := server.memory(b)
	row("memory when ready", "MiB", idle)
	row("memory after the load", "MiB", loaded)
	row("memory at its highest", "MiB", highest)
	row("ready after", "s", server.ready.Seconds())
	if server.size != nil {
		row("stored for a code flow", "bytes", server.storedByCodeFlow(b))
	}
	p.describe(b, server.version+": "+p.settings)
	for _, r := range rows {
		table.add(b, r)
	}
}

// inMicroseconds is a row of costs, whose unit is that of every other.
func inMicroseconds(name string, costs []time.Duration) results.Row {
	return results.Row{
		Group: peerRows, Name: name, Unit: "µs of CPU", Value: microseconds(median(costs)),
		Turns: len(costs), Spread: &results.Range{Low: microseconds(slices.Min(costs)), High: microseconds(slices.Max(costs))},
	}
}

// warmUp lets a server do a step for so long, and returns how many of them each connection does in
// about a second.
func (s *runningPeer) warmUp(b *testing.B, duration time.Duration, do step) (each int) {
	b.Helper()
	const steps = 20
	rounds := 0
	began := time.Now()
	for time.Since(began) < duration {
		onConnections(b, s.address, workers, func(l *connection, worker int) error { return times(steps, l, worker, do) })
		rounds++
	}
	return max(steps, int(float64(steps*rounds)/time.Since(began).Seconds()))
}

// measure returns what each step cost the server and its database, by turn.
func (s *runningPeer) measure(b *testing.B, each int, prepare func() step) (servers, databases []time.Duration) {
	b.Helper()
	turns := 5
	if *peersBriefly {
		turns, each = 1, 20
	}
	n := time.Duration(each * workers)
	for range turns {
		do := prepare()
		s.verify(b, do)
		server, database := clocksOf(b, s.pid), clocksOf(b, s.database)
		onConnections(b, s.address, workers, func(l *connection, worker int) error { return times(each, l, worker, do) })
		time.Sleep(drainTime)
		servers = append(servers, clocksOf(b, s.pid).since(server)/n)
		databases = append(databases, clocksOf(b, s.database).since(database)/n)
	}
	return servers, databases
}

// storedByCodeFlow is by how many bytes the database grows for each code flow.
func (s *runningPeer) storedByCodeFlow(b *testing.B) float64 {
	b.Helper()
	const each = 100
	before := s.size(b)
	onConnections(b, s.address, workers, func(l *connection, worker int) error { return times(each, l, worker, s.codeFlow) })
	return (s.size(b) - before) / (each * workers)
}

// token is a step that gets a token for a machine.
func (s *runningPeer) token(l *connection, worker, _ int) error {
	form := url.Values{"grant_type": {"client_credentials"}}
	if s.service.scope != "" {
		form.Set("scope", s.service.scope)
	}
	return s.exchange(l, worker, s.service, form)
}

// openSessions signs the users in, one after the other: hashing passwords is not compared, and a
// server may refuse many at once.
func (s *runningPeer) openSessions(b *testing.B) {
	b.Helper()
	for worker, user := range s.users {
		if _, err := user.code(s); err != nil {
			b.Fatalf("signing in user %d: %v\nlogs:\n%s", worker, err, tail())
		}
	}
}

// signIn gives each worker a refresh token.
func (s *runningPeer) signIn(b *testing.B) {
	b.Helper()
	onConnections(b, s.address, workers, func(l *connection, worker int) error { return s.codeFlow(l, worker, 0) })
	for worker, t := range s.last {
		if t.Refresh == "" {
			b.Fatalf("worker %d got no refresh token", worker)
		}
	}
}

// refresh is a step that uses the worker's refresh token.
func (s *runningPeer) refresh(l *connection, worker, _ int) error {
	return s.exchange(l, worker, s.web, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {s.last[worker].Refresh}})
}

// codeFlow is a step from the authorization request to the tokens.
func (s *runningPeer) codeFlow(l *connection, worker, _ int) error {
	code, err := s.users[worker].code(s)
	if err != nil {
		return err
	}
	return s.exchange(l, worker, s.web, url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {peerCallback}, "code_verifier": {verifier},
	})
}

// exchange asks the token endpoint for tokens, which are the worker's from then on.
func (s *runningPeer) exchange(l *connection, worker int, c peerClient, form url.Values) error {
	a, err := l.sendExpecting(http.StatusOK, post(s.address, s.endpoints.tokenPath(), basic(c.id, c.secret), form))
	if err != nil {
		return err
	}
	if !bytes.Contains(a.body, []byte(`"access_token"`)) {
		return fmt.Errorf("answered without a token: %s", a.body)
	}
	return s.last[worker].read(a.body)
}
