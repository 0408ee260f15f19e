//go:build postgres

package postgres_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres/postgrestest"
)

func TestAWrongDSNSaysWhatToChangeAndNeverThePassword(t *testing.T) {
	const secret = "top/secret@pass:word?"
	address := shared.Address()
	user := url.UserPassword("postgres", secret).String()
	unused := unusedAddress(t)
	for _, test := range []struct{ name, dsn, want string }{
		{"empty", "", "the DSN is empty"},
		{"no DSN", secret, "write postgres://user:password@host"},
		{"a password that is not encoded", "postgres://postgres:" + secret + "@" + address + "/postgres", "percent-encoded"},
		{"an unknown setting", "host=127.0.0.1 password='" + secret + "' sslmode=sometimes", "write postgres://"},
		{"a wrong password", "postgres://" + user + "@" + address + "/postgres", `refuses the user "postgres" of the DSN or its password`},
		{"a wrong user", "postgres://mallory:x" + strings.TrimPrefix(user, "postgres:") + "@" + address + "/postgres", `refuses the user "mallory"`},
		{"no such database", postgrestest.DSN(address, "nowhere", "sslmode=disable"), `no database "nowhere": create it, or correct the DSN`},
		{"no server", "postgres://" + user + "@" + unused + "/postgres", "cannot be used: "},
		{"no TLS there", "postgres://" + user + "@" + address + "/postgres?sslmode=require", "refused TLS"},
		{"no certificate", "postgres://" + user + "@" + address + "/postgres?sslmode=verify-full&sslrootcert=/nowhere/ca.crt", "/nowhere/ca.crt"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := openUnchecked(t, test.dsn)
			err := s.Ready()
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("the store says %v, want %q", err, test.want)
			}
			_, used := s.GetGrant(t.Context(), "g")
			if !errors.Is(used, storage.ErrUnavailable) {
				t.Errorf("Grant: %v, want ErrUnavailable", used)
			}
			for _, text := range []string{err.Error(), used.Error()} {
				for _, part := range []string{secret, "top/", "secret@", "word?", url.QueryEscape(secret), postgrestest.Password} {
					if strings.Contains(text, part) {
						t.Errorf("the error holds a part of the password: %s", text)
					}
				}
				if strings.Contains(text, "\n") {
					t.Errorf("the error has several lines: %q", text)
				}
			}
		})
	}
}

// unusedAddress returns an address that no server listens on.
func unusedAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // only the address is needed
	return l.Addr().String()
}

func TestADSNFileThatIsNotThereYetIsWaitedFor(t *testing.T) {
	dsn := shared.DSN(shared.NewDatabase(t))
	s := openUnchecked(t, dsn, func(o *postgres.Options) { o.DSNFile += "-later" })
	if err := s.Ready(); err == nil || !strings.Contains(err.Error(), "the DSN cannot be read") {
		t.Errorf("without the file the store says %v", err)
	}
	replaceFile(t, s.file, dsn)
	eventually.True(t, "the store works", func() bool { return s.Ready() == nil })
	mustCreate(t, s, newGrant("g"))
}

