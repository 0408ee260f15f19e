//go:build ldap

package login_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/test/browser"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
	"github.com/oauth-operator/oauth-operator/tokenserver/ldap/ldaptest"
)

// directoryFixture is a server at which users sign in to the client web at a directory.
type directoryFixture struct {
	*interactiontest.Server
	directory *ldaptest.Server
}

func newDirectoryFixture(t *testing.T, ways ...string) *directoryFixture {
	t.Helper()
	f := &directoryFixture{Server: interactiontest.New(t), directory: ldaptest.Start(t)}
	f.serve("acme", func(*documents.IdentityProvider) {})
	f.ChangeDocument(func(s *documents.Server) {
		s.Fetch, s.AllowedClients[0].IdentityProviders = &documents.Fetch{AllowedNetworks: []string{"127.0.0.0/8"}}, ways
	})
	return f
}

func (f *directoryFixture) serve(name string, change func(*documents.IdentityProvider)) {
	f.T.Helper()
	settings := f.directory.Provider()
	document := documents.IdentityProvider{
		UID: name + "-uid", Namespace: "identity", Name: name, DisplayName: strings.ToUpper(name), Type: documents.ProviderLDAP, Realm: name,
		SubjectAttribute: "entryUUID", CABundle: f.directory.CABundle, Credentials: []string{name + ".1"}, LDAP: &settings, MaxIdentities: 100,
		Allow:  `"staff" in upstream.groups`,
		Claims: map[string]string{"preferred_username": "upstream.attributes.uid[0]", "groups": "upstream.groups"},
	}
	change(&document)
	f.Apply(document)
}

func (f *directoryFixture) form() (*interactiontest.Browser, browser.Page) {
	b := f.NewBrowser()
	return b, b.Get(f.WebRequest())
}

func TestAUserOfADirectorySignsInAtTheLoginPageAndHasACode(t *testing.T) {
	f := newDirectoryFixture(t, "acme")
	b, page := f.form()
	if !page.IsLogin() || !strings.Contains(page.Body, "Sign in with <bdi>ACME</bdi>") {
		t.Fatalf("the page is %d %s", page.StatusCode, page.Body)
	}
	consent := b.Login(page, "alice", ldaptest.Password("alice"))
	if !consent.IsConsent() || !strings.Contains(consent.Body, "alice") {
		t.Fatalf("the page is %d %s", consent.StatusCode, consent.Body)
	}
	answer := b.Consent(consent, "allow")
	if answer.Values().Get("code") == "" {
		t.Fatalf("the answer is %v", answer.Values())
	}
	if again := b.Get(f.WebRequest("prompt", "none")); again.Values().Get("code") == "" {
		t.Errorf("the session gets no code: %v", again.Values())
	}
	if fresh := b.Get(f.WebRequest("prompt", "login")); !fresh.IsLogin() {
		t.Error("prompt=login shows no form")
	} else if answered := b.Login(fresh, "alice", ldaptest.Password("alice")); answered.Values().Get("code") == "" {
		t.Errorf("after prompt=login: %d %v", answered.StatusCode, answered.Values())
	}
}

func TestASignInAtADirectoryGoesOnWithTheSessionOfItsUserAndEndsThatOfAnother(t *testing.T) {
	f := newDirectoryFixture(t, "acme")
	b := f.NewBrowser()
	signIn := func(username string) grant.Result {
		t.Helper()
		page := b.Login(b.Get(f.WebRequest("prompt", "login")), username, ldaptest.Password(username))
		if page.IsConsent() {
			page = b.Consent(page, "allow")
		}
		tokens, err := f.Redeem("web", page.Values().Get("code"), interactiontest.WebRedirect, "")
		if err != nil {
			t.Fatalf("%s: %d: %v", username, page.StatusCode, err)
		}
		return tokens
	}
	canRefresh := func(tokens grant.Result) bool {
		client, _ := f.Registry.Client("web")
		_, err := f.Grants.Refresh(t.Context(), grant.RefreshRequest{Client: client, RefreshToken: tokens.RefreshToken})
		return err == nil
	}
	first, again := signIn("alice"), signIn("alice")
	if !canRefresh(first) || !canRefresh(again) {
		t.Error("something ended when the same user signed in again")
	}
	bob := signIn("bob")
	if canRefresh(first) || canRefresh(again) {
		t.Error("what came from the session that another user replaced is good")
	}
	if !canRefresh(bob) {
		t.Error("what the other user got is of no use")
	}
	b.ConfirmLogout(b.Get(f.Issuer + "/logout"))
	if canRefresh(bob) {
		t.Error("what came from the last session is good after logout")
	}
}

