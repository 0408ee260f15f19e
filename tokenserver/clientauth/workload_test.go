package clientauth_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks/jwkstest"
	"github.com/oauth-operator/oauth-operator/tokenserver/keysource"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/workload"
	"github.com/oauth-operator/oauth-operator/tokenserver/workload/workloadtest"
)

const (
	webSubject = "system:serviceaccount:shop:web"
	ciIssuer   = "https://ci.example.com"
	ciSubject  = "repo:acme/shop:ref:refs/heads/main"
	noClient   = "unknown client, wrong credentials, or another method"
)

// workloads is a server with a cluster and a CI service as workload issuers.
type workloads struct {
	*servertest.Server
	cluster *workloadtest.Cluster
	ci      jwkstest.Signer
}

func newWorkloads(t *testing.T) *workloads {
	t.Helper()
	w := &workloads{Server: newServer(t), cluster: workloadtest.New(webSubject, servertest.Issuer), ci: jwkstest.NewSigner("RS256", "ci-1")}
	fetcher := &fetch.Client{Document: func() documents.Server { return documents.Server{} }}
	w.Clients.Workloads = workload.New(workload.Config{
		Server: w.Registry.Server, Sources: keysource.New(fetcher, w.Now, nil), Fetch: fetcher, Cluster: w.cluster, Now: w.Now,
	})
	w.ChangeDocument(func(s *documents.Server) {
		s.WorkloadIssuers = []documents.WorkloadIssuer{
			{Name: "cluster", Type: documents.WorkloadIssuerKubernetes, MaxLifetime: 3600},
			{Name: "ci", Type: documents.WorkloadIssuerJWT, Issuer: ciIssuer, MaxLifetime: 900, JWKS: []documents.JWK{w.ci.JWK}},
		}
	})
	return w
}

// addClient serves a client of a namespace with identities.
func (w *workloads) addClient(namespace, id string, identities ...documents.WorkloadIdentity) documents.Client {
	w.T.Helper()
	c := servertest.Client(id)
	c.Namespace, c.AuthMethod, c.Credentials, c.WorkloadIdentities = namespace, oauth.AuthMethodWorkloadIdentity, nil, identities
	return w.AddClient(c)
}

// serviceAccount returns a token of the ServiceAccount shop/web with changed claims.
func (w *workloads) serviceAccount(claims map[string]any) string {
	w.T.Helper()
	return w.cluster.Token(w.T, w.Now(), webSubject, servertest.Issuer, claims)
}

// job returns a token of the CI service with changed claims.
func (w *workloads) job(claims map[string]any) string {
	w.T.Helper()
	return workloadtest.Sign(w.T, w.ci, map[string]any{
		"iss": ciIssuer, "sub": ciSubject, "aud": servertest.Issuer, "iat": w.Now().Unix(), "exp": w.Now().Add(15 * time.Minute).Unix(),
	}, claims)
}

// send authenticates with a token.
func (w *workloads) send(token string, pairs ...string) servertest.Answer {
	w.T.Helper()
	return w.Do(newRequest(w.Server, "", append([]string{"client_assertion", token, "client_assertion_type", oauth.AssertionTypeJWT}, pairs...)...))
}

// refuse fails the test unless the answer is invalid_client with this description.
func (w *workloads) refuse(what string, a servertest.Answer, description string) {
	w.T.Helper()
	if a.Status != 401 || a.ErrorCode() != oauth.InvalidClient || !strings.Contains(a.String("error_description"), description) {
		w.T.Errorf("%s: the answer is %d %s, want invalid_client with %q", what, a.Status, a.Body, description)
	}
}

func (w *workloads) accept(what string, a servertest.Answer, client string) {
	w.T.Helper()
	if a.Status != 200 || a.String("client") != client {
		w.T.Errorf("%s: the answer is %d %s, want the client %s", what, a.Status, a.Body, client)
	}
}

