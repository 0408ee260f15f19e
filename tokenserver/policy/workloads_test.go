package policy

import (
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

func withIssuers(allowed ...string) documents.Server {
	return server(func(s *documents.Server, rule *documents.ClientRule) {
		s.WorkloadIssuers = []documents.WorkloadIssuer{
			{Name: "cluster", Type: documents.WorkloadIssuerKubernetes}, {Name: "ci", Type: documents.WorkloadIssuerJWT, Issuer: "https://ci.example.com"},
		}
		rule.WorkloadIssuers = allowed
	})
}

func withIdentities(identities ...documents.WorkloadIdentity) documents.Client {
	return client(func(c *documents.Client) { c.AuthMethod, c.WorkloadIdentities = "WorkloadIdentity", identities })
}

var (
	serviceAccount = documents.WorkloadIdentity{Subject: "system:serviceaccount:shop:web"}
	repository     = documents.WorkloadIdentity{Issuer: "ci", Subject: "repo:acme/shop"}
)

func TestAClientMayHaveWorkloadsOfTheIssuersThatItsRuleAllows(t *testing.T) {
	for _, allowed := range [][]string{nil, {"cluster", "ci"}} {
		if d := EvaluateClient(withIssuers(allowed...), nil, withIdentities(serviceAccount, repository), now); !d.Accepted {
			t.Errorf("workloadIssuers %q: %+v", allowed, d)
		}
	}
	if d := EvaluateClient(withIssuers("cluster"), nil, withIdentities(serviceAccount), now); !d.Accepted {
		t.Errorf("%+v", d)
	}
	if d := EvaluateClient(withIssuers("ci"), nil, client(nil), now); !d.Accepted {
		t.Errorf("a client without workload identities: %+v", d)
	}
}

func TestAClientIsRefusedForOneWorkloadOfAnIssuerThatItMayNotHave(t *testing.T) {
	for want, test := range map[string]struct {
		server documents.Server
		client documents.Client
		field  string // of the server
	}{
		`rule "shop": workloadIdentities[1]: the workload issuer "ci" is not allowed by workloadIssuers of the rule`:                                    {withIssuers("cluster"), withIdentities(serviceAccount, repository), "allowedClients"},
		`rule "shop": workloadIdentities[0]: the workload issuer "cluster" is not allowed by workloadIssuers of the rule`:                               {withIssuers("ci"), withIdentities(serviceAccount, repository), "allowedClients"},
		`rule "": workloadIdentities[0].serviceAccount: the server has no workload issuer of type Kubernetes`:                                           {server(nil), withIdentities(serviceAccount), "workloadIssuers"},
		`rule "": workloadIdentities[1].issuer: the server has no workload issuer "gitlab", but "ci"`:                                                   {withIssuers(), withIdentities(serviceAccount, documents.WorkloadIdentity{Issuer: "gitlab", Subject: "x"}), "workloadIssuers"},
		`rule "": workloadIdentities[0].issuer: the workload issuer "cluster" is of type Kubernetes: name the ServiceAccount in serviceAccount instead`: {withIssuers(), withIdentities(documents.WorkloadIdentity{Issuer: "cluster", Subject: "x"}), ""},
	} {
		d := EvaluateClient(test.server, nil, test.client, now)
		if d.Accepted || len(d.Denials) != 1 || want != "rule \""+d.Denials[0].Rule+"\": "+d.Denials[0].Message || d.Denials[0].ServerField != test.field {
			t.Errorf("%+v, want %s", d, want)
		}
	}
}

func TestAClientMayNotHaveTheIDByWhichAWorkloadIssuerNamesItself(t *testing.T) {
	s := withIssuers()
	s.AllowedClients[0].ClientIDs = []string{"*"}
	foreign := func(c *documents.Client) { c.ID = "https://ci.example.com" }
	d := EvaluateClient(s, nil, client(foreign), now)
	if d.Accepted || len(d.Denials) != 1 || !strings.Contains(d.Denials[0].Message, `tokens of the server's workload issuer "ci" name it`) {
		t.Errorf("%+v", d)
	}
	s.WorkloadIssuers = s.WorkloadIssuers[:1]
	if d := EvaluateClient(s, nil, client(foreign), now); !d.Accepted {
		t.Errorf("without the issuer: %+v", d)
	}
}

// One rule must allow all that a client asks: two rules that allow a part each do not add up.
func TestTwoRulesThatAllowAnIssuerEachDoNotAllowBoth(t *testing.T) {
	s := withIssuers("cluster")
	second := s.AllowedClients[0]
	second.Name, second.WorkloadIssuers = "second", []string{"ci"}
	s.AllowedClients = append(s.AllowedClients, second)
	d := EvaluateClient(s, nil, withIdentities(serviceAccount, repository), now)
	if d.Accepted || len(d.Denials) != 2 || !strings.Contains(d.Denials[1].Message, "workloadIdentities[0]") {
		t.Errorf("%+v", d)
	}
}
