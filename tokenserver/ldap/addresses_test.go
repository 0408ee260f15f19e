//go:build ldap

package ldap_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
	"github.com/oauth-operator/oauth-operator/tokenserver/ldap"
	"github.com/oauth-operator/oauth-operator/tokenserver/ldap/ldaptest"
)

// newNamedFixture returns a replica whose directory has a name with some addresses.
func newNamedFixture(t *testing.T, server *ldaptest.Server, addresses ...string) *fixture {
	t.Helper()
	f := newFixture(t, server, func(p *documents.IdentityProvider) { p.LDAP.URL = server.NamedURL() })
	f.Client.Lookup = func(_ context.Context, name string) (found []netip.Addr, err error) {
		if name != ldaptest.Name {
			return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
		}
		for _, a := range addresses {
			found = append(found, netip.MustParseAddr(a))
		}
		return found, nil
	}
	return f
}

// listenAt serves every connection to the port of a URL at another address, and counts them.
func listenAt(t *testing.T, address, url string, serve func(net.Conn)) *atomic.Int64 {
	t.Helper()
	_, port, err := net.SplitHostPort(url[strings.LastIndex(url, "/")+1:])
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(address, port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	var accepted atomic.Int64
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			go func() {
				defer func() { _ = conn.Close() }()
				serve(conn)
			}()
		}
	}()
	return &accepted
}

func TestUsersSignInWhileTheFirstAddressOfADirectoryFails(t *testing.T) {
	last := 1
	hang := func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
	for what, test := range map[string]struct {
		serve    func(net.Conn)
		startTLS bool
		reason   fetch.Reason // where all addresses are so
	}{
		"refuses connections":        {nil, false, fetch.Unreachable},
		"hangs":                      {hang, false, fetch.Unreachable},
		"hangs before StartTLS":      {hang, true, fetch.Unreachable},
		"closes":                     {func(net.Conn) {}, false, fetch.BadAnswer},
		"is no directory":            {func(c net.Conn) { _, _ = c.Write([]byte("220 mail ready\r\n")); hang(c) }, false, fetch.BadAnswer},
		"is no directory, StartTLS":  {func(c net.Conn) { _, _ = c.Write([]byte("220 mail ready\r\n")); hang(c) }, true, fetch.BadAnswer},
		"refuses to begin StartTLS":  {refuseStartTLS, true, fetch.BadAnswer},
		"closes in place of the TLS": {acceptStartTLS, true, fetch.BadAnswer},
	} {
		last++
		address := fmt.Sprint("127.0.0.", last)
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := newNamedFixture(t, shared, address, "127.0.0.1")
			url := shared.URL()
			if test.startTLS {
				url = shared.PlainURL()
				f.document.LDAP.URL, f.document.LDAP.StartTLS = strings.Replace(url, "127.0.0.1", ldaptest.Name, 1), true
			}
			accepted := &atomic.Int64{}
			if test.serve != nil {
				accepted = listenAt(t, address, url, test.serve)
			}
			said := f.mustSignIn("alice", ldaptest.Password("alice"))
			for range 3 {
				f.mustSignIn("alice", ldaptest.Password("alice"))
			}
			if _, err := f.directory().Confirm(t.Context(), said.Subject); err != nil {
				t.Errorf("a confirmation: %v", err)
			}
			if n := accepted.Load(); test.serve != nil && n != 1 {
				t.Errorf("the address that failed was tried %d times, want once", n)
			}
			if problems := f.Problems([]documents.IdentityProvider{f.document}); len(problems) > 0 {
				t.Errorf("the problems are %+v", problems)
			}
			alone := newNamedFixture(t, shared, address)
			alone.document.LDAP = f.document.LDAP
			_, err := alone.signIn("alice", ldaptest.Password("alice"))
			wantReason(t, "with no other address", err, ldap.Away)
			if !strings.Contains(err.Error(), address) {
				t.Errorf("the error does not name the address: %v", err)
			}
			if problems := alone.Problems([]documents.IdentityProvider{alone.document}); len(problems) != 1 || problems[0].Reason != string(test.reason) {
				t.Errorf("with no other address the problems are %+v (%v), want %s", problems, err, test.reason)
			}
		})
	}
}

// refuseStartTLS answers StartTLS as a directory without TLS does.
func refuseStartTLS(conn net.Conn) {
	_, _ = conn.Read(make([]byte, 100))
	_, _ = conn.Write([]byte{0x30, 0x0c, 0x02, 0x01, 0x01, 0x78, 0x07, 0x0a, 0x01, 0x02, 0x04, 0x00, 0x04, 0x00})
}

// acceptStartTLS begins StartTLS, and closes the connection then.
func acceptStartTLS(conn net.Conn) {
	_, _ = conn.Read(make([]byte, 100))
	_, _ = conn.Write([]byte{0x30, 0x0c, 0x02, 0x01, 0x01, 0x78, 0x07, 0x0a, 0x01, 0x00, 0x04, 0x00, 0x04, 0x00})
}

