//go:build postgres

package postgres_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres/postgrestest"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/storagetest"
)

// shared is the server of the tests that neither stop nor configure it.
var shared *postgrestest.Server

func TestMain(m *testing.M) {
	if os.Getenv(migrateDSNVariable) != "" {
		os.Exit(m.Run()) // a replica of TestProcessesThatStartAtOnceMakeTheSchemaOnce
	}
	var err error
	if shared, err = postgrestest.New(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	shared.Stop()
	os.Exit(code)
}

func TestPostgresIsAStore(t *testing.T) {
	// Each test has a ServerUID of its own, and must not see the records of the others.
	dsn := shared.DSN(shared.NewDatabase(t))
	storagetest.Run(t, func(t *testing.T) storagetest.Backend {
		return open(t, dsn, func(o *postgres.Options) { o.ServerUID = t.Name() })
	})
}

// testStore is a store under test.
type testStore struct {
	*postgres.Store
	file, dsn, serverUID string
}

// DeleteConsent deletes the row of a consent, as people do to withdraw it.
func (o *testStore) DeleteConsent(ctx context.Context, userUID, clientUID string) error {
	conn, err := pgx.Connect(ctx, o.dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // the row was deleted, or that failed
	_, err = conn.Exec(ctx, "DELETE FROM oauth_consents WHERE server_uid = $1 AND user_uid = $2 AND client_uid = $3", o.serverUID, userUID, clientUID)
	return err
}

// DeleteIdentity deletes the row of an identity.
func (o *testStore) DeleteIdentity(ctx context.Context, subject string) error {
	conn, err := pgx.Connect(ctx, o.dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // the row was deleted, or that failed
	_, err = conn.Exec(ctx, "DELETE FROM oauth_identities WHERE server_uid = $1 AND subject = $2", o.serverUID, subject)
	return err
}

// newOptions returns options with the DSN in a new file.
func newOptions(t *testing.T, dsn string) postgres.Options {
	t.Helper()
	file := filepath.Join(t.TempDir(), "dsn")
	replaceFile(t, file, dsn)
	return postgres.Options{
		DSNFile: file, ServerUID: "server-uid", Now: time.Now, Random: rand.Reader, Log: slog.New(slog.DiscardHandler),
	}
}

// replaceFile writes a file.
func replaceFile(t *testing.T, file, content string) {
	t.Helper()
	// Atomically, as a projected volume changes.
	if err := os.WriteFile(file+".next", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".next", file); err != nil {
		t.Fatal(err)
	}
}

// open opens a store that must be ready at once.
func open(t *testing.T, dsn string, change ...func(*postgres.Options)) *testStore {
	t.Helper()
	s := openUnchecked(t, dsn, change...)
	if err := s.Ready(); err != nil {
		t.Fatalf("the store is not ready: %v", err)
	}
	return s
}

// openUnchecked opens a store that need not become ready.
func openUnchecked(t *testing.T, dsn string, change ...func(*postgres.Options)) *testStore {
	t.Helper()
	o := newOptions(t, dsn)
	var written lockedBuilder
	o.Log = slog.New(slog.NewTextHandler(&written, nil))
	for _, c := range change {
		c(&o)
	}
	s, err := postgres.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		if strings.Contains(written.String(), postgrestest.Password) {
			t.Errorf("the password is in the log:\n%s", written.String())
		}
	})
	return &testStore{Store: s, file: o.DSNFile, dsn: dsn, serverUID: o.ServerUID}
}

type lockedBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuilder) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuilder) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newGrant(id string) storage.Grant {
	now := time.Now()
	return storage.Grant{
		ID: id, Incarnation: "incarnation", Attempt: "attempt", ClientUID: "client-uid", ClientID: "shop.web", UserUID: "user-uid",
		Subject: "248289761001", Scopes: []string{"openid"}, RefreshTokenNumber: 1, CreatedAt: now, LastUsedAt: now, ExpiresAt: now.Add(time.Hour),
	}
}

func mustCreate(t *testing.T, s storage.Store, g storage.Grant) storage.Grant {
	t.Helper()
	created, err := s.CreateGrant(t.Context(), g)
	if err != nil {
		t.Fatalf("CreateGrant: %v", err)
	}
	return created
}

func mustGet(t *testing.T, s storage.Store, id string) storage.Grant {
	t.Helper()
	g, err := s.GetGrant(t.Context(), id)
	if err != nil {
		t.Fatalf("Grant: %v", err)
	}
	return g
}

// beginTransaction begins a transaction on a new connection.
func beginTransaction(t *testing.T, dsn string) pgx.Tx {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// offset is a clock that is late by what was added.
type offset struct{ by atomic.Int64 }

func (o *offset) now() time.Time { return time.Now().Add(time.Duration(o.by.Load())) }

func (o *offset) add(d time.Duration) { o.by.Add(int64(d)) }

// createAtOnce creates so many grants, all at once, and fails the test unless all are created.
func createAtOnce(t *testing.T, s storage.Store, n int) {
	t.Helper()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			g := newGrant(rand.Text())
			g.UserUID = fmt.Sprint("user ", i)
			if _, err := s.CreateGrant(t.Context(), g); err != nil {
				t.Errorf("CreateGrant: %v", err)
			}
		})
	}
	all.Wait()
}
