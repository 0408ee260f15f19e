package oidc_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks/jwkstest"
	"github.com/oauth-operator/oauth-operator/tokenserver/keysource"
	"github.com/oauth-operator/oauth-operator/tokenserver/oidc"
	"github.com/oauth-operator/oauth-operator/tokenserver/oidc/oidctest"
)

const discoveryPath = "/.well-known/openid-configuration"

// brokenDiscovery answers for the discovery document in the place of the provider.
func brokenDiscovery() oidctest.Behaviour {
	return oidctest.Behaviour{Handle: map[string]http.HandlerFunc{discoveryPath: func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "upstream-text", http.StatusServiceUnavailable)
	}}}
}

func (rp *relyingParty) problems() []fetch.Problem {
	return rp.providers.Problems([]documents.IdentityProvider{rp.document})
}

// countDiscoveries returns how often the discovery document was asked for since the last call.
func (rp *relyingParty) countDiscoveries() (n int) {
	for _, path := range rp.upstream.Requests() {
		if path == discoveryPath {
			n++
		}
	}
	return n
}

func TestAProviderThatIsAwayIsSaidOnceAndAskedAgainAfterAWhile(t *testing.T) {
	rp := newRelyingParty(t)
	changes := 0
	rp.providers.OnChange = func() { changes++ }
	if got := rp.problems(); len(got) != 0 {
		t.Errorf("before the first sign-in: %+v", got)
	}
	rp.upstream.Behave(brokenDiscovery())
	for range 5 {
		_, err := rp.signIn(anyAge)
		checkReason(t, "away", err, oidc.Away)
	}
	if n := rp.countDiscoveries(); n != 1 || changes != 1 {
		t.Errorf("%d requests and %d changes, want one each", n, changes)
	}
	if got := rp.problems(); !slices.Equal(got, []fetch.Problem{{ProviderUID: rp.document.UID, Reason: "BadAnswer"}}) {
		t.Errorf("the problems are %+v", got)
	}
	rp.upstream.Behave(oidctest.Behaviour{})
	rp.now = rp.now.Add(keysource.RetryInterval)
	if _, err := rp.signIn(anyAge); err != nil {
		t.Error(err)
	}
	if got := rp.problems(); len(got) != 0 || changes != 2 {
		t.Errorf("back again: %+v, %d changes", got, changes)
	}
	if rp.providers.Problems(nil); len(rp.problems()) != 0 {
		t.Error("a provider that is not served any more has a problem")
	}
}

// A stranger can close the connection at any time, and must not make the server write.
func TestABrowserThatDoesNotWaitSaysNothingOfTheProvider(t *testing.T) {
	rp := newRelyingParty(t)
	changes := 0
	rp.providers.OnChange = func() { changes++ }
	to, pending, err := rp.provider().Depart(t.Context(), oidc.Request{MaxAge: oidc.AnyAge, RedirectURI: redirectURI})
	if err != nil {
		t.Fatal(err)
	}
	q := rp.upstream.Visit(to)
	ctx, cancel := context.WithCancel(t.Context())
	rp.upstream.Behave(oidctest.Behaviour{Handle: map[string]http.HandlerFunc{"/token": func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		_, _ = io.Copy(io.Discard, r.Body) // so that the server notices that the connection is closed
		<-r.Context().Done()
	}}})
	_, err = rp.provider().Callback(ctx, oidc.Answer{Code: q.Get("code"), Issuer: q.Get("iss")}, pending, redirectURI)
	checkReason(t, "a callback", err, oidc.Away)
	if got := rp.problems(); len(got) != 0 || changes != 0 {
		t.Errorf("the problems are %+v after %d changes", got, changes)
	}
}

func TestTheLastDiscoveryDocumentCountsForADayWhileTheProviderIsAway(t *testing.T) {
	rp := newRelyingParty(t)
	if _, err := rp.signIn(anyAge); err != nil {
		t.Fatal(err)
	}
	rp.upstream.Behave(brokenDiscovery())
	rp.now = rp.now.Add(keysource.DefaultInterval)
	if _, err := rp.signIn(anyAge); err != nil {
		t.Errorf("a document of an hour ago: %v", err)
	}
	if got := rp.problems(); len(got) != 1 {
		t.Errorf("the problems are %+v", got)
	}
	rp.now = rp.now.Add(keysource.GracePeriod)
	_, err := rp.signIn(anyAge)
	checkReason(t, "a document of yesterday", err, oidc.Away)
	if got := rp.provider().EndSessionEndpoint(); got != "" {
		t.Errorf("end_session_endpoint %q", got)
	}
}

func TestADiscoveryDocumentThatCannotBeUsedMakesTheProviderAway(t *testing.T) {
	for name, change := range map[string]func(map[string]any){
		"another issuer":               func(d map[string]any) { d["issuer"] = "https://other.example" },
		"the issuer with a slash":      func(d map[string]any) { d["issuer"] = d["issuer"].(string) + "/" },
		"no token endpoint":            func(d map[string]any) { delete(d, "token_endpoint") },
		"an authorization endpoint":    func(d map[string]any) { d["authorization_endpoint"] = "javascript:alert(1)" },
		"a key set over http":          func(d map[string]any) { d["jwks_uri"] = "http://acme.example/jwks" },
		"an end_session_endpoint":      func(d map[string]any) { d["end_session_endpoint"] = "javascript:alert(1)" },
		"symmetric algorithms alone":   func(d map[string]any) { d["id_token_signing_alg_values_supported"] = []string{"HS256", "none"} },
		"private_key_jwt alone":        func(d map[string]any) { d["token_endpoint_auth_methods_supported"] = []string{"private_key_jwt"} },
		"a user in the token endpoint": func(d map[string]any) { d["token_endpoint"] = "https://a:b@acme.example/token" },
	} {
		rp := newRelyingParty(t)
		rp.upstream.Behave(oidctest.Behaviour{Discovery: change})
		_, err := rp.signIn(anyAge)
		checkReason(t, name, err, oidc.Away)
		if paths := rp.upstream.Requests(); !slices.Equal(paths, []string{discoveryPath}) {
			t.Errorf("%s: requests for %q", name, paths)
		}
	}
}

func TestTheSecretBeforeIsSentUntilThePresentOneIsThereAndNoUserLeavesWithoutOne(t *testing.T) {
	rp := newRelyingParty(t)
	rp.document.Credentials = []string{"not read yet", oidctest.HashOf(oidctest.Secret)}
	if _, err := rp.signIn(anyAge); err != nil {
		t.Error(err)
	}
	rp.document.Credentials = []string{"not read yet"}
	_, _, err := rp.provider().Depart(t.Context(), anyAge)
	checkReason(t, "no credential", err, oidc.NoCredential)
}

func TestARotatedKeyOfAProviderIsFoundAndARemovedOneIsForgotten(t *testing.T) {
	rp := newRelyingParty(t)
	if _, err := rp.signIn(anyAge); err != nil {
		t.Fatal(err)
	}
	old := rp.upstream.Signer
	rp.upstream.Signer = jwkstest.NewSigner("ES256", "second")
	rp.now = rp.now.Add(2 * time.Minute)
	if _, err := rp.signIn(anyAge); err != nil {
		t.Errorf("a new key: %v", err)
	}
	rp.upstream.Behave(oidctest.Behaviour{Sign: func(c map[string]any) string { return old.Sign(t, c) }})
	_, err := rp.signIn(anyAge)
	checkReason(t, "a key that the provider has removed", err, oidc.Invalid)
}
