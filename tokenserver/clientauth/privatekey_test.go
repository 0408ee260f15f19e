package clientauth_test

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks/jwkstest"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/storagetest"
)

// clientWithKeys returns a client that signs its assertions with one of the keys.
func clientWithKeys(id string, signers ...jwkstest.Signer) documents.Client {
	c := servertest.Client(id)
	c.AuthMethod, c.Credentials = oauth.AuthMethodPrivateKey, nil
	for _, s := range signers {
		c.JWKS = append(c.JWKS, s.JWK)
	}
	return c
}

var assertions atomic.Int64

// claimsOf returns the claims of a good assertion of a client, with changes; nil leaves a claim out.
func claimsOf(w *servertest.Server, id string, changes map[string]any) map[string]any {
	claims := map[string]any{
		"iss": id, "sub": id, "aud": servertest.Issuer, "jti": fmt.Sprint("jti-", assertions.Add(1)),
		"iat": w.Now().Unix(), "exp": w.Now().Add(time.Minute).Unix(),
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	return claims
}

func withAssertion(w *servertest.Server, assertion string, pairs ...string) *http.Request {
	return newRequest(w, "", append([]string{"client_assertion_type", oauth.AssertionTypeJWT, "client_assertion", assertion}, pairs...)...)
}

func TestAClientAuthenticatesByAnAssertionThatItHasSigned(t *testing.T) {
	w := newServer(t)
	for _, algorithm := range jwkstest.Algorithms {
		signer := jwkstest.NewSigner(algorithm, "k1")
		c := w.AddClient(clientWithKeys("shop."+strings.ToLower(algorithm), jwkstest.NewSigner("ES256", "k0"), signer))
		a := w.RequireOK(w.Do(withAssertion(w, signer.Sign(t, claimsOf(w, c.ID, nil)))))
		if a.String("client") != c.ID {
			t.Errorf("%s is taken for %s", c.ID, a.Body)
		}
		w.RequireOK(w.Do(withAssertion(w, signer.Sign(t, claimsOf(w, c.ID, nil)), "client_id", c.ID)))
	}
	if w.Store.Calls("CreateMark") != w.Store.Writes() || w.Store.Writes() != 2*len(jwkstest.Algorithms) {
		t.Errorf("there were %d writes", w.Store.Writes())
	}
}

// A token server remembers the uses of so many credentials: without them, a secret that is in use
// would be retired as unused.
func TestAClientWithEverNewKeysTakesNoPlaceAmongTheUsesOfSecrets(t *testing.T) {
	w := newServer(t)
	for i := range 20 {
		signer := jwkstest.NewSigner("ES256", fmt.Sprint("k", i))
		c := w.AddClient(clientWithKeys("shop.web", signer))
		w.RequireOK(w.Do(withAssertion(w, signer.Sign(t, claimsOf(w, c.ID, nil)))))
	}
	if len(w.Used) > 0 {
		t.Errorf("%d uses of credentials are reported", len(w.Used))
	}
}

func TestAConfidentialEndpointAcceptsAnAssertion(t *testing.T) {
	w := newServer(t)
	signer := jwkstest.NewSigner("ES256", "k1")
	c := w.AddClient(clientWithKeys("shop.web", signer))
	r := withAssertion(w, signer.Sign(t, claimsOf(w, c.ID, nil)))
	r.URL.Path = "/confidential"
	w.RequireOK(w.Do(r))
}

// RFC 7523 section 3, draft-ietf-oauth-rfc7523bis, OpenID Connect Core section 9.
func TestAnAssertionWithAWrongClaimIsRefusedWithAdviceAndCostsNoMark(t *testing.T) {
	w := newServer(t)
	signer := jwkstest.NewSigner("ES256", "k1")
	c := w.AddClient(clientWithKeys("shop.web", signer))
	now := w.Now()
	after := func(d time.Duration) int64 { return now.Add(d).Unix() }
	for what, test := range map[string]struct {
		changes map[string]any
		told    string
	}{
		"another subject":                   {map[string]any{"sub": "shop.admin"}, "iss and sub"},
		"no subject":                        {map[string]any{"sub": nil}, "iss and sub"},
		"no audience":                       {map[string]any{"aud": nil}, "aud must be"},
		"a list of one":                     {map[string]any{"aud": []string{servertest.Issuer}}, "aud must be"},
		"a list of two":                     {map[string]any{"aud": []string{servertest.Issuer, "https://evil.example.com"}}, "aud must be"},
		"an empty list":                     {map[string]any{"aud": []string{}}, "aud must be"},
		"the token endpoint":                {map[string]any{"aud": servertest.Issuer + "/token"}, "aud must be"},
		"the issuer with a slash":           {map[string]any{"aud": servertest.Issuer + "/"}, "aud must be"},
		"another server":                    {map[string]any{"aud": "https://evil.example.com"}, "aud must be"},
		"no expiry":                         {map[string]any{"exp": nil}, "are required"},
		"no time of issue":                  {map[string]any{"iat": nil}, "are required"},
		"no jti":                            {map[string]any{"jti": nil}, "are required"},
		"an empty jti":                      {map[string]any{"jti": ""}, "are required"},
		"longer than five minutes":          {map[string]any{"exp": after(301 * time.Second)}, "at most 5 minutes"},
		"far longer":                        {map[string]any{"exp": after(1000 * time.Hour)}, "at most 5 minutes"},
		"it ends before it begins":          {map[string]any{"exp": after(-time.Second)}, "after iat"},
		"expired":                           {map[string]any{"iat": after(-3 * time.Minute), "exp": after(-time.Minute)}, "expired"},
		"issued in the future":              {map[string]any{"iat": after(61 * time.Second), "exp": after(90 * time.Second)}, "in the future"},
		"valid in the future":               {map[string]any{"nbf": after(61 * time.Second)}, "in the future"},
		"old, with an expiry of its own":    {map[string]any{"iat": after(-6 * time.Minute), "exp": after(time.Minute)}, "at most 5 minutes"},
		"the times of an assertion of 1970": {map[string]any{"iat": 1, "exp": 2}, "expired"},
	} {
		a := w.Do(withAssertion(w, signer.Sign(t, claimsOf(w, c.ID, test.changes))))
		w.CheckError(a, 401, "invalid_client")
		if !strings.Contains(a.String("error_description"), test.told) {
			t.Errorf("%s: the answer is %s, want %q", what, a.Body, test.told)
		}
	}
	for _, typ := range []string{"at+jwt", "dpop+jwt", "oauth-authz-req+jwt", "logout+jwt", "jwt"} {
		a := w.Do(withAssertion(w, signer.Sign(t, claimsOf(w, c.ID, nil), map[string]any{"typ": typ})))
		if w.CheckError(a, 401, "invalid_client"); !strings.Contains(a.Body, "typ in the header") {
			t.Errorf("typ %s: the answer is %s", typ, a.Body)
		}
	}
	a := w.Do(withAssertion(w, signer.Sign(t, claimsOf(w, c.ID, nil)), "client_id", "shop.other"))
	if w.CheckError(a, 401, "invalid_client"); !strings.Contains(a.Body, "client_id is another client") {
		t.Errorf("another client_id: the answer is %s", a.Body)
	}
	if w.Store.Writes() != 0 || len(w.Used) != 0 {
		t.Errorf("there were %d marks, and used were %v", w.Store.Writes(), w.Used)
	}
	if got := w.CounterValue("oauth_operator_tokenserver_client_authentication_failures_total", "InvalidAssertion"); got != 27 {
		t.Errorf("%v are counted", got)
	}
	for what, changes := range map[string]map[string]any{
		"a clock that is behind":   {"iat": after(-2 * time.Minute), "exp": after(-59 * time.Second)},
		"a clock that is ahead":    {"iat": after(time.Minute), "nbf": after(time.Minute), "exp": after(2 * time.Minute)},
		"five minutes":             {"exp": after(5 * time.Minute)},
		"fractions":                {"iat": float64(now.Unix()) - 0.5, "exp": float64(now.Unix()) + 30.25},
		"claims without a meaning": {"scope": "admin", "client_id": "shop.admin"},
	} {
		if a := w.Do(withAssertion(w, signer.Sign(t, claimsOf(w, c.ID, changes)))); a.Status != 200 {
			t.Errorf("%s: the answer is %d %s", what, a.Status, a.Body)
		}
	}
	for _, typ := range []string{"JWT", "client-authentication+jwt"} {
		w.RequireOK(w.Do(withAssertion(w, signer.Sign(t, claimsOf(w, c.ID, nil), map[string]any{"typ": typ}))))
	}
}

// Neither the answer nor the work tells who exists, and nothing is stored for who has no key.
func TestWithoutAGoodSignatureEveryAssertionIsAnsweredAlikeAndLeavesNothing(t *testing.T) {
	w := newServer(t)
	signer, other := jwkstest.NewSigner("ES256", "k1"), jwkstest.NewSigner("ES256", "k1")
	server := jwkstest.NewServer(t, signer)
	w.ChangeDocument(func(s *documents.Server) { s.Fetch = server.Fetch() })
	c := w.AddClient(clientWithKeys("shop.web", signer))
	w.AddClient(clientWithMethod(oauth.AuthMethodSecretBasic))
	w.AddClient(clientWithMethod(oauth.AuthMethodNone))
	suspended, unreachable, broken, none := clientWithKeys("shop.suspended", signer), clientWithKeys("shop.away"), clientWithKeys("shop.broken"), clientWithKeys("shop.none")
	suspended.Suspended, unreachable.JWKSURI, broken.JWKS = true, "https://127.0.0.1:1/jwks", []documents.JWK{{KeyType: "RSA"}}
	for _, each := range []documents.Client{suspended, unreachable, broken, none} {
		w.AddClient(each)
	}
	remote := clientWithKeys("shop.remote")
	remote.JWKSURI = server.URL
	w.AddClient(remote)
	kid := func(kid string) map[string]any { return map[string]any{"kid": kid} }
	sign := func(s jwkstest.Signer, id string, headers ...map[string]any) string {
		return s.Sign(t, claimsOf(w, id, nil), headers...)
	}
	expired := map[string]any{"exp": w.Now().Add(-time.Hour).Unix(), "aud": "https://evil.example.com"}
	want := w.Do(newRequest(w, encodedBasicHeader("shop.unknown", servertest.Secret)))
	for what, assertion := range map[string]string{
		"another key":                  sign(other, c.ID),
		"another key, expired":         other.Sign(t, claimsOf(w, c.ID, expired)),
		"an unknown kid":               sign(signer, c.ID, kid("k2")),
		"an unknown client":            sign(signer, "shop.unknown"),
		"a suspended client":           sign(signer, suspended.ID),
		"a client with a secret":       sign(signer, "shop.client_secret_basic"),
		"a public client":              sign(signer, "shop.none"),
		"a client whose keys are away": sign(signer, unreachable.ID),
		"a client with a bad key":      sign(signer, broken.ID),
		"a client without keys":        sign(signer, none.ID),
		"another key than at its URL":  sign(other, remote.ID),
		"no client":                    signer.Sign(t, claimsOf(w, "", nil)),
		"no issuer":                    signer.Sign(t, claimsOf(w, c.ID, map[string]any{"iss": nil})),
		"an issuer that is a number":   signer.Sign(t, claimsOf(w, c.ID, map[string]any{"iss": 7})),
		"a time that is a text":        signer.Sign(t, claimsOf(w, c.ID, map[string]any{"exp": "tomorrow"})),
		"a time that is endless":       signer.Sign(t, claimsOf(w, c.ID, map[string]any{"exp": 1e300})),
		"an audience that is a number": signer.Sign(t, claimsOf(w, c.ID, map[string]any{"aud": 7})),
		"a key in the header":          sign(other, c.ID, map[string]any{"jwk": other.JWK}),
		"what is no JWT":               "x",
		"alg none":                     jwkstest.Encode(t, map[string]any{"alg": "none"}) + "." + jwkstest.Encode(t, claimsOf(w, c.ID, nil)) + ".",
		"a part of a JWT":              strings.TrimSuffix(sign(signer, c.ID), "A")[:40],
	} {
		a := w.Do(withAssertion(w, assertion))
		if a.Status != want.Status || a.Body != want.Body || a.Header.Get("WWW-Authenticate") != want.Header.Get("WWW-Authenticate") {
			t.Errorf("%s: the answer is %d %s, want %s", what, a.Status, a.Body, want.Body)
		}
	}
	if w.Store.Writes() != 0 || len(w.Used) != 0 {
		t.Errorf("there were %d marks, and used were %v", w.Store.Writes(), w.Used)
	}
	w.RequireOK(w.Do(withAssertion(w, sign(signer, c.ID))))
	w.RequireOK(w.Do(withAssertion(w, sign(signer, remote.ID))))
}

func TestAnAssertionIsGoodOnce(t *testing.T) {
	w := newServer(t)
	signer := jwkstest.NewSigner("ES256", "k1")
	c, other := w.AddClient(clientWithKeys("shop.web", signer)), w.AddClient(clientWithKeys("shop.other", signer))
	claims := claimsOf(w, c.ID, nil)
	first := signer.Sign(t, claims)
	w.RequireOK(w.Do(withAssertion(w, first)))
	replayed := func(what, assertion, path string) {
		t.Helper()
		r := withAssertion(w, assertion)
		r.URL.Path = path
		a := w.Do(r)
		if w.CheckError(a, 401, "invalid_client"); !strings.Contains(a.Body, "its jti was used before") {
			t.Errorf("%s: the answer is %s", what, a.Body)
		}
	}
	replayed("the same assertion", first, "/who")
	replayed("at another endpoint", first, "/confidential")
	claims["exp"] = w.Now().Add(4 * time.Minute).Unix()
	replayed("another assertion with its jti", signer.Sign(t, claims), "/who")
	// The jti of another client is another.
	claims["iss"], claims["sub"] = other.ID, other.ID
	w.RequireOK(w.Do(withAssertion(w, signer.Sign(t, claims))))
	// It cannot be sent again once its mark has gone.
	late := signer.Sign(t, claimsOf(w, c.ID, nil))
	w.RequireOK(w.Do(withAssertion(w, late)))
	for range 8 {
		w.Advance(time.Minute)
		if _, err := w.Store.Sweep(t.Context(), w.Now()); err != nil {
			t.Fatal(err)
		}
		w.CheckError(w.Do(withAssertion(w, late)), 401, "invalid_client")
	}
	if marked, err := w.Store.Sweep(t.Context(), w.Now().Add(time.Hour)); err != nil || marked != 0 {
		t.Errorf("%d marks are left (%v)", marked, err)
	}
}

func TestOfFiftyRequestsWithOneAssertionOneSucceeds(t *testing.T) {
	w := newServer(t)
	signer := jwkstest.NewSigner("ES256", "k1")
	c := w.AddClient(clientWithKeys("shop.web", signer))
	assertion := signer.Sign(t, claimsOf(w, c.ID, nil))
	var won atomic.Int64
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			if w.Do(withAssertion(w, assertion)).Status == 200 {
				won.Add(1)
			}
		})
	}
	group.Wait()
	if won.Load() != 1 {
		t.Errorf("%d succeeded", won.Load())
	}
}

