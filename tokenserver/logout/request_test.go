package logout_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/storagetest"
)

func TestAnIDTokenOfTheUserSignsThemOutAtOnce(t *testing.T) {
	for name, hint := range map[string]func(*testing.T, *interactiontest.Server) string{
		"a fresh one": func(t *testing.T, w *interactiontest.Server) string { return idToken(t, w, nil) },
		"one that expired a year ago": func(t *testing.T, w *interactiontest.Server) string {
			return idToken(t, w, func(claims map[string]any) { claims["exp"] = w.Now().Add(-365 * 24 * time.Hour).Unix() })
		},
		"one of a key that retires": func(t *testing.T, w *interactiontest.Server) string {
			token := idToken(t, w, nil)
			w.Document.Keys = slices.Clone(w.Document.Keys)
			for i := range w.Document.Keys {
				if w.Document.Keys[i].Algorithm == "RS256" {
					w.Document.Keys[i].Phase = documents.KeyRetiring
				}
			}
			w.Keys.SetDocument(w.Document)
			return token
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := interactiontest.New(t)
			b := newSignedInBrowser(t, w)
			answer := b.Get(logoutURL(w, "id_token_hint", hint(t, w), "client_id", "web",
				"post_logout_redirect_uri", interactiontest.WebSignedOut, "state", "xyz"))
			if answer.StatusCode != http.StatusSeeOther || answer.Header.Get("Location") != interactiontest.WebSignedOut+"&state=xyz" {
				t.Fatalf("the answer is %d %s %s", answer.StatusCode, answer.Header.Get("Location"), answer.Body)
			}
			if sessionCookie(t, b) != nil || isSignedIn(t, b) {
				t.Error("the session goes on")
			}
		})
	}
}

func TestAnIDTokenThatTheServerIssuedIsAHint(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	token := b.SignIn(w.LegacyRequest("id_token")).Values().Get("id_token")
	if token == "" {
		t.Fatal("there is none")
	}
	wantSignedOut(t, "with the ID token", b.Get(logoutURL(w, "id_token_hint", token)))
	if isSignedIn(t, b) {
		t.Error("the session goes on")
	}
}

