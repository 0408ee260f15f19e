//go:build postgres

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres/postgrestest"
)

// migrateDSNVariable is the environment variable that makes the test program a replica that starts,
// creates a grant in the database of the DSN, and exits.
const migrateDSNVariable = "POSTGRES_TEST_MIGRATE"

func TestProcessesThatStartAtOnceMakeTheSchemaOnce(t *testing.T) {
	if dsn := os.Getenv(migrateDSNVariable); dsn != "" {
		mustCreate(t, open(t, dsn), newGrant(os.Getenv(migrateDSNVariable+"_ID")))
		return
	}
	database := shared.NewDatabase(t)
	var all sync.WaitGroup
	for _, id := range []string{"a", "b", "c", "d", "e", "f"} {
		all.Go(func() {
			cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1")
			cmd.Env = append(os.Environ(), migrateDSNVariable+"="+shared.DSN(database), migrateDSNVariable+"_ID="+id)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("a replica: %v\n%s", err, out)
			}
		})
	}
	all.Wait()
	if n := postgrestest.QueryValue[int](t, shared, database, "SELECT count(*) FROM oauth_grants"); n != 6 {
		t.Errorf("%d of 6 replicas have written", n)
	}
	if n := postgrestest.QueryValue[int](t, shared, database, "SELECT count(DISTINCT holder) FROM oauth_schema_migrations WHERE version = 1"); n != 1 {
		t.Errorf("%d replicas made the first version of the schema", n)
	}
}

func TestASchemaNewerThanTheProgramIsRefused(t *testing.T) {
	database := shared.NewDatabase(t)
	open(t, shared.DSN(database)).Close()
	shared.Exec(t, database, "INSERT INTO oauth_schema_migrations VALUES (7, 'a newer version', now(), now())")
	s := openUnchecked(t, shared.DSN(database))
	err := s.Ready()
	if err == nil || !strings.Contains(err.Error(), "schema is of version 7") || !strings.Contains(err.Error(), fmt.Sprint("up to ", postgres.NewestMigration())) {
		t.Errorf("the store says %v", err)
	}
	if _, err := s.CreateGrant(t.Context(), newGrant("g")); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("CreateGrant: %v, want ErrUnavailable", err)
	}
	shared.Exec(t, database, "DELETE FROM oauth_schema_migrations WHERE version = 7")
	eventually.True(t, "the store works once the newer schema has gone", func() bool { return s.Ready() == nil })
}

func TestAMigrationWhoseReplicaDiedIsTakenOver(t *testing.T) {
	database := shared.NewDatabase(t)
	open(t, shared.DSN(database)).Close()
	// It had created one table.
	shared.Exec(t, database, "DROP TABLE oauth_marks, oauth_consents, oauth_pairs")
	shared.Exec(t, database, "UPDATE oauth_schema_migrations SET holder = 'dead', applied_at = NULL, claimed_at = now() - INTERVAL '25 seconds'")
	began := time.Now()
	s := openUnchecked(t, shared.DSN(database))
	if err := s.Ready(); err != nil {
		t.Fatalf("the store is not ready: %v", err)
	}
	if waited := time.Since(began); waited < 4*time.Second {
		t.Errorf("it waited for %v, and the other had 5 s left", waited)
	}
	mustCreate(t, s, newGrant("g"))
}

// revertToSchema2 reverts the schema to version 2, before consents had a UID.
const revertToSchema2 = `
	ALTER TABLE oauth_grants DROP COLUMN apis, DROP COLUMN claims, DROP COLUMN consent_uid;
	ALTER TABLE oauth_consents DROP COLUMN uid, DROP COLUMN apis, DROP COLUMN claims;
	DELETE FROM oauth_schema_migrations WHERE version > 2`

