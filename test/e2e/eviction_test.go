//go:build e2e

package e2e

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A drain of a node evicts like this: it asks again while the budget refuses.
func TestEvictingEveryReplicaLosesNoRequest(t *testing.T) {
	readyServer(t)
	waitForReplicas(t, 2, oldVersion)
	refused := 0
	underLoad(t, nothing, func() {
		for _, p := range runningPods(t, serverNamespace, tokenServerLabels) {
			eventually(t, "the eviction of "+p.Name+" is allowed", 3*time.Minute, func() error {
				err := evict(t, &p)
				if apierrors.IsTooManyRequests(err) {
					refused++
				}
				return err
			})
		}
		waitForReplicas(t, 2, oldVersion)
	})
	if refused == 0 {
		t.Error("both replicas were evicted at once: the budget refused nothing")
	}
}

func evict(t testing.TB, p *corev1.Pod) error {
	return pods.CoreV1().Pods(p.Namespace).EvictV1(t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name}})
}