func TestAChangedDSNIsUsedWithoutARestart(t *testing.T) {
	first, second := shared.NewDatabase(t), shared.NewDatabase(t)
	var changes atomic.Int64
	s := open(t, shared.DSN(first), func(o *postgres.Options) { o.Changed = func() { changes.Add(1) } })
	mustCreate(t, s, newGrant("in the first"))
	replaceFile(t, s.file, shared.DSN(second)+"\n")
	eventually.True(t, "the second database is used", func() bool {
		_, err := s.GetGrant(t.Context(), "in the first")
		return errors.Is(err, storage.ErrNotFound)
	})
	mustCreate(t, s, newGrant("in the second"))
	eventually.True(t, "the first database is left", func() bool {
		return postgrestest.QueryValue[int](t, shared, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'oauth-operator' AND datname = $1", first) == 0
	})
	if changes.Load() == 0 {
		t.Error("Changed was not called")
	}
}

func TestACallUnderWayIsNotCutOffByAChangedDSN(t *testing.T) {
	database, other := shared.NewDatabase(t), shared.NewDatabase(t)
	s := open(t, shared.DSN(database))
	g := mustCreate(t, s, newGrant("g"))
	tx := beginTransaction(t, shared.DSN(database))
	if _, err := tx.Exec(t.Context(), "SELECT * FROM oauth_grants FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	updated := make(chan error)
	go func() {
		_, err := s.UpdateGrant(t.Context(), g)
		updated <- err
	}()
	eventually.True(t, "the update waits", func() bool {
		return postgrestest.QueryValue[int](t, shared, database, "SELECT count(*) FROM pg_locks WHERE NOT granted") > 0
	})
	replaceFile(t, s.file, shared.DSN(other))
	eventually.True(t, "the other database is used", func() bool {
		_, err := s.GetGrant(t.Context(), "g")
		return errors.Is(err, storage.ErrNotFound)
	})
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-updated; err != nil {
		t.Errorf("the update: %v", err)
	}
}

func TestAChangedDSNThatIsWrongIsSaidAndDoesNotEndWhatWorks(t *testing.T) {
	dsn := shared.DSN(shared.NewDatabase(t))
	s := open(t, dsn)
	mustCreate(t, s, newGrant("g"))
	replaceFile(t, s.file, strings.Replace(dsn, "s3cret", "wrong", 1))
	eventually.True(t, "the store says so", func() bool { return s.Ready() != nil })
	if problem := s.State().Problem; !strings.Contains(problem, "refuses the user") {
		t.Errorf("the problem is %q", problem)
	}
	mustGet(t, s, "g")
	replaceFile(t, s.file, dsn)
	eventually.True(t, "the store is ready again", func() bool { return s.Ready() == nil })
}

func TestConnectionsAreBounded(t *testing.T) {
	database := shared.NewDatabase(t)
	s := open(t, shared.DSN(database)+"&pool_max_conns=3", func(o *postgres.Options) { o.CallTimeout = 500 * time.Millisecond })
	g := mustCreate(t, s, newGrant("g"))
	tx := beginTransaction(t, shared.DSN(database))
	if _, err := tx.Exec(t.Context(), "SELECT * FROM oauth_grants FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	results := make(chan error)
	for range 12 {
		go func() {
			_, err := s.UpdateGrant(t.Context(), g)
			results <- err
		}()
	}
	ambiguous := 0
	for range 12 {
		switch err := <-results; {
		case errors.Is(err, storage.ErrAmbiguous):
			ambiguous++ // it had been sent
		case !errors.Is(err, storage.ErrUnavailable):
			t.Errorf("an update that cannot be done in time: %v", err)
		}
	}
	if ambiguous == 0 || ambiguous > 3 {
		t.Errorf("%d updates were sent, over 3 connections", ambiguous)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually.True(t, "the store works again", func() bool {
		_, err := s.GetGrant(t.Context(), "g")
		return err == nil
	})
}

func TestAStandbyIsNotUsed(t *testing.T) {
	database := shared.NewDatabase(t)
	open(t, shared.DSN(database)).Close()
	shared.Exec(t, "postgres", "ALTER DATABASE "+database+" SET default_transaction_read_only = on")
	primary := postgrestest.Start(t)
	standby := primary.StartStandby(t, "standby")
	s := open(t, postgrestest.HostsDSN("postgres", "sslmode=disable", standby.Address(), primary.Address()))
	g := mustCreate(t, s, newGrant("g"))
	eventually.True(t, "the standby has it", func() bool {
		return postgrestest.QueryValue[int](t, standby, "postgres", "SELECT count(*) FROM oauth_grants") == 1
	})
	standby.Exec(t, "postgres", "SELECT pg_wal_replay_pause()")
	primary.Exec(t, "postgres", "UPDATE oauth_grants SET ended_at = now(), end_reason = 'Revoked'")
	if !mustGet(t, s, g.ID).IsEnded() {
		t.Error("a read is answered by the standby that is named first")
	}
	for what, dsn := range map[string]string{"a server that is read-only": shared.DSN(database), "a standby": standby.DSN("postgres")} {
		s := openUnchecked(t, dsn)
		if err := s.Ready(); err == nil || !strings.Contains(err.Error(), "read") {
			t.Errorf("of %s the store says %v", what, err)
		}
		if _, err := s.GetGrant(t.Context(), g.ID); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%s answers %v, want ErrUnavailable", what, err)
		}
	}
}

func TestTheServersCertificateIsCheckedAsTheDSNSays(t *testing.T) {
	server := postgrestest.Start(t)
	ca, other := newCertificate(t, server.Dir(), "ca"), newCertificate(t, t.TempDir(), "other")
	for _, file := range []string{ca.cert, ca.key} {
		if err := server.ChangeOwner(file); err != nil {
			t.Fatal(err)
		}
	}
	server.Exec(t, "postgres", "ALTER SYSTEM SET ssl_cert_file = '"+ca.cert+"'")
	server.Exec(t, "postgres", "ALTER SYSTEM SET ssl_key_file = '"+ca.key+"'")
	server.Exec(t, "postgres", "ALTER SYSTEM SET ssl = on")
	server.Exec(t, "postgres", "SELECT pg_reload_conf()")
	dsn := func(cert string) string {
		return postgrestest.DSN(server.Address(), "postgres", "sslmode=verify-full&sslrootcert="+url.QueryEscape(cert))
	}
	var s *testStore
	eventually.True(t, "the server speaks TLS", func() bool {
		s = openUnchecked(t, dsn(ca.cert))
		return s.Ready() == nil
	})
	mustCreate(t, s, newGrant("g"))
	if !postgrestest.QueryValue[bool](t, server, "postgres", `SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
		WHERE application_name = 'oauth-operator'`) {
		t.Error("a connection has no TLS")
	}
	if err := openUnchecked(t, dsn(other.cert)).Ready(); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("with the certificate of another authority the store says %v", err)
	}
}

type certificate struct{ cert, key string }

// newCertificate writes a self-signed certificate for the loopback address, and its key.
func newCertificate(t *testing.T, dir, name string) certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c := certificate{filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")}
	for file, block := range map[string]*pem.Block{c.cert: {Type: "CERTIFICATE", Bytes: der}, c.key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func TestACallerThatHasGoneCostsNoConnection(t *testing.T) {
	database := shared.NewDatabase(t)
	s := open(t, shared.DSN(database)+"&pool_max_conns=1")
	g := mustCreate(t, s, newGrant("g"))
	pid := func() int {
		return postgrestest.QueryValue[int](t, shared, "postgres", "SELECT min(pid) FROM pg_stat_activity WHERE application_name = 'oauth-operator' AND datname = $1", database)
	}
	before := pid()
	tx := beginTransaction(t, shared.DSN(database))
	if _, err := tx.Exec(t.Context(), "SELECT * FROM oauth_grants FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	updated := make(chan error)
	go func() {
		_, err := s.UpdateGrant(ctx, g)
		updated <- err
	}()
	eventually.True(t, "the update waits", func() bool {
		return postgrestest.QueryValue[int](t, shared, database, "SELECT count(*) FROM pg_locks WHERE NOT granted") > 0
	})
	cancel()
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-updated; err != nil {
		t.Errorf("the update: %v", err)
	}
	if after := pid(); after != before {
		t.Errorf("the connection is %d, was %d", after, before)
	}
}