func TestAClientThatWasCreatedAgainMayUseAJTIAgain(t *testing.T) {
	w := newServer(t)
	signer := jwkstest.NewSigner("ES256", "k1")
	c := w.AddClient(clientWithKeys("shop.web", signer))
	assertion := signer.Sign(t, claimsOf(w, c.ID, nil))
	w.RequireOK(w.Do(withAssertion(w, assertion)))
	w.RemoveClient(c.ID)
	c.UID = "created again"
	w.AddClient(c)
	w.RequireOK(w.Do(withAssertion(w, assertion)))
}

func TestWhatCannotBeStoredAuthenticatesNobody(t *testing.T) {
	w := newServer(t)
	signer := jwkstest.NewSigner("ES256", "k1")
	c, other := w.AddClient(clientWithKeys("shop.web", signer)), w.AddClient(clientWithKeys("shop.other", signer))
	for _, fault := range []storagetest.Fault{storagetest.Unavailable, storagetest.LostRequest, storagetest.LostAnswer} {
		w.Store.Fail("CreateMark", fault)
		a := w.Do(withAssertion(w, signer.Sign(t, claimsOf(w, c.ID, nil))))
		if w.CheckError(a, 503, "temporarily_unavailable"); a.Header.Get("Retry-After") == "" {
			t.Errorf("fault %d: there is no Retry-After", fault)
		}
	}
	w.Memory.SetMarkBounds(storage.MarkAssertion, storage.MarkBounds{PerClient: 2})
	w.RequireOK(w.Do(withAssertion(w, signer.Sign(t, claimsOf(w, c.ID, nil)))))
	for range 2 { // one was stored although its answer was lost
		w.Do(withAssertion(w, signer.Sign(t, claimsOf(w, c.ID, nil))))
	}
	a := w.Do(withAssertion(w, signer.Sign(t, claimsOf(w, c.ID, nil))))
	if w.CheckError(a, 503, "temporarily_unavailable"); a.Header.Get("Retry-After") != "60" || !strings.Contains(a.Body, "as many assertions") {
		t.Errorf("at the bound: %v %s", a.Header, a.Body)
	}
	w.RequireOK(w.Do(withAssertion(w, signer.Sign(t, claimsOf(w, other.ID, nil)))))
	w.Advance(4 * time.Minute) // the marks have expired
	w.RequireOK(w.Do(withAssertion(w, signer.Sign(t, claimsOf(w, c.ID, nil)))))
}

