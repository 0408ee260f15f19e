package oidc_test

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks/jwkstest"
	"github.com/oauth-operator/oauth-operator/tokenserver/keysource"
	"github.com/oauth-operator/oauth-operator/tokenserver/oidc"
	"github.com/oauth-operator/oauth-operator/tokenserver/oidc/oidctest"
)

const redirectURI = "https://auth.example.com/callback/acme"

// relyingParty is a server at which users sign in by a provider.
type relyingParty struct {
	t         *testing.T
	upstream  *oidctest.Provider
	now       time.Time
	fetch     *documents.Fetch
	lookup    map[string]string
	providers *oidc.Providers
	document  documents.IdentityProvider
}

func newRelyingParty(t *testing.T) *relyingParty {
	t.Helper()
	rp := &relyingParty{t: t, now: time.Now(), lookup: map[string]string{}}
	rp.upstream = oidctest.New(t, func() time.Time { return rp.now })
	rp.fetch, rp.document = rp.upstream.Fetch(), rp.upstream.Document("acme")
	client := &fetch.Client{
		Document: func() documents.Server { return documents.Server{Fetch: rp.fetch} },
		Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr(rp.lookup[host])}, nil
		},
	}
	now := func() time.Time { return rp.now }
	rp.providers = &oidc.Providers{
		Client: client, Sources: keysource.New(client, now, nil), Secret: oidctest.FindSecret, Now: now, Random: rand.Reader,
	}
	return rp
}

func (rp *relyingParty) provider() *oidc.Provider {
	rp.t.Helper()
	p, err := rp.providers.Of(rp.document)
	if err != nil {
		rp.t.Fatal(err)
	}
	return p
}

// signIn departs, visits the provider and comes back.
func (rp *relyingParty) signIn(r oidc.Request) (oidc.SignIn, error) {
	rp.t.Helper()
	r.RedirectURI = redirectURI
	to, pending, err := rp.provider().Depart(rp.t.Context(), r)
	if err != nil {
		return oidc.SignIn{}, err
	}
	return rp.comeBack(rp.upstream.Visit(to), pending)
}

func (rp *relyingParty) comeBack(q url.Values, pending oidc.Pending) (oidc.SignIn, error) {
	rp.t.Helper()
	return rp.provider().Callback(rp.t.Context(), oidc.Answer{Code: q.Get("code"), Error: q.Get("error"), Issuer: q.Get("iss")}, pending, redirectURI)
}

var anyAge = oidc.Request{MaxAge: oidc.AnyAge}

func checkReason(t *testing.T, what string, err error, want oidc.Reason) {
	t.Helper()
	var failed *oidc.Error
	if !errors.As(err, &failed) || failed.Reason != want {
		t.Errorf("%s: %v, want %s", what, err, want)
	}
	if err != nil && (strings.Contains(err.Error(), "upstream-text") || strings.Contains(err.Error(), oidctest.Secret)) {
		t.Errorf("%s: the error quotes the provider or the secret: %v", what, err)
	}
}

