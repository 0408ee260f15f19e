package callback_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
)

// cookieHeader returns the Cookie header that the browser sends to the server.
func (f *fixture) cookieHeader(b *interactiontest.Browser) string {
	f.T.Helper()
	origin, err := url.Parse(f.Issuer)
	if err != nil {
		f.T.Fatal(err)
	}
	var pairs []string
	for _, cookie := range b.Jar.Cookies(origin) {
		pairs = append(pairs, cookie.String())
	}
	return strings.Join(pairs, "; ")
}

// webRequestWithState returns the request of the client web with a state.
func (f *fixture) webRequestWithState(state string) string {
	u, err := url.Parse(f.WebRequest())
	if err != nil {
		f.T.Fatal(err)
	}
	values := u.Query()
	values.Set("state", state)
	u.RawQuery = values.Encode()
	return u.String()
}

func TestAFlowThatIsTooLargeForACookieIsRefusedBeforeTheDeparture(t *testing.T) {
	f := newFixture(t)
	low, high := 0, 2*interaction.MaxDeparture
	for low+1 < high {
		if middle := (low + high) / 2; isAtUpstream(f.NewBrowser().Get(f.webRequestWithState(strings.Repeat("s", middle)))) {
			low = middle
		} else {
			high = middle
		}
	}
	// The rest of the flow is the request's other parameters, the hashes and the numbers.
	if low < interaction.MaxDeparture-256 || low > interaction.MaxDeparture {
		t.Errorf("a state of %d bytes may leave", low)
	}
	b := f.NewBrowser()
	departure := f.depart(b, f.webRequestWithState(strings.Repeat("s", low)))
	for _, cookie := range departure.Cookies() {
		if size := len(cookie.Name) + 1 + len(cookie.Value); size > 4096 {
			t.Errorf("the cookie %s has %d bytes: browsers drop it", cookie.Name, size)
		}
	}
	page := b.Get(f.answer(f.upstream, departure))
	if !page.IsConsent() {
		t.Fatalf("at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
	if got := b.Consent(page, "allow").Values().Get("state"); len(got) != low {
		t.Errorf("the state that comes back has %d bytes, want %d", len(got), low)
	}

	larger := f.webRequestWithState(strings.Repeat("s", low+1))
	if page := f.NewBrowser().Get(larger); page.Values().Get("error") != "invalid_request" {
		t.Errorf("a larger one: at %.80s: %d", page.At, page.StatusCode)
	}
	if page := b.Get(larger); !page.IsConsent() && page.Values().Get("code") == "" {
		t.Errorf("a larger one, of a user who is signed in: at %.80s: %d %s", page.At, page.StatusCode, page.Body)
	}
	f.allow("acme", documents.LocalProvider)
	if page := f.NewBrowser().Get(larger); !page.IsLogin() || page.Find("a", "id", "other-ways") != nil {
		t.Errorf("a larger one where there is another way: at %.80s: %d %s", page.At, page.StatusCode, page.Body)
	}
}

func TestAbandonedDeparturesDoNotFillTheCookieHeader(t *testing.T) {
	for name, size := range map[string]int{"small": 10, "large": 1000, "as large as may be": 2200} {
		f := newFixture(t)
		b := f.NewBrowser()
		page := f.signIn(b, f.WebRequest()) // has a session too
		if !page.IsConsent() {
			t.Fatal(page.Body)
		}
		var answers []string
		for range 20 {
			departure := f.depart(b, f.webRequestWithState(strings.Repeat("s", size))+"&prompt=login")
			answers = append(answers, f.answer(f.upstream, departure))
			f.Advance(1e9)
			if header := f.cookieHeader(b); len(header) > 8<<10 {
				t.Errorf("%s: the Cookie header has %d bytes", name, len(header))
			}
		}
		if n := strings.Count(f.cookieHeader(b), "departure-"); n > 3 || size == 10 && n != 3 {
			t.Errorf("%s: %d departures are left", name, n)
		}
		if page := b.Get(answers[0]); page.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: the oldest: at %s: %d", name, page.At, page.StatusCode)
		}
		if page := b.Get(answers[19]); !page.IsConsent() {
			t.Errorf("%s: the latest: at %s: %d %s", name, page.At, page.StatusCode, page.Body)
		}
	}
}