// Another site can make a browser open any address.
func TestNobodyIsSignedOutByALinkAlone(t *testing.T) {
	store := &storagetest.Faulty{}
	w := interactiontest.New(t, interactiontest.Store(store))
	elsewhere := interactiontest.New(t)
	b := w.NewBrowser()
	access, _ := requestTokens(t, b, "openid profile")
	suspended := w.Client("trusted")
	suspended.Suspended = true
	w.Apply(suspended)
	before := store.Writes()
	good := idToken(t, w, nil)
	parts := strings.Split(good, ".")
	for name, pairs := range map[string][]string{
		"nothing":                    nil,
		"the client":                 {"client_id", "web"},
		"the user's name":            {"logout_hint", "alice", "client_id", "web"},
		"where to go":                {"client_id", "web", "post_logout_redirect_uri", interactiontest.WebSignedOut},
		"another user's ID token":    {"id_token_hint", idToken(t, w, func(c map[string]any) { c["sub"] = "subject-bob" })},
		"an ID token of no user":     {"id_token_hint", idToken(t, w, func(c map[string]any) { delete(c, "sub") })},
		"of another issuer":          {"id_token_hint", idToken(t, w, func(c map[string]any) { c["iss"] = "https://evil.example.com" })},
		"of another server":          {"id_token_hint", idToken(t, elsewhere, nil)},
		"for no client":              {"id_token_hint", idToken(t, w, func(c map[string]any) { delete(c, "aud") })},
		"for an unknown client":      {"id_token_hint", idToken(t, w, func(c map[string]any) { c["aud"] = "unknown" })},
		"for a suspended client":     {"id_token_hint", idToken(t, w, func(c map[string]any) { c["aud"] = "trusted" })},
		"for two":                    {"id_token_hint", idToken(t, w, func(c map[string]any) { c["aud"] = []string{"web", "evil"} })},
		"unsigned":                   {"id_token_hint", "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0." + parts[1] + "."},
		"no signature":               {"id_token_hint", parts[0] + "." + parts[1] + "."},
		"another one's signature":    {"id_token_hint", parts[0] + "." + parts[1] + "." + strings.Split(idToken(t, w, func(c map[string]any) { c["nonce"] = "n" }), ".")[2]},
		"an access token":            {"id_token_hint", access},
		"a word":                     {"id_token_hint", "subject-alice"},
		"a form that was not posted": {"logout", "x"},
	} {
		page := b.Get(logoutURL(w, pairs...))
		if !page.IsLogout() {
			t.Errorf("%s: %d %s", name, page.StatusCode, page.Header.Get("Location"))
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodHead, logoutURL(w, "id_token_hint", good), nil)
	if err != nil {
		t.Fatal(err)
	}
	b.Do(r)
	if n := store.Writes() - before; n != 0 {
		t.Errorf("%d writes", n)
	}
	if !isSignedIn(t, b) {
		t.Error("the session has ended")
	}
}

func TestAnIDTokenOfARevokedKeyIsNoHint(t *testing.T) {
	w := interactiontest.New(t)
	b := newSignedInBrowser(t, w)
	token := idToken(t, w, nil)
	for _, key := range w.Document.Keys {
		if key.Algorithm == "RS256" {
			w.Document.RevokedKeys = append(w.Document.RevokedKeys, key.KID)
		}
	}
	w.Keys.SetDocument(w.Document)
	if page := b.Get(logoutURL(w, "id_token_hint", token)); !page.IsLogout() {
		t.Errorf("the answer is %d", page.StatusCode)
	}
}

// After a leak a voided ID token may be in other hands: it is no proof of the user's, who is asked.
func TestAnIDTokenThatTokensNotBeforeVoidsSignsNobodyOutByItself(t *testing.T) {
	for name, void := range map[string]func(w *interactiontest.Server, at int64){
		"of the client": func(w *interactiontest.Server, at int64) {
			c := w.Client("web")
			c.TokensNotBefore = at
			w.Apply(c)
		},
		"of the user": func(w *interactiontest.Server, at int64) {
			u := w.User("alice")
			u.TokensNotBefore = at
			w.Apply(u)
		},
		"of the server": func(w *interactiontest.Server, at int64) {
			w.ChangeDocument(func(s *documents.Server) { s.TokensNotBefore = at })
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := interactiontest.New(t)
			b := newSignedInBrowser(t, w)
			token := idToken(t, w, nil)
			void(w, w.Now().Unix())
			page := b.Get(logoutURL(w, "id_token_hint", token))
			if !page.IsLogout() {
				t.Fatalf("with the token: %d %s", page.StatusCode, page.Body)
			}
			wantSignedOut(t, "after the yes", b.ConfirmLogout(page))
		})
	}
	w := interactiontest.New(t)
	b := newSignedInBrowser(t, w)
	token := idToken(t, w, nil)
	c := w.Client("web")
	c.TokensNotBefore = w.Now().Unix() - 1
	w.Apply(c)
	wantSignedOut(t, "a token of later", b.Get(logoutURL(w, "id_token_hint", token)))
}

func TestAnIDTokenOfOneClientAndTheIDOfAnotherAreAnError(t *testing.T) {
	w := interactiontest.New(t)
	b := newSignedInBrowser(t, w)
	for _, other := range []string{"spa", "unknown"} {
		answer := b.Get(logoutURL(w, "id_token_hint", idToken(t, w, nil), "client_id", other, "post_logout_redirect_uri", interactiontest.WebSignedOut))
		if answer.StatusCode != http.StatusBadRequest || answer.Header.Get("Location") != "" {
			t.Errorf("%s: %d %s", other, answer.StatusCode, answer.Header.Get("Location"))
		}
	}
	if !isSignedIn(t, b) {
		t.Error("the session has ended")
	}
}

