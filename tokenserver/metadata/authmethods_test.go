package metadata

import (
	"slices"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

func TestTheAuthenticationMethodsAreThoseThatARuleAllows(t *testing.T) {
	workloads := []documents.WorkloadIssuer{{Name: "cluster"}}
	for _, test := range []struct {
		allowed []string
		issuers []documents.WorkloadIssuer
		want    []string
	}{
		{nil, nil, []string{"client_secret_basic", "client_secret_post", "private_key_jwt", "none"}},
		{[]string{"client_secret_post", "none"}, workloads, []string{"client_secret_post", "none"}},
		{[]string{"private_key_jwt"}, nil, []string{"private_key_jwt"}},
		{[]string{"WorkloadIdentity"}, workloads, []string{"private_key_jwt"}}, // as which metadata has it
		{[]string{"WorkloadIdentity", "none"}, nil, []string{"none"}},
	} {
		s := server("client_credentials")
		s.WorkloadIssuers = test.issuers
		for i := range s.AllowedClients {
			s.AllowedClients[i].TokenEndpointAuthMethods = test.allowed
		}
		d := Describe(s, nil, time.Now())
		confidential := slices.DeleteFunc(slices.Clone(test.want), func(method string) bool { return method == "none" })
		if !slices.Equal(d.TokenAuthMethods, test.want) || !slices.Equal(d.RevocationAuth, test.want) || !slices.Equal(d.IntrospectionAuth, confidential) {
			t.Errorf("%v: %v, %v and %v, want %v", test.allowed, d.TokenAuthMethods, d.RevocationAuth, d.IntrospectionAuth, test.want)
		}
		signs := slices.Contains(test.want, "private_key_jwt")
		for _, algorithms := range [][]string{d.TokenAuthAlgorithms, d.RevocationAuthAlgorithms, d.IntrospectionAuthAlgorithms} {
			if slices.Contains(algorithms, "ES256") != signs || slices.Contains(algorithms, "none") || slices.Contains(algorithms, "HS256") {
				t.Errorf("%v: the algorithms are %v", test.allowed, algorithms)
			}
		}
	}
}
