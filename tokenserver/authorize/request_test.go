package authorize_test

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
)

// removeParameters returns the request without some parameters.
func removeParameters(request string, names ...string) string {
	u, _ := url.Parse(request)
	values := u.Query()
	for _, name := range names {
		values.Del(name)
	}
	u.RawQuery = values.Encode()
	return u.String()
}

// setParameters returns the request with other values of some parameters.
func setParameters(request string, pairs ...string) string {
	u, _ := url.Parse(request)
	values := u.Query()
	for i := 0; i < len(pairs); i += 2 {
		values.Set(pairs[i], pairs[i+1])
	}
	u.RawQuery = values.Encode()
	return u.String()
}

func TestEveryOtherErrorGoesToTheClientWithItsState(t *testing.T) {
	w := interactiontest.New(t)
	web, cli, legacy := w.WebRequest(), w.CLIRequest(interactiontest.LoopbackURI), w.LegacyRequest("id_token token")
	hybrid := w.HybridRequest("code id_token")
	plain, lax := w.Client("web"), w.Client("spa")
	plain.UID, plain.ID, plain.RedirectURIs, plain.Scopes = "uid-plain", "plain", []string{"https://plain.example.com/callback"}, []string{"profile"}
	lax.UID, lax.ID, lax.RedirectURIs, lax.PKCE = "uid-lax", "lax", []string{"https://lax.example.com/callback"}, "WhenSent"
	w.Apply(plain, lax)
	for name, c := range map[string]struct{ request, code string }{
		"no response_type":                 {removeParameters(web, "response_type"), "invalid_request"},
		"empty response_type":              {setParameters(web, "response_type", ""), "invalid_request"},
		"unknown response_type":            {setParameters(web, "response_type", "device"), "unsupported_response_type"},
		"response_type none":               {setParameters(web, "response_type", "none"), "unsupported_response_type"},
		"code twice in response_type":      {setParameters(web, "response_type", "code code"), "unsupported_response_type"},
		"implicit for a code client":       {setParameters(web, "response_type", "token"), "unauthorized_client"},
		"code for an implicit client":      {setParameters(legacy, "response_type", "code"), "unauthorized_client"},
		"form_post to an app":              {setParameters(cli, "redirect_uri", interactiontest.PrivateURI, "response_mode", "form_post"), "invalid_request"},
		"response_mode unknown":            {setParameters(web, "response_mode", "x"), "invalid_request"},
		"response_mode query for a hybrid": {setParameters(hybrid, "response_mode", "query"), "invalid_request"},
		"hybrid for a code client":         {setParameters(web, "response_type", "code id_token"), "unauthorized_client"},
		"hybrid for an implicit client":    {setParameters(legacy, "response_type", "code token"), "unauthorized_client"},
		"hybrid id_token without nonce":    {removeParameters(hybrid, "nonce"), "invalid_request"},
		"hybrid without challenge":         {removeParameters(hybrid, "code_challenge", "code_challenge_method"), "invalid_request"},
		"an acr that must be met":          {setParameters(web, "claims", `{"id_token":{"acr":{"essential":true,"values":["x"]}}}`), "unmet_authentication_requirements"},
		"response_mode query for tokens":   {setParameters(legacy, "response_mode", "query"), "invalid_request"},
		"a parameter twice":                {web + "&scope=openid", "invalid_request"},
		"a parameter twice, once empty":    {web + "&nonce=&nonce=x", "invalid_request"},
		"response_type twice":              {web + "&response_type=code", "invalid_request"},
		"a parameter ill encoded":          {web + "&x=%zz", "invalid_request"},
		"a name ill encoded":               {web + "&%zz=x", "invalid_request"},
		"a semicolon not encoded":          {web + "&x=a;b", "invalid_request"},
		"a parameter that is not UTF-8":    {web + "&x=%ff", "invalid_request"},
		"a parameter with a NUL":           {web + "&x=%00", "invalid_request"},
		"response_mode ill encoded":        {web + "&response_mode=%zz", "invalid_request"},
		"101 parameters":                   {web + strings.Repeat("&resource=x", 96), "invalid_request"},
		"request object":                   {setParameters(web, "request", "e30.e30."), "request_not_supported"},
		"request_uri":                      {setParameters(web, "request_uri", "urn:x"), "request_uri_not_supported"},
		"registration":                     {setParameters(web, "registration", "{}"), "registration_not_supported"},
		"unknown scope without openid":     {setParameters(web, "scope", "profile nothing"), "invalid_scope"},
		"no scope left for the resource":   {setParameters(web, "scope", "orders:read", "resource", w.Issuer), "invalid_scope"},
		"malformed scope":                  {setParameters(web, "scope", "openid \"x\""), "invalid_scope"},
		"id_token without openid":          {setParameters(legacy, "scope", "profile"), "invalid_scope"},
		"id_token without nonce":           {removeParameters(legacy, "nonce"), "invalid_request"},
		"id_token alone without nonce":     {removeParameters(w.LegacyRequest("id_token"), "nonce"), "invalid_request"},
		"unknown prompt":                   {setParameters(web, "prompt", "create"), "invalid_request"},
		"prompt none with another":         {setParameters(web, "prompt", "none login"), "invalid_request"},
		"max_age no number":                {setParameters(web, "max_age", "soon"), "invalid_request"},
		"max_age negative":                 {setParameters(web, "max_age", "-1"), "invalid_request"},
		"an unknown scope without openid":  {setParameters(web, "scope", "offline_access nothing"), "invalid_scope"},
		"seventeen resources":              {web + strings.Repeat("&resource="+url.QueryEscape(interactiontest.OrdersAPI), 17), "invalid_target"},
		"public client that needs no PKCE": {setParameters(web, "client_id", "lax", "redirect_uri", "https://lax.example.com/callback"), "invalid_request"},
		"unknown resource":                 {setParameters(web, "resource", "https://nowhere.example.com"), "invalid_target"},
		"resource with a fragment":         {setParameters(web, "resource", interactiontest.OrdersAPI+"#x"), "invalid_target"},
		"relative resource":                {setParameters(web, "resource", "orders"), "invalid_target"},
		"claims no object":                 {setParameters(web, "claims", "[]"), "invalid_request"},
		"forged id_token_hint":             {setParameters(web, "id_token_hint", "e30.e30.e30"), "invalid_request"},
		"public client without challenge":  {removeParameters(cli, "code_challenge", "code_challenge_method"), "invalid_request"},
		"method without challenge":         {removeParameters(cli, "code_challenge"), "invalid_request"},
		"challenge without method":         {removeParameters(cli, "code_challenge_method"), "invalid_request"},
		"method plain":                     {setParameters(cli, "code_challenge_method", "plain"), "invalid_request"},
		"unknown method":                   {setParameters(cli, "code_challenge_method", "S512"), "invalid_request"},
		"malformed challenge":              {setParameters(cli, "code_challenge", "not base64url"), "invalid_request"},
		"challenge of another hash":        {setParameters(cli, "code_challenge", "c2hvcnQ"), "invalid_request"},
		"challenge of a confidential one":  {setParameters(web, "code_challenge", interactiontest.Challenge()), "invalid_request"},
		"a confidential one that needs it": {setParameters(web, "client_id", "strict", "redirect_uri", "https://strict.example.com/callback"), "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			answer := w.NewBrowser().Get(c.request)
			wantClientError(t, answer, c.code)
			if cookies := answer.Cookies(); len(cookies) != 0 {
				t.Errorf("an error sets cookies: %v", cookies)
			}
			fragment := strings.Contains(queryOf(t, c.request).Get("response_type"), "token")
			if strings.Contains(answer.Header.Get("Location"), "#") != fragment {
				t.Errorf("answered at %s; in the fragment: want %v", answer.Header.Get("Location"), fragment)
			}
		})
	}
}