func TestAUserSignsInAtAProvider(t *testing.T) {
	rp := newRelyingParty(t)
	rp.document.OIDC.Parameters = map[string]string{"hd": "acme.example", "client_id": "another", "nonce": "fixed", "response_mode": "fragment"}
	rp.upstream.Behave(oidctest.Behaviour{IDToken: func(claims map[string]any) { claims["amr"] = []string{"mfa", "hwk"} }})
	signIn, err := rp.signIn(oidc.Request{MaxAge: oidc.AnyAge, LoginHint: "alice@acme.example", SelectAccount: true})
	if err != nil {
		t.Fatal(err)
	}
	if string(signIn.Subject) != "alice" || signIn.Upstream["email"] != "alice@acme.example" || !signIn.AuthTime.IsZero() || !slices.Equal(signIn.AMR, []string{"mfa", "hwk"}) {
		t.Errorf("%+v", signIn)
	}
	request := rp.upstream.LastRequest()
	for name, want := range map[string]string{
		"scope": "openid email", "hd": "acme.example", "fixed": "yes", "prompt": "select_account", "login_hint": "alice@acme.example",
		"response_mode": "query", "max_age": "", "client_id": oidctest.ClientID,
	} {
		if got := request[name]; len(got) > 1 || request.Get(name) != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if len(request.Get("state")) != 43 || len(request.Get("nonce")) != 43 {
		t.Errorf("state %q, nonce %q", request.Get("state"), request.Get("nonce"))
	}
	if got := rp.provider().EndSessionEndpoint(); got != rp.upstream.Issuer+"/logout" {
		t.Errorf("end_session_endpoint %q", got)
	}
	if got := rp.providers.Problems([]documents.IdentityProvider{rp.document}); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestACodeIsRedeemedOnce(t *testing.T) {
	rp := newRelyingParty(t)
	to, pending, err := rp.provider().Depart(t.Context(), oidc.Request{RedirectURI: redirectURI, MaxAge: oidc.AnyAge})
	if err != nil {
		t.Fatal(err)
	}
	answer := rp.upstream.Visit(to)
	if _, err := rp.comeBack(answer, pending); err != nil {
		t.Fatal(err)
	}
	_, err = rp.comeBack(answer, pending)
	checkReason(t, "the second time", err, oidc.Invalid)
	_, other, err := rp.provider().Depart(t.Context(), oidc.Request{RedirectURI: redirectURI, MaxAge: oidc.AnyAge})
	if err != nil {
		t.Fatal(err)
	}
	_, err = rp.comeBack(rp.upstream.Visit(to), other)
	checkReason(t, "another departure's code, nonce and verifier", err, oidc.Invalid)
}

// OpenID Connect Core section 3.1.3.7.
func TestAnIDTokenThatProvesNothingIsRefused(t *testing.T) {
	for name, break_ := range map[string]func(claims map[string]any){
		"another issuer":                     func(c map[string]any) { c["iss"] = "https://other.example" },
		"issuer with a slash":                func(c map[string]any) { c["iss"] = c["iss"].(string) + "/" },
		"no issuer":                          func(c map[string]any) { delete(c, "iss") },
		"another audience":                   func(c map[string]any) { c["aud"] = "another" },
		"no audience":                        func(c map[string]any) { delete(c, "aud") },
		"audience of another type":           func(c map[string]any) { c["aud"] = []any{oidctest.ClientID, 1} },
		"more audiences, no azp":             func(c map[string]any) { c["aud"] = []string{oidctest.ClientID, "another"} },
		"more audiences, another azp":        func(c map[string]any) { c["aud"], c["azp"] = []string{oidctest.ClientID, "another"}, "another" },
		"another azp":                        func(c map[string]any) { c["azp"] = "another" },
		"azp of another type":                func(c map[string]any) { c["azp"] = []string{oidctest.ClientID} },
		"another nonce":                      func(c map[string]any) { c["nonce"] = "another" },
		"no nonce":                           func(c map[string]any) { delete(c, "nonce") },
		"expired":                            func(c map[string]any) { c["exp"] = time.Now().Add(-2 * time.Minute).Unix() },
		"no expiry":                          func(c map[string]any) { delete(c, "exp") },
		"issued too early":                   func(c map[string]any) { c["iat"] = time.Now().Add(-11 * time.Minute).Unix() },
		"issued in the future":               func(c map[string]any) { c["iat"] = time.Now().Add(11 * time.Minute).Unix() },
		"no time of issue":                   func(c map[string]any) { delete(c, "iat") },
		"time of issue as text":              func(c map[string]any) { c["iat"] = "now" },
		"not valid yet":                      func(c map[string]any) { c["nbf"] = time.Now().Add(time.Hour).Unix() },
		"another access token":               func(c map[string]any) { c["at_hash"] = "77QmUPtjPfzWtF2AnpK9RQ" },
		"at_hash of another type":            func(c map[string]any) { c["at_hash"] = nil },
		"no subject":                         func(c map[string]any) { delete(c, "sub") },
		"empty subject":                      func(c map[string]any) { c["sub"] = "" },
		"subject of another type":            func(c map[string]any) { c["sub"] = 1 },
		"subject that is too long":           func(c map[string]any) { c["sub"] = strings.Repeat("x", 256) },
		"auth_time in the future":            func(c map[string]any) { c["auth_time"] = time.Now().Add(time.Hour).Unix() },
		"auth_time as text, which is no age": func(c map[string]any) { c["auth_time"] = "now" },
	} {
		rp := newRelyingParty(t)
		rp.upstream.Behave(oidctest.Behaviour{IDToken: break_})
		_, err := rp.signIn(anyAge)
		checkReason(t, name, err, oidc.Invalid)
	}
	rp := newRelyingParty(t)
	rp.upstream.Behave(oidctest.Behaviour{IDToken: func(c map[string]any) { c["aud"], c["azp"] = []string{"another", oidctest.ClientID}, oidctest.ClientID }})
	if _, err := rp.signIn(anyAge); err != nil {
		t.Errorf("more audiences, and azp is us: %v", err)
	}
}

func TestAnIDTokenWithoutASignatureOfTheProviderIsRefused(t *testing.T) {
	rp := newRelyingParty(t)
	parts := func(header map[string]any, claims map[string]any) string {
		return jwkstest.Encode(t, header) + "." + jwkstest.Encode(t, claims)
	}
	for name, sign := range map[string]func(claims map[string]any) string{
		"alg none": func(c map[string]any) string { return parts(map[string]any{"alg": "none"}, c) + "." },
		"HS256 with the client secret": func(c map[string]any) string {
			signed := parts(map[string]any{"alg": "HS256"}, c)
			mac := hmac.New(sha256.New, []byte(oidctest.Secret))
			mac.Write([]byte(signed))
			return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
		},
		"another key under the same kid": func(c map[string]any) string { return jwkstest.NewSigner("ES256", "first").Sign(t, c) },
		"another key":                    func(c map[string]any) string { return jwkstest.NewSigner("ES256", "second").Sign(t, c) },
		"an algorithm that is not advertised": func(c map[string]any) string {
			return jwkstest.NewSigner("EdDSA", "first").Sign(t, c)
		},
		"no JWT": func(map[string]any) string { return "x.y" },
		"a JWT larger than 16 KiB": func(c map[string]any) string {
			c["x"] = strings.Repeat("x", 16<<10)
			return rp.upstream.Signer.Sign(t, c)
		},
		"a signature of another one": func(c map[string]any) string {
			_, rest, _ := strings.Cut(rp.upstream.Signer.Sign(t, c), ".")
			return "e30." + rest
		},
	} {
		rp.upstream.Behave(oidctest.Behaviour{Sign: sign})
		_, err := rp.signIn(anyAge)
		checkReason(t, name, err, oidc.Invalid)
	}
}

// RFC 9207, and RFC 6749 section 4.1.2.1.
func TestAResponseOfAnotherIssuerOrWithAnErrorRedeemsNothing(t *testing.T) {
	for name, test := range map[string]struct {
		change func(url.Values)
		want   oidc.Reason
	}{
		"another iss":   {func(q url.Values) { q.Set("iss", "https://other.example") }, oidc.Invalid},
		"no iss":        {func(q url.Values) { q.Del("iss") }, oidc.Invalid},
		"no code":       {func(q url.Values) { q.Del("code") }, oidc.Invalid},
		"denied":        {func(q url.Values) { q.Set("error", "access_denied") }, oidc.Refused},
		"unknown error": {func(q url.Values) { q.Set("error", "upstream-text") }, oidc.Refused},
		"another's error": {func(q url.Values) {
			q.Set("error", "access_denied")
			q.Set("iss", "https://other.example")
		}, oidc.Invalid},
	} {
		rp := newRelyingParty(t)
		rp.upstream.Behave(oidctest.Behaviour{Response: test.change})
		_, err := rp.signIn(anyAge)
		checkReason(t, name, err, test.want)
		if slices.Contains(rp.upstream.Requests(), "/token") {
			t.Errorf("%s: there was a token request", name)
		}
	}
	rp := newRelyingParty(t)
	rp.upstream.Behave(oidctest.Behaviour{
		Response:  func(q url.Values) { q.Del("iss") },
		Discovery: func(d map[string]any) { delete(d, "authorization_response_iss_parameter_supported") },
	})
	if _, err := rp.signIn(anyAge); err != nil {
		t.Errorf("no iss, and none is advertised: %v", err)
	}
}

func TestAUserWhoHasToSignInAnewIsOneOfWhomTheProviderSaysSo(t *testing.T) {
	ago := func(rp *relyingParty, age time.Duration) func(map[string]any) {
		return func(c map[string]any) { c["auth_time"] = rp.now.Add(-age).Unix() }
	}
	rp := newRelyingParty(t)
	for name, test := range map[string]struct {
		maxAge int64
		change func(map[string]any)
		fresh  bool
	}{
		"prompt login, now":         {0, ago(rp, 0), true},
		"prompt login, within skew": {0, ago(rp, 59*time.Second), true},
		"prompt login, stale":       {0, ago(rp, 2*time.Minute), false},
		"prompt login, not said":    {0, func(c map[string]any) { delete(c, "auth_time") }, false},
		"max_age, young enough":     {600, ago(rp, 10*time.Minute), true},
		"max_age, too old":          {600, ago(rp, 12*time.Minute), false},
		"max_age, not said":         {600, func(c map[string]any) { delete(c, "auth_time") }, false},
		"any age, from yesterday":   {oidc.AnyAge, ago(rp, 24*time.Hour), true},
	} {
		rp.upstream.Behave(oidctest.Behaviour{IDToken: test.change})
		signIn, err := rp.signIn(oidc.Request{MaxAge: test.maxAge})
		if test.fresh && (err != nil || signIn.AuthTime.IsZero()) {
			t.Errorf("%s: %v, auth_time %v", name, err, signIn.AuthTime)
		}
		if !test.fresh {
			checkReason(t, name, err, oidc.NotFresh)
		}
	}
	rp.upstream.Behave(oidctest.Behaviour{})
	if _, err := rp.signIn(oidc.Request{MaxAge: 0, SelectAccount: true}); err != nil {
		t.Error(err)
	}
	if request := rp.upstream.LastRequest(); request.Get("prompt") != "login" || request.Get("max_age") != "0" {
		t.Errorf("prompt %q, max_age %q", request.Get("prompt"), request.Get("max_age"))
	}
}

func TestWhetherAnAddressIsVerifiedIsSaidOfTheAddressBesideIt(t *testing.T) {
	rp := newRelyingParty(t)
	rp.document.OIDC.UserInfo = true
	for name, test := range map[string]struct {
		idToken, userInfo, want [2]any // email and email_verified
	}{
		"an address that the user may write": {[2]any{"ceo@acme.example", nil}, [2]any{"me@evil.example", true}, [2]any{"ceo@acme.example", nil}},
		"an address of UserInfo alone":       {[2]any{nil, true}, [2]any{"me@evil.example", nil}, [2]any{"me@evil.example", nil}},
		"both of UserInfo":                   {[2]any{nil, nil}, [2]any{"a@acme.example", true}, [2]any{"a@acme.example", true}},
		"both of the ID token":               {[2]any{"a@acme.example", true}, [2]any{"b@acme.example", false}, [2]any{"a@acme.example", true}},
	} {
		set := func(values [2]any) func(map[string]any) {
			return func(c map[string]any) {
				for i, name := range []string{"email", "email_verified"} {
					delete(c, name)
					if values[i] != nil {
						c[name] = values[i]
					}
				}
			}
		}
		rp.upstream.Behave(oidctest.Behaviour{IDToken: set(test.idToken), UserInfo: set(test.userInfo)})
		signIn, err := rp.signIn(anyAge)
		if got := [2]any{signIn.Upstream["email"], signIn.Upstream["email_verified"]}; err != nil || got != test.want {
			t.Errorf("%s: %v, %v, want %v", name, got, err, test.want)
		}
	}
}

// OpenID Connect Core section 5.3.2.
func TestUserInfoAddsClaimsOfTheSameUserAlone(t *testing.T) {
	rp := newRelyingParty(t)
	rp.document.OIDC.UserInfo = true
	rp.upstream.Behave(oidctest.Behaviour{UserInfo: func(c map[string]any) { c["email"] = "other@acme.example" }})
	signIn, err := rp.signIn(anyAge)
	if err != nil || signIn.Upstream["nickname"] != "ally" || signIn.Upstream["email"] != "alice@acme.example" {
		t.Errorf("%v, %v", signIn.Upstream, err)
	}
	for name, test := range map[string]struct {
		behaviour oidctest.Behaviour
		want      oidc.Reason
	}{
		"another sub": {oidctest.Behaviour{UserInfo: func(c map[string]any) { c["sub"] = "bob" }}, oidc.Invalid},
		"no sub":      {oidctest.Behaviour{UserInfo: func(c map[string]any) { delete(c, "sub") }}, oidc.Invalid},
		"an error":    {oidctest.Behaviour{Handle: map[string]http.HandlerFunc{"/userinfo": http.NotFound}}, oidc.Away},
		"a JWT": {oidctest.Behaviour{Handle: map[string]http.HandlerFunc{"/userinfo": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/jwt")
			_, _ = w.Write([]byte(`{"sub":"alice"}`))
		}}}, oidc.Away},
		"another token type": {oidctest.Behaviour{Token: func(r map[string]any) { r["token_type"] = "N_A" }}, oidc.Away},
	} {
		rp.upstream.Behave(test.behaviour)
		_, err := rp.signIn(anyAge)
		checkReason(t, name, err, test.want)
	}
}

func TestOnlyWhatAProviderSaysOfUsOrAnOutageMakesItAwayAndASignInEndsThat(t *testing.T) {
	rp := newRelyingParty(t)
	answers := func(status int, body string) oidctest.Behaviour {
		return oidctest.Behaviour{Handle: map[string]http.HandlerFunc{"/token": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}}}
	}
	for _, step := range []struct {
		what      string
		behaviour oidctest.Behaviour
		reason    oidc.Reason
		problem   string
	}{
		{"a code that it has not issued", answers(http.StatusBadRequest, `{"error":"invalid_grant"}`), oidc.Invalid, ""},
		{"the same, in words of the provider's own", answers(http.StatusTooManyRequests, `<html>`), oidc.Invalid, ""},
		{"our client is refused", answers(http.StatusUnauthorized, `{"error":"invalid_client"}`), oidc.ClientRefused, "ClientRefused"},
		{"such a code, then", answers(http.StatusBadRequest, `{"error":"invalid_grant"}`), oidc.Invalid, "ClientRefused"},
		{"a sign-in", oidctest.Behaviour{}, "", ""},
		{"an outage", answers(http.StatusBadGateway, `<html>`), oidc.Away, "BadAnswer"},
		{"a sign-in, then", oidctest.Behaviour{}, "", ""},
		{"an outage, then", answers(http.StatusBadGateway, `<html>`), oidc.Away, "BadAnswer"},
	} {
		rp.upstream.Behave(step.behaviour)
		_, err := rp.signIn(anyAge)
		if step.reason != "" {
			checkReason(t, step.what, err, step.reason)
		} else if err != nil {
			t.Errorf("%s: %v", step.what, err)
		}
		problem := ""
		for _, p := range rp.providers.Problems([]documents.IdentityProvider{rp.document}) {
			problem = p.Reason
		}
		if problem != step.problem {
			t.Errorf("%s: the problem is %q, want %q", step.what, problem, step.problem)
		}
	}
	rp.document.OIDC.ClientID = "corrected"
	if problems := rp.providers.Problems([]documents.IdentityProvider{rp.document}); len(problems) > 0 {
		t.Errorf("what was found out before a correction is still said: %v", problems)
	}
}

