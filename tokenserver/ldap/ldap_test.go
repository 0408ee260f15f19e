//go:build ldap

package ldap_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
	"github.com/oauth-operator/oauth-operator/tokenserver/ldap"
	"github.com/oauth-operator/oauth-operator/tokenserver/ldap/ldaptest"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/throttle"
)

// shared is the directory of the tests that neither change nor stop it.
var shared *ldaptest.Server

func TestMain(m *testing.M) {
	var err error
	if shared, err = ldaptest.New(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	shared.Stop()
	os.Exit(code)
}

// fixture is one replica whose users are in a directory.
type fixture struct {
	*ldap.Directories
	t        *testing.T
	document documents.IdentityProvider
	replicas int
	offset   atomic.Int64 // of the clock, in nanoseconds
	password atomic.Pointer[string]
	changes  atomic.Int64
	slept    atomic.Int64 // in nanoseconds
	rules    documents.Fetch
}

func newFixture(t *testing.T, server *ldaptest.Server, change ...func(*documents.IdentityProvider)) *fixture {
	t.Helper()
	settings := server.Provider()
	f := &fixture{
		t: t, replicas: 1, rules: documents.Fetch{AllowedNetworks: []string{"127.0.0.0/8"}},
		document: documents.IdentityProvider{
			UID: "uid-acme", Name: "acme", Type: documents.ProviderLDAP, Realm: "acme", SubjectAttribute: "entryUUID", CABundle: server.CABundle,
			Credentials: []string{"uid-acme.2", "uid-acme.1"}, LDAP: &settings,
		},
	}
	for _, c := range change {
		c(&f.document)
	}
	password := ldaptest.BindPassword
	f.password.Store(&password)
	now := func() time.Time { return time.Now().Add(time.Duration(f.offset.Load())) }
	limiter, err := throttle.New(now, rand.Reader, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	f.Directories = &ldap.Directories{
		Client:   &fetch.Client{Document: func() documents.Server { return documents.Server{Fetch: &f.rules} }},
		Password: func(file string) (string, bool) { return *f.password.Load(), file == "uid-acme.1" },
		Throttle: limiter, Replicas: func(time.Duration) int { return f.replicas }, Now: now, Random: rand.Reader, Log: slog.New(slog.DiscardHandler),
		Sleep: func(_ context.Context, d time.Duration) bool {
			f.slept.Add(int64(d))
			return true
		},
		OnChange: func() { f.changes.Add(1) },
	}
	return f
}

func (f *fixture) directory() *ldap.Directory {
	f.t.Helper()
	d, err := f.Of(f.document)
	if err != nil {
		f.t.Fatal(err)
	}
	return d
}

// signIn signs in from a source of its own, and returns what the directory said.
func (f *fixture) signIn(username, password string) (ldap.Entry, error) {
	f.t.Helper()
	var said ldap.Entry
	err := f.directory().SignIn(f.t.Context(), ldap.Form{
		Username: username, Password: password, Source: rand.Text(), DeviceID: func([]byte) string { return "" },
		Admit: func(_ context.Context, e ldap.Entry) error { said = e; return nil },
	})
	return said, err
}

func (f *fixture) mustSignIn(username, password string) ldap.Entry {
	f.t.Helper()
	said, err := f.signIn(username, password)
	if err != nil {
		f.t.Fatalf("%s: %v", username, err)
	}
	return said
}

// wantReason checks the error of asking a directory.
func wantReason(t *testing.T, what string, err error, want ldap.Reason) {
	t.Helper()
	var failed *ldap.Error
	if !errors.As(err, &failed) || failed.Reason != want {
		t.Errorf("%s: %v, want %s", what, err, want)
	}
}

func TestAUserSignsInWithThePasswordOfTheDirectory(t *testing.T) {
	f := newFixture(t, shared, func(p *documents.IdentityProvider) {
		p.LDAP.Users.Attributes = []string{"cn", "MAIL", "jpegPhoto", "absent", "uid"}
	})
	said := f.mustSignIn(" alice\t", ldaptest.Password("alice"))
	attributes := said.Upstream["attributes"].(map[string]any)
	for name, want := range map[string][]string{
		"cn": {"alice surname"}, "MAIL": {"a.surname@acme.example", "alice@acme.example"}, "jpegPhoto": {"/9j/4A=="}, "uid": {"alice"},
	} {
		if got, _ := attributes[name].([]string); !slices.Equal(got, want) {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if _, ok := attributes["absent"]; ok || len(attributes) != 4 {
		t.Errorf("the attributes are %v", attributes)
	}
	if got := said.Upstream["groups"]; !slices.Equal(got.([]string), []string{"ops", "staff"}) {
		t.Errorf("the groups are %v", got)
	}
	if len(said.Subject) != 36 || said.PasswordChanged == "" {
		t.Errorf("the subject is %q, the password was changed %q", said.Subject, said.PasswordChanged)
	}
	if again := f.mustSignIn("ALICE", ldaptest.Password("alice")); string(again.Subject) != string(said.Subject) || again.PasswordChanged != said.PasswordChanged {
		t.Errorf("another spelling is another user: %+v", again)
	}
	if bob := f.mustSignIn("bob", ldaptest.Password("bob")); string(bob.Subject) == string(said.Subject) || !slices.Equal(bob.Upstream["groups"].([]string), []string{"staff"}) {
		t.Errorf("bob is %+v", bob)
	}
}

func TestUsersWithOddNamesSignInAsThemselves(t *testing.T) {
	f := newFixture(t, shared)
	subjects := map[string]string{}
	for _, name := range append(ldaptest.OddNames, "rené", "alice") {
		said := f.mustSignIn(name, ldaptest.Password(name))
		if other, ok := subjects[string(said.Subject)]; ok {
			t.Errorf("%q is %q", name, other)
		}
		subjects[string(said.Subject)] = name
		if uid := said.Upstream["attributes"].(map[string]any)["uid"].([]string); strings.TrimSpace(uid[0]) != strings.TrimSpace(name) {
			t.Errorf("%q has the uid %q", name, uid)
		}
	}
}

func TestNothingButTheRightPasswordSignsIn(t *testing.T) {
	f := newFixture(t, shared, func(p *documents.IdentityProvider) { p.LDAP.ThrottleFailures = 1000 })
	for _, test := range []struct{ username, password string }{
		{"alice", "wrong"}, {"alice", ldaptest.Password("bob")}, {"nosuch", ldaptest.Password("alice")}, {"alice", " " + ldaptest.Password("alice")},
		{"alice", ldaptest.Password("alice") + " "}, {"*", ldaptest.Password("alice")}, {")(uid=*", ldaptest.Password("alice")}, {"alice)(cn=*", ldaptest.Password("alice")},
		{`\00`, "x"}, {"alice\x00", ldaptest.Password("alice")}, {"\x00", "x"}, {"", "x"}, {"  ", "x"}, {"a*", ldaptest.Password("alice")}, {"\xff", "x"},
		{"cn=alice", ldaptest.Password("alice")}, {ldaptest.DN("alice"), ldaptest.Password("alice")},
	} {
		if said, err := f.signIn(test.username, test.password); !errors.Is(err, ldap.ErrWrong) {
			t.Errorf("%q with %q: %v, %+v", test.username, test.password, err, said)
		}
	}
}

func TestPasswordsThatAreNothingAreRefusedWithoutAskingTheDirectory(t *testing.T) {
	f := newFixture(t, shared)
	searches, binds := shared.CountSearches(), len(shared.Binds())
	for _, password := range []string{
		"", " ", "\t\n ", "\u00a0", "\u3000", "\u00ad", "\u200b\u200d", "\ufeff", "\ufe0f", "\u034f", "\u180b", "\x00", "\x01", "secret\x00", "\x00secret", "\u2060 \u00ad",
		strings.Repeat("p", 5000),
	} {
		if _, err := f.signIn("alice", password); !errors.Is(err, ldap.ErrWrong) {
			t.Errorf("%q: %v", password, err)
		}
	}
	if shared.CountSearches() != searches || len(shared.Binds()) != binds {
		t.Error("the directory was asked")
	}
}

func TestWhereThereIsNotExactlyOneEntryNoneIsBound(t *testing.T) {
	for what, test := range map[string]struct {
		change   func(*documents.IdentityProvider)
		username string
		user     string
		want     error
		reason   ldap.Reason
	}{
		"two entries": {func(p *documents.IdentityProvider) { p.LDAP.Users.Filter = "(mail=$(username))" }, "shared@acme.example", "bob", ldap.ErrWrong, ""},
		"all entries": {func(p *documents.IdentityProvider) { p.LDAP.Users.Filter = "(|(uid=$(username))(objectClass=*))" }, "alice", "alice", ldap.ErrWrong, ""},
		"a referral":  {func(p *documents.IdentityProvider) { p.LDAP.Users.BaseDN = ldaptest.Partners }, "partner", "partner", nil, ldap.Referral},
		"an alias":    {func(p *documents.IdentityProvider) { p.LDAP.Users.BaseDN = ldaptest.Aliases }, "nickname", "alice", ldap.ErrWrong, ""},
		"an account that is locked": {func(p *documents.IdentityProvider) {
			p.LDAP.Users.AccountFilter = "(!(uid=bob))"
		}, "bob", "bob", ldap.ErrWrong, ""},
	} {
		f := newFixture(t, shared, test.change)
		before := shared.CountBinds(ldaptest.DN(test.user)) + shared.CountBinds("uid=partner,"+ldaptest.Partners)
		_, err := f.signIn(test.username, ldaptest.Password(test.user))
		if test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: %v", what, err)
		} else if test.want == nil {
			wantReason(t, what, err, test.reason)
		}
		if after := shared.CountBinds(ldaptest.DN(test.user)) + shared.CountBinds("uid=partner,"+ldaptest.Partners); after != before {
			t.Errorf("%s: a user was bound", what)
		}
	}
}

func TestUnknownDisabledDeniedAndWrongAskTheDirectoryForTheSame(t *testing.T) {
	server := ldaptest.Start(t)
	f := newFixture(t, server)
	f.mustSignIn("bob", ldaptest.Password("bob"))
	server.Set(t, ldaptest.DN("bob"), "pwdAccountLockedTime", "000001010000Z")
	for _, test := range []struct {
		what, username, password string
		admit                    error
		searches                 int
	}{
		{"unknown", "nosuch", "wrong", nil, 1},
		{"disabled", "bob", ldaptest.Password("bob"), nil, 1},
		{"wrong", "alice", "wrong", nil, 1},
		{"denied", "carol", ldaptest.Password("carol"), ldap.ErrWrong, 2}, // its groups are read for the mapping
	} {
		searches, binds, begun := server.CountSearches(), len(server.Binds()), f.Now()
		err := f.directory().SignIn(t.Context(), ldap.Form{
			Username: test.username, Password: test.password, Source: test.what, DeviceID: func([]byte) string { return "" },
			Admit: func(context.Context, ldap.Entry) error { return test.admit },
		})
		if err == nil || err.Error() != ldap.ErrWrong.Error() {
			t.Errorf("%s: %v", test.what, err)
		}
		if got := server.CountSearches() - searches; got != test.searches {
			t.Errorf("%s: %d searches, want %d", test.what, got, test.searches)
		}
		if got := len(server.Binds()) - binds; got != 1 {
			t.Errorf("%s: %d binds, want that of a user: the connection of the reader is kept", test.what, got)
		}
		if took := f.Now().Sub(begun) + time.Duration(f.slept.Swap(0)); took < time.Second {
			t.Errorf("%s: it took %s, less than a second", test.what, took)
		}
	}
}

func TestADeniedUserIsThrottledAsAWrongPasswordIs(t *testing.T) {
	f := newFixture(t, shared, func(p *documents.IdentityProvider) { p.LDAP.ThrottleFailures = 2 })
	var refused *throttle.RefusedError
	for i := range 3 {
		err := f.directory().SignIn(t.Context(), ldap.Form{
			Username: "carol", Password: ldaptest.Password("carol"), Source: rand.Text(), DeviceID: func([]byte) string { return "" },
			Admit: func(context.Context, ldap.Entry) error { return ldap.ErrWrong },
		})
		if isRefused := errors.As(err, &refused); isRefused != (i == 2) {
			t.Errorf("attempt %d: %v", i, err)
		}
	}
}

func TestAThousandWrongPasswordsUnderAHundredSpellingsAreFewBindsOnAllReplicas(t *testing.T) {
	server := ldaptest.Start(t)
	var replicas []*fixture
	for range 3 {
		f := newFixture(t, server, func(p *documents.IdentityProvider) { p.LDAP.Users.Filter = "(|(uid=$(username))(mail=$(username)))" })
		f.replicas = 3
		replicas = append(replicas, f)
	}
	var spellings []string // of names of alice, in case and white space, which the directory ignores
	for i := range 100 {
		spelling := []byte([]string{"alice", "alice@acme.example", "a.surname@acme.example"}[i%3])
		spelling[0] -= byte(i/3%2) * ('a' - 'A')
		spelling[len(spelling)-1] -= byte(i/6%2) * ('a' - 'A')
		spellings = append(spellings, strings.Repeat(" ", i/12)+string(spelling))
	}
	var crowd sync.WaitGroup
	for worker := range 48 {
		crowd.Go(func() {
			for i := worker; i < 1000; i += 48 {
				f := replicas[i%3]
				err := ldap.ErrBusy // while two others of the name wait
				for errors.Is(err, ldap.ErrBusy) {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					err = f.directory().SignIn(ctx, ldap.Form{
						Username: spellings[i%100], Password: fmt.Sprint("wrong", i), Source: fmt.Sprint(i), DeviceID: func([]byte) string { return "" },
						Admit: func(context.Context, ldap.Entry) error { return errors.New("admitted") },
					})
					cancel()
				}
				var refused *throttle.RefusedError
				if !errors.Is(err, ldap.ErrWrong) && !errors.As(err, &refused) {
					t.Errorf("%q: %v", spellings[i%100], err)
				}
			}
		})
	}
	crowd.Wait()
	if n := server.CountBinds(ldaptest.DN("alice")); n == 0 || n > 4 {
		t.Errorf("there were %d binds as alice, want 1 to 4", n)
	}
	for _, f := range replicas {
		f.offset.Add(int64(time.Hour))
	}
	if _, err := replicas[0].signIn("alice", ldaptest.Password("alice")); err != nil {
		t.Errorf("the directory has locked the account, or the window does not end: %v", err)
	}
}

func TestABindAccountThatIsRefusedIsTriedOnceInFiveMinutes(t *testing.T) {
	server := ldaptest.Start(t)
	f := newFixture(t, server)
	wrong, right := "wrong", *f.password.Load()
	f.password.Store(&wrong)
	reader := func() int { return server.CountBinds(ldaptest.BindDN) }
	var crowd sync.WaitGroup
	for i := range 30 {
		crowd.Go(func() {
			_, err := f.signIn(fmt.Sprint("user-", i), "any")
			wantReason(t, "a sign-in", err, ldap.BindRefused)
		})
	}
	crowd.Wait()
	if n := reader(); n != 1 {
		t.Errorf("%d binds of the reader, want 1", n)
	}
	if problems := f.Problems([]documents.IdentityProvider{f.document}); len(problems) != 1 || problems[0].Reason != string(ldap.BindRefused) || f.changes.Load() != 1 {
		t.Errorf("the problems are %+v, after %d changes", problems, f.changes.Load())
	}
	// Another setting does not make the password right.
	f.document.DisplayName = "Acme"
	_, err := f.signIn("alice", ldaptest.Password("alice"))
	wantReason(t, "after another setting", err, ldap.BindRefused)
	if n := reader(); n != 1 {
		t.Errorf("%d binds of the reader after another setting, want 1", n)
	}
	f.offset.Add(int64(5 * time.Minute))
	_, err = f.signIn("alice", ldaptest.Password("alice"))
	wantReason(t, "five minutes later", err, ldap.BindRefused)
	if n := reader(); n != 2 {
		t.Errorf("%d binds of the reader five minutes later, want 2", n)
	}
	// Another file is tried at once.
	f.password.Store(&right)
	f.Password = func(file string) (string, bool) { return right, file == "uid-acme.2" }
	f.mustSignIn("alice", ldaptest.Password("alice"))
	if problems := f.Problems([]documents.IdentityProvider{f.document}); len(problems) != 0 {
		t.Errorf("the problems are %+v", problems)
	}
	f.Password = func(string) (string, bool) { return "", false }
	_, err = f.signIn("alice", ldaptest.Password("alice"))
	wantReason(t, "without a password", err, ldap.NoCredential)
}

func TestGroupsAreAllThereAreOrTheSignInFails(t *testing.T) {
	for what, test := range map[string]struct {
		groups documents.LDAPGroups
		want   []string
		reason ldap.Reason
	}{
		"by DN": {documents.LDAPGroups{BaseDN: ldaptest.Groups, Filter: "(member=$(dn))", NameAttribute: "dn"},
			[]string{"cn=ops," + ldaptest.Groups, "cn=staff," + ldaptest.Groups}, ""},
		"by attribute":           {documents.LDAPGroups{BaseDN: ldaptest.Groups, Filter: "(description=$(attr.uid))", NameAttribute: "cn"}, []string{"posix"}, ""},
		"one level":              {documents.LDAPGroups{BaseDN: ldaptest.Base, OneLevel: true, Filter: "(member=$(dn))", NameAttribute: "cn"}, []string{}, ""},
		"no groups":              {documents.LDAPGroups{BaseDN: ldaptest.Groups, Filter: "(owner=$(dn))", NameAttribute: "cn"}, []string{}, ""},
		"no name":                {documents.LDAPGroups{BaseDN: ldaptest.Groups, Filter: "(member=$(dn))", NameAttribute: "mail"}, nil, ldap.Incomplete},
		"no attribute":           {documents.LDAPGroups{BaseDN: ldaptest.Groups, Filter: "(description=$(attr.employeeNumber))", NameAttribute: "cn"}, nil, ldap.Incomplete},
		"an ambiguous attribute": {documents.LDAPGroups{BaseDN: ldaptest.Groups, Filter: "(description=$(attr.mail))", NameAttribute: "cn"}, nil, ldap.Incomplete},
		"no base":                {documents.LDAPGroups{BaseDN: "ou=mistyped," + ldaptest.Base, Filter: "(member=$(dn))", NameAttribute: "cn"}, nil, ldap.SearchRefused},
		"a referral":             {documents.LDAPGroups{BaseDN: ldaptest.Partners, Filter: "(member=$(dn))", NameAttribute: "cn"}, nil, ldap.Referral},
	} {
		f := newFixture(t, shared, func(p *documents.IdentityProvider) { p.LDAP.Groups = test.groups })
		said, err := f.signIn("alice", ldaptest.Password("alice"))
		if test.reason != "" {
			wantReason(t, what, err, test.reason)
			continue
		}
		if got, _ := said.Upstream["groups"].([]string); err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, %v, want %q", what, got, err, test.want)
		}
	}
	f := newFixture(t, shared, func(p *documents.IdentityProvider) { p.LDAP.Groups = documents.LDAPGroups{} })
	if _, ok := f.mustSignIn("alice", ldaptest.Password("alice")).Upstream["groups"]; ok {
		t.Error("there are groups, though none are searched")
	}
	f = newFixture(t, shared, func(p *documents.IdentityProvider) {
		p.LDAP.Users.BaseDN, p.LDAP.Groups.BaseDN = ldaptest.Crowd, ldaptest.CrowdGroups
	})
	_, err := f.signIn("many", ldaptest.Password("many"))
	wantReason(t, "more groups than the directory returns", err, ldap.Incomplete)
}

// The owner of a group, who may write its entry, can add values to it.
func TestAGroupHasTheOneNameThatIsInItsDN(t *testing.T) {
	server := ldaptest.Start(t)
	f := newFixture(t, server)
	ops := "cn=ops," + ldaptest.Groups
	server.Set(t, ops, "cn", "OPS", "oauth-admins")
	if got := f.mustSignIn("alice", ldaptest.Password("alice")).Upstream["groups"]; !slices.Equal(got.([]string), []string{"OPS", "staff"}) {
		t.Errorf("the groups are %v", got)
	}
	f.document.LDAP.Groups.NameAttribute = "description"
	for _, dn := range []string{ops, "cn=staff," + ldaptest.Groups} {
		server.Set(t, dn, "description", "one")
	}
	if got := f.mustSignIn("alice", ldaptest.Password("alice")).Upstream["groups"]; !slices.Equal(got.([]string), []string{"one"}) {
		t.Errorf("the groups are %v", got)
	}
	server.Set(t, ops, "description", "one", "oauth-admins")
	_, err := f.signIn("alice", ldaptest.Password("alice"))
	wantReason(t, "several names, none of them in the DN", err, ldap.Incomplete)
}

func TestAMistypedBaseIsAProblemAndNoWrongPassword(t *testing.T) {
	f := newFixture(t, shared, func(p *documents.IdentityProvider) { p.LDAP.Users.BaseDN = "ou=poeple," + ldaptest.Base })
	_, err := f.signIn("alice", ldaptest.Password("alice"))
	wantReason(t, "a mistyped base", err, ldap.SearchRefused)
	problems := f.Problems([]documents.IdentityProvider{f.document})
	if len(problems) != 1 || problems[0].Reason != string(ldap.SearchRefused) {
		t.Errorf("the problems are %+v", problems)
	}
	corrected := f.document
	corrected.DisplayName = "Corrected"
	if problems := f.Problems([]documents.IdentityProvider{corrected}); len(problems) > 0 {
		t.Errorf("what was found out before a correction is still said: %v", problems)
	}
	if len(f.Problems(nil)) != 0 || len(f.Problems([]documents.IdentityProvider{f.document})) != 0 {
		t.Error("a provider that is not served any more is remembered")
	}
}

func TestStartTLSNeverFallsBack(t *testing.T) {
	startTLS := func(p *documents.IdentityProvider) { p.LDAP.URL, p.LDAP.StartTLS = shared.PlainURL(), true }
	newFixture(t, shared, startTLS).mustSignIn("alice", ldaptest.Password("alice"))
	plain := newFixture(t, shared, func(p *documents.IdentityProvider) { p.LDAP.URL = shared.PlainURL() })
	plain.mustSignIn("alice", ldaptest.Password("alice"))
	binds := len(shared.Binds())
	for what, change := range map[string]func(*documents.IdentityProvider){
		"StartTLS": startTLS, "ldaps": func(*documents.IdentityProvider) {},
	} {
		other := ldaptest.Start(t)
		f := newFixture(t, shared, change, func(p *documents.IdentityProvider) { p.CABundle = other.CABundle })
		_, err := f.signIn("alice", ldaptest.Password("alice"))
		wantReason(t, what, err, ldap.Away)
		if fetch.ReasonOf(err) != fetch.BadCertificate {
			t.Errorf("%s: %v, want %s", what, err, fetch.BadCertificate)
		}
		f = newFixture(t, shared, change, func(p *documents.IdentityProvider) { p.CABundle = "" })
		if _, err := f.signIn("alice", ldaptest.Password("alice")); fetch.ReasonOf(err) != fetch.BadCertificate {
			t.Errorf("%s by the public roots: %v, want %s", what, err, fetch.BadCertificate)
		}
	}
	if len(shared.Binds()) != binds {
		t.Error("a password was sent")
	}
}

// The API server refuses such a URL, but not in an object that is older than the rule.
func TestADirectoryElsewhereWithoutTLSIsNotConnectedTo(t *testing.T) {
	f := newNamedFixture(t, shared, "127.0.0.101")
	accepted := listenAt(t, "127.0.0.101", shared.PlainURL(), func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	_, port, err := net.SplitHostPort(strings.TrimPrefix(shared.PlainURL(), "ldap://"))
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{ldaptest.Name, "localhost", "10.0.0.1"} {
		f.document.LDAP.URL, f.document.LDAP.StartTLS = "ldap://"+net.JoinHostPort(host, port), false
		if d, err := f.Of(f.document); err == nil {
			err = d.SignIn(t.Context(), ldap.Form{Username: "alice", Password: "x", Source: "source", DeviceID: func([]byte) string { return "" }})
			t.Errorf("%s is asked: %v", host, err)
		} else if !strings.Contains(err.Error(), "in the clear") {
			t.Errorf("%s: %v", host, err)
		}
	}
	if n := accepted.Load(); n != 0 {
		t.Errorf("there were %d connections", n)
	}
}

func TestADirectoryAtAPrivateAddressIsAskedOnlyWhereItIsListed(t *testing.T) {
	f := newFixture(t, shared)
	f.rules.AllowedNetworks = []string{"10.0.0.0/8"}
	binds := len(shared.Binds())
	_, err := f.signIn("alice", ldaptest.Password("alice"))
	wantReason(t, "an address that is not listed", err, ldap.Away)
	problems := f.Problems([]documents.IdentityProvider{f.document})
	if len(problems) != 1 || problems[0].Address != "127.0.0.1" || problems[0].Reason != string(fetch.Unreachable) {
		t.Errorf("the problems are %+v", problems)
	}
	if len(shared.Binds()) != binds {
		t.Error("it was connected to")
	}
}

func TestADirectoryThatIsAwayIsAProblemUntilItIsBack(t *testing.T) {
	server := ldaptest.Start(t)
	f := newFixture(t, server)
	alice := f.mustSignIn("alice", ldaptest.Password("alice"))
	server.Kill()
	for range 5 { // none of them counts as a wrong password
		_, err := f.signIn("alice", ldaptest.Password("alice"))
		wantReason(t, "a sign-in", err, ldap.Away)
	}
	_, err := f.directory().Confirm(t.Context(), alice.Subject)
	wantReason(t, "a confirmation", err, ldap.Away)
	if problems := f.Problems([]documents.IdentityProvider{f.document}); len(problems) != 1 || problems[0].Reason != string(fetch.Unreachable) {
		t.Errorf("the problems are %+v", problems)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	f.mustSignIn("alice", ldaptest.Password("alice"))
	if len(f.Problems([]documents.IdentityProvider{f.document})) != 0 || f.changes.Load() != 2 {
		t.Errorf("the problem is still there, after %d changes", f.changes.Load())
	}
}

func TestAUserIsConfirmedByTheSubjectUnderTheSameFilters(t *testing.T) {
	server := ldaptest.Start(t)
	f := newFixture(t, server, func(p *documents.IdentityProvider) {
		p.LDAP.Users.Filter = "(&(objectClass=inetOrgPerson)(|(uid=$(username))(mail=$(username))))"
	})
	confirm := func(subject []byte) (ldap.Entry, error) { return f.directory().Confirm(t.Context(), subject) }
	alice := f.mustSignIn("alice", ldaptest.Password("alice"))
	same, err := confirm(alice.Subject)
	if err != nil || fmt.Sprint(same) != fmt.Sprint(alice) {
		t.Fatalf("%+v, %v, want %+v", same, err, alice)
	}
	for _, subject := range []string{"", "*", "nosuch", "*)(uid=*", "00000000-0000-0000-0000-000000000000"} {
		if got, err := confirm([]byte(subject)); err == nil {
			t.Errorf("%q: %+v", subject, got)
		}
	}
	server.Set(t, "cn=ops,"+ldaptest.Groups, "member", ldaptest.DN("bob"))
	if said, err := confirm(alice.Subject); err != nil || !slices.Equal(said.Upstream["groups"].([]string), []string{"staff"}) {
		t.Errorf("out of a group: %+v, %v", said, err)
	}
	server.Set(t, ldaptest.DN("alice"), "userPassword", "another")
	if said, err := confirm(alice.Subject); err != nil || said.PasswordChanged == alice.PasswordChanged || said.PasswordChanged == "" {
		t.Errorf("after a new password: %+v, %v", said, err)
	}
	server.Set(t, ldaptest.DN("alice"), "pwdAccountLockedTime", "000001010000Z")
	if said, err := confirm(alice.Subject); !errors.Is(err, ldap.ErrGone) {
		t.Errorf("disabled: %+v, %v", said, err)
	}
	server.Set(t, ldaptest.DN("alice"), "pwdAccountLockedTime")
	if _, err := confirm(alice.Subject); err != nil {
		t.Errorf("enabled again: %v", err)
	}
	server.Change(t, func(conn *goldap.Conn) error {
		return conn.ModifyDN(goldap.NewModifyDNRequest(ldaptest.DN("alice"), "uid=anna", true, ""))
	})
	if said, err := confirm(alice.Subject); err != nil || string(said.Subject) != string(alice.Subject) {
		t.Errorf("renamed: %+v, %v", said, err)
	}
	server.Delete(t, "uid=anna,"+ldaptest.People)
	if said, err := confirm(alice.Subject); !errors.Is(err, ldap.ErrGone) {
		t.Errorf("deleted: %+v, %v", said, err)
	}
	server.Add(t, ldaptest.DN("alice"), "objectClass", "inetOrgPerson", "uid", "alice", "cn", "alice", "sn", "another alice", "userPassword", "x")
	if said, err := confirm(alice.Subject); !errors.Is(err, ldap.ErrGone) {
		t.Errorf("another user has the name: %+v, %v", said, err)
	}
	if another := f.mustSignIn("alice", "x"); string(another.Subject) == string(alice.Subject) {
		t.Error("who gets a name gets the subject of who had it")
	}
}

// The first is a continuation reference beside the entry of the user, the second the answer of a
// directory that does not have the base (RFC 4511 sections 4.5.3 and 4.1.10).
func TestAReferralIsNoAnswerAboutAUser(t *testing.T) {
	f := newFixture(t, shared)
	alice := f.mustSignIn("alice", ldaptest.Password("alice"))
	for what, base := range map[string]string{"a continuation reference": ldaptest.Base, "a referral": "dc=other,dc=example"} {
		f.document.LDAP.Users.BaseDN = base
		_, err := f.signIn("alice", ldaptest.Password("alice"))
		wantReason(t, what+", to a sign-in", err, ldap.Referral)
		_, err = f.directory().Confirm(t.Context(), alice.Subject)
		wantReason(t, what+", to a confirmation", err, ldap.Referral)
		if problems := f.Problems([]documents.IdentityProvider{f.document}); len(problems) != 1 || problems[0].Reason != string(ldap.Referral) {
			t.Errorf("%s: the problems are %+v", what, problems)
		}
	}
	f.document.LDAP.Users.BaseDN = ldaptest.People
	if _, err := f.directory().Confirm(t.Context(), alice.Subject); err != nil {
		t.Errorf("a confirmation: %v", err)
	}
}

func TestTheLogSaysWhyAUserDoesNotSignInOrWhatThePasswordOfAnEntryDoesNotEnd(t *testing.T) {
	for name, test := range map[string]struct {
		change   func(*fixture)
		password string
		want     string
	}{
		"a wrong password":     {nil, "wrong", `result 49 (Invalid Credentials)`},
		"a mistyped filter":    {func(f *fixture) { f.document.LDAP.Users.Filter = "(uidd=$(username))" }, ldaptest.Password("alice"), "do not find exactly one entry, but none"},
		"a mistyped attribute": {func(f *fixture) { f.document.SubjectAttribute = "objectGUID" }, ldaptest.Password("alice"), "the entry has not one objectGUID"},
		"a mistyped passwordChangedAttribute": {func(f *fixture) {
			f.document.LDAP.Users.PasswordChangedAttribute = "pwdChangedTyme"
		}, ldaptest.Password("alice"), "another password ends nothing"},
	} {
		f := newFixture(t, shared)
		var log strings.Builder
		f.Log = slog.New(slog.NewJSONHandler(&log, nil))
		if test.change != nil {
			test.change(f)
		}
		_, _ = f.signIn("alice", test.password)
		if !strings.Contains(log.String(), test.want) || !strings.Contains(log.String(), `"provider":"`) {
			t.Errorf("%s: the log says %s", name, log.String())
		}
	}
}

func TestAnEntryWithoutThePasswordChangedAttributeIsCounted(t *testing.T) {
	f := newFixture(t, shared, func(p *documents.IdentityProvider) { p.LDAP.Users.PasswordChangedAttribute = "pwdChangedTyme" })
	metrics := prometheus.NewRegistry()
	var err error
	if f.Metrics, err = ldap.NewMetrics(metrics, registry.New(time.Now)); err != nil {
		t.Fatal(err)
	}
	said := f.mustSignIn("alice", ldaptest.Password("alice"))
	if _, err := f.directory().Confirm(t.Context(), said.Subject); err != nil {
		t.Fatal(err)
	}
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if strings.HasSuffix(family.GetName(), "_without_password_time_total") && family.Metric[0].GetCounter().GetValue() == 2 {
			return
		}
	}
	t.Errorf("the metrics are %v, want two answers without the attribute", families)
}

func TestNoErrorSaysWhatWasTypedOrAnswered(t *testing.T) {
	f := newFixture(t, shared)
	var log strings.Builder
	f.Log = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	texts := ""
	for _, test := range []struct{ username, password string }{{"alice-typed", "typed-password"}, {"alice", "typed-password"}} {
		_, err := f.signIn(test.username, test.password)
		texts += err.Error()
	}
	f.document.LDAP.Users.BaseDN = "ou=typed-base," + ldaptest.Base
	_, err := f.signIn("alice-typed", "typed-password")
	texts += err.Error() + log.String()
	for _, secret := range []string{"typed", ldaptest.BindPassword, "alice@"} {
		if strings.Contains(texts, secret) {
			t.Errorf("%q is in %s", secret, texts)
		}
	}
}
