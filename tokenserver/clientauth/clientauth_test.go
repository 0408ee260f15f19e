package clientauth_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// newServer has two endpoints that answer with the id of the client: one for every client, and one
// for confidential clients.
func newServer(t *testing.T) *servertest.Server {
	t.Helper()
	w := servertest.New(t)
	w.Handle("/who", func(rw http.ResponseWriter, r *http.Request) error {
		form, err := oauth.ParseForm(r, true)
		if err != nil {
			return err
		}
		client, err := w.Clients.Authenticate(r, form)
		if err != nil {
			return err
		}
		return web.JSON(rw, http.StatusOK, map[string]string{"client": client.ID})
	})
	w.Handle("/confidential", func(rw http.ResponseWriter, r *http.Request) error {
		form, err := oauth.ParseForm(r, true)
		if err != nil {
			return err
		}
		client, err := w.Clients.AuthenticateConfidential(r, form)
		if err != nil {
			return err
		}
		return web.JSON(rw, http.StatusOK, map[string]string{"client": client.ID})
	})
	return w
}

// newRequest returns a request with a form, and with an Authorization header unless it is empty.
func newRequest(w *servertest.Server, authorization string, pairs ...string) *http.Request {
	r := w.Form("/who", documents.Client{}, pairs...)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return r
}

// basicHeader returns a Basic header without form-encoding, as many clients send it.
func basicHeader(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
}

// encodedBasicHeader returns a Basic header as RFC 6749 section 2.3.1 defines it.
func encodedBasicHeader(id, secret string) string {
	return basicHeader(url.QueryEscape(id), url.QueryEscape(secret))
}

func clientWithMethod(method string) documents.Client {
	c := servertest.Client("shop." + method)
	c.AuthMethod = method
	if method == oauth.AuthMethodNone {
		c.Credentials = nil
	}
	return c
}

var methods = []string{oauth.AuthMethodSecretBasic, oauth.AuthMethodSecretPost, oauth.AuthMethodNone}

func TestAClientUsesTheMethodThatItRegistered(t *testing.T) {
	w := newServer(t)
	for _, registered := range methods {
		c := w.AddClient(clientWithMethod(registered))
		for used, r := range map[string]*http.Request{
			oauth.AuthMethodSecretBasic: newRequest(w, encodedBasicHeader(c.ID, servertest.Secret)),
			oauth.AuthMethodSecretPost:  newRequest(w, "", "client_id", c.ID, "client_secret", servertest.Secret),
			oauth.AuthMethodNone:        newRequest(w, "", "client_id", c.ID),
		} {
			a := w.Do(r)
			if used == registered {
				if w.RequireOK(a).String("client") != c.ID {
					t.Errorf("%s is taken for %s", c.ID, a.Body)
				}
				continue
			}
			if a.Status != 401 || a.ErrorCode() != "invalid_client" {
				t.Errorf("%s, registered for %s: the answer is %d %s", used, registered, a.Status, a.Body)
			}
		}
	}
}

func TestTheExampleOfRFC6749Authenticates(t *testing.T) {
	w := newServer(t)
	c := servertest.Client("s6BhdRkqt3")
	c.Credentials = []documents.Credential{servertest.Credential("c1", "7Fjfp0ZBr1KtDRbnfVdmIw")}
	w.AddClient(c)
	w.RequireOK(w.Do(newRequest(w, "Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3")))
}