func TestTheUserGoesOnlyWhereAKnownClientHasRegistered(t *testing.T) {
	w := interactiontest.New(t)
	hint := idToken(t, w, nil)
	const there = interactiontest.WebSignedOut
	client := w.Client("web")
	client.PostLogoutRedirectURIs = append(slices.Clone(client.PostLogoutRedirectURIs), "http://127.0.0.1/out")
	w.Apply(client)
	for name, c := range map[string]struct {
		pairs []string
		goes  string
	}{
		"with an ID token":               {[]string{"id_token_hint", hint, "post_logout_redirect_uri", there}, there},
		"with the client's id":           {[]string{"client_id", "web", "post_logout_redirect_uri", there}, there},
		"with a state":                   {[]string{"client_id", "web", "post_logout_redirect_uri", there, "state", "a b&c=d"}, there + "&state=a+b%26c%3Dd"},
		"to a private-use scheme":        {[]string{"client_id", "web", "post_logout_redirect_uri", "com.example.app:/signed-out", "state", "s"}, "com.example.app:/signed-out?state=s"},
		"a state alone":                  {[]string{"client_id", "web", "state", "s"}, ""},
		"without a client":               {[]string{"post_logout_redirect_uri", there}, ""},
		"of an unknown client":           {[]string{"client_id", "unknown", "post_logout_redirect_uri", there}, ""},
		"of another client":              {[]string{"client_id", "spa", "post_logout_redirect_uri", there}, ""},
		"with a forged hint":             {[]string{"id_token_hint", hint[:len(hint)-8] + "AAAAAAAA", "client_id", "web", "post_logout_redirect_uri", there}, ""},
		"to the redirect URI":            {[]string{"client_id", "web", "post_logout_redirect_uri", interactiontest.WebRedirect}, ""},
		"elsewhere":                      {[]string{"id_token_hint", hint, "post_logout_redirect_uri", "https://evil.example.com/"}, ""},
		"a query more":                   {[]string{"id_token_hint", hint, "post_logout_redirect_uri", there + "&a=b"}, ""},
		"a query less":                   {[]string{"id_token_hint", hint, "post_logout_redirect_uri", "https://shop.example.com/signed-out"}, ""},
		"a slash more":                   {[]string{"id_token_hint", hint, "post_logout_redirect_uri", "https://shop.example.com//signed-out?from=here"}, ""},
		"another case":                   {[]string{"id_token_hint", hint, "post_logout_redirect_uri", "https://SHOP.example.com/signed-out?from=here"}, ""},
		"the default port":               {[]string{"id_token_hint", hint, "post_logout_redirect_uri", "https://shop.example.com:443/signed-out?from=here"}, ""},
		"encoded twice":                  {[]string{"id_token_hint", hint, "post_logout_redirect_uri", url.QueryEscape(there)}, ""},
		"a fragment":                     {[]string{"id_token_hint", hint, "post_logout_redirect_uri", there + "#a"}, ""},
		"a user":                         {[]string{"id_token_hint", hint, "post_logout_redirect_uri", "https://shop.example.com@evil.example.com/signed-out?from=here"}, ""},
		"a script":                       {[]string{"id_token_hint", hint, "post_logout_redirect_uri", "javascript:alert(1)"}, ""},
		"another port of this machine":   {[]string{"id_token_hint", hint, "post_logout_redirect_uri", "http://127.0.0.1:51004/out"}, ""},
		"the registered port of it":      {[]string{"id_token_hint", hint, "post_logout_redirect_uri", "http://127.0.0.1/out"}, "http://127.0.0.1/out"},
		"a line break in the state":      {[]string{"id_token_hint", hint, "post_logout_redirect_uri", there, "state", "a\r\nSet-Cookie: b=c"}, there + "&state=a%0D%0ASet-Cookie%3A+b%3Dc"},
		"a hint, and where to is absent": {[]string{"id_token_hint", hint}, ""},
	} {
		b := newSignedInBrowser(t, w)
		answer := b.Get(logoutURL(w, c.pairs...))
		asked := answer.IsLogout()
		if asked {
			answer = b.ConfirmLogout(answer)
		}
		if c.goes == "" {
			wantSignedOut(t, name, answer)
			says := strings.Contains(answer.Body, "wanted you to go on")
			if wanted := slices.Contains(c.pairs, "post_logout_redirect_uri"); says != wanted {
				t.Errorf("%s: the page says why the user stays: %v, want %v", name, says, wanted)
			}
		} else if answer.StatusCode != http.StatusSeeOther || answer.Header.Get("Location") != c.goes {
			t.Errorf("%s: %d %q, want %q", name, answer.StatusCode, answer.Header.Get("Location"), c.goes)
		}
		if isSignedIn(t, b) {
			t.Errorf("%s: the session goes on", name)
		}
	}
}