// Else who may create clients could fill the storage, with many of them or with one again and again.
func TestTheClientsOfANamespaceTogetherMayUseSoManyAssertions(t *testing.T) {
	if bounds := storage.DefaultMarkBounds(storage.MarkAssertion); bounds != (storage.MarkBounds{PerClient: 10_000, PerNamespace: 50_000}) {
		t.Errorf("the bounds are %+v", bounds)
	}
	w := newServer(t)
	signer := jwkstest.NewSigner("ES256", "k1")
	elsewhere := clientWithKeys("orders.web", signer)
	elsewhere.Namespace = "orders"
	w.AddClient(elsewhere)
	w.ChangeDocument(func(s *documents.Server) { s.AllowedClients[0].Namespaces = documents.Namespaces{All: true} })
	w.Memory.SetMarkBounds(storage.MarkAssertion, storage.MarkBounds{PerClient: 2, PerNamespace: 5})
	c := clientWithKeys("shop.web", signer)
	for i := range 6 {
		c.UID = fmt.Sprint("created for the ", i, "th time")
		w.AddClient(c)
		a := w.Do(withAssertion(w, signer.Sign(t, claimsOf(w, c.ID, nil))))
		if i < 5 {
			w.RequireOK(a)
		} else if w.CheckError(a, 503, "temporarily_unavailable"); !strings.Contains(a.Body, "or all of its namespace together") {
			t.Errorf("at the bound: %s", a.Body)
		}
		w.RemoveClient(c.ID)
	}
	w.RequireOK(w.Do(withAssertion(w, signer.Sign(t, claimsOf(w, elsewhere.ID, nil)))))
}

