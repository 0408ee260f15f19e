package bench

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/oauth2"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/bench/results"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// ordersAPI is the API that all tokens are for.
const (
	ordersAPI   = "https://orders.example.com"
	ordersScope = "orders:read"
)

var service = v1alpha1.OAuthClientSpec{
	GrantTypes:              []v1alpha1.GrantType{"client_credentials"},
	TokenEndpointAuthMethod: v1alpha1.AuthMethodBasic,
	Scopes:                  []string{ordersScope},
}

func basic(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret)))
}

// tokenRequest returns a client_credentials request.
func tokenRequest(env *testenv.Env, c *oauth2.Config) []byte {
	return post(hostOf(env.Issuer), "/token", basic(c.ClientID, c.ClientSecret), url.Values{"grant_type": {"client_credentials"}, "scope": {ordersScope}})
}

// BenchmarkClientCredentials is the cost of a token for a machine, signed with ES256, against a
// server that only reads the form and signs one; with few connections and with many.
func BenchmarkClientCredentials(b *testing.B) {
	const count, all = 15, 4096
	env := testenv.New(b)
	env.ReadyAPI(ordersAPI, []string{ordersScope})
	request := tokenRequest(env, env.Config(env.ReadyClient("service", service)))
	checkES256(b, hostOf(env.Issuer), request)
	server := target{pid: replica(b, env).PID(), address: hostOf(env.Issuer), prepare: constantly(repeat(request))}

	floor := startFloor(b)("/sign")
	for _, row := range []struct {
		connections int
		name        string
	}{{workers, ""}, {1, ", on one connection"}, {64, ", on 64 connections"}, {256, ", on 256 connections"}} {
		costs := measureAlternately(b, count, all/row.connections, floor.on(row.connections), server.on(row.connections))
		measured := compared(requestRows, "a token for a machine, ES256"+row.name, costs[1], costs[0], ratios(costs[1], costs[0]))
		measured.Target = atMostTimes(1.15)
		table.add(b, measured)
	}
	table.add(b, results.Row{Group: requestRows, Name: "a second without requests", Unit: "µs of CPU a second", Value: microseconds(idle(b, server.pid))})
}

// idle returns the CPU time that a process takes in a second without requests.
func idle(b *testing.B, pid int) time.Duration {
	b.Helper()
	const seconds = 5
	before := cpuOf(b, pid)
	time.Sleep(seconds * time.Second)
	return (cpuOf(b, pid) - before) / seconds
}

// checkES256 fails the benchmark unless the response to the request is an ES256 token for the API.
func checkES256(b *testing.B, address string, request []byte) {
	b.Helper()
	token := accessToken(b, address, request)
	if alg := token.Method.Alg(); alg != "ES256" {
		b.Fatalf("want a token signed with ES256, got %s", alg)
	}
	if scope := fmt.Sprint(token.Claims.(jwt.MapClaims)["scope"]); !strings.Contains(scope, ordersScope) {
		b.Fatalf("want a token for %s, got %s", ordersScope, scope)
	}
}

// bodyOf returns the body of the response to the request, which has to be 200.
func bodyOf(b *testing.B, address string, request []byte) []byte {
	b.Helper()
	l, err := dial(address)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	a, err := l.sendExpecting(http.StatusOK, request)
	if err != nil {
		b.Fatal(err)
	}
	return a.body
}

// accessToken returns the access token in the response to the request.
func accessToken(b *testing.B, address string, request []byte) *jwt.Token {
	b.Helper()
	var tokens struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(bodyOf(b, address, request), &tokens); err != nil {
		b.Fatal(err)
	}
	token, _, err := jwt.NewParser().ParseUnverified(tokens.AccessToken, jwt.MapClaims{})
	if err != nil {
		b.Fatal(err)
	}
	return token
}
