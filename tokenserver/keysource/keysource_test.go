package keysource_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks/jwkstest"
	"github.com/oauth-operator/oauth-operator/tokenserver/keysource"
)

// world is a server of keys, and the sources of a token server with a clock of the test.
type world struct {
	t       *testing.T
	server  *jwkstest.Server
	sources *keysource.Sources
	metrics *prometheus.Registry
	rules   atomic.Pointer[documents.Fetch]
	now     atomic.Int64
}

func newWorld(t *testing.T, signers ...jwkstest.Signer) *world {
	t.Helper()
	w := &world{t: t, server: jwkstest.NewServer(t, signers...), metrics: prometheus.NewRegistry()}
	w.now.Store(time.Now().UnixNano())
	w.rules.Store(w.server.Fetch())
	metrics, err := keysource.NewMetrics(w.metrics)
	if err != nil {
		t.Fatal(err)
	}
	client := &fetch.Client{Document: func() documents.Server { return documents.Server{Fetch: w.rules.Load()} }}
	w.sources = keysource.New(client, func() time.Time { return time.Unix(0, w.now.Load()) }, metrics)
	return w
}

func (w *world) advance(d time.Duration) { w.now.Add(int64(d)) }

func (w *world) verify(signer jwkstest.Signer) error {
	w.t.Helper()
	return w.verifyAt(w.server.URL, signer)
}

func (w *world) verifyAt(url string, signer jwkstest.Signer) error {
	w.t.Helper()
	j, err := jwks.ParseJWS(signer.Sign(w.t, map[string]any{"sub": "shop.web"}))
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = w.sources.URL(fetch.ForClient, url).Verify(w.t.Context(), j)
	return err
}

func (w *world) check(what string, signer jwkstest.Signer, want error, fetches int64) {
	w.t.Helper()
	if err := w.verify(signer); !errors.Is(err, want) {
		w.t.Errorf("%s: %v, want %v", what, err, want)
	}
	w.checkFetches(what, fetches)
}

// checkFetches waits for fetches in the background.
func (w *world) checkFetches(what string, want int64) {
	w.t.Helper()
	for deadline := time.Now().Add(5 * time.Second); w.server.Fetches() < want && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond) // what was answered is stored, and one too many would be here
	if got := w.server.Fetches(); got != want {
		w.t.Errorf("%s: %d fetches, want %d", what, got, want)
	}
}

func TestASetIsFetchedWhenItIsNeededAndAgainEveryFiveMinutes(t *testing.T) {
	signer := jwkstest.NewSigner("ES256", "a")
	w := newWorld(t, signer)
	w.check("the first use", signer, nil, 1)
	w.advance(keysource.DefaultInterval - time.Second)
	w.check("within five minutes", signer, nil, 1)
	w.advance(time.Second)
	w.check("after five minutes", signer, nil, 2)
	w.check("after that", signer, nil, 2)
}

func TestWhatTheAnswerSaysOfCachingCountsBetweenOneAndFifteenMinutes(t *testing.T) {
	signer := jwkstest.NewSigner("ES256", "a")
	for header, want := range map[string]time.Duration{
		"max-age=1": keysource.MinInterval, "no-store": keysource.DefaultInterval, "max-age=120": 2 * time.Minute, "max-age=86400": keysource.MaxInterval,
	} {
		w := newWorld(t)
		w.server.Handle(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Cache-Control", header)
			_, _ = rw.Write([]byte(jwkstest.SetOf(signer)))
		})
		w.check(header, signer, nil, 1)
		w.advance(want - time.Second)
		w.check(header+", before", signer, nil, 1)
		w.advance(time.Second)
		w.check(header+", after", signer, nil, 2)
	}
}

func TestAKeyThatWasAddedCountsAtOnceAndOneThatWasRemovedWithinFifteenMinutes(t *testing.T) {
	old, added := jwkstest.NewSigner("ES256", "old"), jwkstest.NewSigner("ES256", "new")
	w := newWorld(t, old)
	w.check("the old key", old, nil, 1)
	w.server.Serve(added)
	w.check("the new key at once, within ten seconds of the last fetch", added, jwks.ErrUnknownKey, 1)
	w.advance(keysource.RetryInterval)
	w.check("the new key", added, nil, 2)
	w.check("the old key is gone with the set", old, jwks.ErrUnknownKey, 2)

	// Without an unknown kid, and although the source was not used meanwhile.
	w = newWorld(t, old)
	w.check("the old key", old, nil, 1)
	w.server.Serve(added)
	w.advance(keysource.MaxInterval)
	w.check("after fifteen minutes", old, jwks.ErrUnknownKey, 2)
}