func TestThePageSaysWhyTheUserDoesNotGoOn(t *testing.T) {
	w := interactiontest.New(t)
	hint := idToken(t, w, nil)
	gone := w.Client("trusted")
	gone.Suspended = true
	w.Apply(gone)
	for name, c := range map[string]struct {
		pairs []string
		says  string
	}{
		"an address that is not registered":    {[]string{"id_token_hint", hint, "post_logout_redirect_uri", "https://evil.example.com/"}, pages.NoRedirectUnregistered},
		"the same, named by its id":            {[]string{"client_id", "web", "post_logout_redirect_uri", "https://evil.example.com/"}, pages.NoRedirectUnregistered},
		"a word for a hint":                    {[]string{"id_token_hint", "x", "post_logout_redirect_uri", interactiontest.WebSignedOut}, pages.NoRedirectHint},
		"a forged hint, and the client's id":   {[]string{"id_token_hint", hint[:len(hint)-8] + "AAAAAAAA", "client_id", "web", "post_logout_redirect_uri", interactiontest.WebSignedOut}, pages.NoRedirectHint},
		"a hint of another issuer":             {[]string{"id_token_hint", idToken(t, w, func(c map[string]any) { c["iss"] = "https://evil.example.com" }), "post_logout_redirect_uri", interactiontest.WebSignedOut}, pages.NoRedirectHint},
		"a hint for a client that was deleted": {[]string{"id_token_hint", idToken(t, w, func(c map[string]any) { c["aud"] = "deleted" }), "post_logout_redirect_uri", interactiontest.WebSignedOut}, pages.NoRedirectUnknown},
		"a hint for a suspended client":        {[]string{"id_token_hint", idToken(t, w, func(c map[string]any) { c["aud"] = "trusted" }), "post_logout_redirect_uri", interactiontest.WebSignedOut}, pages.NoRedirectUnknown},
		"an unknown client":                    {[]string{"client_id", "unknown", "post_logout_redirect_uri", interactiontest.WebSignedOut}, pages.NoRedirectUnknown},
		"neither":                              {[]string{"post_logout_redirect_uri", interactiontest.WebSignedOut}, pages.NoRedirectUnnamed},
		"a bad hint that wants nothing":        {[]string{"id_token_hint", "x"}, ""},
	} {
		for way, sent := range map[string]func(*interactiontest.Browser) interactiontest.Page{
			"GET": func(b *interactiontest.Browser) interactiontest.Page { return b.Get(logoutURL(w, c.pairs...)) },
			"POST": func(b *interactiontest.Browser) interactiontest.Page {
				return b.Post(logoutURL(w), values(c.pairs...))
			},
		} {
			b := newSignedInBrowser(t, w)
			answer := sent(b)
			if answer.IsLogout() {
				answer = b.ConfirmLogout(answer)
			}
			wantSignedOut(t, name, answer)
			for _, message := range []string{pages.NoRedirectUnregistered, pages.NoRedirectHint, pages.NoRedirectUnknown, pages.NoRedirectUnnamed} {
				if strings.Contains(answer.Body, message) != (message == c.says) {
					t.Errorf("%s, by %s: the page says %s", name, way, answer.Find("p", "class", "sentence").FirstChild.Data)
				}
			}
		}
	}
}

// An ID token that is too large for a URL is one reason to send a form.
func TestAPostedLogoutHoldsALargeIDToken(t *testing.T) {
	w := interactiontest.New(t)
	state := strings.Repeat("s", 3000)
	for _, groups := range []int{100, 200} {
		hint := idToken(t, w, func(c map[string]any) {
			all := make([]string, groups)
			for i := range all {
				all[i] = fmt.Sprintf("a group of people with a long name, number %d", i)
			}
			c["groups"] = all
		})
		if groups == 100 && len(hint) < 5<<10 {
			t.Fatalf("the ID token has %d bytes", len(hint))
		}
		b, withoutCookies := newSignedInBrowser(t, w), w.NewBrowser()
		posted := withoutCookies.PostOnce(logoutURL(w), values(
			"id_token_hint", hint, "client_id", "web", "post_logout_redirect_uri", interactiontest.WebSignedOut, "state", state))
		to := posted.Header.Get("Location")
		if posted.StatusCode != http.StatusSeeOther || len(to) > 8<<10 || strings.Contains(to, hint) {
			t.Fatalf("%d groups: the answer is %d, with an address of %d bytes", groups, posted.StatusCode, len(to))
		}
		if goes := b.Get(to).Header.Get("Location"); goes != interactiontest.WebSignedOut+"&state="+state || isSignedIn(t, b) {
			t.Errorf("%d groups: the user goes to %.80q", groups, goes)
		}
	}
	b := newSignedInBrowser(t, w)
	mismatch := b.Post(logoutURL(w), values("id_token_hint", idToken(t, w, nil), "client_id", "spa"))
	if mismatch.StatusCode != http.StatusBadRequest || !isSignedIn(t, b) {
		t.Errorf("the ID token of one client and the id of another: %d", mismatch.StatusCode)
	}
}