var webAccount = documents.WorkloadIdentity{Subject: webSubject}

func TestAWorkloadIsTheClientThatListsIt(t *testing.T) {
	w := newWorkloads(t)
	w.addClient("shop", "shop.web", webAccount)
	w.addClient("orders", "orders.web", webAccount)
	w.addClient("shop", "shop.deploy", documents.WorkloadIdentity{Issuer: "ci", Subject: ciSubject})

	w.accept("a ServiceAccount without client_id", w.send(w.serviceAccount(nil)), "shop.web")
	w.accept("a ServiceAccount with client_id", w.send(w.serviceAccount(nil), "client_id", "shop.web"), "shop.web")
	w.accept("the client of another namespace, by its id", w.send(w.serviceAccount(nil), "client_id", "orders.web"), "orders.web")
	w.accept("a job", w.send(w.job(nil), "client_id", "shop.deploy"), "shop.deploy")
	w.accept("aud as an array of one", w.send(w.job(map[string]any{"aud": []string{servertest.Issuer}}), "client_id", "shop.deploy"), "shop.deploy")
	w.accept("aud as a string", w.send(w.serviceAccount(map[string]any{"aud": servertest.Issuer})), "shop.web")
	again := w.serviceAccount(nil)
	for range 3 {
		w.accept("the same token again", w.send(again), "shop.web")
	}

	w.refuse("a job without client_id", w.send(w.job(nil)), "client_id is missing")
	w.refuse("another client's id", w.send(w.job(nil), "client_id", "shop.web"), "there is no accepted client with this client_id")
	w.refuse("another client's id", w.send(w.serviceAccount(nil), "client_id", "shop.deploy"), "there is no accepted client with this client_id")
	if w.Store.Writes() != 0 {
		t.Errorf("there were %d writes", w.Store.Writes())
	}
}

func TestATokenOfAWorkloadCausesNoWrite(t *testing.T) {
	w := newWorkloads(t)
	w.addClient("shop", "shop.web", webAccount)
	w.addClient("shop", "shop.deploy", documents.WorkloadIdentity{Issuer: "ci", Subject: ciSubject})
	account, job := w.serviceAccount(map[string]any{"jti": "account"}), w.job(map[string]any{"jti": "job"})
	for range 2 {
		w.accept("a ServiceAccount", w.send(account), "shop.web")
		w.accept("a job", w.send(job, "client_id", "shop.deploy"), "shop.deploy")
	}
	if n := w.Store.Writes(); n != 0 {
		t.Errorf("there were %d writes", n)
	}
}