func TestKeysAtAURLRotateWithoutAFailure(t *testing.T) {
	w := newServer(t)
	old, next := jwkstest.NewSigner("ES256", "old"), jwkstest.NewSigner("EdDSA", "new")
	server := jwkstest.NewServer(t, old)
	c := clientWithKeys("shop.web")
	c.JWKSURI = server.URL
	w.AddClient(c)
	w.CheckError(w.Do(withAssertion(w, old.Sign(t, claimsOf(w, c.ID, nil)))), 401, "invalid_client") // no rule allows a loopback address
	w.ChangeDocument(func(s *documents.Server) { s.Fetch = server.Fetch() })
	w.Advance(10 * time.Second)
	w.RequireOK(w.Do(withAssertion(w, old.Sign(t, claimsOf(w, c.ID, nil)))))
	server.Serve(old, next) // a good signer publishes first
	w.Advance(10 * time.Second)
	w.RequireOK(w.Do(withAssertion(w, next.Sign(t, claimsOf(w, c.ID, nil)))))
	w.RequireOK(w.Do(withAssertion(w, old.Sign(t, claimsOf(w, c.ID, nil)))))
	server.Serve(next)
	w.Advance(15 * time.Minute)
	w.CheckError(w.Do(withAssertion(w, old.Sign(t, claimsOf(w, c.ID, nil)))), 401, "invalid_client")
	w.RequireOK(w.Do(withAssertion(w, next.Sign(t, claimsOf(w, c.ID, nil)))))
}

