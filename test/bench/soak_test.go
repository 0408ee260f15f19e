package bench

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/bench/results"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

var soakTime = flag.Duration("soak", 0, "how long BenchmarkSoak loads each backend; 0 leaves it out")

// BenchmarkSoak loads a server as much as it can take with all that clients do, and samples what it
// has: memory, goroutines, connections and file descriptors. In the second half nothing should grow.
// Grants expire within a minute, so that as many are deleted as are created.
func BenchmarkSoak(b *testing.B) {
	if *soakTime == 0 {
		b.Skip("it takes long: make soak")
	}
	for _, row := range backends {
		b.Run(string(row.kind), func(b *testing.B) { benchmarkSoak(b, row) })
	}
}

// soakClients are enough for the grants that live at one time: a user has at most twenty of each.
const soakClients = 1000

func benchmarkSoak(b *testing.B, row backend) {
	minute := &metav1.Duration{Duration: time.Minute}
	env := testenv.New(b, func(server *v1alpha1.AuthorizationServer) {
		server.Spec.Tokens = &v1alpha1.TokenSettings{
			AccessTokenLifetime: minute, AuthorizationCodeLifetime: minute,
			RefreshToken: &v1alpha1.RefreshTokenSettings{IdleLifetime: minute, AbsoluteLifetime: minute, Rotation: v1alpha1.RotateAlways},
		}
		server.Spec.Storage = &v1alpha1.StorageSettings{Type: row.kind}
		row.prepare(b, server)
	})
	env.ReadyAPI(ordersAPI, []string{ordersScope})
	machine := env.Config(env.ReadyClient("service", service))
	c := env.ReadyClient("web", v1alpha1.OAuthClientSpec{
		GrantTypes:              []v1alpha1.GrantType{"authorization_code", "refresh_token"},
		TokenEndpointAuthMethod: v1alpha1.AuthMethodBasic,
		RedirectURIs:            []string{env.Callback}, Scopes: []string{ordersScope}, Consent: v1alpha1.ConsentSkip,
	})
	config := env.Config(c, ordersScope)
	copies := copiesOf(b, env, c)
	copies.grow(b, soakClients)
	p := &userLoad{env: env, config: config, copies: copies, clients: soakClients, cookies: signIn(b, env, config)}
	p.waitUntilServed(b)
	s := &soak{userLoad: p, token: tokenRequest(env, machine), machine: basic(machine.ClientID, machine.ClientSecret)}

	watch := startSampling("http://" + replica(b, env).Status())
	until := time.Now().Add(*soakTime)
	var done [workers]int
	onConnections(b, hostOf(env.Issuer), workers, func(l *connection, worker int) error {
		for i := 0; time.Now().Before(until); i++ {
			n, err := s.round(l, worker, i)
			if done[worker] += n; err != nil {
				return err
			}
		}
		return nil
	})
	samples, err := watch.stop()
	if err != nil {
		b.Fatal(err)
	}
	requests := 0
	for _, n := range done {
		requests += n
	}
	table.add(b, results.Row{Group: soakRows, Name: string(row.kind) + ": requests", Unit: "a second", Value: float64(requests) / soakTime.Seconds()})
	for _, m := range sampled {
		table.add(b, m.row(string(row.kind), samples))
	}
}

// soak is a load of machines and users.
type soak struct {
	*userLoad
	token   []byte
	machine string
}

// round is twenty tokens for a machine, each introspected, and one user who signs in to a client
// that refreshes five times. One grant in a hundred is revoked: it stays for a quarter of an hour,
// which is longer than most soaks.
func (s *soak) round(l *connection, worker, i int) (requests int, err error) {
	address := hostOf(s.env.Issuer)
	for range 20 {
		token, err := tokenOf(l.sendExpecting(http.StatusOK, s.token))
		if err != nil {
			return requests, err
		}
		a, err := l.sendExpecting(http.StatusOK, post(address, "/introspect", s.machine, url.Values{"token": {token}}))
		var about struct{ Active bool }
		if err == nil && (json.Unmarshal(a.body, &about) != nil || !about.Active) {
			err = fmt.Errorf("a new token is not active: %s", a.body)
		}
		if requests += 2; err != nil {
			return requests, err
		}
	}
	c := s.clientOf(worker, i)
	code, err := s.code(l, c)
	if err != nil {
		return requests, err
	}
	if err := s.redeemCode(l, worker, c, code); err != nil {
		return requests, err
	}
	requests += 2
	for range 5 {
		if err := s.refresh(l, worker, 0); err != nil {
			return requests, err
		}
		requests++
	}
	if i%100 == 0 {
		_, err = l.sendExpecting(http.StatusOK, post(address, "/revoke", basic(c.ClientID, c.ClientSecret), url.Values{"token": {s.refreshes[worker]}}))
		requests++
	}
	return requests, err
}

// tokenOf is the access token in an answer.
func tokenOf(a answer, err error) (string, error) {
	if err != nil {
		return "", err
	}
	var tokens struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(a.body, &tokens); err != nil || tokens.AccessToken == "" {
		return "", errors.New("the answer has no access token")
	}
	return tokens.AccessToken, nil
}