func TestOnlyWhatWasSentOnceTellsWhereAnErrorGoes(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	wantPageError(t, b.Get(w.WebRequest("client_id", "web")), pages.MessageUnknownClient)
	wantPageError(t, b.Get(w.WebRequest("redirect_uri", interactiontest.WebRedirect)), pages.MessageUnknownRedirect)
	answer := b.Get(w.WebRequest("state", "another"))
	if values := answer.Values(); values.Get("error") != "invalid_request" || values.Has("state") {
		t.Errorf("two states: answered %v", values)
	}
}

func TestOnlyWhatIsWellEncodedTellsWhereAnErrorGoes(t *testing.T) {
	w := interactiontest.New(t)
	web, b := w.WebRequest(), w.NewBrowser()
	for _, bad := range []string{"a;b", "%zz", "%ff", "%00", "x&state=%zz", "%zz&state=x"} {
		stateless := removeParameters(web, "state") + "&state=" + bad
		_, body, _ := strings.Cut(stateless, "?")
		for method, answer := range map[string]interactiontest.Page{"GET": b.Get(stateless), "POST": postRaw(b, body)} {
			values := answer.Values()
			if values.Get("error") != "invalid_request" || values.Get("iss") != w.Issuer || values.Has("state") {
				t.Errorf("%s with the state %s: status %d, answered %v", method, bad, answer.StatusCode, values)
			}
		}
		wantPageError(t, b.Get(removeParameters(web, "client_id")+"&client_id="+strings.ReplaceAll(bad, "state", "client_id")), pages.MessageUnknownClient)
		// The client has one redirect URI, to which the error would go if the parameter counted as
		// left out.
		wantPageError(t, b.Get(removeParameters(web, "redirect_uri", "scope")+"&redirect_uri="+strings.ReplaceAll(bad, "state", "redirect_uri")),
			pages.MessageUnknownRedirect)
	}
}

