package token_test

import (
	"testing"

	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
)

func TestTokenRequestsAreCountedByGrantTypeAndOutcome(t *testing.T) {
	w := newServer(t)
	c := servertest.Client("shop.web")
	c.GrantTypes = append(c.GrantTypes, "client_credentials")
	w.AddClient(c)
	w.RequireOK(w.Post("/token", c, "grant_type", "client_credentials"))
	wrong := c
	wrong.ID = "shop.none"
	w.CheckError(w.Post("/token", wrong, "grant_type", "client_credentials"), 401, "invalid_client")
	w.CheckError(w.Post("/token", c, "grant_type", "refresh_token", "refresh_token", "x"), 400, "invalid_grant")
	w.CheckError(w.Post("/token", c, "grant_type", "made-up"), 400, "unsupported_grant_type")
	families, err := w.Metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		if family.GetName() != "oauth_operator_tokenserver_grant_requests_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			key := ""
			for _, label := range metric.GetLabel() {
				key += label.GetValue() + " "
			}
			got[key] = metric.GetCounter().GetValue()
		}
	}
	for _, key := range []string{"token client_credentials ok ", "token client_credentials invalid_client ", "token refresh_token invalid_grant "} {
		if got[key] != 1 {
			t.Errorf("%v %s, want 1", got[key], key)
		}
	}
	if len(got) != 3 {
		t.Errorf("counted are %v", got)
	}
}
