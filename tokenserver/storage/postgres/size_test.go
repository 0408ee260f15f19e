//go:build postgres

package postgres_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/notbefore"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres/postgrestest"
)

// manyGrants is how many grants the tests of the size make: as many as GRANTS says, for what takes
// long.
func manyGrants(t *testing.T) int {
	t.Helper()
	text := os.Getenv("GRANTS")
	if text == "" {
		return 200_000
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 100_000 {
		t.Fatalf("GRANTS is %q, and not a number of at least 100,000 grants", text)
	}
	return n
}

// plan is what auto_explain writes of a statement.
type plan struct {
	Query string `json:"Query Text"`
	Plan  node
}

type node struct {
	Type     string `json:"Node Type"`
	Relation string `json:"Relation Name"`
	Hit      int    `json:"Shared Hit Blocks"`
	Read     int    `json:"Shared Read Blocks"`
	Plans    []node
}

// scans appends the tables that are read as a whole.
func (n node) scans(tables []string) []string {
	if n.Type == "Seq Scan" {
		tables = append(tables, n.Relation)
	}
	for _, below := range n.Plans {
		tables = below.scans(tables)
	}
	return tables
}

// explaining are the settings of a server that logs the plan of each statement, with what it read.
var explaining = []string{
	"session_preload_libraries=auto_explain", "auto_explain.log_min_duration=0", "auto_explain.log_format=json", "auto_explain.log_analyze=on",
	"auto_explain.log_buffers=on", "auto_explain.log_timing=off", "shared_buffers=1GB", "maintenance_work_mem=1GB", "max_wal_size=16GB",
}

// plansOf returns the plans in a log.
func plansOf(t *testing.T, log string) []plan {
	t.Helper()
	var plans []plan
	for _, entry := range strings.Split(log, "  plan:\n")[1:] {
		var p plan
		if err := json.NewDecoder(strings.NewReader(entry)).Decode(&p); err != nil {
			t.Fatalf("%v: %s", err, entry)
		}
		plans = append(plans, p)
	}
	return plans
}

var parameter = regexp.MustCompile(`[@$]\w+`)

// unify returns a statement without what differs between how it is written and how it is sent.
func unify(statement string) string {
	return strings.Join(strings.Fields(parameter.ReplaceAllString(statement, "?")), " ")
}

// What a statement reads is counted in blocks of 8 KiB, of tables and indexes.
func TestWhatAStatementReadsDoesNotGrowWithTheTable(t *testing.T) {
	n := manyGrants(t)
	server := postgrestest.Start(t, explaining...)
	database := server.NewDatabase(t)
	records := postgrestest.Records{ServerUID: "server-uid", Grants: n}
	open(t, server.DSN(database)).Close()
	server.Fill(t, database, records)
	s := open(t, server.DSN(database))
	s.SetGrantBounds(20, 2*n)
	s.SetIdentityBound(n)
	s.SetIdentitySpecs(func(string) bool { return false })
	before := len(server.Log())
	for i := range 8 { // after five executions PostgreSQL may prepare a plan for all parameters
		doAll(t, s, server, database, records, i*n/8)
	}
	countNearTheBound(t, s, n)
	s.Close()
	checkPlans(t, plansOf(t, logAfter(t, server, database, before)), n)
}

// logAfter returns what the server has logged up to now, but for the first bytes. The log comes through
// a pipe, a moment after the answer to the statement that it is about.
func logAfter(t *testing.T, server *postgrestest.Server, database string, first int) string {
	t.Helper()
	const end = "this is the end of the log"
	server.Exec(t, database, "DO $$ BEGIN RAISE LOG '"+end+"'; END $$")
	var log string
	eventually.True(t, "the whole log has come", func() bool {
		var found bool
		log, _, found = strings.Cut(server.Log()[first:], end)
		return found
	})
	return log
}

// checkPlans checks that each statement was executed, scans no table, and reads little.
func checkPlans(t *testing.T, plans []plan, n int) {
	t.Helper()
	most, scanned := map[string]int{}, map[string][]string{}
	for _, p := range plans {
		query := unify(p.Query)
		most[query] = max(most[query], p.Plan.Hit+p.Plan.Read)
		scanned[query] = p.Plan.scans(scanned[query])
	}
	for _, c := range []struct {
		statements map[string]string
		atMost     int
		mayScan    bool // what counts all rows of a server may read a table in which are no others
	}{{postgres.RequestStatements(), 300, false}, {postgres.CountingStatements(), n, true}, {postgres.SweepStatements(), 100 * postgres.SweepBatch, false}} {
		for name, statement := range c.statements {
			blocks, executed := most[unify(statement)]
			t.Logf("%s: %d blocks at most", name, blocks)
			if !executed || blocks > c.atMost {
				t.Errorf("%s was executed: %v, and has read %d blocks, want at most %d", name, executed, blocks, c.atMost)
			}
			for _, table := range scanned[unify(statement)] {
				if table != "oauth_sweeps" && !c.mayScan {
					t.Errorf("%s reads the whole of %s", name, table)
				}
			}
		}
	}
}

// doAll does what requests and a sweep do. The grants from i on are changed.
func doAll(t *testing.T, s *testStore, server *postgrestest.Server, database string, r postgrestest.Records, i int) {
	t.Helper()
	check := func(err error, allowed ...error) {
		t.Helper()
		for _, a := range allowed {
			if errors.Is(err, a) {
				return
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	g, _, err := s.GetGrantWithBasis(ctx, r.GrantID(i))
	check(err)
	_, err = s.GetGrant(ctx, r.GrantID(i+1))
	check(err)
	_, g, _, err = s.Rotate(ctx, rotationOf(g))
	check(err)
	g.ExpiresAt = g.ExpiresAt.Add(time.Hour)
	stale := g
	_, err = s.UpdateGrant(ctx, g)
	check(err)
	_, err = s.UpdateGrant(ctx, stale)
	check(err, storage.ErrConflict)
	for again := range 25 { // beyond the bound of a user and a client
		g.ID, g.CreatedAt = fmt.Sprint("new-", i, "-", again), time.Now()
		_, err = s.CreateGrant(ctx, g)
		check(err)
	}
	consent, err := s.PutConsent(ctx, storage.Consent{UserUID: fmt.Sprint("new-", i), ClientUID: "client"})
	check(err)
	_, err = s.PutConsent(ctx, consent)
	check(err)
	_, err = s.PutConsent(ctx, consent)
	check(err, storage.ErrConflict)
	_, err = s.GetConsent(ctx, consent.UserUID, consent.ClientUID)
	check(err)
	_, err = s.HasConsent(ctx, r.UserUID(i), r.ClientUID(i), "uid")
	check(err)
	doMarksAndIdentities(t, s, check, i)
	makeDue(t, server, database, r, i)
	_, err = s.Sweep(ctx, time.Now())
	check(err)
}

func doMarksAndIdentities(t *testing.T, s *testStore, check func(err error, allowed ...error), i int) {
	t.Helper()
	ctx := t.Context()
	for again := range 3 {
		mark := storage.Mark{
			ID: fmt.Sprint("new-", i, again), UserUID: fmt.Sprint("user-", again), ClientUID: "client", Namespace: "namespace", ExpiresAt: time.Now().Add(time.Hour),
		}
		for _, mark.Kind = range []storage.MarkKind{storage.MarkToken, storage.MarkSession} {
			check(s.SetMark(ctx, mark))
			_, err := s.IsMarked(ctx, mark.Kind, mark.ID)
			check(err)
			_, err = s.CountMarks(ctx, mark.Kind, mark.UserUID, 100)
			check(err)
		}
		mark.Kind = storage.MarkAssertion
		check(s.CreateMark(ctx, mark))
		check(s.CreateMark(ctx, mark), storage.ErrExists)
	}
	identity := storage.Identity{Subject: fmt.Sprint("new-", i), ProviderUID: "provider-uid", LastSignIn: time.Now()}
	idle := identity
	idle.Subject, idle.LastSignIn = fmt.Sprint("idle-", i), time.Now().Add(-2*storage.IdentityRetention)
	_, err := s.CreateIdentity(ctx, idle, 200_000)
	check(err)
	created, err := s.CreateIdentity(ctx, identity, 200_000)
	check(err)
	_, err = s.UpdateIdentity(ctx, created)
	check(err)
	_, err = s.UpdateIdentity(ctx, created)
	check(err, storage.ErrConflict)
	_, err = s.GetIdentity(ctx, identity.Subject)
	check(err)
	_, err = s.CountIdentities(ctx, "provider-uid")
	check(err)
}

// makeDue makes work for a sweep: from the i-th on, a hundred grants have expired, a hundred are due
// and have not, and a hundred have no consent; so have some of the other records.
func makeDue(t *testing.T, server *postgrestest.Server, database string, r postgrestest.Records, i int) {
	t.Helper()
	ids := make([]string, 0, 300)
	for k := range 300 {
		ids = append(ids, "'"+r.GrantID(i+k+1)+"'")
	}
	of := func(from, to int) string {
		return " WHERE server_uid = 'server-uid' AND id IN (" + strings.Join(ids[from:to], ",") + ")"
	}
	server.Exec(t, database, "SET auto_explain.log_min_duration = -1; "+
		"UPDATE oauth_grants SET expires_at = now(), due_at = now()"+of(0, 100)+
		"; UPDATE oauth_grants SET due_at = now()"+of(100, 200)+
		"; UPDATE oauth_grants SET consented = true, consent_uid = 'gone'"+of(200, 300)+
		"; UPDATE oauth_marks SET expires_at = now()"+of(0, 300)+
		"; UPDATE oauth_pairs SET expires_at = now() WHERE ctid IN (SELECT ctid FROM oauth_pairs LIMIT 700)")
}

// countNearTheBound has the store count where most places are taken and some grants are void.
func countNearTheBound(t *testing.T, s *testStore, n int) {
	t.Helper()
	s.SetNotBefore(func() notbefore.Times {
		return notbefore.Times{Users: map[string]int64{"user": time.Now().Unix() - 10}}
	})
	s.SetGrantBounds(20, n*9/10)
	if _, err := s.CreateGrant(t.Context(), newGrant("one more")); !errors.Is(err, storage.ErrFull) {
		t.Errorf("beyond the bound: %v, want ErrFull", err)
	}
}