// RFC 8725 section 3.11.
func TestATokenOfThisServerIsNoAssertion(t *testing.T) {
	w := newServer(t)
	signer := jwkstest.NewSigner("ES256", "k1")
	c := w.AddClient(clientWithKeys("shop.web", signer))
	claims := claimsOf(w, c.ID, nil)
	tokens := map[string]string{}
	for _, typ := range []string{oauth.TypeAccessToken, oauth.TypeIDToken, "logout+jwt", oauth.TypeClientAssertion} {
		token, err := w.Keys.Sign("ES256", typ, claims)
		if err != nil {
			t.Fatal(err)
		}
		tokens["a JWT of type "+typ] = token
		fromIssuer := maps.Clone(claims)
		fromIssuer["iss"] = servertest.Issuer
		if tokens["the issuer's JWT of type "+typ], err = w.Keys.Sign("RS256", typ, fromIssuer); err != nil {
			t.Fatal(err)
		}
	}
	for what, token := range tokens {
		if a := w.Do(withAssertion(w, token)); a.Status != 401 {
			t.Errorf("%s: the answer is %d %s", what, a.Status, a.Body)
		}
	}
}

func TestAnAssertionNeedsItsTypeAndNoOtherCredential(t *testing.T) {
	w := newServer(t)
	signer := jwkstest.NewSigner("ES256", "k1")
	c := w.AddClient(clientWithKeys("shop.web", signer))
	sign := func() string { return signer.Sign(t, claimsOf(w, c.ID, nil)) }
	for what, test := range map[string]struct {
		r      *http.Request
		status int
		code   string
	}{
		"no type":                   {newRequest(w, "", "client_assertion", sign()), 400, "invalid_request"},
		"another type":              {newRequest(w, "", "client_assertion", sign(), "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"), 401, "invalid_client"},
		"a type alone":              {newRequest(w, "", "client_id", c.ID, "client_assertion_type", oauth.AssertionTypeJWT), 400, "invalid_request"},
		"a secret beside it":        {withAssertion(w, sign(), "client_secret", servertest.Secret), 400, "invalid_request"},
		"a secret by post too":      {withAssertion(w, sign(), "client_id", c.ID, "client_secret", servertest.Secret), 400, "invalid_request"},
		"the assertion as a secret": {newRequest(w, "", "client_id", c.ID, "client_secret", sign()), 401, "invalid_client"},
		"nothing but its id":        {newRequest(w, "", "client_id", c.ID), 401, "invalid_client"},
		"Basic with a secret":       {newRequest(w, encodedBasicHeader(c.ID, servertest.Secret)), 401, "invalid_client"},
	} {
		if a := w.Do(test.r); a.Status != test.status || a.ErrorCode() != test.code {
			t.Errorf("%s: the answer is %d %s", what, a.Status, a.Body)
		}
	}
	r := withAssertion(w, sign())
	r.Header.Set("Authorization", encodedBasicHeader(c.ID, servertest.Secret))
	w.CheckError(w.Do(r), 400, "invalid_request")
	r = withAssertion(w, sign())
	r.Header.Set("Authorization", "Bearer "+base64.StdEncoding.EncodeToString([]byte("x")))
	w.CheckError(w.Do(r), 400, "invalid_request")
	if w.Store.Writes() != 0 {
		t.Errorf("there were %d marks", w.Store.Writes())
	}
}
