package workload_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks/jwkstest"
	"github.com/oauth-operator/oauth-operator/tokenserver/keysource"
	"github.com/oauth-operator/oauth-operator/tokenserver/workload"
	"github.com/oauth-operator/oauth-operator/tokenserver/workload/workloadtest"
)

const (
	audience = "https://auth.example.com"
	subject  = "system:serviceaccount:shop:web"
)

// world is a Verifier with a cluster, an OpenID provider and a clock of the test.
type world struct {
	*workload.Verifier
	t        *testing.T
	cluster  *workloadtest.Cluster
	provider *jwkstest.Server
	document atomic.Pointer[documents.Server]
	problems atomic.Int64
	now      atomic.Int64
}

func newWorld(t *testing.T, signers ...jwkstest.Signer) *world {
	t.Helper()
	w := &world{t: t, cluster: workloadtest.New(subject, audience), provider: jwkstest.NewServer(t, signers...)}
	w.now.Store(time.Now().UnixNano())
	w.document.Store(&documents.Server{Issuer: audience, Fetch: w.provider.Fetch()})
	fetcher := &fetch.Client{Document: func() documents.Server { return *w.document.Load() }}
	now := func() time.Time { return time.Unix(0, w.now.Load()) }
	w.Verifier = workload.New(workload.Config{
		Server:  func() (documents.Server, bool) { return *w.document.Load(), true },
		Sources: keysource.New(fetcher, now, nil), Fetch: fetcher, Cluster: w.cluster, Now: now, OnProblem: func() { w.problems.Add(1) },
	})
	return w
}

func (w *world) advance(d time.Duration) { w.now.Add(int64(d)) }

func (w *world) checkReviews(want int) {
	w.t.Helper()
	if _, reviews := w.cluster.Counts(); reviews != want {
		w.t.Errorf("%d reviews, want %d", reviews, want)
	}
}

// issuer returns the URL of the provider, which is its iss.
func (w *world) issuer() string { return strings.TrimSuffix(w.provider.URL, "/jwks") }

// serve has the provider answer with a discovery document and its keys.
func (w *world) serve(issuer, jwksURI string, signers ...jwkstest.Signer) {
	w.provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/.well-known/openid-configuration", "/tenant/.well-known/openid-configuration":
			_, _ = fmt.Fprintf(rw, `{"issuer": %q, "jwks_uri": %q}`, issuer, jwksURI)
		case "/jwks":
			_, _ = fmt.Fprint(rw, jwkstest.SetOf(signers...))
		case "/moved":
			http.Redirect(rw, r, "/jwks", http.StatusFound)
		default:
			http.NotFound(rw, r)
		}
	})
}

// verify verifies a token of an issuer that is found by discovery.
func (w *world) verify(issuer string, signer jwkstest.Signer) error {
	w.t.Helper()
	now := time.Unix(0, w.now.Load())
	token, err := jwks.ParseJWS(signer.Sign(w.t, map[string]any{"iss": issuer}))
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = w.Verify(w.t.Context(), documents.WorkloadIssuer{Name: "ci", Type: documents.WorkloadIssuerJWT, Issuer: issuer, MaxLifetime: 3600, Discovery: true},
		token, workload.Claims{Subject: "job", Audience: []string{audience}, IssuedAt: now, ExpiresAt: now.Add(time.Minute)}, audience)
	return err
}

func TestTheKeysOfAnIssuerAreThoseOfItsDiscoveryDocument(t *testing.T) {
	signer := jwkstest.NewSigner("ES256", "k1")
	for _, path := range []string{"", "/", "/tenant", "/tenant/"} {
		w := newWorld(t)
		issuer := w.issuer() + path
		w.serve(issuer, w.provider.URL, signer)
		for range 3 {
			if err := w.verify(issuer, signer); err != nil {
				t.Errorf("issuer %s: %v", issuer, err)
			}
		}
		if w.provider.Fetches() != 2 {
			t.Errorf("%d fetches, want that of the document and that of the keys", w.provider.Fetches())
		}
	}
}