func TestEachThingThatIsWrongWithAWorkloadsTokenIsRefusedAndSaid(t *testing.T) {
	w := newWorkloads(t)
	w.addClient("shop", "shop.web", webAccount)
	w.addClient("shop", "shop.deploy", documents.WorkloadIdentity{Issuer: "ci", Subject: ciSubject})
	now := w.Now()
	const wrongAudience, tooLong, endless, expired = "for the audience https://auth.example.com alone", "at most 1h0m0s are allowed", "so it never ends", "has expired"
	for description, changes := range map[string][]map[string]any{
		wrongAudience: {
			{"aud": workloadtest.Issuer}, {"aud": nil}, {"aud": ""}, {"aud": []string{}},
			{"aud": servertest.Issuer + "/"}, {"aud": servertest.Issuer + "/token"}, {"aud": strings.ToUpper(servertest.Issuer)},
			{"aud": []string{servertest.Issuer, workloadtest.Issuer}}, {"aud": []string{servertest.Issuer, servertest.Issuer}},
		},
		tooLong: {{"exp": now.Add(time.Hour + time.Second).Unix()}, {"exp": now.Add(365 * 24 * time.Hour).Unix()}},
		endless: {{"exp": nil}, {"iat": nil}, {"iat": nil, "exp": nil, "nbf": nil}},
		expired: {
			{"iat": now.Add(-time.Hour).Unix(), "exp": now.Add(-time.Minute).Unix()}, {"exp": now.Unix(), "iat": now.Unix()},
			{"exp": now.Unix(), "iat": now.Add(time.Second).Unix()},
		},
		"in the future":           {{"nbf": now.Add(61 * time.Second).Unix()}, {"iat": now.Add(61 * time.Second).Unix()}},
		"has no sub":              {{"sub": nil}, {"sub": ""}},
		"is not a ServiceAccount": {{"sub": "system:node:a"}, {"sub": "SYSTEM:serviceaccount:shop:web"}, {"sub": "system:serviceaccount:shop"}},
		"no accepted client": {
			{"sub": webSubject + "2"}, {"sub": "system:serviceaccount:orders:web"},
			{"sub": webSubject + " "}, {"sub": "system:serviceaccount:shop:web:x"},
		},
	} {
		for _, claims := range changes {
			w.refuse(fmt.Sprint(claims), w.send(w.serviceAccount(claims)), description)
		}
	}
	for what, claims := range map[string]map[string]any{
		"a minute late": {"iat": now.Add(-time.Hour).Unix(), "exp": now.Add(-59 * time.Second).Unix()},
		"a minute soon": {"iat": now.Add(time.Minute).Unix(), "nbf": now.Add(time.Minute).Unix(), "exp": now.Add(time.Hour).Unix()},
		"a fraction":    {"iat": float64(now.Unix()) - 0.5, "exp": float64(now.Unix()) + 100.25},
		"no nbf":        {"nbf": nil},
	} {
		w.accept(what, w.send(w.serviceAccount(claims)), "shop.web")
	}
	for _, lifetime := range []time.Duration{15*time.Minute + time.Second, time.Hour} {
		token := w.job(map[string]any{"exp": now.Add(lifetime).Unix()})
		w.refuse("a job's token of "+lifetime.String(), w.send(token, "client_id", "shop.deploy"), "at most 15m0s are allowed")
	}
}

func TestTheTypeOfAWorkloadsTokenIsNoneOrJWTOrOneForClients(t *testing.T) {
	w := newWorkloads(t)
	w.addClient("shop", "shop.deploy", documents.WorkloadIdentity{Issuer: "ci", Subject: ciSubject})
	claims := map[string]any{
		"iss": ciIssuer, "sub": ciSubject, "aud": servertest.Issuer, "iat": w.Now().Unix(), "exp": w.Now().Add(time.Minute).Unix(),
	}
	for typ, isGood := range map[any]bool{
		nil: true, "JWT": true, "jwt": true, "client-authentication+jwt": true, "at+jwt": false, "logout+jwt": false, "dpop+jwt": false, "JWT2": false,
	} {
		a := w.send(w.ci.Sign(t, claims, map[string]any{"typ": typ}), "client_id", "shop.deploy")
		if isGood {
			w.accept(fmt.Sprint(typ), a, "shop.deploy")
		} else {
			w.refuse(fmt.Sprint(typ), a, "typ in its header")
		}
	}
}