func TestUnknownDisabledDeniedAndWrongPasswordGetOneAnswer(t *testing.T) {
	f := newDirectoryFixture(t, "acme")
	f.directory.Set(t, ldaptest.DN("bob"), "pwdAccountLockedTime", "000001010000Z")
	bodies := map[string]bool{}
	for _, test := range []struct{ username, password string }{
		{"nosuch", "wrong"}, {"bob", ldaptest.Password("bob")}, {"carol", ldaptest.Password("carol")}, {"alice", "wrong"}, {"alice", ""}, {"*", "wrong"},
	} {
		b, page := f.form()
		answer := b.Login(page, test.username, test.password)
		if answer.StatusCode != http.StatusOK || !answer.IsLogin() || !strings.Contains(answer.Body, failure) || len(answer.Cookies()) > 0 {
			t.Errorf("%s: %d %s", test.username, answer.StatusCode, answer.Body)
		}
		_, fields := answer.Form(t)
		body := strings.ReplaceAll(answer.Body, fields.Get("flow"), "")
		bodies[strings.ReplaceAll(body, `value="`+test.username+`"`, "")] = true
	}
	if len(bodies) != 1 {
		t.Errorf("there are %d different pages", len(bodies))
	}
	if f.Store.Writes() != 0 {
		t.Errorf("there were %d writes", f.Store.Writes())
	}
}

func TestTooManyWrongPasswordsAreRefusedButNotInAKnownBrowser(t *testing.T) {
	f := newDirectoryFixture(t, "acme")
	known, page := f.form()
	if !known.Login(page, "alice", ldaptest.Password("alice")).IsConsent() {
		t.Fatal("alice is not signed in")
	}
	var answer browser.Page
	for range 5 {
		b, page := f.form()
		answer = b.Login(page, "alice", "wrong")
	}
	if answer.StatusCode != http.StatusTooManyRequests || answer.Header.Get("Retry-After") == "" || !strings.Contains(answer.Body, "too many failed attempts") {
		t.Errorf("the fifth wrong password: %d %s", answer.StatusCode, answer.Body)
	}
	b, page := f.form()
	if answer := b.Login(page, "alice", ldaptest.Password("alice")); answer.StatusCode != http.StatusTooManyRequests {
		t.Errorf("another browser: %d", answer.StatusCode)
	}
	b, page = f.form()
	if !b.Login(page, "bob", ldaptest.Password("bob")).IsConsent() {
		t.Fatal("bob is not signed in")
	}
	if answer := b.Login(b.Get(f.WebRequest("prompt", "login")), "alice", ldaptest.Password("alice")); answer.StatusCode != http.StatusTooManyRequests {
		t.Errorf("a browser in which another user has signed in: %d", answer.StatusCode)
	}
	binds := f.directory.CountBinds(ldaptest.DN("alice"))
	if answer := known.Login(known.Get(f.WebRequest("prompt", "login")), "alice", ldaptest.Password("alice")); !answer.IsConsent() {
		t.Errorf("the known browser: %d %s", answer.StatusCode, answer.Body)
	}
	if got := f.directory.CountBinds(ldaptest.DN("alice")) - binds; got != 1 {
		t.Errorf("%d binds, want 1", got)
	}
}

