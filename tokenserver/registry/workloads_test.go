package registry_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry/registrytest"
)

var cluster = documents.WorkloadIssuer{Name: "cluster", Type: documents.WorkloadIssuerKubernetes, MaxLifetime: 3600}

const webSubject = "system:serviceaccount:shop:web"

func workloadServer(change ...func(*documents.Server)) documents.Server {
	s := server()
	s.AllowedClients = append(s.AllowedClients, documents.ClientRule{
		Name: "all", Namespaces: documents.Namespaces{All: true}, GrantTypes: []string{"client_credentials"}, Scopes: []string{"*"}, Consent: []string{"Required"},
	})
	s.WorkloadIssuers = []documents.WorkloadIssuer{cluster, {Name: "ci", Type: documents.WorkloadIssuerJWT, Issuer: "https://ci.example.com", MaxLifetime: 3600}}
	for _, f := range change {
		f(&s)
	}
	return s
}

func workloadClient(namespace, name string, identities ...documents.WorkloadIdentity) documents.Client {
	return documents.Client{
		UID: namespace + "-" + name, Namespace: namespace, Name: name, ID: namespace + "." + name, GrantTypes: []string{"client_credentials"},
		AuthMethod: "WorkloadIdentity", PKCE: "Required", Consent: "Required", IDTokenAlg: "RS256", WorkloadIdentities: identities,
	}
}

func TestAServiceAccountIsTheOneClientOfItsOwnNamespaceThatListsIt(t *testing.T) {
	web := documents.WorkloadIdentity{Subject: webSubject}
	suspended := workloadClient("shop", "old", web)
	suspended.Suspended = true
	other := workloadClient("shop", "secret", web)
	other.AuthMethod = "client_secret_basic"
	for name, test := range map[string]struct {
		clients []documents.Client
		want    string // the client id
		err     error
	}{
		"none":                       {},
		"one":                        {clients: []documents.Client{workloadClient("shop", "web", web)}, want: "shop.web"},
		"two":                        {clients: []documents.Client{workloadClient("shop", "web", web), workloadClient("shop", "web2", web)}, err: registry.ErrAmbiguousClient},
		"one and a suspended one":    {clients: []documents.Client{suspended, workloadClient("shop", "web", web)}, want: "shop.web"},
		"only a suspended one":       {clients: []documents.Client{suspended}},
		"one of another namespace":   {clients: []documents.Client{workloadClient("orders", "thief", web)}},
		"own and another namespace":  {clients: []documents.Client{workloadClient("orders", "thief", web), workloadClient("shop", "web", web)}, want: "shop.web"},
		"suspended and another's":    {clients: []documents.Client{workloadClient("orders", "thief", web), suspended}},
		"one that has another one":   {clients: []documents.Client{workloadClient("shop", "web", documents.WorkloadIdentity{Subject: webSubject + "2"})}},
		"one by another method":      {clients: []documents.Client{other}},
		"one that wants its UID":     {clients: []documents.Client{workloadClient("shop", "web", documents.WorkloadIdentity{Subject: webSubject, UID: "uid-1"})}, want: "shop.web"},
		"one that wants another UID": {clients: []documents.Client{workloadClient("shop", "web", documents.WorkloadIdentity{Subject: webSubject, UID: "uid-2"})}},
		"one of another issuer":      {clients: []documents.Client{workloadClient("shop", "web", documents.WorkloadIdentity{Issuer: "ci", Subject: webSubject})}},
	} {
		r := registry.New(time.Now)
		registrytest.Fill(t, r, workloadServer(), namespace("shop"), namespace("orders"))
		for _, c := range test.clients {
			registrytest.Fill(t, r, c)
		}
		c, ok, err := r.ClientOfServiceAccount(cluster, webSubject, "uid-1")
		if !errors.Is(err, test.err) || ok != (test.want != "") || ok && c.ID != test.want {
			t.Errorf("%s: %v, %v, %v, want %q, %v", name, c, ok, err, test.want, test.err)
		}
	}
}

func TestAClientLosesItsServiceAccountWithTheChangeThatTakesItAway(t *testing.T) {
	r := registry.New(time.Now)
	web := workloadClient("shop", "web", documents.WorkloadIdentity{Subject: webSubject}, documents.WorkloadIdentity{Issuer: "ci", Subject: "repo:shop"})
	registrytest.Fill(t, r, workloadServer(), namespace("shop"), web)
	check := func(when string, want bool) {
		t.Helper()
		if _, ok, err := r.ClientOfServiceAccount(cluster, webSubject, ""); ok != want || err != nil {
			t.Errorf("%s: %v, %v", when, ok, err)
		}
	}
	check("listed", true)

	changed := web
	changed.WorkloadIdentities = web.WorkloadIdentities[1:]
	registrytest.Fill(t, r, changed)
	check("not listed any more", false)
	registrytest.Fill(t, r, web)
	check("listed again", true)

	registrytest.Fill(t, r, workloadServer(func(s *documents.Server) { s.WorkloadIssuers = s.WorkloadIssuers[1:] }))
	check("the server has the issuer no more", false)
	registrytest.Fill(t, r, workloadServer(func(s *documents.Server) { s.AllowedClients[1].WorkloadIssuers = []string{"ci"} }))
	check("the rule allows the issuer no more", false)
	registrytest.Fill(t, r, workloadServer())
	check("allowed again", true)

	r.Remove(registrytest.Name(registry.SpaceIdentity, "shop.web"))
	check("the client is deleted", false)
}

// The index has one place for each ServiceAccount that a client lists, so a change costs as much
// with ten thousand clients as with one.
func TestTheClientOfAServiceAccountIsFoundAmongThousands(t *testing.T) {
	r := registry.New(time.Now)
	registrytest.Fill(t, r, workloadServer(), namespace("shop"))
	for i := range 2000 {
		registrytest.Fill(t, r, workloadClient("shop", fmt.Sprint("web-", i), documents.WorkloadIdentity{Subject: fmt.Sprint("system:serviceaccount:shop:web-", i)}))
	}
	c, ok, err := r.ClientOfServiceAccount(cluster, "system:serviceaccount:shop:web-1234", "")
	if !ok || err != nil || c.ID != "shop.web-1234" {
		t.Errorf("%v, %v, %v", c, ok, err)
	}
}