// A state may be JSON: characters that a URL escapes must not make it larger.
func TestAStateOfThreeThousandBytesComesBackUnchangedByEitherMethodAndFromThePage(t *testing.T) {
	w := interactiontest.New(t)
	hint := idToken(t, w, nil)
	for _, character := range []string{"s", `"`, "<", "%", "é", "\x01"} {
		state := strings.Repeat(character, 3000/len(character))
		for name, c := range map[string]struct {
			client []string
			send   func(*interactiontest.Browser, []string) interactiontest.Page
		}{
			"GET": {[]string{"id_token_hint", hint}, func(b *interactiontest.Browser, p []string) interactiontest.Page { return b.Get(logoutURL(w, p...)) }},
			"POST": {[]string{"id_token_hint", hint}, func(b *interactiontest.Browser, p []string) interactiontest.Page {
				return b.Post(logoutURL(w), values(p...))
			}},
			"GET, and from a page": {[]string{"client_id", "web"}, func(b *interactiontest.Browser, p []string) interactiontest.Page {
				return b.ConfirmLogout(b.Get(logoutURL(w, p...)))
			}},
			"POST, and from a page": {[]string{"client_id", "web"}, func(b *interactiontest.Browser, p []string) interactiontest.Page {
				return b.ConfirmLogout(b.Post(logoutURL(w), values(p...)))
			}},
		} {
			answer := c.send(newSignedInBrowser(t, w), append(slices.Clone(c.client), "post_logout_redirect_uri", interactiontest.WebSignedOut, "state", state))
			goes, err := url.Parse(answer.Header.Get("Location"))
			if err != nil || answer.StatusCode != http.StatusSeeOther || goes.Query().Get("state") != state {
				t.Errorf("a state of %q by %s: %d, %.60q", character, name, answer.StatusCode, answer.Header.Get("Location"))
			}
		}
	}
}

func TestAPostedLogoutHoldsWhatAGETWithAURLOfEightKibibytesHolds(t *testing.T) {
	w := interactiontest.New(t)
	for _, client := range [][]string{{"id_token_hint", idToken(t, w, nil)}, {"client_id", "web"}} {
		pairs := append(slices.Clone(client), "post_logout_redirect_uri", interactiontest.WebSignedOut, "state", "")
		state := strings.Repeat("s", 8<<10-len(logoutURL(w, pairs...)))
		pairs[len(pairs)-1] = state
		for method, send := range map[string]func(*interactiontest.Browser) interactiontest.Page{
			"GET":  func(b *interactiontest.Browser) interactiontest.Page { return b.Get(logoutURL(w, pairs...)) },
			"POST": func(b *interactiontest.Browser) interactiontest.Page { return b.Post(logoutURL(w), values(pairs...)) },
		} {
			b := newSignedInBrowser(t, w)
			answer := send(b)
			if client[0] == "client_id" {
				answer = b.ConfirmLogout(answer)
			}
			if goes := answer.Header.Get("Location"); goes != interactiontest.WebSignedOut+"&state="+state || isSignedIn(t, b) {
				t.Errorf("by %s with %s: %d, the user goes to %.80q", method, client[0], answer.StatusCode, goes)
			}
		}
	}
}

func TestAPostedLogoutIsHeldAgainstWhatIsRegisteredWhenItGoesOn(t *testing.T) {
	for name, change := range map[string]func(*documents.Client){
		pages.NoRedirectUnregistered: func(c *documents.Client) { c.PostLogoutRedirectURIs = nil },
		pages.NoRedirectUnknown:      func(c *documents.Client) { c.Suspended = true },
	} {
		w := interactiontest.New(t)
		b := newSignedInBrowser(t, w)
		to := b.PostOnce(logoutURL(w), values("client_id", "web", "post_logout_redirect_uri", interactiontest.WebSignedOut)).Header.Get("Location")
		client := w.Client("web")
		change(&client)
		w.Apply(client)
		answer := b.ConfirmLogout(b.Get(to))
		wantSignedOut(t, name, answer)
		if !strings.Contains(answer.Body, name) {
			t.Errorf("the page does not say %s", name)
		}
	}
}

