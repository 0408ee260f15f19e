package clientauth_test

import (
	"testing"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
)

func TestFailuresAreCountedByTheirReason(t *testing.T) {
	w := newServer(t)
	w.AddClient(servertest.Client("shop.web"))
	public := servertest.Client("shop.app")
	public.AuthMethod, public.Credentials = oauth.AuthMethodNone, nil
	w.AddClient(public)
	suspended := servertest.Client("shop.old")
	suspended.Suspended = true
	w.AddClient(suspended)
	want := map[string]float64{}
	for _, test := range []struct {
		reason        string
		authorization string
		pairs         []string
	}{
		{"Malformed", "Bearer x", nil},
		{"Malformed", basicHeader("shop.web", servertest.Secret), []string{"client_secret", servertest.Secret}},
		{"Malformed", "", nil},
		{"UnknownClient", basicHeader("shop.none", servertest.Secret), nil},
		{"UnknownClient", basicHeader("shop.old", servertest.Secret), nil},
		{"WrongSecret", basicHeader("shop.web", "wrong"), nil},
		{"WrongMethod", "", []string{"client_id", "shop.web"}},
		{"WrongMethod", "", []string{"client_id", "shop.web", "client_secret", servertest.Secret}},
		{"WrongMethod", basicHeader("shop.app", servertest.Secret), nil},
		{"", basicHeader("shop.web", servertest.Secret), nil},
		{"", "", []string{"client_id", "shop.app"}},
	} {
		w.Do(newRequest(w, test.authorization, test.pairs...))
		if test.reason != "" {
			want[test.reason]++
		}
		for _, reason := range []string{"Malformed", "UnknownClient", "WrongSecret", "WrongMethod"} {
			if got := w.CounterValue("oauth_operator_tokenserver_client_authentication_failures_total", reason); got != want[reason] {
				t.Fatalf("after %q %v: %v failures are %s, want %v", test.authorization, test.pairs, got, reason, want[reason])
			}
		}
	}
}