// Before the signature verifies there is one sentence for all, and the client makes no difference.
func TestATokenThatNoIssuerHasSignedLearnsNothing(t *testing.T) {
	w := newWorkloads(t)
	w.addClient("shop", "shop.web", webAccount)
	w.addClient("shop", "shop.deploy", documents.WorkloadIdentity{Issuer: "ci", Subject: ciSubject}, documents.WorkloadIdentity{Issuer: "ci", Subject: webSubject})
	good := w.job(nil)
	head, rest, _ := strings.Cut(good, ".")
	body, signature, _ := strings.Cut(rest, ".")
	foreign := jwkstest.NewSigner("ES256", "ci-1")
	claims := map[string]any{"iss": ciIssuer, "sub": ciSubject, "aud": servertest.Issuer, "iat": w.Now().Unix(), "exp": w.Now().Add(time.Minute).Unix()}
	unknown := maps.Clone(claims)
	unknown["iss"] = "https://other.example.com"
	own := maps.Clone(claims)
	own["iss"] = servertest.Issuer
	// Issuer A's key under A's kid, for B's iss with the same sub (and the other way round).
	cluster := maps.Clone(claims)
	cluster["iss"], cluster["sub"] = workloadtest.Issuer, webSubject
	tokens := map[string]string{
		"a word": "x", "dots": "..", "another signature": head + "." + body + "." + signature[:len(signature)-8] + "AAAAAAAA",
		"no signature": head + "." + body + ".", "another algorithm": foreign.Sign(t, claims), "an unknown issuer": w.ci.Sign(t, unknown), "no issuer": w.ci.Sign(t, map[string]any{"sub": ciSubject}),
		"our own issuer": w.ci.Sign(t, own), "the cluster's issuer by the job's key": w.ci.Sign(t, cluster),
		"the job's issuer by the cluster's key": w.serviceAccount(map[string]any{"iss": ciIssuer}),
		"a sub that is no text":                 w.job(map[string]any{"sub": 7}), "an aud that is none": w.job(map[string]any{"aud": []any{servertest.Issuer, 7}}),
		"an exp that is no time":           w.job(map[string]any{"exp": "soon"}),
		"an expired one of an unknown key": jwkstest.NewSigner("ES256", "other").Sign(t, claims),
	}
	want := w.Do(newRequest(w.Server, "", "client_id", "no.such", "client_secret", "wrong"))
	w.refuse("a wrong secret", want, noClient)
	for what, token := range tokens {
		for _, client := range []string{"shop.deploy", "shop.web", "no.such", ""} {
			pairs := []string{"client_id", client}
			if client == "" {
				pairs = nil
			}
			a := w.send(token, pairs...)
			if a.Status != want.Status || a.Body != want.Body || a.Header.Get("WWW-Authenticate") != want.Header.Get("WWW-Authenticate") {
				t.Errorf("%s, client %q: %d %s, want %s", what, client, a.Status, a.Body, want.Body)
			}
		}
	}
}

// Assertion 194.
func TestAGoodTokenThatNoClientListsGetsOneAnswerForEveryClient(t *testing.T) {
	w := newWorkloads(t)
	w.addClient("shop", "shop.other", documents.WorkloadIdentity{Subject: webSubject + "2"})
	suspended := w.addClient("shop", "shop.suspended", webAccount)
	suspended.Suspended = true
	w.AddClient(suspended)
	refusedByRule := w.addClient("shop", "shop.refused", webAccount)
	refusedByRule.GrantTypes = []string{"device_code"}
	w.AddClient(refusedByRule)
	w.AddClient(servertest.Client("shop.secret"))
	w.AddClient(servertest.Public(servertest.Client("shop.public")))
	want := w.send(w.serviceAccount(nil), "client_id", "no.such")
	w.refuse("unknown", want, "there is no accepted client with this client_id")
	for _, id := range []string{"shop.other", "shop.suspended", "shop.refused", "shop.secret", "shop.public"} {
		if a := w.send(w.serviceAccount(nil), "client_id", id); a.Status != want.Status || a.Body != want.Body {
			t.Errorf("%s: %d %s, want %s", id, a.Status, a.Body, want.Body)
		}
	}
	if fetches, reviews := w.cluster.Counts(); reviews != 0 {
		t.Errorf("%d fetches, %d reviews", fetches, reviews)
	}
}

