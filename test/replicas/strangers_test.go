package replicas

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/oauth2"

	"github.com/oauth-operator/oauth-operator/test/browser"
)

// signInAll lets n users sign in at the provider, and returns how often each status was the answer to
// users without a code, and how many users got one.
func (e *elsewhere) signInAll(n int, subject func(i int) string) (answered map[int]int, codes int) {
	e.T.Helper()
	var next atomic.Int64
	var mu sync.Mutex
	var all sync.WaitGroup
	answered = map[int]int{}
	for range 8 {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				page := e.openAuthorization(e.newBrowser(), subject(i))
				mu.Lock()
				if page.Values().Get("code") != "" || page.IsConsent() {
					codes++
				} else {
					answered[page.StatusCode]++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return answered, codes
}

// openAuthorization opens an authorization request, and goes to the provider and back.
func (e *elsewhere) openAuthorization(b *browser.Browser, subject string) browser.Page {
	page, err := b.Get(e.T.Context(), e.config.AuthCodeURL("xyz", oauth2.S256ChallengeOption(oauth2.GenerateVerifier()), oauth2.SetAuthURLParam("login_hint", subject)))
	if err != nil {
		e.T.Error(err)
		return browser.Page{Response: &http.Response{}, At: &url.URL{}}
	}
	return page
}

// garbage are requests that a stranger makes up, of one who signs in at a provider.
func (e *elsewhere) garbage() []func(i int) *http.Request {
	get := func(path string, pairs ...string) func(i int) *http.Request {
		return func(i int) *http.Request {
			query := url.Values{}
			for at := 0; at < len(pairs); at += 2 {
				query.Set(pairs[at], strings.ReplaceAll(pairs[at+1], "#", fmt.Sprint(i)))
			}
			return e.request(i, http.MethodGet, path+"?"+query.Encode(), nil)
		}
	}
	authorize := []string{
		"client_id", e.config.ClientID, "redirect_uri", e.Callback, "response_type", "code", "scope", "openid", "state", "#",
		"code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "code_challenge_method", "S256",
	}
	inOwnCookies := get("/callback/acme", "state", "guess-#", "code", "guess-#")
	return []func(i int) *http.Request{
		get("/callback/acme", "state", "guess-#", "code", "guess-#", "iss", e.upstream.Issuer),
		get("/callback/acme", "state", "guess-#", "error", "access_denied"),
		get("/callback/acme", "code", "#"),
		get("/callback/unknown", "state", "a", "code", "#"),
		get("/authorize", authorize...),
		get("/authorize", append(authorize, "prompt", "none")...),
		get("/login", "flow", "guess-#", "way", "acme"),
		func(i int) *http.Request {
			request := inOwnCookies(i)
			request.Header.Set("Cookie", fmt.Sprintf("oauth_departure_%[1]d=guess-%[1]d; oauth_session=guess-%[1]d", i))
			return request
		},
	}
}

// departAndGiveUp opens an authorization request in a browser, which leaves for the provider, and
// comes back with the provider's refusal or with a code that it has not issued.
func (e *elsewhere) departAndGiveUp(i int) int {
	b := browser.New(e.transport, e.Issuer)
	page := e.openAuthorization(b, "employee-2")
	answer := url.Values{"state": {page.At.Query().Get("state")}, "iss": {e.upstream.Issuer}}
	if i%2 == 0 {
		answer.Set("error", "access_denied")
	} else {
		answer.Set("code", fmt.Sprint("guess-", i))
	}
	page, err := b.Get(e.T.Context(), e.Issuer+"/callback/acme?"+answer.Encode())
	if err != nil {
		e.T.Error(err)
		return 0
	}
	return page.StatusCode
}

func TestStrangersAtAnIdentityProviderCauseNoWriteAndLeaveNoRecord(t *testing.T) {
	forEachBackend(t, func(t *testing.T, s *replicatedServer) {
		e := newElsewhere(t, s)
		first := map[string]int{"create oauthidentities": 1, "update oauthidentities": 1}
		if s.dumpRecords() != "" {
			first = map[string]int{} // it is in the database
		}
		asked, _ := s.countWrites(func() { e.openAuthorization(e.newBrowser(), "employee-1") })
		if !maps.Equal(asked, first) {
			t.Errorf("a first sign-in wrote %v, want %v", asked, first)
		}
		before, strangers := s.dumpRecords(), *requests/20
		var answered, denied map[int]int
		codes := 0
		asked, _ = s.countWrites(func() {
			what := e.garbage()
			answered = s.sendAll(*requests/5, func(i int) *http.Request { return what[i%len(what)](i) })
			for i := range 100 {
				if status := e.departAndGiveUp(i); status != http.StatusOK {
					t.Errorf("who comes back with nothing is answered %d", status)
				}
			}
			denied, codes = e.signInAll(strangers, func(i int) string { return fmt.Sprint("stranger-", i) })
		})
		if len(asked) > 0 || s.dumpRecords() != before {
			t.Errorf("strangers caused writes: %v, or others in the database", asked)
		}
		if codes > 0 || len(denied) != 1 || denied[http.StatusOK] != strangers {
			t.Errorf("of %d whom allow denies %d were taken for users; the others were answered %v", strangers, codes, denied)
		}
		if answered[0] > 0 || answered[http.StatusInternalServerError] > 0 || answered[http.StatusBadRequest] == 0 || answered[http.StatusSeeOther] == 0 {
			t.Errorf("what was made up was answered %v", answered)
		}
		asked, _ = s.countWrites(func() { e.openAuthorization(e.newBrowser(), "employee-1") })
		if len(asked) > 0 {
			t.Errorf("a known user wrote %v", asked)
		}
		t.Logf("%v; denied: %v", answered, denied)
	})
}

func TestAtMaxIdentitiesNewUsersAreRefusedWithoutAWriteAtEveryReplica(t *testing.T) {
	forEachBackend(t, func(t *testing.T, s *replicatedServer) {
		e := newElsewhere(t, s)
		known := e.issue("employee-known")
		e.Update(e.provider, func() { e.provider.Spec.MaxIdentities = 1 })
		e.waitForProvider()
		before := s.dumpRecords()
		var refused map[int]int
		codes := 0
		asked, _ := s.countWrites(func() {
			refused, codes = e.signInAll(60, func(i int) string { return fmt.Sprint("employee-", i) })
		})
		if len(asked) > 0 || s.dumpRecords() != before {
			t.Errorf("new users beyond the bound caused writes: %v, or others in the database", asked)
		}
		if codes > 0 {
			t.Errorf("%d users signed in beyond the bound; the others were answered %v", codes, refused)
		}
		e.checkGood("at the bound", known)
		if page := e.openAuthorization(e.newBrowser(), "employee-known"); page.Values().Get("code") == "" && !page.IsConsent() {
			t.Errorf("the user who is known is at %s: %d", page.At, page.StatusCode)
		}
	})
}