func TestOnePasswordFormIsAPageBehindTheChooserAndSendsPasswordsNowhereElse(t *testing.T) {
	f := newDirectoryFixture(t, "acme", "other", "local")
	f.serve("other", func(p *documents.IdentityProvider) { p.LDAP.Users.BaseDN = ldaptest.Crowd })
	b := f.NewBrowser()
	chooser := b.Get(f.WebRequest())
	links := map[string]string{}
	for _, way := range []string{"acme", "other", "local"} {
		link := chooser.Find("a", "id", "way-"+way)
		if link == nil {
			t.Fatalf("there is no way %s: %s", way, chooser.Body)
		}
		for _, a := range link.Attr {
			if a.Key == "href" {
				links[way] = a.Val
			}
		}
	}
	choose := func(way string) browser.Page {
		t.Helper()
		page := b.Get(links[way])
		if !page.IsLogin() || page.Find("a", "id", "other-ways") == nil {
			t.Fatalf("%s: %d %s", way, page.StatusCode, page.Body)
		}
		return page
	}
	local, binds := choose("local"), len(f.directory.Binds())
	if answer := b.Login(local, "alice", ldaptest.Password("alice")); !strings.Contains(answer.Body, failure) || len(f.directory.Binds()) != binds {
		t.Errorf("a password of the directory in the form of this server: %d, %q", answer.StatusCode, f.directory.Binds()[binds:])
	}
	hashed := f.Passwords.CountHashed()
	if answer := b.Login(choose("acme"), "alice", interactiontest.AlicePassword); !strings.Contains(answer.Body, failure) || f.Passwords.CountHashed() != hashed {
		t.Errorf("a password of this server in the form of the directory: %d", answer.StatusCode)
	}
	if answer := b.Login(choose("other"), "alice", ldaptest.Password("alice")); !strings.Contains(answer.Body, failure) {
		t.Errorf("a user of acme in the form of other: %d", answer.StatusCode)
	}
	if answer := b.Login(choose("acme"), "alice", ldaptest.Password("alice")); !answer.IsConsent() {
		t.Errorf("the right form: %d %s", answer.StatusCode, answer.Body)
	}
}

func TestADirectoryThatIsAwayIsASentenceAndNoObstacleToOthers(t *testing.T) {
	f := newDirectoryFixture(t, "acme", "local")
	f.directory.Kill()
	b := f.NewBrowser()
	form := func(way string) browser.Page {
		t.Helper()
		link := b.Get(f.WebRequest()).Find("a", "id", "way-"+way)
		for _, a := range link.Attr {
			if a.Key == "href" {
				return b.Get(a.Val)
			}
		}
		t.Fatal("no link")
		return browser.Page{}
	}
	answer := b.Login(form("acme"), "alice", ldaptest.Password("alice"))
	if answer.StatusCode != http.StatusServiceUnavailable || answer.Find("input", "id", "password") == nil || !strings.Contains(answer.Body, "Signing in with ACME does not work at the moment") ||
		answer.Find("input", "aria-describedby", "login-error") == nil {
		t.Errorf("the answer is %d %s", answer.StatusCode, answer.Body)
	}
	if answer := b.Login(form("local"), "alice", interactiontest.AlicePassword); !answer.IsConsent() {
		t.Errorf("a user of this server: %d %s", answer.StatusCode, answer.Body)
	}
	served, _ := f.Registry.IdentityProvider("acme")
	if problems := f.Directories.Problems([]documents.IdentityProvider{served.IdentityProvider}); len(problems) != 1 {
		t.Errorf("the problems are %+v", problems)
	}
}

func TestFailuresAtADirectoryAreSentences(t *testing.T) {
	f := newDirectoryFixture(t, "acme")
	for what, test := range map[string]struct {
		username string
		change   func(*documents.IdentityProvider)
		want     string
	}{
		"groups": {"many", func(p *documents.IdentityProvider) {
			p.LDAP.Users.BaseDN, p.LDAP.Groups.BaseDN = ldaptest.Crowd, ldaptest.CrowdGroups
		}, "What ACME says of you is not complete"},
		"full": {"alice", func(p *documents.IdentityProvider) { p.MaxIdentities = 0 }, "this server takes no more new users"},
		"a mistyped base": {"alice", func(p *documents.IdentityProvider) {
			p.LDAP.Users.BaseDN = "ou=poeple," + ldaptest.Base
		}, "Signing in with ACME does not work"},
	} {
		f.serve("acme", test.change)
		b, page := f.form()
		answer := b.Login(page, test.username, ldaptest.Password(test.username))
		if answer.StatusCode != http.StatusServiceUnavailable || !strings.Contains(answer.Body, test.want) {
			t.Errorf("%s: %d %s", what, answer.StatusCode, answer.Body)
		}
	}
}