func TestTheKeysOfADiscoveryDocumentThatCannotBeTrustedAreNotUsed(t *testing.T) {
	signer := jwkstest.NewSigner("ES256", "k1")
	for what, test := range map[string]struct{ issuer, jwksURI string }{
		"another issuer":            {issuer: "https://other.example.com"},
		"the issuer with a slash":   {issuer: "SELF/"},
		"no issuer":                 {issuer: ""},
		"keys over http":            {issuer: "SELF", jwksURI: "http://127.0.0.1/jwks"},
		"keys at a metadata server": {issuer: "SELF", jwksURI: "https://169.254.169.254/jwks"},
		"keys at a redirect":        {issuer: "SELF", jwksURI: "SELF/moved"},
		"no keys":                   {issuer: "SELF", jwksURI: "SELF/none"},
		"a relative address":        {issuer: "SELF", jwksURI: "/jwks"},
	} {
		w := newWorld(t)
		replace := strings.NewReplacer("SELF", w.issuer())
		uri := replace.Replace(test.jwksURI)
		if uri == "" {
			uri = w.provider.URL
		}
		w.serve(replace.Replace(test.issuer), uri, signer)
		if err := w.verify(w.issuer(), signer); !errors.Is(err, workload.ErrUnverified) {
			t.Errorf("%s: %v", what, err)
		}
	}
	w := newWorld(t)
	w.serve(w.issuer(), w.provider.URL, signer)
	w.document.Store(&documents.Server{Issuer: audience}) // loopback is not listed
	if err := w.verify(w.issuer(), signer); !errors.Is(err, workload.ErrUnverified) || w.provider.Fetches() != 0 {
		t.Errorf("a private address that is not listed: %v, %d fetches", err, w.provider.Fetches())
	}
}

// Assertion 190, for issuers: what is no key set does not end one.
func TestAnIssuerThatIsAwayForTenMinutesFailsNoAuthentication(t *testing.T) {
	signer := jwkstest.NewSigner("ES256", "k1")
	w := newWorld(t)
	w.serve(w.issuer(), w.provider.URL, signer)
	if err := w.verify(w.issuer(), signer); err != nil {
		t.Fatal(err)
	}
	for i, handler := range []http.HandlerFunc{
		func(rw http.ResponseWriter, r *http.Request) { http.NotFound(rw, r) },
		func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, "/jwks", http.StatusFound) },
		func(rw http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(rw, "<html>maintenance</html>") },
	} {
		w.provider.Handle(handler)
		w.advance(10 * time.Minute)
		if err := w.verify(w.issuer(), signer); err != nil {
			t.Errorf("after %d minutes: %v", 10*(i+1), err)
		}
	}
	w.serve(w.issuer(), w.provider.URL) // {"keys": []}
	w.advance(20 * time.Minute)
	if err := w.verify(w.issuer(), signer); !errors.Is(err, workload.ErrUnverified) {
		t.Errorf("the issuer has no keys any more: %v", err)
	}
}

func TestTheServersOwnIssuerIsNoWorkloadIssuer(t *testing.T) {
	w := newWorld(t)
	server := documents.Server{Issuer: audience, WorkloadIssuers: []documents.WorkloadIssuer{
		{Name: "self", Type: documents.WorkloadIssuerJWT, Issuer: audience}, {Name: "cluster", Type: documents.WorkloadIssuerKubernetes},
	}}
	w.cluster.Change(func(s *workloadtest.State) { s.Issuer = audience })
	for _, iss := range []string{audience, "", "https://other.example.com"} {
		if issuer, ok := w.FindIssuer(t.Context(), server, iss); ok {
			t.Errorf("%q is %s", iss, issuer.Name)
		}
	}
}

func TestAnIssuerWhoseKeysCannotBeFetchedIsAProblemOfTheServer(t *testing.T) {
	signer := jwkstest.NewSigner("ES256", "k1")
	w := newWorld(t)
	document := *w.document.Load()
	document.WorkloadIssuers = []documents.WorkloadIssuer{{Name: "ci", Type: documents.WorkloadIssuerJWT, Issuer: w.issuer(), Discovery: true}}
	w.document.Store(&document)
	go w.Run(t.Context())
	w.provider.Handle(http.NotFound)
	if err := w.verify(w.issuer(), signer); !errors.Is(err, workload.ErrUnverified) {
		t.Error(err)
	}
	w.waitForProblem(`workload issuer "ci": its keys cannot be fetched (BadAnswer)`)
	for deadline := time.Now().Add(5 * time.Second); w.problems.Load() == 0 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	if w.problems.Load() != 1 {
		t.Errorf("%d changes were reported", w.problems.Load())
	}
	w.serve(w.issuer(), w.provider.URL, signer)
	w.advance(keysource.RetryInterval)
	if err := w.verify(w.issuer(), signer); err != nil || w.Problem() != "" {
		t.Errorf("%v, %s", err, w.Problem())
	}
}

