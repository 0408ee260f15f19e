//go:build postgres

package replicas

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres/postgrestest"
)

// maxStoreOperations is how many operations of the storage a replica has in progress at most.
const maxStoreOperations = 1024

func TestADatabaseThatHangsDoesNotTakeTokensForMachinesAlong(t *testing.T) {
	database := postgrestest.Start(t)
	proxy := postgrestest.NewProxy(t, database)
	s := newReplicatedServer(t, usePostgreSQL(t, postgrestest.DSN(proxy.Address(), "postgres", "sslmode=disable")))
	s.dumpRecords = func() string { return database.Dump(t, "postgres") }
	token := s.issueTokens(0).token("refresh_token")
	metrics := func() (waiting, refused float64) {
		return s.metric("oauth_operator_tokenserver_storage_operations_in_progress", ""),
			s.metric("oauth_operator_tokenserver_storage_errors_total", `error="refused"`)
	}

	proxy.HoldResponses(true)
	const sent = maxStoreOperations + 400
	answers := make(chan answer, sent)
	for range sent {
		go func() { answers <- s.post(0, "/token", refresh(token)) }()
	}
	highest, machines := 0.0, 0
	for answered := 0; answered < sent; {
		select {
		case a := <-answers:
			answered++
			if !a.isError(http.StatusServiceUnavailable, "temporarily_unavailable") || a.retryAfter == "" {
				t.Fatalf("a refresh is answered %d %v (%v), Retry-After %q", a.status, a.body, a.err, a.retryAfter)
			}
		case <-time.After(20 * time.Millisecond):
			waiting, _ := metrics()
			highest = max(highest, waiting)
			s.requireOK(s.post(0, "/token", url.Values{"grant_type": {"client_credentials"}}))
			machines++
		}
	}
	_, refused := metrics()
	if highest > maxStoreOperations+10 || refused == 0 { // other replicas check their databases too
		t.Errorf("%v requests waited for the database, and %v were refused at once", highest, refused)
	}
	t.Logf("of %d requests %v waited at once at most, and %v were refused; meanwhile %d tokens for machines were issued", sent, highest, refused, machines)
	proxy.HoldResponses(false)
	s.Eventually("the token to be refreshed", 30*time.Second, func() (bool, string) {
		a := s.post(0, "/token", refresh(token))
		if a.status != http.StatusOK && a.status != http.StatusServiceUnavailable {
			t.Fatalf("the token was used up: %d %v", a.status, a.body["error"])
		}
		return a.status == http.StatusOK, "it is refused still"
	})
}
