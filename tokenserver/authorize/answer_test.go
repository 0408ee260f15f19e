package authorize_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/storagetest"
)

type idToken struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	Nonce    string `json:"nonce"`
	AuthTime int64  `json:"auth_time"`
	ATHash   string `json:"at_hash"`
	Name     string `json:"name"`
}

func TestImplicitAnswersInTheFragmentAndNeverWithARefreshToken(t *testing.T) {
	w := interactiontest.New(t)
	for _, responseType := range []string{"token", "id_token", "id_token token"} {
		answer := w.NewBrowser().SignIn(w.LegacyRequest(responseType, "prompt", "consent"))
		location, values := answer.Header.Get("Location"), answer.Values()
		if !strings.HasPrefix(location, "https://legacy.example.com/callback#") || strings.Contains(location, "?") {
			t.Errorf("%s: answered at %s", responseType, strings.SplitN(location, "=", 2)[0])
		}
		if values.Has("refresh_token") || values.Has("code") {
			t.Errorf("%s: answered with a refresh token or a code", responseType)
		}
		if strings.Contains(responseType, "id_token") != values.Has("id_token") {
			t.Errorf("%s: id_token: %v", responseType, values.Has("id_token"))
		}
		if token := responseType != "id_token"; token != values.Has("access_token") || token != (values.Get("token_type") == "Bearer") ||
			token != (values.Get("expires_in") == "300") || token != (values.Get("scope") == "openid profile") {
			t.Errorf("%s: answered %s", responseType, strings.Join([]string{values.Get("token_type"), values.Get("expires_in"), values.Get("scope")}, ", "))
		}
		if values.Get("state") != "some state" || values.Get("iss") != w.Issuer {
			t.Errorf("%s: state %q, iss %q", responseType, values.Get("state"), values.Get("iss"))
		}
	}
}

func TestAnIDTokenIsTiedToTheRequestAndToTheAccessToken(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	values := b.SignIn(w.LegacyRequest("id_token token")).Values()
	var both, alone idToken
	if err := w.Keys.Verify(values.Get("id_token"), "JWT", &both); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(values.Get("access_token")))
	want := idToken{
		Issuer: w.Issuer, Subject: "subject-alice", Audience: "legacy", Nonce: "some nonce", AuthTime: w.Now().Unix(),
		ATHash: base64.RawURLEncoding.EncodeToString(sum[:16]),
	}
	if both != want {
		t.Errorf("got %+v\nwant %+v", both, want)
	}
	if err := w.Keys.Verify(b.Get(w.LegacyRequest("id_token")).Values().Get("id_token"), "JWT", &alone); err != nil {
		t.Fatal(err)
	}
	if alone.Name != "Alice Liddell" || alone.ATHash != "" {
		t.Errorf("alone, with nothing to ask elsewhere: %+v", alone)
	}
}