func TestWhatWasWrittenBeforeConsentsHadAUIDGoesOnWhereItsConsentIsThere(t *testing.T) {
	database := shared.NewDatabase(t)
	s := open(t, shared.DSN(database))
	g := newGrant("rests on it")
	if _, err := s.PutConsent(t.Context(), storage.Consent{UserUID: g.UserUID, ClientUID: g.ClientUID, Scopes: []string{"openid", "orders:read"}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		id, client string
		consented  bool
	}{{"rests on it", g.ClientUID, true}, {"its consent is gone", "another", true}, {"by password", g.ClientUID, false}} {
		g := newGrant(c.id)
		g.ClientUID, g.Consented, g.Scopes = c.client, c.consented, []string{"openid", "orders:read"}
		mustCreate(t, s, g)
	}
	s.Close()
	shared.Exec(t, database, revertToSchema2)

	s = open(t, shared.DSN(database))
	consent, err := s.GetConsent(t.Context(), g.UserUID, g.ClientUID)
	if err != nil || consent.UID == "" || len(consent.Scopes) != 2 || len(consent.APIs) != 0 {
		t.Fatalf("the consent is %+v, %v", consent, err)
	}
	if _, err := s.Sweep(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]struct{ consent, ended string }{
		"rests on it": {consent.UID, ""}, "its consent is gone": {"", storage.EndConsentWithdrawn}, "by password": {"", ""},
	} {
		got, err := s.GetGrant(t.Context(), id)
		if err != nil || got.ConsentUID != want.consent || got.EndReason != want.ended || len(got.Scopes) != 2 || len(got.APIs) != 0 {
			t.Errorf("%s: %+v, %v", id, got, err)
		}
	}
}

// During an upgrade, replicas of the earlier version write consents without a UID.
func TestAConsentWithoutAUIDGetsOneWhenItGrows(t *testing.T) {
	database := shared.NewDatabase(t)
	s := open(t, shared.DSN(database))
	if _, err := s.PutConsent(t.Context(), storage.Consent{UserUID: "u", ClientUID: "c"}); err != nil {
		t.Fatal(err)
	}
	shared.Exec(t, database, "UPDATE oauth_consents SET uid = ''")
	if there, err := s.HasConsent(t.Context(), "u", "c", ""); err != nil || there {
		t.Errorf("a consent without a UID counts: %v, %v", there, err)
	}
	consent, err := s.GetConsent(t.Context(), "u", "c")
	if err != nil {
		t.Fatal(err)
	}
	if consent, err = s.PutConsent(t.Context(), consent); err != nil || consent.UID == "" {
		t.Errorf("it is %+v, %v", consent, err)
	}
}

// Deleting the row is how an administrator withdraws a consent.
func TestDeletingTheRowOfAConsentWithdrawsIt(t *testing.T) {
	database := shared.NewDatabase(t)
	s := open(t, shared.DSN(database))
	g := newGrant("g")
	consent, err := s.PutConsent(t.Context(), storage.Consent{UserUID: g.UserUID, ClientUID: g.ClientUID})
	if err != nil {
		t.Fatal(err)
	}
	g.Consented, g.ConsentUID = true, consent.UID
	mustCreate(t, s, g)
	shared.Exec(t, database, "DELETE FROM oauth_consents WHERE user_uid = '"+g.UserUID+"'")
	if there, err := s.HasConsent(t.Context(), g.UserUID, g.ClientUID, consent.UID); err != nil || there {
		t.Errorf("it still counts: %v, %v", there, err)
	}
	if _, err := s.Sweep(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if g, err := s.GetGrant(t.Context(), "g"); err != nil || g.EndReason != storage.EndConsentWithdrawn {
		t.Errorf("the grant is %+v, %v", g, err)
	}
}

func TestWhereTheSchemaIsThereNoRightToMakeItIsNeeded(t *testing.T) {
	database := shared.NewDatabase(t)
	open(t, shared.DSN(database)).Close()
	shared.Exec(t, database, "CREATE ROLE modest_"+database+" LOGIN PASSWORD 'modest'; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO modest_"+database)
	dsn := "postgres://modest_" + database + ":modest@" + shared.Address() + "/" + database + "?sslmode=disable"
	mustCreate(t, open(t, dsn), newGrant("g"))

	empty := shared.NewDatabase(t)
	s := openUnchecked(t, strings.Replace(dsn, "/"+database+"?", "/"+empty+"?", 1))
	if err := s.Ready(); err == nil || !strings.Contains(err.Error(), "grant it CREATE on the schema") || strings.Contains(err.Error(), "modest@") {
		t.Errorf("without the right to make tables the store says %v", err)
	}
}

func TestADatabaseThatWasEmptiedIsFilledAgainWithoutARestart(t *testing.T) {
	database := shared.NewDatabase(t)
	s := open(t, shared.DSN(database))
	mustCreate(t, s, newGrant("g"))
	shared.Exec(t, database, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
	if _, err := s.GetGrant(t.Context(), "g"); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("without tables: %v, want ErrUnavailable", err)
	}
	eventually.True(t, "the tables are made again", func() bool {
		_, err := s.CreateGrant(t.Context(), newGrant("g"))
		return err == nil
	})
}

// unportable matches what CockroachDB and YugabyteDB refuse or ignore.
var unportable = regexp.MustCompile(`(?i)advisory|\blisten\b|\bnotify\b|skip locked|partition|inherits|\bserial\b|nextval|sequence|trigger|` +
	`\bfunction\b|\bdo \$|using (gin|gist|brin|hash)|\bexclude\b|deferrable|lock table|\bbegin\b|\bmerge\b|\bctid\b|\bjsonb?\b|` +
	`(?s)\bwith\b.*\b(insert|update|delete)\b`)

func TestOnlyWhatOtherDatabasesSpeakIsSaid(t *testing.T) {
	for _, statement := range postgres.Statements() {
		if found := unportable.FindString(statement); found != "" {
			t.Errorf("%q is in %s", found, statement)
		}
	}
}

// revertToSchema5 reverts the schema to version 5, before grants had due_at.
const revertToSchema5 = `
	ALTER TABLE oauth_grants DROP COLUMN due_at;
	DROP INDEX IF EXISTS oauth_grants_live_of_pair;
	DROP TABLE oauth_sweeps;
	CREATE INDEX oauth_grants_of_pair ON oauth_grants (server_uid, user_uid, client_uid);
	CREATE INDEX oauth_grants_by_expiry ON oauth_grants (expires_at, server_uid, ended_at);
	DELETE FROM oauth_schema_migrations WHERE version > 5`

const countValidIndexes = `SELECT count(*) FROM pg_index WHERE indrelid = 'oauth_grants'::regclass AND indisvalid`

// asBackup begins a transaction that reads the grants and keeps its snapshot, as pg_dump does.
func asBackup(t *testing.T, database string) pgx.Tx {
	t.Helper()
	tx := beginTransaction(t, shared.DSN(database))
	if _, err := tx.Exec(t.Context(), "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM oauth_grants"); err != nil {
		t.Fatal(err)
	}
	return tx
}

// countSessions returns how many sessions of a database have a state and a last statement.
func countSessions(t *testing.T, database, state, statement string) int {
	t.Helper()
	return postgrestest.QueryValue[int](t, shared, database, `SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = $1 AND query ~ $2`, state, statement)
}

func TestIndexesAreMadeWhileOthersWriteByOneReplica(t *testing.T) {
	database := shared.NewDatabase(t)
	s := open(t, shared.DSN(database))
	mustCreate(t, s, newGrant("g"))
	s.Close()
	shared.Exec(t, database, revertToSchema5)
	// The first index waits for the end of a transaction that may read what was before.
	tx := beginTransaction(t, shared.DSN(database))
	if _, err := tx.Exec(t.Context(), "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM oauth_consents"); err != nil {
		t.Fatal(err)
	}
	var opening sync.WaitGroup
	for range 2 {
		opening.Go(func() {
			if err := openUnchecked(t, shared.DSN(database)).Ready(); err != nil {
				t.Errorf("a replica: %v", err)
			}
		})
	}
	const areMade = "SELECT count(*) FROM pg_stat_progress_create_index"
	eventually.True(t, "an index is being made", func() bool { return postgrestest.QueryValue[int](t, shared, database, areMade) == 1 })
	shared.Exec(t, database, `INSERT INTO oauth_pairs VALUES ('server-uid', 'u', 'c', now());
		UPDATE oauth_grants SET last_used = now() WHERE id = 'none'`)
	const holder = "SELECT holder FROM oauth_schema_migrations WHERE version = 6"
	before := postgrestest.QueryValue[string](t, shared, database, holder)
	shared.Exec(t, database, "UPDATE oauth_schema_migrations SET claimed_at = now() - INTERVAL '15 seconds' WHERE applied_at IS NULL")
	eventually.True(t, "the claim is renewed", func() bool {
		return postgrestest.QueryValue[bool](t, shared, database, "SELECT claimed_at > now() - INTERVAL '10 seconds' FROM oauth_schema_migrations WHERE version = 6")
	})
	if after := postgrestest.QueryValue[string](t, shared, database, holder); after != before {
		t.Error("another replica has taken over")
	}
	if n := postgrestest.QueryValue[int](t, shared, database, areMade); n != 1 {
		t.Errorf("%d sessions make indexes, want 1", n)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	opening.Wait()
	if n := postgrestest.QueryValue[int](t, shared, database, countValidIndexes); n != 3 {
		t.Errorf("the table has %d valid indexes, want 3", n)
	}
}

// While a session makes an index, or a backup runs, who asks for the table for himself makes all
// others wait.
func TestAReplicaWaitsForAnIndexThatAnotherLeftWithoutALockOnTheTable(t *testing.T) {
	const addColumn = "ALTER TABLE oauth_grants ADD COLUMN due_at TIMESTAMPTZ NOT NULL DEFAULT now();"
	for _, c := range []struct{ before, left string }{
		{addColumn, "(^|\n)CREATE INDEX CONCURRENTLY"},
		{addColumn + `CREATE INDEX oauth_grants_due ON oauth_grants (server_uid, due_at, ended_at);
			CREATE INDEX oauth_grants_live_of_pair ON oauth_grants (server_uid, user_uid, client_uid) WHERE ended_at IS NULL`, "(^|\n)DROP INDEX CONCURRENTLY"},
	} {
		database := shared.NewDatabase(t)
		open(t, shared.DSN(database)).Close()
		shared.Exec(t, database, revertToSchema5+";"+c.before)
		backup := asBackup(t, database)
		firstTime, end := context.WithCancel(t.Context())
		left := make(chan *postgres.Store)
		go func() {
			s, err := postgres.Open(firstTime, newOptions(t, shared.DSN(database)))
			if err != nil {
				t.Error(err)
			}
			left <- s
		}()
		eventually.True(t, "a session works on an index", func() bool { return countSessions(t, database, "active", c.left) == 1 })
		end()
		(<-left).Close()
		shared.Exec(t, database, "UPDATE oauth_schema_migrations SET claimed_at = now() - INTERVAL '31 seconds' WHERE applied_at IS NULL")
		opened := make(chan error)
		go func() { opened <- openUnchecked(t, shared.DSN(database)).Ready() }()
		lookedAt := func() string {
			return postgrestest.QueryValue[string](t, shared, database, `SELECT COALESCE(max(query_start)::TEXT, '') FROM pg_stat_activity
				WHERE datname = current_database() AND state = 'idle' AND query LIKE 'SELECT i.indisvalid%'`)
		}
		eventually.True(t, "the next replica looks at the index", func() bool { return lookedAt() != "" })
		first := lookedAt()
		eventually.True(t, "it looks again and waits on", func() bool { return lookedAt() != first && lookedAt() != "" })
		shared.Exec(t, database, "UPDATE oauth_grants SET last_used = now() WHERE id = 'none'")
		if n := countSessions(t, database, "active", c.left); n != 1 {
			t.Errorf("%d sessions execute %s, want that which was left", n, c.left)
		}
		if err := backup.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-opened; err != nil {
			t.Errorf("after %s the next replica: %v", c.left, err)
		}
		if n := postgrestest.QueryValue[int](t, shared, database, countValidIndexes); n != 3 {
			t.Errorf("the table has %d valid indexes, want 3", n)
		}
	}
}

// A backup holds a lock on every table for as long as it takes.
func TestAMigrationSeldomWaitsForALockThatAllOthersWaitBehind(t *testing.T) {
	database := shared.NewDatabase(t)
	open(t, shared.DSN(database)).Close()
	shared.Exec(t, database, revertToSchema5)
	backup := asBackup(t, database)
	opened := make(chan error)
	go func() { opened <- openUnchecked(t, shared.DSN(database)).Ready() }()
	tried := func() (at time.Time) {
		return postgrestest.QueryValue[time.Time](t, shared, database, `SELECT COALESCE(max(claimed_at), 'epoch') FROM oauth_schema_migrations WHERE version = 6`)
	}
	eventually.True(t, "the migration tries", func() bool { return tried().Unix() > 0 })
	first := tried()
	eventually.True(t, "it tries again", func() bool { return tried() != first })
	if pause := tried().Sub(first); pause < 5*time.Second {
		t.Errorf("the next try was after %v, want at least 5 s", pause)
	}
	shared.Exec(t, database, "UPDATE oauth_grants SET last_used = now() WHERE id = 'none'")
	if err := backup.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Errorf("the store is not ready: %v", err)
	}
}

func TestAnAttemptToMigrateThatEndsSaysWhatHeldItUp(t *testing.T) {
	database := shared.NewDatabase(t)
	open(t, shared.DSN(database)).Close()
	shared.Exec(t, database, revertToSchema5)
	asBackup(t, database)
	attempt, end := context.WithCancel(t.Context())
	opened := make(chan *postgres.Store)
	go func() {
		s, err := postgres.Open(attempt, newOptions(t, shared.DSN(database)))
		if err != nil {
			t.Error(err)
		}
		opened <- s
	}()
	eventually.True(t, "the migration has tried", func() bool { return countSessions(t, database, "idle", "lock_timeout") == 1 })
	end()
	s := <-opened
	defer s.Close()
	if problem := s.State().Problem; !strings.Contains(problem, "another session, such as a backup") || !strings.Contains(problem, "lock timeout") {
		t.Errorf("the store says %q", problem)
	}
}

// A session gives its locks back before others see that its index is valid.
func TestAnIndexThatIsFinishedAtThatMomentIsKept(t *testing.T) {
	database := shared.NewDatabase(t)
	open(t, shared.DSN(database)).Close()
	shared.Exec(t, database, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'oauth_grants_due'::regclass")
	shared.Exec(t, database, "DELETE FROM oauth_schema_migrations WHERE version = 6")
	const index = "SELECT 'oauth_grants_due'::regclass::oid::bigint"
	before := postgrestest.QueryValue[int](t, shared, database, index)
	finishing := beginTransaction(t, shared.DSN(database))
	if _, err := finishing.Exec(t.Context(), "UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'oauth_grants_due'::regclass"); err != nil {
		t.Fatal(err)
	}
	opened := make(chan error)
	go func() { opened <- openUnchecked(t, shared.DSN(database)).Ready() }()
	eventually.True(t, "the replica has looked at the index", func() bool { return countSessions(t, database, "idle", "^SELECT i.indisvalid") == 1 })
	if err := finishing.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Errorf("the store is not ready: %v", err)
	}
	if after := postgrestest.QueryValue[int](t, shared, database, index); after != before {
		t.Error("the index was made once more")
	}
}

func TestAnIndexThatWasInterruptedIsMadeAgain(t *testing.T) {
	database := shared.NewDatabase(t)
	open(t, shared.DSN(database)).Close()
	shared.Exec(t, database, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'oauth_grants_due'::regclass")
	shared.Exec(t, database, "DELETE FROM oauth_schema_migrations WHERE version = 6")
	open(t, shared.DSN(database))
	if n := postgrestest.QueryValue[int](t, shared, database, countValidIndexes); n != 3 {
		t.Errorf("the table has %d valid indexes, want 3", n)
	}
}