// So an address that is mistyped is told when it is applied, and not when a job fails at night.
func TestTheKeysOfAnIssuerAreFetchedBeforeATokenComes(t *testing.T) {
	signer := jwkstest.NewSigner("ES256", "k1")
	w := newWorld(t)
	w.serve(w.issuer(), w.provider.URL, signer)
	document := *w.document.Load()
	document.WorkloadIssuers = []documents.WorkloadIssuer{
		{Name: "ci", Type: documents.WorkloadIssuerJWT, Issuer: w.issuer(), Discovery: true},
		{Name: "mistyped", Type: documents.WorkloadIssuerJWT, Issuer: w.issuer() + "/absent", Discovery: true},
	}
	w.document.Store(&document)
	go w.Run(t.Context())
	w.waitForProblem(`workload issuer "mistyped": its keys cannot be fetched (BadAnswer)`)
	for deadline := time.Now().Add(time.Minute); w.provider.Fetches() < 3 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	w.provider.Handle(http.NotFound)
	if err := w.verify(w.issuer(), signer); err != nil {
		t.Errorf("the keys of the other issuer are not there: %v", err)
	}
}

func TestAnIssuerThatIsBackIsNoProblemAnyMoreAlsoIfNobodySendsItsTokens(t *testing.T) {
	signer := jwkstest.NewSigner("ES256", "k1")
	w := newWorld(t)
	document := *w.document.Load()
	document.WorkloadIssuers = []documents.WorkloadIssuer{{Name: "ci", Type: documents.WorkloadIssuerJWT, Issuer: w.issuer(), Discovery: true}}
	w.document.Store(&document)
	go w.Run(t.Context())
	w.provider.Handle(http.NotFound)
	w.waitForProblem(`workload issuer "ci": its keys cannot be fetched (BadAnswer)`)
	before := w.provider.Fetches()
	w.advance(59 * time.Second)
	time.Sleep(1500 * time.Millisecond)
	if again := w.provider.Fetches(); again != before {
		t.Errorf("%d fetches within a minute", again-before)
	}
	w.serve(w.issuer(), w.provider.URL, signer)
	w.advance(2 * time.Second)
	w.waitForProblem("")
}

// What keeps workloads of the cluster from authenticating is told before one tries.
func TestAnAPIServerThatGivesNoKeysOrNoReviewsIsAProblemOfTheServer(t *testing.T) {
	w := newWorld(t)
	w.cluster.Change(func(s *workloadtest.State) { s.KeysError, s.MayReview = errors.New("forbidden"), false })
	go w.Run(t.Context())
	time.Sleep(1500 * time.Millisecond)
	if fetches, _ := w.cluster.Counts(); w.Problem() != "" || fetches != 0 {
		t.Errorf("without an issuer of type Kubernetes: %s, %d fetches", w.Problem(), fetches)
	}
	w.serveKubernetes(true)
	w.waitForProblem(`workload issuer "cluster": cannot read the keys of the cluster: forbidden`)
	w.cluster.Change(func(s *workloadtest.State) { s.KeysError = nil })
	w.advance(5 * time.Second)
	w.waitForProblem("bind the ClusterRole oauth-operator-token-reviewer")
	w.serveKubernetes(false)
	w.waitForProblem("")
	w.serveKubernetes(true)
	w.waitForProblem("bind the ClusterRole oauth-operator-token-reviewer")
	w.cluster.Change(func(s *workloadtest.State) { s.MayReview = true })
	w.advance(5 * time.Second)
	w.waitForProblem("")
	if w.problems.Load() == 0 {
		t.Error("no change was reported")
	}
	fetches, _ := w.cluster.Counts()
	w.advance(59 * time.Second)
	time.Sleep(1500 * time.Millisecond)
	if again, _ := w.cluster.Counts(); again != fetches {
		t.Errorf("%d fetches within a minute", again-fetches)
	}
	w.advance(2 * time.Second)
	time.Sleep(1500 * time.Millisecond)
	if again, reviews := w.cluster.Counts(); again != fetches+1 || reviews != 0 {
		t.Errorf("%d fetches after a minute, %d reviews", again-fetches, reviews)
	}
}

func (w *world) serveKubernetes(tokenReview bool) {
	w.document.Store(&documents.Server{Issuer: audience, WorkloadIssuers: []documents.WorkloadIssuer{
		{Name: "cluster", Type: documents.WorkloadIssuerKubernetes, TokenReview: tokenReview},
	}})
}

func (w *world) waitForProblem(want string) {
	w.t.Helper()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if got := w.Problem(); got == want || want != "" && strings.Contains(got, want) {
			return
		}
	}
	w.t.Errorf("the problem is %q, want %q", w.Problem(), want)
}