// Assertions 79 and 185.
func TestWithoutAClientIDOnlyTheOneOfTheServiceAccountsNamespaceIsTaken(t *testing.T) {
	w := newWorkloads(t)
	w.addClient("orders", "orders.thief", webAccount)
	w.refuse("only a client of another namespace", w.send(w.serviceAccount(nil)), "no accepted client in the namespace")
	own := w.addClient("shop", "shop.web", webAccount)
	w.accept("the own one", w.send(w.serviceAccount(nil)), "shop.web")
	second := w.addClient("shop", "shop.second", webAccount)
	for range 10 {
		w.refuse("two", w.send(w.serviceAccount(nil)), "more than one client in the namespace")
	}
	w.accept("two, and one is named", w.send(w.serviceAccount(nil), "client_id", "shop.second"), "shop.second")
	second.Suspended = true
	w.AddClient(second)
	w.accept("the second is suspended", w.send(w.serviceAccount(nil)), "shop.web")
	own.Suspended = true
	w.AddClient(own)
	w.refuse("both are suspended", w.send(w.serviceAccount(nil)), "no accepted client in the namespace")
}

func TestAServiceAccountThatIsCreatedAgainIsAnotherWhereTheUIDIsListed(t *testing.T) {
	w := newWorkloads(t)
	w.addClient("shop", "shop.web", documents.WorkloadIdentity{Subject: webSubject, UID: workloadtest.UID})
	w.accept("the same", w.send(w.serviceAccount(nil)), "shop.web")
	for _, account := range []any{map[string]any{"serviceaccount": map[string]any{"uid": "another"}}, map[string]any{}, nil, "x"} {
		w.refuse(fmt.Sprint(account), w.send(w.serviceAccount(map[string]any{"kubernetes.io": account})), "no accepted client")
	}
}

// Assertion 80.
func TestAnIssuerThatIsTakenOffAListEndsAtOnce(t *testing.T) {
	w := newWorkloads(t)
	w.addClient("shop", "shop.web", webAccount)
	issuers := w.Document.WorkloadIssuers
	w.accept("at first", w.send(w.serviceAccount(nil)), "shop.web")
	w.ChangeDocument(func(s *documents.Server) { s.AllowedClients[0].WorkloadIssuers = []string{"ci"} })
	w.refuse("the rule lists another", w.send(w.serviceAccount(nil), "client_id", "shop.web"), "there is no accepted client with this client_id")
	w.ChangeDocument(func(s *documents.Server) { s.AllowedClients[0].WorkloadIssuers = nil })
	w.accept("the rule lists none", w.send(w.serviceAccount(nil)), "shop.web")
	w.ChangeDocument(func(s *documents.Server) { s.WorkloadIssuers = issuers[1:] })
	w.refuse("the server has it no more", w.send(w.serviceAccount(nil)), noClient)
}

// Assertion 81: the signer changes at once, as when one API server is started with another key.
func TestANewKeyOfTheClusterFailsNoAuthentication(t *testing.T) {
	w := newWorkloads(t)
	w.addClient("shop", "shop.web", webAccount)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go w.Clients.Workloads.Run(ctx)
	old := w.serviceAccount(nil)
	w.accept("at first", w.send(old), "shop.web")
	for i := range 3 {
		w.Advance(11 * time.Second)
		w.cluster.Change(func(s *workloadtest.State) {
			s.Signers = append(s.Signers, jwkstest.NewSigner("ES256", fmt.Sprint("cluster-", i+2)))
		})
		w.accept("by the new key", w.send(w.serviceAccount(nil)), "shop.web")
		w.accept("by the old key", w.send(old), "shop.web")
	}
	before, _ := w.cluster.Counts()
	for i := range 100 {
		w.refuse("an unknown key", w.send(jwkstest.NewSigner("ES256", fmt.Sprint("made-up-", i)).Sign(t, map[string]any{"iss": workloadtest.Issuer})), noClient)
	}
	if after, _ := w.cluster.Counts(); after-before > 1 {
		t.Errorf("100 unknown kids cause %d fetches", after-before)
	}
	w.cluster.Change(func(s *workloadtest.State) { s.KeysError = workloadtest.ErrAway })
	w.Advance(50 * time.Minute)
	w.accept("the API server is away", w.send(w.serviceAccount(nil)), "shop.web")
}