func TestThatAClientSecretWasRefusedIsNotSaidOfTheNext(t *testing.T) {
	rp := newRelyingParty(t)
	read := map[string]string{"before": "one that was revoked"}
	rp.document.Credentials = []string{"next", "before"}
	rp.providers.Secret = func(name string) (string, bool) {
		secret, ok := read[name]
		return secret, ok
	}
	_, err := rp.signIn(anyAge)
	checkReason(t, "a secret that was revoked", err, oidc.ClientRefused)
	if problems := rp.providers.Problems([]documents.IdentityProvider{rp.document}); len(problems) != 1 || problems[0].Reason != "ClientRefused" {
		t.Errorf("the problems are %v", problems)
	}
	read["next"] = oidctest.Secret
	if problems := rp.providers.Problems([]documents.IdentityProvider{rp.document}); len(problems) > 0 {
		t.Errorf("before a user signs in with the next secret the problems are %v", problems)
	}
	if _, err := rp.signIn(anyAge); err != nil {
		t.Errorf("with the next secret: %v", err)
	}
}

func TestTheSubjectIsTheConfiguredClaim(t *testing.T) {
	rp := newRelyingParty(t)
	rp.document.SubjectAttribute = "oid"
	_, err := rp.signIn(anyAge)
	checkReason(t, "no such claim", err, oidc.Invalid)
	rp.upstream.Behave(oidctest.Behaviour{IDToken: func(c map[string]any) { c["oid"] = "7f" }})
	if signIn, err := rp.signIn(anyAge); err != nil || string(signIn.Subject) != "7f" {
		t.Errorf("%q, %v", signIn.Subject, err)
	}
	rp.upstream.Behave(oidctest.Behaviour{IDToken: func(c map[string]any) { c["oid"] = json.RawMessage(`"7\ud800"`) }})
	_, err = rp.signIn(anyAge)
	checkReason(t, "half a surrogate pair, which is decoded as any other half is", err, oidc.Invalid)
}

func TestMethodsThatAreNotPlainAreNotPassedOn(t *testing.T) {
	rp := newRelyingParty(t)
	for name, amr := range map[string]any{
		"text": "mfa", "a blank": []string{"m f a"}, "too long": []string{strings.Repeat("m", 65)}, "a number": []any{"mfa", 1},
		"too many": slices.Repeat([]string{"mfa"}, 17),
	} {
		rp.upstream.Behave(oidctest.Behaviour{IDToken: func(c map[string]any) { c["amr"] = amr }})
		if signIn, err := rp.signIn(anyAge); err != nil || signIn.AMR != nil {
			t.Errorf("%s: %v, %v", name, signIn.AMR, err)
		}
	}
}
