//go:build e2e

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"
)

// reportedLines of each output, the last ones.
const reportedLines = 120

// reported are the tests that have printed their report.
var reported = map[string]bool{}

// reportFailure has a test that fails print what the cluster looks like: our objects with their conditions, Pods, events, logs.
func reportFailure(t testing.TB) {
	t.Cleanup(func() { report(t) })
}

// report prints it, once for each test that failed.
func report(t testing.TB) {
	if !t.Failed() || reported[t.Name()] {
		return
	}
	reported[t.Name()] = true
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, args := range [][]string{
		{"get", "oauth", "-A", "-o", "wide"},
		{"get", "authorizationservers.oauth-operator.dev,certificates.cert-manager.io", "-A", "-o", "jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name}{\"\\n\"}{range .status.conditions[*]}  {.type}={.status} {.reason}: {.message}{\"\\n\"}{end}{end}"},
		{"get", "replicas.internal.oauth-operator.dev", "-A", "-o", "jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name} {.spec}{\"\\n\"}{end}"},
		{"get", "deployments,pods,services,endpointslices,poddisruptionbudgets", "-A", "-o", "wide"},
		{"get", "events", "-A", "--sort-by=.lastTimestamp"},
		{"logs", "-n", systemNamespace, "--all-containers", "--prefix", "--tail=60", "-l", "app.kubernetes.io/name=oauth-operator"},
		{"logs", "-n", serverNamespace, "--all-containers", "--prefix", "--tail=60", "-l", "app.kubernetes.io/name=tokenserver"},
		{"logs", "-n", "cert-manager", "--tail=30", "deployment/cert-manager"},
	} {
		out, err := runKubectl(ctx, args...)
		if err != nil {
			out = err.Error()
		}
		lines := strings.Split(out, "\n")
		t.Logf("kubectl %v:\n%s", args[:min(4, len(args))], strings.Join(lines[max(0, len(lines)-reportedLines):], "\n"))
	}
}
