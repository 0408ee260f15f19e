package bench

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/browser"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// pageLoad is a load of browsers.
type pageLoad struct {
	env     *testenv.Env
	browser *http.Transport
	address string // of the authorization request
	users   []string
}

// hashing is how many connections send passwords: fewer than one address may have in the queue.
const hashing = 2

// BenchmarkPages is what browsers cost: an authorization request up to the login page, a password
// up to the code, whose floor hashes one, and wrong passwords for one name, which are refused after
// ten.
func BenchmarkPages(b *testing.B) {
	const count = 7
	env := testenv.New(b, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.Storage = &v1alpha1.StorageSettings{Type: v1alpha1.StorageMemory}
	})
	env.ReadyAPI(ordersAPI, []string{ordersScope})
	c := env.ReadyClient("web", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"authorization_code"}, TokenEndpointAuthMethod: v1alpha1.AuthMethodBasic,
		RedirectURIs: []string{env.Callback}, Scopes: []string{ordersScope}, Consent: v1alpha1.ConsentSkip,
	})
	p := &pageLoad{
		env: env, browser: &http.Transport{MaxIdleConnsPerHost: workers}, users: []string{testenv.Username},
		address: env.Config(c, ordersScope).AuthCodeURL("state", oauth2.S256ChallengeOption(verifier)),
	}
	b.Cleanup(p.browser.CloseIdleConnections)
	p.addUsers(b, 5) // a user may sign in thirty times in ten minutes
	server := target{pid: replica(b, env).PID(), address: hostOf(env.Issuer)}
	measured := func(prepare func() step, connections int) target {
		t := server.on(connections)
		t.prepare = prepare
		return t
	}
	floor := startFloor(b)
	const logins, pages = 5, 100
	costs := measureAlternately(b, count, pages, floor("/parse"), measured(constantly(p.openLogin), workers))
	table.add(b, cost(requestRows, "an authorization request, up to the login page", costs[1]))
	costs = measureAlternately(b, count, logins, floor("/hash").on(hashing), measured(func() step { return p.logins(b, logins) }, hashing))
	table.add(b, compared(requestRows, "a password on the login page, up to the code", costs[1], costs[0], ratios(costs[1], costs[0])))
	p.guess(b) // until the name has to wait
	costs = measureAlternately(b, count, pages, floor("/parse"), measured(func() step { return p.guesses(b, pages) }, workers))
	table.add(b, cost(requestRows, "a guessed password, once the name has to wait", costs[1]))
}

// addUsers adds users until there are n.
func (p *pageLoad) addUsers(b *testing.B, n int) {
	b.Helper()
	for i := len(p.users); i < n; i++ {
		name := fmt.Sprintf("user-%d", i)
		p.env.Create(p.env.PasswordSecret(name, testenv.Password))
		user := p.env.NewUser(name, name, name)
		p.env.Create(user)
		p.env.WaitFor("the user to be Ready", user, func() bool {
			return testenv.IsTrue(user.Status.Conditions, v1alpha1.ConditionReady)
		})
		p.users = append(p.users, name)
	}
}

// login is a browser at the login page.
type login struct {
	*browser.Browser
	page browser.Page
}

func (p *pageLoad) open() (login, error) {
	fresh := browser.New(p.browser, p.env.Issuer)
	page, err := fresh.Get(p.env.T.Context(), p.address)
	if err == nil && !page.IsLogin() {
		err = fmt.Errorf("the browser is at %s: %d", page.At, page.StatusCode)
	}
	return login{fresh, page}, err
}

func (p *pageLoad) openLogin(*connection, int, int) error {
	_, err := p.open()
	return err
}

// at are browsers at the login page, as many for each worker.
func (p *pageLoad) at(b *testing.B, each, connections int) [][]login {
	b.Helper()
	all := make([][]login, connections)
	for worker := range all {
		for range each {
			l, err := p.open()
			if err != nil {
				b.Fatal(err)
			}
			all[worker] = append(all[worker], l)
		}
	}
	return all
}

// logins are users who sign in, one after the other.
func (p *pageLoad) logins(b *testing.B, each int) step {
	b.Helper()
	pages := p.at(b, each, hashing)
	return func(_ *connection, worker, i int) error {
		l := pages[worker][i]
		page, err := l.Login(p.env.T.Context(), l.page, p.users[(worker*each+i)%len(p.users)], testenv.Password)
		if err == nil && (!strings.HasPrefix(page.At.String(), p.env.Callback) || page.Values().Get("code") == "") {
			err = fmt.Errorf("the browser is at %s: %d", page.At, page.StatusCode)
		}
		return err
	}
}

// guess guesses the password of a user who never signs in, until it has to wait.
func (p *pageLoad) guess(b *testing.B) {
	b.Helper()
	for range 20 {
		l, err := p.open()
		if err != nil {
			b.Fatal(err)
		}
		page, err := l.Login(b.Context(), l.page, "mallory", "a guess")
		if err != nil {
			b.Fatal(err)
		}
		if page.StatusCode == http.StatusTooManyRequests {
			return
		}
	}
	b.Fatal("twenty guesses were let through")
}

// guesses are more of them. Now and then, when the name has waited, one is let through.
func (p *pageLoad) guesses(b *testing.B, each int) step {
	b.Helper()
	var requests [workers][][]byte
	for worker, pages := range p.at(b, each, workers) {
		for _, l := range pages {
			action, fields := l.page.Form(b)
			fields.Set("username", "mallory")
			fields.Set("password", "a guess")
			to, err := l.page.At.Parse(action)
			if err != nil {
				b.Fatal(err)
			}
			requests[worker] = append(requests[worker], p.form(to, l, fields))
		}
	}
	return func(l *connection, worker, i int) error {
		a, err := l.send(requests[worker][i])
		if err == nil && a.status != http.StatusTooManyRequests && a.status != http.StatusOK {
			err = fmt.Errorf("a guess is answered %d", a.status)
		}
		return err
	}
}

// form is a form as the browser sends it.
func (p *pageLoad) form(to *url.URL, l login, fields url.Values) []byte {
	var cookies []string
	for _, c := range l.Jar.Cookies(to) {
		cookies = append(cookies, c.String())
	}
	return postWith(to.Host, to.RequestURI(), fields, "Cookie: "+strings.Join(cookies, "; ")+"\r\nAccept: "+browser.Accept+"\r\n")
}
