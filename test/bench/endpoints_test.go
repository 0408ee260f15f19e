package bench

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// BenchmarkEndpoints is the cost of what is asked beside tokens: introspection of a JWT, against a
// server that only verifies one; the public documents, against fixed ones of their size; and requests that are
// refused, against the token that an attacker would have liked to get.
func BenchmarkEndpoints(b *testing.B) {
	const count, each = 11, 500
	env := testenv.New(b)
	env.ReadyAPI(ordersAPI, []string{ordersScope})
	config := env.Config(env.ReadyClient("service", service))
	address, good := hostOf(env.Issuer), tokenRequest(env, config)
	pid := replica(b, env).PID()
	answering := func(status int, request []byte) target {
		return target{pid: pid, address: address, prepare: constantly(expect(status, request))}
	}
	token := url.Values{"token": {accessToken(b, address, good).Raw}}
	secret, unknown := *config, *config
	secret.ClientSecret, unknown.ClientID = config.ClientSecret+"x", config.ClientID+"x"
	served, floor := answering(http.StatusOK, good), startFloor(b)
	const jwks, discovery = "/jwks", "/.well-known/openid-configuration"
	fixed := func(path string) target { // of the size of what the server answers at a path
		same := fmt.Sprintf("/static/%d", len(bodyOf(b, address, get(address, path, ""))))
		t := floor(same)
		t.prepare = constantly(expect(http.StatusOK, get(t.address, same, "")))
		return t
	}
	for _, row := range []struct {
		name           string
		server, beside target
		atMost         float64
	}{
		{"introspection of an access token", answering(http.StatusOK, post(address, "/introspect", basic(config.ClientID, config.ClientSecret), token)), floor("/verify"), 1.3},
		{"the JWK Set", answering(http.StatusOK, get(address, jwks, "")), fixed(jwks), 1.2},
		{"the discovery document", answering(http.StatusOK, get(address, discovery, "")), fixed(discovery), 1.2},
		{"a wrong secret, beside a token", answering(http.StatusUnauthorized, tokenRequest(env, &secret)), served, .5},
		{"an unknown client, beside a token", answering(http.StatusUnauthorized, tokenRequest(env, &unknown)), served, .5},
		{"a path that is none, beside a token", answering(http.StatusNotFound, get(address, "/none", "")), served, .5},
	} {
		costs := measureAlternately(b, count, each, row.beside, row.server)
		measured := compared(requestRows, row.name, costs[1], costs[0], ratios(costs[1], costs[0]))
		measured.Target = atMostTimes(row.atMost)
		table.add(b, measured)
	}
}