// postRaw posts a form without encoding it.
func postRaw(b *interactiontest.Browser, form string) interactiontest.Page {
	b.T.Helper()
	r, err := http.NewRequestWithContext(b.T.Context(), http.MethodPost, b.Issuer+"/authorize", strings.NewReader(form))
	if err != nil {
		b.T.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.Do(r)
}

func TestTheOrderOfAResponseTypesWordsMeansNothing(t *testing.T) {
	w := interactiontest.New(t)
	for _, words := range []string{"id_token token", "token id_token"} {
		values := w.NewBrowser().SignIn(w.LegacyRequest(words)).Values()
		if values.Get("id_token") == "" || values.Get("access_token") == "" {
			t.Errorf("%s: answered %v", words, slices.Sorted(maps.Keys(values)))
		}
	}
}

func TestImplicitIsOnlyForClientsWhoseRuleListsIt(t *testing.T) {
	w := interactiontest.New(t)
	w.Document.AllowedClients[0].GrantTypes = []string{"authorization_code", "refresh_token", "client_credentials"}
	w.Apply(w.Document)
	wantPageError(t, w.NewBrowser().Get(w.LegacyRequest("token")), pages.MessageUnknownClient)
}

// What the user is still to say yes to stops as well.
func TestAtLegacyUntilTheImplicitGrantStopsWithoutAWriteAndTheCodeFlowGoesOn(t *testing.T) {
	w := interactiontest.New(t)
	w.Document.AllowedClients[0].LegacyUntil = w.Now().Add(10 * time.Second).Unix()
	w.Apply(w.Document)
	b := w.NewBrowser()
	implicit := map[string]string{"token": w.LegacyRequest("token"), "id_token": w.LegacyRequest("id_token"), "code token": w.HybridRequest("code token")}
	asked := map[string]interactiontest.Page{}
	w.Advance(9 * time.Second)
	for what, request := range implicit {
		if values := b.SignIn(request).Values(); values.Get("access_token") == "" && values.Get("id_token") == "" {
			t.Fatalf("%s, a second before: %v", what, values)
		}
		if asked[what] = b.Get(setParameters(request, "prompt", "consent")); !asked[what].IsConsent() {
			t.Fatalf("%s, a second before: %v", what, asked[what].Values())
		}
	}
	w.Advance(time.Second)
	for what, request := range implicit {
		answer := b.Get(request)
		wantClientError(t, answer, "unauthorized_client")
		wantNoToken(t, what, answer)
		answer = b.Consent(asked[what], "allow")
		wantPageError(t, answer, pages.MessageFlowChanged)
		wantNoToken(t, what+", begun before", answer)
	}
	for what, request := range map[string]string{"another client": w.WebRequest(), "the hybrid client's code": w.HybridRequest("code")} {
		if values := b.SignIn(request).Values(); values.Get("code") == "" {
			t.Errorf("%s: %v", what, values)
		}
	}
}

func wantNoToken(t *testing.T, what string, answer interactiontest.Page) {
	t.Helper()
	for _, part := range []string{"access_token", "id_token=", "code="} {
		if strings.Contains(answer.Header.Get("Location")+answer.Body, part) {
			t.Errorf("%s: the answer has %s", what, part)
		}
	}
}

func TestUnknownParametersAreIgnoredAndEmptyOnesAreAbsent(t *testing.T) {
	w := interactiontest.New(t)
	request := w.WebRequest("x", "y", "prompt", "", "max_age", "", "nonce", "", "display", "popup", "ui_locales", "de", "acr_values", "1",
		"claims", `{"id_token":{"acr":{"values":["1"]}}}`)
	if answer := w.NewBrowser().SignIn(request); answer.Values().Get("code") == "" {
		t.Errorf("no code: %v %s", answer.Values(), answer.Body)
	}
}

func TestScopesThatAClientMayNotHaveAreDroppedWhenOpenIDIsAsked(t *testing.T) {
	w := interactiontest.New(t)
	answer := w.NewBrowser().SignIn(w.WebRequest("scope", "ignored"))
	wantClientError(t, answer, "invalid_request") // twice, as WebRequest has one
	answer = w.NewBrowser().SignIn(setParameters(w.WebRequest(), "scope", "openid nothing email phone"))
	outcome, err := w.Redeem("web", answer.Values().Get("code"), interactiontest.WebRedirect, "")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(outcome.Scopes, []string{"openid", "email"}) {
		t.Errorf("granted %v, want openid and email", outcome.Scopes)
	}
}

func TestABuiltInScopeThatTheClientCannotHaveIsDropped(t *testing.T) {
	w := interactiontest.New(t)
	client := w.Client("web")
	client.Scopes = []string{"profile", interactiontest.ScopeReadOrders}
	w.Apply(client)
	for asked, want := range map[string][]string{
		"openid offline_access orders:read": {"orders:read"}, "email phone profile": {"profile"}, "openid": nil, "offline_access groups": nil,
		"openid nothing": nil,
	} {
		answer := w.NewBrowser().SignIn(setParameters(w.WebRequest(), "scope", asked))
		outcome, err := w.Redeem("web", answer.Values().Get("code"), interactiontest.WebRedirect, "")
		if err != nil || !slices.Equal(outcome.Scopes, want) {
			t.Errorf("%s: granted %v, want %v: %v %v", asked, outcome.Scopes, want, err, answer.Values())
		}
	}
	legacy := w.Client("legacy")
	legacy.Scopes = []string{"profile"}
	w.Apply(legacy)
	for _, responseType := range []string{"id_token", "id_token token"} {
		wantClientError(t, w.NewBrowser().Get(setParameters(w.LegacyRequest(responseType), "scope", "openid profile")), "invalid_scope")
	}
	answer := w.NewBrowser().SignIn(setParameters(w.LegacyRequest("token"), "scope", "openid offline_access profile"))
	if got := answer.Values().Get("scope"); got != "profile" {
		t.Errorf("response_type token: scope is %q: %v", got, answer.Values())
	}
	answer = w.NewBrowser().SignIn(setParameters(w.LegacyRequest("token"), "scope", "openid"))
	if values := answer.Values(); values.Get("access_token") == "" || !values.Has("scope") || values.Get("scope") != "" {
		t.Errorf("response_type token with nothing left: %v", values)
	}
}

func TestAnIDTokenWhoseScopeIsTakenAwayMeanwhileIsRefused(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	page := b.Login(b.Get(w.LegacyRequest("id_token")), "alice", interactiontest.AlicePassword)
	client := w.Client("legacy")
	client.Scopes = []string{"profile"}
	w.Apply(client)
	wantClientError(t, b.Consent(page, "allow"), "invalid_scope")
}

func TestABuiltInScopeThatIsTakenAwayMeanwhileIsDropped(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	page := b.Login(b.Get(setParameters(w.WebRequest(), "scope", "openid")), "alice", interactiontest.AlicePassword)
	client := w.Client("web")
	client.Scopes = []string{"profile"}
	w.Apply(client)
	outcome, err := w.Redeem("web", b.Consent(page, "allow").Values().Get("code"), interactiontest.WebRedirect, "")
	if err != nil || len(outcome.Scopes) != 0 {
		t.Errorf("granted %v: %v", outcome.Scopes, err)
	}
}

func TestOfflineAccessIsDroppedWhereNoRefreshTokenCanFollow(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	const redirect = "https://strict.example.com/callback"
	page := b.Get(setParameters(w.CLIRequest(redirect), "client_id", "strict", "scope", "openid offline_access"))
	if page = b.Login(page, "alice", interactiontest.AlicePassword); strings.Contains(page.Body, "offline_access") {
		t.Error("the user is asked for it")
	}
	outcome, err := w.Redeem("strict", b.Consent(page, "allow").Values().Get("code"), redirect, interactiontest.Verifier)
	if err != nil || !slices.Equal(outcome.Scopes, []string{"openid"}) || outcome.Grant.Offline {
		t.Errorf("granted %v, offline %v: %v", outcome.Scopes, outcome.Grant.Offline, err)
	}
}

func TestAnAbsentScopeStandsForAllButOpenIDAndOfflineAccess(t *testing.T) {
	w := interactiontest.New(t)
	answer := w.NewBrowser().SignIn(setParameters(w.WebRequest(), "scope", ""))
	outcome, err := w.Redeem("web", answer.Values().Get("code"), interactiontest.WebRedirect, "")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(outcome.Scopes, []string{"profile", "email", interactiontest.ScopeReadOrders}) {
		t.Errorf("granted %v", outcome.Scopes)
	}
}

func TestAResourceCutsTheScopesAndNamesTheAudience(t *testing.T) {
	w := interactiontest.New(t)
	answer := w.NewBrowser().SignIn(setParameters(w.WebRequest(), "scope", "profile orders:read", "resource", interactiontest.OrdersAPI))
	outcome, err := w.Redeem("web", answer.Values().Get("code"), interactiontest.WebRedirect, "")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(outcome.Audience, []string{interactiontest.OrdersAPI}) {
		t.Errorf("audience %v", outcome.Audience)
	}
}

func TestTheAnswerNamesTheIssuerWhateverTheHostHeaderSays(t *testing.T) {
	w := interactiontest.New(t)
	for _, request := range []string{w.WebRequest(), setParameters(w.WebRequest(), "response_mode", "fragment"), w.LegacyRequest("id_token")} {
		answer := w.NewBrowser().SignIn(request)
		if got := answer.Values().Get("iss"); got != w.Issuer {
			t.Errorf("success: iss %q, want %q", got, w.Issuer)
		}
		answer = w.NewBrowser().Get(setParameters(request, "max_age", "x"))
		if got := answer.Values().Get("iss"); got != w.Issuer || answer.Values().Get("error") == "" {
			t.Errorf("error: iss %q, want %q", got, w.Issuer)
		}
	}
	b := w.NewBrowser()
	b.SignIn(w.WebRequest())
	for request, answered := range map[string]string{
		w.WebRequest(): "code", setParameters(w.WebRequest(), "max_age", "x"): "error", setParameters(w.WebRequest(), "prompt", "login"): "",
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, request, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, cookie := range b.Jar.Cookies(r.URL) { // the jar has none for that host
			r.AddCookie(cookie)
		}
		r.Host = "evil.example.com"
		r.Header.Set("X-Forwarded-Host", "evil.example.com")
		r.Header.Set("X-Forwarded-Proto", "https")
		r.Header.Set("Forwarded", "host=evil.example.com;proto=https")
		answer := b.Do(r)
		if answered != "" && (answer.Values().Get(answered) == "" || answer.Values().Get("iss") != w.Issuer) {
			t.Errorf("iss %q, want %q, beside the %s: %v", answer.Values().Get("iss"), w.Issuer, answered, answer.Values())
		}
		for _, hop := range answer.Redirects {
			if strings.Contains(hop.To, "evil") {
				t.Errorf("a forged host is in the redirect to %s", hop.To)
			}
		}
		if strings.Contains(answer.Body, "evil") {
			t.Error("a forged host is in the page")
		}
	}
}

// largestRequest returns a request of the client cli with a state of 3,000 bytes, a nonce of 512,
// other parameters of 512, and the longest redirect URI, in the characters whose encoding is
// longest.
func largestRequest(t *testing.T, w *interactiontest.Server) (request, redirectURI, state, nonce string) {
	t.Helper()
	client := w.Client("cli")
	registered := "http://127.0.0.1/" + strings.Repeat("c", 2031)
	client.RedirectURIs = []string{registered}
	w.Apply(client)
	redirectURI = strings.Replace(registered, "127.0.0.1", "127.0.0.1:51004", 1)
	state, nonce = strings.Repeat("\"\\<&\x01\u00e9", 3000/7)+"xxxx", strings.Repeat("<\"&\\", 512/4)
	request = setParameters(w.CLIRequest(redirectURI), "state", state, "nonce", nonce, "claims", `{"id_token":{"auth_time":{"essential":true}}}`,
		"resource", interactiontest.OrdersAPI, "scope", "openid profile email offline_access orders:read")
	parameters, rest := queryOf(t, request), 512
	for name := range parameters {
		if name != "redirect_uri" && name != "state" && name != "nonce" {
			rest -= len(parameters.Get(name))
		}
	}
	if len(registered) != 2048 || len(state) != 3000 || len(nonce) != 512 || rest < 0 {
		t.Fatalf("redirect_uri has %d bytes, state %d, nonce %d, all else %d", len(registered), len(state), len(nonce), 512-rest)
	}
	return setParameters(request, "login_hint", strings.Repeat("u", rest)), redirectURI, state, nonce
}

func TestARequestOfTheLargestStateAndNonceFits(t *testing.T) {
	w := interactiontest.New(t)
	request, redirectURI, state, nonce := largestRequest(t, w)
	check := func(how string, answer interactiontest.Page) {
		t.Helper()
		if got := answer.Values().Get("state"); got != state {
			t.Fatalf("%s: state came back as %q: %s", how, got, answer.Body)
		}
		for _, hop := range answer.Redirects {
			u, _ := url.Parse(hop.To)
			for _, name := range []string{"flow", "posted"} {
				if sealed := u.Query().Get(name); len(sealed) > (5<<10)*4/3+32 || len(hop.To) > 8<<10 && sealed != "" {
					t.Errorf("%s: a sealed request of %d bytes in a URL of %d", how, len(sealed), len(hop.To))
				}
			}
		}
		code := answer.Values().Get("code")
		if len(code) > grant.MaxCodeSize {
			t.Errorf("%s: a code of %d bytes", how, len(code))
		}
		outcome, err := w.Redeem("cli", code, redirectURI, interactiontest.Verifier)
		if err != nil || outcome.Grant.Nonce != nonce || outcome.Grant.RedirectURI != redirectURI {
			t.Errorf("%s: the nonce did not arrive: %v", how, err)
		}
	}
	b := w.NewBrowser()
	check("by GET", b.SignIn(request))
	posted := w.NewBrowser().PostOnce(w.Issuer+"/authorize", queryOf(t, request))
	answer := b.Get(posted.Header.Get("Location"))
	check("by POST", b.Consent(answer, "allow"))
}

func TestALargerRequestIsInvalid(t *testing.T) {
	w := interactiontest.New(t)
	signedIn := w.NewBrowser()
	signedIn.SignIn(w.WebRequest())
	for how, b := range map[string]*interactiontest.Browser{"a new browser": w.NewBrowser(), "one that is signed in": signedIn} {
		tooLarge := setParameters(w.WebRequest(), "login_hint", strings.Repeat("u", 5<<10))
		wantClientError(t, b.Get(tooLarge), "invalid_request")
		posted := w.NewBrowser().PostOnce(w.Issuer+"/authorize", queryOf(t, tooLarge))
		if values := queryOf(t, posted.Header.Get("Location")); values.Get("error") != "invalid_request" || values.Get("state") != "some state" {
			t.Errorf("%s: posted, it is answered with %v", how, values)
		}
	}
}

func TestARequestWhoseCodeWouldPassTwoKibibytesIsRefusedBeforeAnyPage(t *testing.T) {
	w := interactiontest.New(t)
	fits := func(n int) bool {
		answer := w.NewBrowser().Get(w.WebRequest("nonce", strings.Repeat("n", n)))
		if answer.IsLogin() {
			return true
		}
		wantClientError(t, answer, "invalid_request")
		return false
	}
	longest := sort.Search(2048, func(n int) bool { return !fits(n + 512) }) + 511
	answer := w.NewBrowser().SignIn(w.WebRequest("nonce", strings.Repeat("n", longest)))
	if code := answer.Values().Get("code"); code == "" || len(code) > 2048 || len(code) < 1800 {
		t.Errorf("the longest nonce that is let in has %d bytes, and its code %d: %v", longest, len(code), answer.Values())
	}
	if answer := w.NewBrowser().Get(setParameters(w.LegacyRequest("id_token"), "nonce", strings.Repeat("n", longest+1))); !answer.IsLogin() {
		t.Errorf("a request for no code is held to the size of one: %v", answer.Values())
	}
}

func TestARedirectURIThatIsRemovedMeanwhileStopsTheFlow(t *testing.T) {
	w := interactiontest.New(t)
	client := w.Client("cli")
	request := w.CLIRequest("http://127.0.0.1:51004/callback")
	page := w.NewBrowser()
	form := page.Get(request)
	posted := w.NewBrowser().PostOnce(w.Issuer+"/authorize", queryOf(t, request)).Header.Get("Location")
	code := w.NewBrowser().SignIn(request).Values().Get("code")
	client.RedirectURIs = []string{"http://127.0.0.1/another", interactiontest.PrivateURI}
	w.Apply(client)
	wantPageError(t, page.Login(form, "alice", interactiontest.AlicePassword), pages.MessageFlowChanged)
	wantPageError(t, w.NewBrowser().Get(posted), pages.MessageFlowChanged)
	if _, err := w.Redeem("cli", code, "http://127.0.0.1:51004/callback", interactiontest.Verifier); err == nil {
		t.Error("a code was redeemed whose redirect URI is no longer registered")
	}
}

func TestTheRequestMayBePosted(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	b.SignIn(w.WebRequest())
	u, _ := url.Parse(w.WebRequest("prompt", "none"))
	posted := w.NewBrowser().PostOnce(w.Issuer+"/authorize", u.Query())
	location := posted.Header.Get("Location")
	if posted.StatusCode != http.StatusSeeOther || !strings.HasPrefix(location, w.Issuer+"/authorize?posted=") {
		t.Fatalf("status %d, Location %q", posted.StatusCode, location)
	}
	if len(posted.Cookies()) != 0 {
		t.Errorf("a POST sets cookies: %v", posted.Cookies())
	}
	if answer := b.Get(location); answer.Values().Get("code") == "" {
		t.Errorf("the browser's session was not used: %v", answer.Values())
	}
	w.Advance(31 * time.Minute)
	wantPageError(t, b.Get(location), pages.MessageFlowExpired)
}

func TestAPostedRequestIsNoFlowAndAFlowIsNoPostedRequest(t *testing.T) {
	w := interactiontest.New(t)
	b := w.NewBrowser()
	u, _ := url.Parse(w.WebRequest())
	posted := queryOf(t, w.NewBrowser().PostOnce(w.Issuer+"/authorize", u.Query()).Header.Get("Location")).Get("posted")
	page := b.Get(w.WebRequest())
	flow := queryOf(t, page.URL).Get("flow")
	for _, address := range []string{
		"/authorize?flow=" + posted, "/login?flow=" + posted, "/consent?flow=" + posted, "/authorize?posted=" + flow,
		"/authorize?flow=" + flow, "/consent?flow=" + flow,
	} {
		if answer := b.Get(w.Issuer + address); answer.StatusCode != http.StatusBadRequest || answer.Header.Get("Location") != "" {
			t.Errorf("%s: status %d", address[:12], answer.StatusCode)
		}
	}
}

func queryOf(t *testing.T, address string) url.Values {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}