func TestAFetchAtTimesOfOnesOwnDelaysNoneForAnUnknownKid(t *testing.T) {
	old, added, last := jwkstest.NewSigner("ES256", "old"), jwkstest.NewSigner("ES256", "new"), jwkstest.NewSigner("ES256", "last")
	w := newWorld(t, old)
	source := w.sources.URL(fetch.ForClient, w.server.URL)
	source.Load(t.Context())
	w.checkFetches("loaded", 1)
	source.Load(t.Context())
	w.check("there already", old, nil, 1)
	w.server.Serve(old, added)
	w.check("a new key at once", added, nil, 2)
	source.Refresh(t.Context())
	w.checkFetches("refreshed", 3)
	w.server.Serve(old, added, last)
	w.check("another one within ten seconds", last, jwks.ErrUnknownKey, 3)
	source.Refresh(t.Context())
	w.check("what was refreshed counts", last, nil, 4)

	// A source that is away is asked once in ten seconds.
	w = newWorld(t)
	w.server.Handle(http.NotFound)
	for range 5 {
		w.sources.URL(fetch.ForClient, w.server.URL).Load(t.Context())
	}
	w.checkFetches("away", 1)
}

func TestAKeyOfTheSameNameDoesNotMakeTheSetBeFetched(t *testing.T) {
	signer := jwkstest.NewSigner("ES256", "a")
	w := newWorld(t, signer)
	w.check("the first use", signer, nil, 1)
	w.advance(time.Minute)
	w.check("an attacker's signature", jwkstest.NewSigner("ES256", "a"), jwks.ErrSignature, 1)
}

func TestWhileASourceIsAwayItsLastSetCountsForADay(t *testing.T) {
	signer, other := jwkstest.NewSigner("ES256", "a"), jwkstest.NewSigner("ES256", "b")
	for what, handler := range map[string]http.HandlerFunc{
		"404":      http.NotFound,
		"redirect": func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, "/x", http.StatusMovedPermanently) },
		"HTML":     func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte("<html>sign in</html>")) },
		"an error": func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte(`{"error":"x"}`)) },
		"nothing":  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		w := newWorld(t, signer)
		w.check(what, signer, nil, 1)
		w.server.Handle(handler)
		w.advance(10 * time.Minute)
		w.check(what+", for ten minutes", signer, nil, 2)
		w.check(what+", a key that is not in the set", other, jwks.ErrUnknownKey, 2)
		w.advance(keysource.GracePeriod - 10*time.Minute - time.Second)
		w.check(what+", for a day", signer, nil, 3)
		w.advance(time.Second)
		w.check(what+", for more than a day", signer, jwks.ErrUnknownKey, 3)
		w.server.Serve(signer)
		w.advance(keysource.RetryInterval)
		w.check(what+", once it is back", signer, nil, 4)
		w.server.Handle(func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte(`{"keys":[]}`)) })
		w.advance(keysource.MaxInterval)
		w.check("an empty set", signer, jwks.ErrUnknownKey, 5)
	}
}

func TestASourceThatIsSlowDelaysNobodyWhoseKeyIsKnown(t *testing.T) {
	signer := jwkstest.NewSigner("ES256", "a")
	w := newWorld(t, signer)
	w.check("the first use", signer, nil, 1)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	w.server.Handle(func(http.ResponseWriter, *http.Request) { <-release })
	w.advance(keysource.DefaultInterval)
	start := time.Now()
	w.check("while it hangs", signer, nil, 2)
	if took := time.Since(start); took > time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestAFloodOfUnknownKidsIsNotPassedOn(t *testing.T) {
	signer := jwkstest.NewSigner("ES256", "a")
	w := newWorld(t, signer)
	w.check("the first use", signer, nil, 1)
	flood := func() {
		var group sync.WaitGroup
		for i := range 50 {
			group.Go(func() {
				for k := range 20 {
					unknown := signer
					unknown.JWK.KeyID = fmt.Sprintf("../%d-%d?x=", i, k)
					if err := w.verify(unknown); !errors.Is(err, jwks.ErrUnknownKey) {
						t.Errorf("a kid that does not exist: %v", err)
					}
				}
			})
		}
		group.Wait()
	}
	flood()
	w.check("1,000 kids within ten seconds", signer, nil, 1)
	w.advance(keysource.RetryInterval)
	flood()
	w.check("1,000 kids in the next ten seconds", signer, nil, 2)
}

func TestManySourcesAtOneHostShareSixFetchesAMinute(t *testing.T) {
	signer, unknown := jwkstest.NewSigner("ES256", "a"), jwkstest.NewSigner("ES256", "b")
	w := newWorld(t, signer)
	base := strings.TrimSuffix(w.server.URL, "/jwks")
	for i := range 20 {
		if err := w.verifyAt(fmt.Sprintf("%s/%d", base, i), signer); err != nil {
			t.Fatal(err)
		}
	}
	w.checkFetches("the first use of twenty sources", 20)
	w.advance(keysource.RetryInterval)
	for i := range 20 {
		_ = w.verifyAt(fmt.Sprintf("%s/%d", base, i), unknown)
	}
	w.checkFetches("an unknown kid at each", 26)
	w.advance(time.Minute)
	_ = w.verifyAt(base+"/19", unknown)
	w.checkFetches("after a minute", 27)
}

func TestAllWhoWaitForASetWaitForOneFetch(t *testing.T) {
	signer := jwkstest.NewSigner("ES256", "a")
	w := newWorld(t)
	arrived := make(chan struct{})
	w.server.Handle(func(rw http.ResponseWriter, _ *http.Request) {
		<-arrived
		_, _ = rw.Write([]byte(jwkstest.SetOf(signer)))
	})
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			if err := w.verify(signer); err != nil {
				t.Error(err)
			}
		})
	}
	time.Sleep(50 * time.Millisecond)
	close(arrived)
	group.Wait()
	w.checkFetches("fifty requests", 1)
}