func TestWhereTheUserGoesIsHeldAgainstWhatIsRegisteredNow(t *testing.T) {
	for name, change := range map[string]func(*documents.Client){
		"the address was removed": func(c *documents.Client) { c.PostLogoutRedirectURIs = nil },
		"the client is suspended": func(c *documents.Client) { c.Suspended = true },
	} {
		w := interactiontest.New(t)
		b := newSignedInBrowser(t, w)
		page := b.Get(logoutURL(w, "client_id", "web", "post_logout_redirect_uri", interactiontest.WebSignedOut))
		client := w.Client("web")
		change(&client)
		w.Apply(client)
		wantSignedOut(t, name, b.ConfirmLogout(page))
	}
}

func TestAParameterSentTwiceIsAnError(t *testing.T) {
	w := interactiontest.New(t)
	b := newSignedInBrowser(t, w)
	for _, answer := range []interactiontest.Page{
		b.Get(logoutURL(w, "state", "a", "state", "b")), b.Post(logoutURL(w), values("client_id", "web", "client_id", "spa")),
	} {
		if answer.StatusCode != http.StatusBadRequest || answer.Header.Get("Location") != "" {
			t.Errorf("%d %s", answer.StatusCode, answer.Header.Get("Location"))
		}
	}
}

// The browser sends a form of another site without our cookies, but the GET that follows with them.
func TestALogoutMayBePosted(t *testing.T) {
	w := interactiontest.New(t)
	b, withoutCookies := newSignedInBrowser(t, w), w.NewBrowser()
	hint := idToken(t, w, nil)
	posted := withoutCookies.PostOnce(logoutURL(w), values("id_token_hint", hint, "post_logout_redirect_uri", interactiontest.WebSignedOut, "state", "xyz"))
	to := posted.Header.Get("Location")
	if posted.StatusCode != http.StatusSeeOther || !strings.HasPrefix(to, w.Issuer+"/logout?posted=") || posted.Header.Get("Set-Cookie") != "" {
		t.Fatalf("the answer is %d %s, Set-Cookie %q", posted.StatusCode, to, posted.Header.Get("Set-Cookie"))
	}
	if strings.Contains(to, hint) || strings.Contains(to, "xyz") {
		t.Error("the URL shows what was posted")
	}
	if goes := b.Get(to).Header.Get("Location"); goes != interactiontest.WebSignedOut+"&state=xyz" || isSignedIn(t, b) {
		t.Errorf("the user goes to %q", goes)
	}
	again := newSignedInBrowser(t, w)
	if page := again.Post(logoutURL(w), values("client_id", "web")); !page.IsLogout() {
		t.Errorf("without an ID token the answer is %d", page.StatusCode)
	}
	w.Advance(31 * time.Minute)
	if answer := again.Get(to); answer.StatusCode != http.StatusBadRequest {
		t.Errorf("half an hour later the answer is %d", answer.StatusCode)
	}
	if answer := again.Post(logoutURL(w), values(
		"client_id", "web", "post_logout_redirect_uri", interactiontest.WebSignedOut, "state", strings.Repeat("s", 12<<10))); answer.StatusCode != http.StatusBadRequest {
		t.Errorf("what fits into no URL is answered with %d", answer.StatusCode)
	}
}

func TestWhatWasPostedToOneEndpointIsNothingToAnother(t *testing.T) {
	w := interactiontest.New(t)
	b := newSignedInBrowser(t, w)
	request, err := url.Parse(w.WebRequest("id_token_hint", idToken(t, w, nil)))
	if err != nil {
		t.Fatal(err)
	}
	authorize := b.PostOnce(w.Issuer+"/authorize", request.Query()).Header.Get("Location")
	logout := b.PostOnce(logoutURL(w), values("client_id", "web")).Header.Get("Location")
	for _, crossed := range []string{
		strings.Replace(authorize, "/authorize?", "/logout?", 1), strings.Replace(logout, "/logout?", "/authorize?", 1),
	} {
		if answer := b.Get(crossed); answer.StatusCode != http.StatusBadRequest {
			t.Errorf("%.60s is answered with %d", crossed, answer.StatusCode)
		}
	}
	if !isSignedIn(t, b) {
		t.Error("the session has ended")
	}
}