func TestWhenADirectoryDropsAUserNothingMoreIsIssuedByAnEarlierSignIn(t *testing.T) {
	for what, test := range map[string]struct {
		change func(*ldaptest.Server, *testing.T)
		ended  bool // and not only as long as the directory says so
	}{
		"disabled": {func(s *ldaptest.Server, t *testing.T) {
			s.Set(t, ldaptest.DN("alice"), "pwdAccountLockedTime", "000001010000Z")
		}, true},
		"another password": {func(s *ldaptest.Server, t *testing.T) { s.Set(t, ldaptest.DN("alice"), "userPassword", "another") }, true},
		"out of its group": {func(s *ldaptest.Server, t *testing.T) {
			s.Set(t, "cn=staff,"+ldaptest.Groups, "member", ldaptest.DN("bob"))
		}, true},
		"deleted": {func(s *ldaptest.Server, t *testing.T) { s.Delete(t, ldaptest.DN("alice")) }, true},
		"away":    {func(s *ldaptest.Server, _ *testing.T) { s.Kill() }, false},
	} {
		t.Run(what, func(t *testing.T) {
			f := newDirectoryFixture(t, "acme", "local")
			f.ChangeDocument(func(s *documents.Server) { s.AllowedClients[0].IdentityProviders = []string{"acme"} })
			b := f.NewBrowser()
			request := []string{
				"client_id", "web", "redirect_uri", interactiontest.WebRedirect, "response_type", "code", "scope", "openid offline_access",
			}
			page := b.Get(f.Request(request...))
			code := b.Consent(b.Login(page, "alice", ldaptest.Password("alice")), "allow").Values().Get("code")
			issued, err := f.Redeem("web", code, interactiontest.WebRedirect, "")
			if err != nil {
				t.Fatal(err)
			}
			refreshToken, isRefused := issued.RefreshToken, false
			asked := func() (session, refresh bool) {
				answer := b.Get(f.Request(append(request, "prompt", "none")...))
				client, _ := f.Registry.Client("web")
				refreshed, err := f.Grants.Refresh(t.Context(), grant.RefreshRequest{Client: client, RefreshToken: refreshToken})
				if err == nil {
					refreshToken = refreshed.RefreshToken
				}
				var refused *grant.RefusedError
				isRefused = errors.As(err, &refused)
				return answer.Values().Get("code") != "", err == nil
			}
			test.change(f.directory, t)
			if session, refresh := asked(); !session || !refresh {
				t.Errorf("within five minutes: code %t, refresh %t", session, refresh)
			}
			f.Advance(5 * time.Minute)
			if session, refresh := asked(); session || refresh {
				t.Errorf("after five minutes: code %t, refresh %t", session, refresh)
			}
			if isRefused != test.ended {
				t.Errorf("the grant has ended: %t, want %t", isRefused, test.ended)
			}
			if test.ended {
				return
			}
			if err := f.directory.Start(); err != nil {
				t.Fatal(err)
			}
			if session, refresh := asked(); !session || !refresh {
				t.Errorf("when the directory is back: code %t, refresh %t", session, refresh)
			}
		})
	}
}

func TestNothingThatIsTypedForADirectoryIsLogged(t *testing.T) {
	f := newDirectoryFixture(t, "acme")
	b, page := f.form()
	b.Login(page, "typed-name", "typed-password")
	b.Login(page, "alice", "typed-password")
	b.Login(page, "alice", ldaptest.Password("alice"))
	f.directory.Kill()
	b.Login(b.Get(f.WebRequest("prompt", "login")), "typed-name", "typed-password")
	log := f.Log.String()
	for _, secret := range []string{
		"typed-name", "typed-password", ldaptest.Password("alice"), url.QueryEscape(ldaptest.Password("alice")), ldaptest.BindPassword, "alice@acme", ldaptest.DN("alice"),
	} {
		if strings.Contains(log, secret) {
			t.Errorf("the log has %q: %s", secret, log)
		}
	}
	if !strings.Contains(log, `"provider":"acme"`) {
		t.Errorf("the log lacks what happened: %s", log)
	}
}
