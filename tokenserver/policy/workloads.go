package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// checkNoIssuer returns which workload issuer of the server has the id of c as its iss; the zero
// Denial if none has: its tokens could not be told from the assertions of the client.
func checkNoIssuer(s documents.Server, c documents.Client) Denial {
	for _, issuer := range s.WorkloadIssuers {
		if issuer.Issuer != "" && issuer.Issuer == c.ID {
			return Denial{Message: fmt.Sprintf("clientID: %q is not allowed, since tokens of the server's workload issuer %q name it as their issuer", c.ID, issuer.Name)}
		}
	}
	return Denial{}
}

// checkWorkloadIdentities returns which workload issuer of c the server does not have; the zero
// Denial if it has all.
func checkWorkloadIdentities(s documents.Server, c documents.Client) Denial {
	const field = "workloadIssuers"
	for i, identity := range c.WorkloadIdentities {
		issuer, ok := s.FindWorkloadIssuer(identity)
		switch {
		case !ok && identity.Issuer == "":
			return Denial{ServerField: field, Message: fmt.Sprintf("workloadIdentities[%d].serviceAccount: the server has no workload issuer of type Kubernetes", i)}
		case !ok:
			return Denial{ServerField: field, Message: fmt.Sprintf("workloadIdentities[%d].issuer: the server has no workload issuer %q%s", i, identity.Issuer, listIssuers(s))}
		case identity.Issuer != "" && issuer.Type == documents.WorkloadIssuerKubernetes:
			return Denial{Message: fmt.Sprintf("workloadIdentities[%d].issuer: the workload issuer %q is of type Kubernetes: name the ServiceAccount in serviceAccount instead",
				i, identity.Issuer)}
		}
	}
	return Denial{}
}

func listIssuers(s documents.Server) string {
	var names []string
	for _, issuer := range s.WorkloadIssuers {
		if issuer.Type != documents.WorkloadIssuerKubernetes {
			names = append(names, fmt.Sprintf("%q", issuer.Name))
		}
	}
	if len(names) == 0 {
		return ""
	}
	return ", but " + strings.Join(names, ", ")
}

// checkWorkloadIssuers returns which workload issuer of c a rule does not allow; empty if it allows
// all.
func checkWorkloadIssuers(s documents.Server, rule documents.ClientRule, c documents.Client) string {
	if len(rule.WorkloadIssuers) == 0 {
		return ""
	}
	for i, identity := range c.WorkloadIdentities {
		if issuer, ok := s.FindWorkloadIssuer(identity); !ok || !slices.Contains(rule.WorkloadIssuers, issuer.Name) {
			return fmt.Sprintf("workloadIdentities[%d]: the workload issuer %q is not allowed by workloadIssuers of the rule", i, issuer.Name)
		}
	}
	return ""
}
