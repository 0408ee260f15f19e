package workload

import (
	"context"
	"fmt"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/clock"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// lookInterval is how often the server's document and the sources of keys are looked at.
const lookInterval = time.Second

// Run keeps the keys of the issuers of the server, those of the cluster and those that are fetched, and
// reports changes of Problem until ctx ends.
func (v *Verifier) Run(ctx context.Context) {
	var last string
	for clock.Sleep(ctx, lookInterval) {
		server, _ := v.Server()
		for _, issuer := range server.WorkloadIssuers {
			switch {
			case issuer.Type == documents.WorkloadIssuerKubernetes && v.cluster != nil:
				v.cluster.keep(ctx, issuer, v.Now())
			case issuer.Discovery:
				v.discovered(issuer.Issuer).Keep()
			}
		}
		if problem := v.Problem(); problem != last && v.OnProblem != nil {
			last = problem
			v.OnProblem()
		}
	}
}

// Problem says why the workloads of an issuer cannot authenticate, or soon will not be able to; "" if
// all can. Of an issuer elsewhere it says no more than package fetch lets others know.
func (v *Verifier) Problem() string {
	server, _ := v.Server()
	for _, issuer := range server.WorkloadIssuers {
		switch {
		case issuer.Type == documents.WorkloadIssuerKubernetes && v.cluster != nil:
			if _, problem := v.cluster.state(); problem != nil {
				return fmt.Sprintf("workload issuer %q: %s", issuer.Name, problem)
			}
		case issuer.Discovery:
			if reason, failing := v.Sources.Failing()[sourceOf(issuer.Issuer)]; failing {
				return fmt.Sprintf("workload issuer %q: its keys cannot be fetched (%s)", issuer.Name, reason)
			}
		}
	}
	return ""
}