func TestASecretWorksFormEncodedAndAsItIs(t *testing.T) {
	for _, secret := range []string{
		servertest.Secret, "100%", "%41BC", "%zz", "a+b", "a b", "a:b:c", ":", "a&b=c", "%2B+%2b", `"\`, " %&+£€", "пароль-密码", strings.Repeat("x", 4096),
	} {
		for _, method := range methods[:2] {
			w := newServer(t)
			c := clientWithMethod(method)
			c.Credentials = []documents.Credential{servertest.Credential("c1", secret)}
			w.AddClient(c)
			if method == oauth.AuthMethodSecretPost {
				w.RequireOK(w.Do(newRequest(w, "", "client_id", c.ID, "client_secret", secret)))
				w.CheckError(w.Do(newRequest(w, "", "client_id", c.ID, "client_secret", url.QueryEscape(secret)+"%")), 401, "invalid_client")
				continue
			}
			w.RequireOK(w.Do(newRequest(w, encodedBasicHeader(c.ID, secret))))
			w.RequireOK(w.Do(newRequest(w, basicHeader(c.ID, secret))))
			w.CheckError(w.Do(newRequest(w, basicHeader(c.ID, secret+"x"))), 401, "invalid_client")
			w.CheckError(w.Do(newRequest(w, encodedBasicHeader(c.ID, url.QueryEscape(secret)+"%"))), 401, "invalid_client")
		}
	}
}

func TestAnIdentifierWorksFormEncodedAndAsItIs(t *testing.T) {
	w := newServer(t)
	for _, id := range []string{"shop.web", "https://shop.example.com/client", "a+b", "a%20b", "ä"} {
		c := w.AddClient(servertest.Client(id))
		w.RequireOK(w.Do(newRequest(w, encodedBasicHeader(c.ID, servertest.Secret))))
		if !strings.Contains(id, ":") {
			w.RequireOK(w.Do(newRequest(w, basicHeader(c.ID, servertest.Secret))))
		}
	}
}

func TestMoreThanOneMethodInARequestIsRefused(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(clientWithMethod(oauth.AuthMethodSecretBasic))
	header := encodedBasicHeader(c.ID, servertest.Secret)
	two := newRequest(w, header)
	two.Header.Add("Authorization", header)
	for what, r := range map[string]*http.Request{
		"Basic and a posted secret":         newRequest(w, header, "client_id", c.ID, "client_secret", servertest.Secret),
		"Basic and a secret without an id":  newRequest(w, header, "client_secret", servertest.Secret),
		"Basic and an assertion":            newRequest(w, header, "client_assertion", "x"),
		"a posted secret and an assertion":  newRequest(w, "", "client_id", c.ID, "client_secret", servertest.Secret, "client_assertion", "x"),
		"another scheme and a secret":       newRequest(w, "Bearer x", "client_id", c.ID, "client_secret", servertest.Secret),
		"two headers":                       two,
		"Basic and another client's id":     newRequest(w, header, "client_id", "shop.other"),
		"Basic and an id that is no string": newRequest(w, header, "client_id", c.ID+"\n"),
	} {
		a := w.Do(r)
		if a.Status != 400 || a.ErrorCode() != "invalid_request" {
			t.Errorf("%s: the answer is %d %s", what, a.Status, a.Body)
		}
	}
	w.RequireOK(w.Do(newRequest(w, header, "client_id", c.ID)))
	w.RequireOK(w.Do(newRequest(w, header, "client_id", "", "client_secret", "", "client_assertion", "")))
	if len(w.Used) != 2 {
		t.Errorf("credentials were used %d times, want 2", len(w.Used))
	}
}

func TestAPublicClientThatSendsASecretIsRefused(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(clientWithMethod(oauth.AuthMethodNone))
	// This includes a secret that it had before it became public.
	had := clientWithMethod(oauth.AuthMethodNone)
	had.ID, had.UID, had.Credentials = "shop.had", "had-uid", []documents.Credential{servertest.Credential("c1", servertest.Secret)}
	w.AddClient(had)
	for _, id := range []string{c.ID, had.ID} {
		for what, r := range map[string]*http.Request{
			"a posted secret":          newRequest(w, "", "client_id", id, "client_secret", servertest.Secret),
			"Basic":                    newRequest(w, encodedBasicHeader(id, servertest.Secret)),
			"Basic without a secret":   newRequest(w, basicHeader(id, "")),
			"a scheme that is unknown": newRequest(w, "Negotiate x", "client_id", id),
		} {
			if a := w.Do(r); a.Status != 401 || a.ErrorCode() != "invalid_client" {
				t.Errorf("%s: the answer is %d %s", what, a.Status, a.Body)
			}
		}
		w.RequireOK(w.Do(newRequest(w, "", "client_id", id, "client_secret", "")))
	}
}

func TestOnlyConfidentialClientsAreConfidential(t *testing.T) {
	w := newServer(t)
	public, shop := w.AddClient(clientWithMethod(oauth.AuthMethodNone)), w.AddClient(clientWithMethod(oauth.AuthMethodSecretBasic))
	w.CheckError(w.Post("/confidential", public), 401, "invalid_client")
	w.RequireOK(w.Post("/confidential", shop))
}

// Neither the answer nor the work tells whether a client id exists.
func TestEveryClientThatIsNotWhoItSaysIsAnsweredAlikeAndCostsTheSame(t *testing.T) {
	w := newServer(t)
	served := w.AddClient(clientWithMethod(oauth.AuthMethodSecretBasic))
	post, public := w.AddClient(clientWithMethod(oauth.AuthMethodSecretPost)), w.AddClient(clientWithMethod(oauth.AuthMethodNone))
	suspended, refused, gone, bare := servertest.Client("shop.suspended"), servertest.Client("shop.refused"), servertest.Client("shop.gone"), servertest.Client("shop.bare")
	suspended.Suspended = true
	refused.Scopes, refused.RedirectURIs = []string{"openid"}, []string{"com.unknown.app:/cb"}
	bare.Credentials = nil
	rotating := servertest.Client("shop.rotating")
	rotating.Credentials = append(rotating.Credentials, servertest.Credential("c2", "another"))
	for _, c := range []documents.Client{suspended, refused, gone, bare, rotating} {
		w.AddClient(c)
	}
	w.RemoveClient(gone.ID)
	var first servertest.Answer
	var work int64
	for i, test := range []struct {
		what string
		r    *http.Request
	}{
		{"a wrong secret", newRequest(w, encodedBasicHeader(served.ID, "wrong"))},
		{"no secret", newRequest(w, basicHeader(served.ID, ""))},
		{"a secret that reads in two ways", newRequest(w, basicHeader(served.ID, "100%25"))},
		{"an unknown client", newRequest(w, encodedBasicHeader("shop.unknown", servertest.Secret))},
		{"an unknown client without a secret", newRequest(w, "", "client_id", "shop.unknown")},
		{"an unknown client with a posted secret", newRequest(w, "", "client_id", "shop.unknown", "client_secret", servertest.Secret)},
		{"an identifier of unusual length", newRequest(w, encodedBasicHeader(strings.Repeat("x", 8192), servertest.Secret))},
		{"a suspended client", newRequest(w, encodedBasicHeader(suspended.ID, servertest.Secret))},
		{"a client that no rule allows", newRequest(w, encodedBasicHeader(refused.ID, servertest.Secret))},
		{"a deleted client", newRequest(w, encodedBasicHeader(gone.ID, servertest.Secret))},
		{"a client without a secret yet", newRequest(w, encodedBasicHeader(bare.ID, ""))},
		{"a client that rotates, and a wrong secret", newRequest(w, encodedBasicHeader(rotating.ID, "wrong"))},
		{"another method, and a wrong secret", newRequest(w, encodedBasicHeader(post.ID, "wrong"))},
		{"another method, and a suspended client's secret", newRequest(w, "", "client_id", suspended.ID, "client_secret", servertest.Secret)},
		{"a public client with a secret", newRequest(w, encodedBasicHeader(public.ID, servertest.Secret))},
		{"a confidential client without one", newRequest(w, "", "client_id", served.ID)},
		{"the identifier in another case", newRequest(w, encodedBasicHeader(strings.ToUpper(served.ID), servertest.Secret))},
	} {
		before := w.Clients.Comparisons()
		a := w.Do(test.r)
		did := w.Clients.Comparisons() - before
		if i == 0 {
			first, work = a, did
			w.CheckError(a, 401, "invalid_client")
			continue
		}
		if a.Status != first.Status || a.Body != first.Body || a.Header.Get("WWW-Authenticate") != first.Header.Get("WWW-Authenticate") {
			t.Errorf("%s: the answer is %d %s %q, want %d %s", test.what, a.Status, a.Body, a.Header.Get("WWW-Authenticate"), first.Status, first.Body)
		}
		if did != work || did == 0 {
			t.Errorf("%s: %d hashes were compared, want %d", test.what, did, work)
		}
	}
	before := w.Clients.Comparisons()
	w.RequireOK(w.Do(newRequest(w, encodedBasicHeader(served.ID, servertest.Secret))))
	if did := w.Clients.Comparisons() - before; did != work {
		t.Errorf("the right secret costs %d comparisons, a wrong one %d", did, work)
	}
	before = w.Clients.Comparisons()
	w.CheckError(w.Do(newRequest(w, encodedBasicHeader(post.ID, servertest.Secret))), 401, "invalid_client")
	if did := w.Clients.Comparisons() - before; did != work {
		t.Errorf("the right secret by another method costs %d comparisons, a wrong one %d", did, work)
	}
}

func TestWhoHoldsTheRightSecretIsToldThatItCameByTheWrongMethod(t *testing.T) {
	w := newServer(t)
	basic, post, public := w.AddClient(clientWithMethod(oauth.AuthMethodSecretBasic)), w.AddClient(clientWithMethod(oauth.AuthMethodSecretPost)), clientWithMethod(oauth.AuthMethodNone)
	public.Credentials = []documents.Credential{servertest.Credential("c1", servertest.Secret)} // of the time before it was public
	w.AddClient(public)
	posted := func(id, secret string) *http.Request {
		return newRequest(w, "", "client_id", id, "client_secret", secret)
	}
	for _, test := range []struct {
		r    *http.Request
		told string // what the description has; empty: what everybody is told
	}{
		{newEncodedRequest(w, post.ID, servertest.Secret), "by client_secret_basic: authenticate by client_secret_post"},
		{posted(basic.ID, servertest.Secret), "by client_secret_post: authenticate by client_secret_basic"},
		{newEncodedRequest(w, post.ID, "wrong"), ""}, {posted(basic.ID, "wrong"), ""}, {posted(basic.ID, ""), ""},
		{posted(public.ID, servertest.Secret), ""}, {newEncodedRequest(w, public.ID, servertest.Secret), ""},
	} {
		a := w.Do(test.r)
		w.CheckError(a, 401, "invalid_client")
		right := strings.Contains(a.String("error_description"), "the secret is right")
		if right != (test.told != "") || !strings.Contains(a.String("error_description"), test.told) || strings.Contains(a.Body, servertest.Secret) {
			t.Errorf("the answer is %s, want %q", a.Body, test.told)
		}
	}
	want := []registry.CredentialUse{
		{ClientUID: post.UID, CredentialID: "c1", RefusedMethod: oauth.AuthMethodSecretBasic},
		{ClientUID: basic.UID, CredentialID: "c1", RefusedMethod: oauth.AuthMethodSecretPost},
	}
	if !slices.Equal(w.Misused, want) || len(w.Used) > 0 {
		t.Errorf("noted were %+v as refused and %v as used, want %+v and none", w.Misused, w.Used, want)
	}
}

func newEncodedRequest(w *servertest.Server, id, secret string) *http.Request {
	return newRequest(w, encodedBasicHeader(id, secret))
}

func TestA401HasAChallenge(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(clientWithMethod(oauth.AuthMethodSecretBasic))
	for _, r := range []*http.Request{
		newRequest(w, encodedBasicHeader(c.ID, "wrong")), newRequest(w, "Basic x"), newRequest(w, "Bearer x"), newRequest(w, ""), withAssertion(w, "x"),
	} {
		a := w.Do(r)
		w.CheckError(a, 401, "invalid_client")
		if got := a.Header.Get("WWW-Authenticate"); got != `Basic realm="https://auth.example.com", charset="UTF-8"` {
			t.Errorf("WWW-Authenticate is %q", got)
		}
		if a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("Cache-Control is %q", a.Header.Get("Cache-Control"))
		}
	}
}

func TestAMalformedHeaderIsNoClient(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(clientWithMethod(oauth.AuthMethodSecretBasic))
	plain := c.ID + ":" + servertest.Secret
	for what, header := range map[string]string{
		"no credentials":             "Basic",
		"empty credentials":          "Basic ",
		"not base64":                 "Basic " + plain,
		"no padding":                 "Basic " + strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(plain+"x")), "=") + "=====",
		"base64 twice":               basicHeader(basicHeader(c.ID, servertest.Secret), ""),
		"no colon":                   "Basic " + base64.StdEncoding.EncodeToString([]byte(c.ID)),
		"no identifier":              basicHeader("", servertest.Secret),
		"credentials as parameters":  `Basic username="` + c.ID + `", password="` + servertest.Secret + `"`,
		"two schemes":                basicHeader(c.ID, servertest.Secret) + ", Bearer x",
		"the other way round":        basicHeader(servertest.Secret, c.ID),
		"another scheme":             "Digest " + base64.StdEncoding.EncodeToString([]byte(plain)),
		"a tab":                      "Basic\t" + base64.StdEncoding.EncodeToString([]byte(plain)),
		"a zero byte in the secret":  basicHeader(c.ID, servertest.Secret+"\x00"),
		"a line break in the secret": basicHeader(c.ID, servertest.Secret+"\n"),
		"half a character":           basicHeader(c.ID, servertest.Secret+"\xff"),
	} {
		a := w.Do(newRequest(w, header))
		if a.Status != 401 || a.ErrorCode() != "invalid_client" {
			t.Errorf("%s: the answer is %d %s", what, a.Status, a.Body)
		}
		if strings.Contains(a.Body, servertest.Secret) {
			t.Errorf("%s: the answer quotes the secret", what)
		}
	}
	for _, scheme := range []string{"basic ", "BASIC ", "Basic  "} {
		w.RequireOK(w.Do(newRequest(w, scheme+base64.StdEncoding.EncodeToString([]byte(plain)))))
	}
}

func TestBothSecretsWorkUntilTheOldOneIsRetired(t *testing.T) {
	w := newServer(t)
	c := clientWithMethod(oauth.AuthMethodSecretBasic)
	old, current, pending := servertest.Credential("old", "old-secret"), servertest.Credential("current", "current-secret"), servertest.Credential("pending", "pending-secret")
	old.State, old.RetireAfter = documents.CredentialRetiring, w.Now().Add(time.Hour).Unix()
	pending.State = documents.CredentialPending
	c.Credentials = []documents.Credential{old, current, pending}
	w.AddClient(c)
	for _, secret := range []string{"old-secret", "current-secret", "pending-secret"} {
		w.RequireOK(w.Do(newRequest(w, encodedBasicHeader(c.ID, secret))))
	}
	if want := []string{c.UID + "/old", c.UID + "/current", c.UID + "/pending"}; !slices.Equal(w.Used, want) {
		t.Errorf("used were %v, want %v", w.Used, want)
	}
	c.Credentials = c.Credentials[1:] // the manager ends it
	w.AddClient(c)
	w.CheckError(w.Do(newRequest(w, encodedBasicHeader(c.ID, "old-secret"))), 401, "invalid_client")
	w.RequireOK(w.Do(newRequest(w, encodedBasicHeader(c.ID, "current-secret"))))
}

func TestAClockThatIsOffEndsNoSecretEarlyNorWithoutTheManagerMuchLater(t *testing.T) {
	w := newServer(t)
	c := clientWithMethod(oauth.AuthMethodSecretBasic)
	old := servertest.Credential("old", "old-secret")
	old.State, old.RetireAfter = documents.CredentialRetiring, w.Now().Add(time.Hour).Unix()
	c.Credentials = []documents.Credential{old, servertest.Credential("current", "current-secret")}
	w.AddClient(c)
	w.Advance(time.Hour + 5*time.Minute) // it is five minutes ahead
	w.RequireOK(w.Do(newRequest(w, encodedBasicHeader(c.ID, "old-secret"))))
	w.Advance(5 * time.Minute)
	w.CheckError(w.Do(newRequest(w, encodedBasicHeader(c.ID, "old-secret"))), 401, "invalid_client")
	w.RequireOK(w.Do(newRequest(w, encodedBasicHeader(c.ID, "current-secret"))))
}

func TestAChangedSecretCountsAtOnce(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(clientWithMethod(oauth.AuthMethodSecretBasic))
	w.RequireOK(w.Do(newRequest(w, encodedBasicHeader(c.ID, servertest.Secret))))
	c.Credentials = []documents.Credential{servertest.Credential("c2", "another")}
	w.AddClient(c)
	w.CheckError(w.Do(newRequest(w, encodedBasicHeader(c.ID, servertest.Secret))), 401, "invalid_client")
	w.RequireOK(w.Do(newRequest(w, encodedBasicHeader(c.ID, "another"))))
}

func TestACredentialThatSaysNothingAuthenticatesNobody(t *testing.T) {
	good := servertest.Credential("c1", servertest.Secret)
	empty := servertest.Credential("c1", "")
	for what, test := range map[string]struct {
		credential documents.Credential
		secret     string
	}{
		"no hash":                            {documents.Credential{ID: "c1", State: documents.CredentialActive}, ""},
		"no hash, zeroes":                    {documents.Credential{ID: "c1", State: documents.CredentialActive}, strings.Repeat("\x00", 32)},
		"the hash of nothing":                {empty, ""},
		"half a hash":                        {documents.Credential{ID: "c1", State: documents.CredentialActive, SHA256: good.SHA256[:32]}, servertest.Secret},
		"no hexadecimal":                     {documents.Credential{ID: "c1", State: documents.CredentialActive, SHA256: strings.Repeat("x", 64)}, servertest.Secret},
		"no state":                           {documents.Credential{ID: "c1", SHA256: good.SHA256}, servertest.Secret},
		"an unknown state":                   {documents.Credential{ID: "c1", SHA256: good.SHA256, State: "Revoked"}, servertest.Secret},
		"the hash in place of the secret":    {good, good.SHA256},
		"a hash longer than a hash":          {documents.Credential{ID: "c1", State: documents.CredentialActive, SHA256: good.SHA256 + "00"}, servertest.Secret},
		"retired a while ago":                {documents.Credential{ID: "c1", State: documents.CredentialRetiring, SHA256: good.SHA256, RetireAfter: 1}, servertest.Secret},
		"retiring without an end":            {documents.Credential{ID: "c1", State: documents.CredentialRetiring, SHA256: good.SHA256}, servertest.Secret},
		"a space before, as a careless copy": {good, " " + servertest.Secret},
	} {
		w := newServer(t)
		c := clientWithMethod(oauth.AuthMethodSecretBasic)
		c.Credentials = []documents.Credential{test.credential}
		w.AddClient(c)
		if a := w.Do(newRequest(w, encodedBasicHeader(c.ID, test.secret))); a.Status != 401 {
			t.Errorf("%s: the answer is %d %s", what, a.Status, a.Body)
		}
		if len(w.Used) != 0 {
			t.Errorf("%s: a credential counts as used", what)
		}
	}
}

func TestParallelRequestsDoNotMeet(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(clientWithMethod(oauth.AuthMethodSecretBasic))
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			right := i%2 == 0
			secret := servertest.Secret
			if !right {
				secret = fmt.Sprint("wrong", i)
			}
			if a := w.Do(newRequest(w, encodedBasicHeader(c.ID, secret))); (a.Status == 200) != right {
				t.Errorf("the answer is %d", a.Status)
			}
		})
	}
	group.Wait()
}
