package keysource_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks/jwkstest"
	"github.com/oauth-operator/oauth-operator/tokenserver/keysource"
)

// A client that may name a key set at the host of another's could else keep that one's new key unknown.
func TestAFloodAtOtherSourcesOfAHostDoesNotKeepANewKeyUnknown(t *testing.T) {
	old, added, unknown := jwkstest.NewSigner("ES256", "old"), jwkstest.NewSigner("ES256", "new"), jwkstest.NewSigner("ES256", "x")
	w := newWorld(t, old)
	w.check("the victim's set", old, nil, 1)
	base := strings.TrimSuffix(w.server.URL, "/jwks")
	flood := func(sources int) {
		for i := range sources {
			_ = w.verifyAt(fmt.Sprintf("%s/flood-%d", base, i), unknown)
		}
	}
	for range 12 { // two minutes
		flood(1)
		w.advance(keysource.RetryInterval)
	}
	flood(1)
	w.server.Serve(old, added)
	_ = w.verify(added) // the minute's fetches are all taken
	w.advance(keysource.RetryInterval)
	flood(6)
	if err := w.verify(added); err != nil {
		t.Errorf("a new key, while other sources of the host are flooded: %v", err)
	}
}

// What the name of the host resolves to is not what says what the rules allow.
func TestASourceThatTheRulesNoLongerAllowVerifiesNothingAlsoIfItsNameDidNotResolveAtFirst(t *testing.T) {
	signer := jwkstest.NewSigner("ES256", "a")
	w := newWorld(t, signer)
	var resolves atomic.Bool
	resolves.Store(true)
	client := &fetch.Client{
		Document: func() documents.Server { return documents.Server{Fetch: w.rules.Load()} },
		Lookup: func(context.Context, string) ([]netip.Addr, error) {
			if !resolves.Load() {
				return nil, errors.New("no answer")
			}
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		},
	}
	w.sources = keysource.New(client, func() time.Time { return time.Unix(0, w.now.Load()) }, nil)
	rules := *w.rules.Load()
	rules.JWKSHosts = []string{"example.com"} // the certificate is for this name too
	w.rules.Store(&rules)
	url := strings.Replace(w.server.URL, "127.0.0.1", "example.com", 1)
	check := func(when string, want error) {
		t.Helper()
		if err := w.verifyAt(url, signer); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", when, err, want)
		}
	}
	check("while it is listed", nil)
	w.rules.Store(&documents.Fetch{})
	resolves.Store(false)
	w.advance(keysource.MaxInterval)
	check("while the name does not resolve", nil)
	resolves.Store(true)
	w.advance(keysource.MaxInterval)
	check("once it resolves to what is not listed any more", jwks.ErrUnknownKey)
}

// Else a client whose jwksURI is changed again and again fills the memory of the token server.
func TestASetThatNoClientNamesAnyMoreIsForgotten(t *testing.T) {
	w := newWorld(t)
	w.rules.Store(&documents.Fetch{}) // each fetch fails, and is counted
	var named atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.sources.Keep(ctx, func() []string { return []string{fmt.Sprintf("https://127.0.0.1/%d", named.Load())} })
	}()
	signer := jwkstest.NewSigner("ES256", "a")
	for i := range 50 {
		named.Store(int64(i))
		_ = w.verifyAt(fmt.Sprintf("https://127.0.0.1/%d", i), signer)
	}
	if failing := w.sources.Failing(); len(failing) < 50 {
		t.Fatalf("%d sets are known", len(failing))
	}
	w.advance(2 * time.Minute)
	for deadline := time.Now().Add(10 * time.Second); len(w.sources.Failing()) > 1 && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond)
	}
	if failing := w.sources.Failing(); len(failing) != 1 || failing["client https://127.0.0.1/49"] == "" {
		t.Errorf("%d sets are known", len(failing))
	}
	stop()
	<-ended
}
