//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// kill ends the processes of a Pod with SIGKILL, by a Pod that sees those of the node.
func kill(t testing.TB, p *corev1.Pod) {
	t.Helper()
	_, container, ok := strings.Cut(p.Status.ContainerStatuses[0].ContainerID, "://")
	if !ok {
		t.Fatalf("Pod %s has no container: %+v", p.Name, p.Status)
	}
	yes, root := true, int64(0)
	killer := &corev1.Pod{
		ObjectMeta: named("default", fmt.Sprintf("kill-%d", podNumber.Add(1))),
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, HostPID: true, NodeName: p.Spec.NodeName,
			Containers: []corev1.Container{{
				Name: "kill", Image: "localhost/oauth-operator-e2e/client:1", ImagePullPolicy: corev1.PullNever, Args: []string{"kill", container},
				SecurityContext: &corev1.SecurityContext{Privileged: &yes, RunAsUser: &root},
			}},
		},
	}
	if err := kube.Create(t.Context(), killer); err != nil {
		t.Fatal(err)
	}
	finished(t, killer.Namespace, killer.Name, time.Minute)
	if err := kube.Delete(t.Context(), killer); err != nil {
		t.Fatal(err)
	}
}

// restarted waits until the container of a Pod has been started again and is ready.
func restarted(t testing.TB, p *corev1.Pod) {
	t.Helper()
	before := p.Status.ContainerStatuses[0].RestartCount
	eventually(t, p.Name+" is ready again", 3*time.Minute, func() error {
		var now corev1.Pod
		if err := kube.Get(t.Context(), client.ObjectKeyFromObject(p), &now); err != nil {
			return err
		}
		if now.Status.ContainerStatuses[0].RestartCount == before || !podIsReady(&now) {
			return fmt.Errorf("it was restarted %d times, and ready is %t", now.Status.ContainerStatuses[0].RestartCount, podIsReady(&now))
		}
		return nil
	})
}

func TestKillingEachReplicaFailsNoRequestButOnDroppedConnections(t *testing.T) {
	readyServer(t)
	waitForReplicas(t, 2, oldVersion)
	underLoad(t, droppedConnections, func() {
		for _, p := range runningPods(t, serverNamespace, tokenServerLabels) {
			kill(t, &p)
			restarted(t, &p)
		}
	})
	serverIsReady(t)
}

func TestKillingTheLeadingManagerLosesNoRequestAndTheOtherTakesOver(t *testing.T) {
	readyServer(t)
	underLoad(t, nothing, func() {
		before := leader(t)
		var p corev1.Pod
		if err := kube.Get(t.Context(), client.ObjectKey{Namespace: systemNamespace, Name: before}, &p); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		kill(t, &p)
		applyText(t, fmt.Sprintf(machine, "after-the-kill"))
		atEnd(t, "delete", "-n", clientsNamespace, "oauthclient", "after-the-kill")
		waitForCondition(t, &v1alpha1.OAuthClient{ObjectMeta: named(clientsNamespace, "after-the-kill")}, v1alpha1.ConditionReady, time.Minute)
		t.Logf("a client that was applied after the kill was Ready %s after it; %s leads, %s did", time.Since(began).Round(time.Second), leader(t), before)
		restarted(t, &p)
	})
}
