package oidc_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/oidc"
	"github.com/oauth-operator/oauth-operator/tokenserver/oidc/oidctest"
)

func TestCallbacksFromOneAddressTakeAQuarterOfThePlacesAtAProvider(t *testing.T) {
	rp := newRelyingParty(t)
	release := make(chan struct{})
	rp.upstream.Behave(oidctest.Behaviour{Handle: map[string]http.HandlerFunc{"/token": func(w http.ResponseWriter, _ *http.Request) {
		<-release
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
	}}})
	if _, _, err := rp.provider().Depart(t.Context(), anyAge); err != nil {
		t.Fatal(err)
	}
	callback := func(source string) chan error {
		result := make(chan error, 1)
		go func() {
			_, err := rp.provider().Callback(t.Context(), oidc.Answer{Code: "made up", Issuer: rp.upstream.Issuer, Source: source}, oidc.Pending{}, redirectURI)
			result <- err
		}()
		return result
	}
	const all, places = 100, 32
	var results []chan error
	for range all {
		results = append(results, callback("here"))
	}
	eventually.True(t, "as many are refused as there are no places for", func() bool {
		refused := 0
		for _, result := range results {
			refused += len(result)
		}
		return refused >= all-places
	})
	results = append(results, callback("there"))
	close(release)
	reasons := map[oidc.Reason]int{}
	for i, result := range results {
		var failed *oidc.Error
		if err := <-result; !errors.As(err, &failed) || i == all && failed.Reason != oidc.Invalid {
			t.Errorf("callback %d: %v", i, err)
			continue
		}
		reasons[failed.Reason]++
	}
	if reasons[oidc.Busy] != all-places || reasons[oidc.Invalid] != places+1 {
		t.Errorf("the results are %v", reasons)
	}
}