func TestARequestThatIsGivenUpDoesNotEndTheFetchForOthers(t *testing.T) {
	signer := jwkstest.NewSigner("ES256", "a")
	w := newWorld(t)
	release := make(chan struct{})
	w.server.Handle(func(rw http.ResponseWriter, _ *http.Request) {
		<-release
		_, _ = rw.Write([]byte(jwkstest.SetOf(signer)))
	})
	j, err := jwks.ParseJWS(signer.Sign(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.sources.URL(fetch.ForClient, w.server.URL).Verify(ctx, j); !errors.Is(err, jwks.ErrUnknownKey) {
		t.Errorf("a request that is over: %v", err)
	}
	close(release)
	w.check("the next", signer, nil, 1)
}

func TestASourceThatTheRulesNoLongerAllowVerifiesNothing(t *testing.T) {
	signer := jwkstest.NewSigner("ES256", "a")
	w := newWorld(t, signer)
	w.check("while it is listed", signer, nil, 1)
	more := *w.rules.Load()
	more.AllowedNetworks = append(more.AllowedNetworks, "10.0.0.0/8")
	w.rules.Store(&more)
	w.advance(keysource.RetryInterval)
	w.check("under rules that allow it too", signer, nil, 2)
	w.server.Handle(http.NotFound)
	again := *w.server.Fetch()
	w.rules.Store(&again)
	w.advance(keysource.RetryInterval)
	w.check("that it is away under new rules", signer, nil, 3)
	w.rules.Store(&documents.Fetch{})
	w.advance(keysource.RetryInterval)
	w.check("once it is not listed", signer, jwks.ErrUnknownKey, 3)
}

func TestASetForAClientIsNotThatOfAnIssuerAtTheSameURL(t *testing.T) {
	w := newWorld(t)
	first := w.sources.URL(fetch.ForClient, w.server.URL)
	if first == w.sources.URL(fetch.ForIssuer, w.server.URL) {
		t.Error("they are one source, although other rules allow them")
	}
	if again := w.sources.URL(fetch.ForClient, w.server.URL); again != first {
		t.Error("two clients do not share a source")
	}
}

func TestMetricsSayHowFetchesEnded(t *testing.T) {
	signer := jwkstest.NewSigner("ES256", "a")
	w := newWorld(t, signer)
	w.check("the first use", signer, nil, 1)
	w.server.Handle(http.NotFound)
	w.advance(keysource.MaxInterval)
	w.check("while it is away", signer, nil, 2)
	values := map[string]float64{}
	families, err := w.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := strings.TrimPrefix(family.GetName(), "oauth_operator_tokenserver_")
			for _, label := range m.GetLabel() {
				name += " " + label.GetValue()
			}
			values[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	want := map[string]float64{
		"key_set_fetches_total Succeeded": 1, "key_set_fetches_total BadAnswer": 1, "key_set_fetches_total Unreachable": 0,
		"key_set_fetches_total BadCertificate": 0, "key_sets_away": 1,
	}
	if !maps.Equal(values, want) {
		t.Errorf("the metrics are %v, want %v", values, want)
	}
	if failing := w.sources.Failing(); len(failing) != 1 || failing["client "+w.server.URL] != fetch.BadAnswer {
		t.Errorf("failing are %v", failing)
	}
}

func TestKeySetsAreFetchedBeforeARequestNeedsThem(t *testing.T) {
	signer := jwkstest.NewSigner("ES256", "a")
	w := newWorld(t, signer)
	away := strings.TrimSuffix(w.server.URL, "/jwks") + "/away"
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.sources.Keep(ctx, func() []string { return []string{w.server.URL, "https://127.0.0.1:1/nothing", away} })
	}()
	w.checkFetches("without a request", 2)
	w.check("a request", signer, nil, 2)
	if reason := w.sources.FailingURL("https://127.0.0.1:1/nothing"); reason != fetch.Unreachable {
		t.Errorf("what does not answer is %q", reason)
	}
	if reason := w.sources.FailingURL(w.server.URL); reason != "" {
		t.Errorf("what answers is %q", reason)
	}
	stop()
	<-ended
}