func TestAnImplicitAccessTokenIsGoodUntilItsSessionEnds(t *testing.T) {
	w := interactiontest.New(t)
	token := w.NewBrowser().SignIn(w.LegacyRequest("token")).Values().Get("access_token")
	if _, err := w.Grants.CheckAccessToken(t.Context(), token); err != nil {
		t.Fatalf("not good: %v", err)
	}
	info, err := w.Grants.CheckAccessToken(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	rests, err := mint.OpenTokenID(w.Keys, info.Claims.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Memory.SetMark(t.Context(), storage.Mark{Kind: storage.MarkSession, ID: rests.SessionHash, ExpiresAt: info.Expires}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Grants.CheckAccessToken(t.Context(), token); err == nil {
		t.Error("good although the session has ended")
	}
	token = w.NewBrowser().SignIn(w.LegacyRequest("token")).Values().Get("access_token")
	changed := w.User("alice")
	changed.Epoch = "another"
	w.Apply(changed)
	if _, err := w.Grants.CheckAccessToken(t.Context(), token); err == nil {
		t.Error("good although the password changed")
	}
}

func TestAnImplicitAccessTokenRemembersTheClaimsThatItsRequestWanted(t *testing.T) {
	w := interactiontest.New(t)
	alice := w.User("alice")
	alice.Claims["department"] = "sales"
	w.Apply(alice)
	wants := `{"userinfo":{"department":null,"email":null,"sub":null,"unheard_of":null},"id_token":{"name":null}}`
	for _, responseType := range []string{"token", "id_token token"} {
		token := w.NewBrowser().SignIn(w.LegacyRequest(responseType, "claims", wants)).Values().Get("access_token")
		info, err := w.Grants.CheckAccessToken(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(info.RequestedClaims, []string{"department", "email"}) || !slices.Equal(info.GrantedClaims, []string{"email"}) {
			t.Errorf("%s: it remembers %q, of which %q were granted one by one", responseType, info.RequestedClaims, info.GrantedClaims)
		}
	}
}

func TestACodeEndsWithItsConsent(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	code := b.SignIn(w.WebRequest()).Values().Get("code")
	if err := w.Memory.DeleteConsent(t.Context(), "uid-alice", "uid-web"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Redeem("web", code, interactiontest.WebRedirect, ""); err == nil {
		t.Error("redeemed although the user withdrew the consent")
	}
	trusted := setParameters(w.WebRequest(), "client_id", "trusted", "redirect_uri", "https://intranet.example.com/callback")
	if _, err := w.Redeem("trusted", b.Get(trusted).Values().Get("code"), "https://intranet.example.com/callback", ""); err != nil {
		t.Errorf("a code that rests on no consent: %v", err)
	}
}

func TestAFrontChannelTokenEndsWithTheConsentAndWithTheRedirectURI(t *testing.T) {
	requests := map[string]func(w *interactiontest.Server) (request, client string){
		"token": func(w *interactiontest.Server) (request, client string) { return w.LegacyRequest("token"), "legacy" },
		"code token": func(w *interactiontest.Server) (request, client string) {
			return w.HybridRequest("code token"), "hybrid"
		},
		"loopback": func(w *interactiontest.Server) (request, client string) {
			legacy := w.Client("legacy")
			legacy.RedirectURIs = append(legacy.RedirectURIs, interactiontest.LoopbackURI)
			w.Apply(legacy)
			return setParameters(w.LegacyRequest("token"), "redirect_uri", "http://127.0.0.1:9000/callback"), "legacy"
		},
	}
	ends := map[string]func(t *testing.T, w *interactiontest.Server, client string){
		"the consent is withdrawn": func(t *testing.T, w *interactiontest.Server, client string) {
			if err := w.Memory.DeleteConsent(t.Context(), "uid-alice", "uid-"+client); err != nil {
				t.Fatal(err)
			}
		},
		"the redirect URI is removed": func(_ *testing.T, w *interactiontest.Server, client string) {
			c := w.Client(client)
			c.RedirectURIs = []string{"https://" + client + ".example.com/other"}
			w.Apply(c)
		},
	}
	for name, request := range requests {
		for what, end := range ends {
			t.Run(name+"/"+what, func(t *testing.T) {
				w := interactiontest.New(t)
				b := w.NewBrowser()
				address, client := request(w)
				token := b.SignIn(address).Values().Get("access_token")
				active := func() bool { _, err := w.Grants.CheckAccessToken(t.Context(), token); return err == nil }
				if !active() {
					t.Fatal("the token is not active at first")
				}
				end(t, w, client)
				if active() {
					t.Error("the token is active")
				}
				if b.SignIn(address); active() {
					t.Error("the token is active again once the user has agreed again")
				}
			})
		}
	}
}

func TestATokenThatNeedsNoConsentOutlivesAWithdrawal(t *testing.T) {
	w := interactiontest.New(t)
	client := w.Client("legacy")
	client.Consent = documents.ConsentSkip
	w.Apply(client)
	token := w.NewBrowser().SignIn(w.LegacyRequest("token")).Values().Get("access_token")
	if err := w.Memory.DeleteConsent(t.Context(), "uid-alice", "uid-legacy"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Grants.CheckAccessToken(t.Context(), token); err != nil {
		t.Errorf("checking the token: %v", err)
	}
}

// A client that may skip the consent page can ask for it, and an app on the user's device always
// has it. What the user then allows can be withdrawn like any other consent.
func TestAYesThatTheClientCouldHaveSkippedCanBeWithdrawn(t *testing.T) {
	w := interactiontest.New(t)
	for _, id := range []string{"legacy", "trusted", "cli"} {
		client := w.Client(id)
		client.Consent = documents.ConsentSkip
		w.Apply(client)
	}
	withdraw := func(client string) {
		t.Helper()
		if err := w.Memory.DeleteConsent(t.Context(), "uid-alice", client); err != nil {
			t.Fatal(err)
		}
	}
	token := w.NewBrowser().SignIn(w.LegacyRequest("token", "prompt", "consent")).Values().Get("access_token")
	if _, err := w.Grants.CheckAccessToken(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	withdraw("uid-legacy")
	if _, err := w.Grants.CheckAccessToken(t.Context(), token); !errors.Is(err, grant.ErrInactive) {
		t.Errorf("a token after the withdrawal: %v", err)
	}
	intranet := "https://intranet.example.com/callback"
	for id, asked := range map[string]struct{ request, redirect, verifier string }{
		"trusted": {w.Request("client_id", "trusted", "redirect_uri", intranet, "response_type", "code", "scope", "openid", "prompt", "consent"), intranet, ""},
		"cli":     {w.CLIRequest(interactiontest.LoopbackURI), interactiontest.LoopbackURI, interactiontest.Verifier},
	} {
		code := w.NewBrowser().SignIn(asked.request).Values().Get("code")
		later := w.NewBrowser().SignIn(asked.request).Values().Get("code")
		out, err := w.Redeem(id, code, asked.redirect, asked.verifier)
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		withdraw("uid-" + id)
		if g, err := w.Memory.GetGrant(t.Context(), out.Grant.ID); err != nil || g.EndedAt.IsZero() {
			t.Errorf("%s: the grant after the withdrawal is %+v (%v)", id, g, err)
		}
		if _, err := w.Redeem(id, later, asked.redirect, asked.verifier); err == nil {
			t.Errorf("%s: a code is redeemed after the withdrawal", id)
		}
	}
}

func TestWhatWasGrantedWithoutAskingEndsWhenTheClientHasToAsk(t *testing.T) {
	w := interactiontest.New(t)
	consent := func(id, mode string) {
		client := w.Client(id)
		client.Consent = mode
		w.Apply(client)
	}
	consent("legacy", documents.ConsentSkip)
	const intranet = "https://intranet.example.com/callback"
	request := w.Request("client_id", "trusted", "redirect_uri", intranet, "response_type", "code", "scope", "openid")
	b := w.NewBrowser()
	token := b.SignIn(w.LegacyRequest("token")).Values().Get("access_token")
	out, err := w.Redeem("trusted", b.SignIn(request).Values().Get("code"), intranet, "")
	if err != nil {
		t.Fatal(err)
	}
	code := b.SignIn(request).Values().Get("code")
	refresh := func() error {
		client, _ := w.Registry.Client("trusted")
		_, err := w.Grants.Refresh(t.Context(), grant.RefreshRequest{Client: client, RefreshToken: out.RefreshToken})
		return err
	}
	if _, err := w.Grants.CheckAccessToken(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	if err := refresh(); err != nil {
		t.Fatal(err)
	}
	consent("legacy", documents.ConsentRequired)
	consent("trusted", documents.ConsentRequired)
	if _, err := w.Grants.CheckAccessToken(t.Context(), token); !errors.Is(err, grant.ErrInactive) {
		t.Errorf("a token of the authorization endpoint: %v", err)
	}
	var refused *grant.RefusedError
	if err := refresh(); !errors.As(err, &refused) {
		t.Errorf("a refresh: %v", err)
	}
	if _, err := w.Redeem("trusted", code, intranet, ""); !errors.As(err, &refused) {
		t.Errorf("a code: %v", err)
	}
	if page := b.Get(request); !page.IsConsent() {
		t.Errorf("the user is not asked: %v", page.Values())
	}
}

func TestAScopeThatIsTakenAwayMeanwhileTellsNothingMore(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	page := b.Login(b.Get(w.LegacyRequest("id_token")), "alice", interactiontest.AlicePassword)
	client := w.Client("legacy")
	client.Scopes = []string{"openid"}
	w.Apply(client)
	var claims idToken
	if err := w.Keys.Verify(b.Consent(page, "allow").Values().Get("id_token"), "JWT", &claims); err != nil {
		t.Fatal(err)
	}
	if claims.Subject != "subject-alice" || claims.Name != "" {
		t.Errorf("the ID token says %+v", claims)
	}
}

func TestACodeCarriesWhatWasAuthorized(t *testing.T) {
	w := interactiontest.New(t)
	answer := w.NewBrowser().SignIn(w.CLIRequest("http://127.0.0.1:9000/callback", "nonce", "n"))
	outcome, err := w.Redeem("cli", answer.Values().Get("code"), "http://127.0.0.1:9000/callback", interactiontest.Verifier)
	if err != nil {
		t.Fatal(err)
	}
	g := outcome.Grant
	if g.UserUID != "uid-alice" || g.Subject != "subject-alice" || g.ClientUID != "uid-cli" || g.Nonce != "n" || g.SessionHash == "" || g.Offline {
		t.Errorf("the grant is %+v", g)
	}
}

func TestARedirectURIsOwnQueryIsKept(t *testing.T) {
	w := interactiontest.New(t)
	client := w.Client("web")
	client.RedirectURIs = []string{"https://shop.example.com/callback?tenant=a%20b&x="}
	w.Apply(client)
	answer := w.NewBrowser().SignIn(setParameters(w.WebRequest(), "redirect_uri", client.RedirectURIs[0]))
	if !strings.HasPrefix(answer.Header.Get("Location"), client.RedirectURIs[0]+"&code=") {
		t.Errorf("answered at %s", answer.Header.Get("Location"))
	}
}

func TestHostileTextIsInert(t *testing.T) {
	w := interactiontest.New(t)
	hostile := "\"><script>alert(1)</script>\r\nSet-Cookie: x=y\r\n\r\n<b>"
	client := w.Client("web")
	client.DisplayName = hostile
	w.Apply(client)
	b := w.NewBrowser()
	page := b.Get(setParameters(w.WebRequest(), "state", hostile, "login_hint", hostile))
	failed := b.Login(page, hostile, "wrong")
	consentPage := b.Login(page, "alice", interactiontest.AlicePassword)
	for _, p := range []interactiontest.Page{page, failed, consentPage} {
		if strings.Contains(p.Body, "<script") || strings.Contains(p.Body, "<b>") || p.Find("script", "", "") != nil || p.Find("b", "", "") != nil {
			t.Errorf("the text became markup: %s", p.Body)
		}
	}
	answer := b.Consent(consentPage, "deny")
	if len(answer.Cookies()) != 0 || answer.Header.Get("Set-Cookie") != "" || answer.Values().Get("state") != hostile {
		t.Errorf("headers %v, state %q", answer.Header, answer.Values().Get("state"))
	}
	failing := b.Get(setParameters(w.WebRequest(), "state", hostile, "scope", hostile))
	if strings.ContainsAny(failing.Values().Get("error_description"), "<>\"\\\r\n") || failing.Values().Get("state") != hostile {
		t.Errorf("the description quotes the request: %q", failing.Values().Get("error_description"))
	}
}

func TestAnEditedFlowIsRefused(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	page := b.Get(w.WebRequest())
	action, fields := page.Form(t)
	fields.Set("username", "alice")
	fields.Set("password", interactiontest.AlicePassword)
	flow := fields.Get("flow")
	for i := 0; i < len(flow); i += 37 {
		edited := []byte(flow)
		edited[i] ^= 1
		fields.Set("flow", string(edited))
		if answer := b.Post(action, fields); answer.StatusCode != http.StatusBadRequest || len(answer.Cookies()) != 0 {
			t.Fatalf("byte %d: status %d", i, answer.StatusCode)
		}
	}
}

func TestASealedValueOfAnotherPurposeOrIssuerIsNoFlow(t *testing.T) {
	w, other := interactiontest.New(t), interactiontest.New(t)
	b, elsewhere := w.NewBrowser(), other.NewBrowser()
	code := b.SignIn(w.WebRequest()).Values().Get("code")
	u, _ := url.Parse(w.Issuer)
	values := []string{code, queryOf(t, elsewhere.Get(other.WebRequest()).URL).Get("flow")}
	for _, cookie := range b.Jar.Cookies(u) {
		values = append(values, cookie.Value)
	}
	for _, purpose := range []keys.Purpose{keys.PurposePost, keys.PurposeRefresh, keys.PurposeTokenID} {
		sealed, err := w.Keys.Seal(purpose, []byte("anything"))
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, sealed)
	}
	for _, value := range values {
		for _, path := range []string{"/login", "/consent", "/authorize"} {
			if answer := b.Get(w.Issuer + path + "?flow=" + url.QueryEscape(value)); answer.StatusCode != http.StatusBadRequest || answer.Values() != nil {
				t.Errorf("%s took it: %d", path, answer.StatusCode)
			}
		}
	}
	if _, err := w.Redeem("web", queryOf(t, b.Get(w.WebRequest("prompt", "login")).URL).Get("flow"), interactiontest.WebRedirect, ""); err == nil {
		t.Error("a flow was redeemed as a code")
	}
}

func TestAFlowGoesOnInTheBrowserThatBeganItAlone(t *testing.T) {
	w := interactiontest.New(t)
	owner, thief := w.NewBrowser(), w.NewBrowser()
	owner.SignIn(w.WebRequest())
	thief.SignIn(w.WebRequest())
	consent := owner.Get(w.WebRequest("prompt", "consent"))
	login := owner.Get(w.WebRequest("prompt", "login"))
	answered := owner.Consent(owner.Get(w.WebRequest("prompt", "consent")), "allow")
	links := map[string]string{"the login page": login.URL, "the consent page": consent.URL, "what follows the consent": answered.Redirects[0].To}
	for _, hop := range owner.Login(login, "alice", interactiontest.AlicePassword).Redirects[:1] {
		links["what follows the login"] = hop.To
	}
	for what, link := range links {
		if !strings.HasPrefix(link, w.Issuer+"/") || !strings.Contains(link, "flow=") {
			t.Fatalf("%s is %s", what, link)
		}
		// The thief is signed in, so a flow that is accepted would lead to a page or to the client.
		for name, b := range map[string]*interactiontest.Browser{"a browser that is signed in": thief, "one that is new": w.NewBrowser()} {
			if answer := b.Get(link); answer.StatusCode != http.StatusForbidden || answer.Values() != nil {
				t.Errorf("%s opens %s: %d %v", name, what, answer.StatusCode, answer.Values())
			}
		}
		if answer := owner.Get(link); answer.StatusCode == http.StatusForbidden {
			t.Errorf("the browser that began it may not open %s", what)
		}
	}
}

func TestTwoTabsBothComplete(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	first, second := b.Get(setParameters(w.WebRequest(), "state", "one")), b.Get(setParameters(w.WebRequest(), "state", "two"))
	for state, page := range map[string]interactiontest.Page{"one": first, "two": second} {
		page = b.Login(page, "alice", interactiontest.AlicePassword)
		if page.IsConsent() {
			page = b.Consent(page, "allow")
		}
		if values := page.Values(); values.Get("code") == "" || values.Get("state") != state {
			t.Errorf("tab %s: %v %s", state, values, page.Body)
		}
	}
}

func TestTwentyAbandonedFlowsDoNotLockABrowserOut(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	for i := range 20 {
		b.Get(w.WebRequest("nonce", fmt.Sprint(i, strings.Repeat("n", 500))))
	}
	u, _ := url.Parse(w.Issuer)
	if cookies := b.Jar.Cookies(u); len(cookies) != 1 {
		t.Errorf("there are %d cookies, want the one of the browser", len(cookies))
	}
	if values := b.SignIn(w.WebRequest()).Values(); values.Get("code") == "" {
		t.Errorf("locked out: %v", values)
	}
}

func TestAnAnonymousRequestCausesNoWrite(t *testing.T) {
	counted := &storagetest.Faulty{}
	w := interactiontest.New(t, interactiontest.Store(counted))
	b := w.NewBrowser()
	for range 3 {
		b.Get(w.WebRequest())
		b.Get(w.WebRequest("prompt", "none"))
		b.Get(w.Request("client_id", "x"))
		b.Login(b.Get(w.WebRequest()), "alice", "wrong")
	}
	b.Login(b.Get(w.WebRequest()), "alice", interactiontest.AlicePassword)
	if n := counted.Writes(); n != 0 {
		t.Errorf("%d writes before the user gave consent", n)
	}
	b.Consent(b.Get(w.WebRequest()), "allow")
	if n := counted.Writes(); n != 1 {
		t.Errorf("%d writes for one consent", n)
	}
}

func TestAStoreThatIsAwayIsSaidToTheClient(t *testing.T) {
	store := &storagetest.Faulty{}
	w := interactiontest.New(t, interactiontest.Store(store))
	b := w.NewBrowser()
	b.SignIn(w.WebRequest())
	store.FailAll(storagetest.Unavailable)
	wantClientError(t, b.Get(w.WebRequest()), "temporarily_unavailable")
	store.FailAll(storagetest.None)
	if values := b.Get(w.WebRequest()).Values(); values.Get("code") == "" {
		t.Errorf("no code once it is back: %v", values)
	}
}

func TestASessionEndsIdleAndAbsolutely(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	b.SignIn(w.WebRequest())
	for range 3 {
		w.Advance(7 * time.Hour)
		if page := b.Get(w.WebRequest()); page.IsLogin() {
			t.Fatal("ended although it was in use")
		}
	}
	w.Advance(4 * time.Hour)
	if page := b.Get(w.WebRequest()); !page.IsLogin() {
		t.Error("outlived its absolute lifetime")
	}
	b.SignIn(w.WebRequest())
	w.Advance(8*time.Hour + time.Second)
	if page := b.Get(w.WebRequest()); !page.IsLogin() {
		t.Error("outlived its idle lifetime")
	}
}

func TestBeforeTheFirstSyncThereIsAPageThatSaysToWait(t *testing.T) {
	w := interactiontest.New(t)
	w.Registry.Remove("identity/" + w.Issuer)
	answer := w.NewBrowser().Get(w.WebRequest())
	if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" || !strings.Contains(answer.Body, pages.MessageBusy) {
		t.Errorf("status %d, Retry-After %q", answer.StatusCode, answer.Header.Get("Retry-After"))
	}
}