func TestAPortThatIsNotForTLSOrOnlyForItIsSaidToAnswerWrongly(t *testing.T) {
	ldaps := newFixture(t, shared, func(p *documents.IdentityProvider) {
		p.LDAP.URL = strings.Replace(shared.PlainURL(), "ldap://", "ldaps://", 1)
	})
	startTLS := newFixture(t, shared, func(p *documents.IdentityProvider) {
		p.LDAP.URL, p.LDAP.StartTLS = strings.Replace(shared.URL(), "ldaps://", "ldap://", 1), true
	})
	for what, f := range map[string]*fixture{"ldaps": ldaps, "StartTLS": startTLS} {
		_, err := f.signIn("alice", ldaptest.Password("alice"))
		if problems := f.Problems([]documents.IdentityProvider{f.document}); len(problems) != 1 || problems[0].Reason != string(fetch.BadAnswer) {
			t.Errorf("%s: the problems are %+v (%v)", what, problems, err)
		}
	}
}

// A stranger can close the connection at any time, and must not make the server write.
func TestABrowserThatDoesNotWaitSaysNothingOfTheDirectory(t *testing.T) {
	f := newNamedFixture(t, shared, "127.0.0.100", "127.0.0.1")
	accepted := listenAt(t, "127.0.0.100", shared.URL(), func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for accepted.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	err := f.directory().SignIn(ctx, ldap.Form{Username: "alice", Password: "x", Source: "source", DeviceID: func([]byte) string { return "" }})
	wantReason(t, "a sign-in", err, ldap.Away)
	if problems := f.Problems([]documents.IdentityProvider{f.document}); len(problems) != 0 || f.changes.Load() != 0 {
		t.Errorf("the problems are %+v after %d changes", problems, f.changes.Load())
	}
	if _, err := f.signIn("alice", ldaptest.Password("alice")); err != nil || accepted.Load() != 2 {
		t.Errorf("the next user: %v; the first address was tried %d times, want 2", err, accepted.Load())
	}
}

// relay relays a connection with TLS 1.3 to a directory. If held is set, it calls that when the client
// sends its first request, and relays no more: the first two records with application data that a
// client sends are the end of its handshake and that request (RFC 8446 sections 4.4.4 and 5.1).
func relay(client net.Conn, directory string, held func()) {
	server, err := net.Dial("tcp", directory)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	go func() { _, _ = io.Copy(client, server) }()
	if held == nil {
		_, _ = io.Copy(server, client)
		return
	}
	const applicationData = 23
	for encrypted := 0; ; {
		var header [5]byte
		if _, err := io.ReadFull(client, header[:]); err != nil {
			return
		}
		if header[0] == applicationData {
			encrypted++
		}
		if encrypted == 2 {
			held()
			_, _ = io.Copy(io.Discard, client)
			return
		}
		content := io.LimitReader(client, int64(binary.BigEndian.Uint16(header[3:])))
		if _, err := io.Copy(server, io.MultiReader(bytes.NewReader(header[:]), content)); err != nil {
			return
		}
	}
}

func TestABrowserThatDoesNotWaitForTheAnswerToItsPasswordMovesNoDirectory(t *testing.T) {
	f := newNamedFixture(t, shared, "127.0.0.100", "127.0.0.1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var connections atomic.Int64
	listenAt(t, "127.0.0.100", shared.URL(), func(conn net.Conn) {
		var held func()
		if connections.Add(1) == 2 { // the first one is for the search
			held = cancel
		}
		relay(conn, strings.TrimPrefix(shared.URL(), "ldaps://"), held)
	})
	err := f.directory().SignIn(ctx, ldap.Form{Username: "alice", Password: "x", Source: "source", DeviceID: func([]byte) string { return "" }})
	wantReason(t, "a sign-in", err, ldap.Away)
	if ctx.Err() == nil {
		t.Fatal("no password was sent")
	}
	if _, err := f.signIn("alice", ldaptest.Password("alice")); err != nil || connections.Load() != 3 {
		t.Errorf("the next user: %v; the first address has had %d connections, want 3", err, connections.Load())
	}
}

func TestANameThatDoesNotResolveIsSaidSo(t *testing.T) {
	f := newNamedFixture(t, shared, "127.0.0.1")
	f.document.LDAP.URL = strings.Replace(shared.NamedURL(), ldaptest.Name, "mistyped.acme.example", 1)
	_, err := f.signIn("alice", ldaptest.Password("alice"))
	wantReason(t, "a sign-in", err, ldap.Away)
	if problems := f.Problems([]documents.IdentityProvider{f.document}); len(problems) != 1 || problems[0].Reason != fetch.Unresolvable {
		t.Errorf("the problems are %+v", problems)
	}
}

func TestAUserIsGoneOnlyIfNoOtherAddressOfTheDirectoryHasTheUser(t *testing.T) {
	first := ldaptest.Start(t)
	second := first.StartReplica(t, "127.0.0.2")
	f := newNamedFixture(t, first, "127.0.0.1", "127.0.0.2")
	var log strings.Builder
	f.Log = slog.New(slog.NewJSONHandler(&log, nil))
	confirm := func(subject []byte) error {
		_, err := f.directory().Confirm(t.Context(), subject)
		return err
	}
	alice, bob := f.mustSignIn("alice", ldaptest.Password("alice")).Subject, f.mustSignIn("bob", ldaptest.Password("bob")).Subject
	carol := f.mustSignIn("carol", ldaptest.Password("carol")).Subject
	first.Delete(t, ldaptest.DN("alice"))
	wantReason(t, "one of two addresses does not have alice", confirm(alice), ldap.Incomplete)
	if !strings.Contains(log.String(), `"address":"127.0.0.1","other":"it has the user"`) || strings.Contains(log.String(), "alice") {
		t.Errorf("the log says %s", log.String())
	}
	if len(f.Problems([]documents.IdentityProvider{f.document})) > 0 {
		t.Error("what is about one user is said of the directory")
	}
	second.Delete(t, ldaptest.DN("alice"))
	if err := confirm(alice); !errors.Is(err, ldap.ErrGone) {
		t.Errorf("no address has alice: %v", err)
	}
	first.Delete(t, ldaptest.DN("bob"))
	second.Set(t, ldaptest.BindDN, "userPassword", "another")
	f.changes.Store(0)
	for range 3 {
		wantReason(t, "the other address refuses the reader", confirm(bob), ldap.Incomplete)
	}
	if n := second.CountBinds(ldaptest.BindDN); n != 3 || f.changes.Load() != 0 {
		t.Errorf("%d binds of the reader at the other address and %d changes, want 3, of which one is refused, and no change", n, f.changes.Load())
	}
	f.mustSignIn("carol", ldaptest.Password("carol"))
	second.Kill()
	f.offset.Add(int64(5 * time.Minute))
	if err := confirm(bob); !errors.Is(err, ldap.ErrGone) {
		t.Errorf("the only address that is reached does not have bob: %v", err)
	}
	if err := confirm(carol); err != nil {
		t.Errorf("carol: %v", err)
	}
}

func TestADirectoryThatHasLostItsUsersEndsNothingAndIsSaidSo(t *testing.T) {
	server := ldaptest.Start(t)
	f := newFixture(t, server)
	said := f.mustSignIn("alice", ldaptest.Password("alice"))
	for _, name := range append([]string{"alice", "bob", "carol", "rené"}, ldaptest.OddNames...) {
		dn := ldaptest.DN(name)
		if slices.Contains(ldaptest.OddNames, name) {
			dn = ldaptest.OddDN(name)
		}
		server.Delete(t, dn)
	}
	_, err := f.directory().Confirm(t.Context(), said.Subject)
	wantReason(t, "a confirmation", err, ldap.SearchRefused)
	if _, err := f.signIn("alice", ldaptest.Password("alice")); !errors.Is(err, ldap.ErrWrong) {
		t.Errorf("a sign-in: %v", err)
	}
	if problems := f.Problems([]documents.IdentityProvider{f.document}); len(problems) != 1 || problems[0].Reason != string(ldap.SearchRefused) || f.changes.Load() != 1 {
		t.Errorf("the problems are %+v after %d changes", problems, f.changes.Load())
	}
}

func TestAConnectionThatIsKeptEndsWithItsPasswordItsRulesAndItsTime(t *testing.T) {
	server := ldaptest.Start(t)
	f := newFixture(t, server)
	file := "uid-acme.1"
	f.Password = func(asked string) (string, bool) { return *f.password.Load(), asked == file }
	binds := 0
	check := func(what string, want int) {
		t.Helper()
		f.mustSignIn("alice", ldaptest.Password("alice"))
		if n := server.CountBinds(ldaptest.BindDN); n != binds+want {
			t.Errorf("%s: %d new binds of the reader, want %d", what, n-binds, want)
		}
		binds = server.CountBinds(ldaptest.BindDN)
	}
	check("at first", 1)
	check("again", 0)
	file = "uid-acme.2"
	check("with a new password", 1)
	f.rules.AllowedNetworks = append(f.rules.AllowedNetworks, "10.0.0.0/8")
	check("under other rules", 1)
	f.document.DisplayName = "Acme"
	check("by another document", 1)
	eventually.Within(t, 10*time.Second, "the connection of the document before is closed", func() (bool, string) {
		return server.CountOpen() == 1, fmt.Sprint(server.CountOpen())
	})
	f.offset.Add(int64(5 * time.Minute))
	check("after five minutes", 1)
	check("at last", 0)
	server.Kill()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	check("after a restart of the directory", 1)
	f.rules.AllowedNetworks = []string{"10.0.0.0/8"}
	_, err := f.signIn("alice", ldaptest.Password("alice"))
	wantReason(t, "an address that is not listed any more", err, ldap.Away)
}
