package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
)

// maxQuote is how much of what a Pod says a condition quotes, in bytes.
const maxQuote = 512

// observeDeployment says whether the Deployment that was applied is rolled out, and if not, what its
// Pods say.
func (r *serverReconciler) observeDeployment(ctx context.Context, s *serverPass, applied client.Object) error {
	var d appsv1.Deployment
	if err := r.Get(ctx, workloadKey(s.server), &d); client.IgnoreNotFound(err) != nil {
		return err
	}
	s.podCount = d.Status.Replicas
	if is, err := r.isApplied(applied, &d); err != nil || !is { // the watch, which is behind, will tell
		s.deployed = falseCondition(v1alpha1.ReasonPending, "the Deployment has just been applied")
		return err
	}
	s.deployed = rollout(&d)
	if as, err := workload.IsApplied(applied, &d); err != nil || !as {
		s.deployed.message += "; an admission webhook or policy has changed what the operator applied to it"
	}
	if s.deployed.isTrue() || s.deployed.reason == v1alpha1.ReasonRefused {
		return nil
	}
	var pods corev1.PodList
	err := r.List(ctx, &pods, client.InNamespace(d.Namespace),
		client.MatchingLabelsSelector{Selector: labels.SelectorFromSet(workload.Selector(s.server.Name))})
	if err != nil {
		return err
	}
	if why := troubleOf(pods.Items); why != "" {
		s.deployed.message += ": " + why
	}
	return nil
}

// rollout says whether the Pods of a Deployment are those that it asks for, as kubectl rollout
// status does.
func rollout(d *appsv1.Deployment) condition {
	status, wanted := &d.Status, *d.Spec.Replicas
	if status.ObservedGeneration < d.Generation {
		return falseCondition(v1alpha1.ReasonPending, "the Deployment controller has not seen the latest change yet")
	}
	progress := fmt.Sprintf("%d of %d Pods are up to date, %d are available", status.UpdatedReplicas, wanted, status.AvailableReplicas)
	if d.Spec.Paused {
		progress += "; the Deployment is paused (kubectl rollout resume)"
	}
	for _, c := range status.Conditions {
		switch {
		case c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue:
			return falseCondition(v1alpha1.ReasonRefused, "the API server refuses Pods of the Deployment: %s", truncate(c.Message, maxQuote))
		case c.Type == appsv1.DeploymentProgressing && c.Reason == v1alpha1.ReasonProgressDeadlineExceeded:
			return falseCondition(v1alpha1.ReasonProgressDeadlineExceeded, "the rollout of the Deployment makes no progress: %s", progress)
		}
	}
	if status.UpdatedReplicas != wanted || status.Replicas != wanted || status.AvailableReplicas != wanted {
		return falseCondition(v1alpha1.ReasonPending, "%s", progress)
	}
	return trueCondition(v1alpha1.ReasonDeployed, "Deployment, Service and what else the token server needs are there, and the Deployment is rolled out")
}

// troubleOf says what keeps one of the Pods from being ready; the newest that says something.
func troubleOf(pods []corev1.Pod) string {
	slices.SortFunc(pods, func(a, b corev1.Pod) int { return b.CreationTimestamp.Compare(a.CreationTimestamp.Time) })
	for i := range pods {
		if why := podTrouble(&pods[i]); why != "" {
			return fmt.Sprintf("Pod %s %s", pods[i].Name, truncate(why, maxQuote))
		}
	}
	return ""
}

// podTrouble says what keeps a Pod from being ready; empty if it is ready or ends.
func podTrouble(pod *corev1.Pod) string {
	if !pod.DeletionTimestamp.IsZero() {
		return ""
	}
	if pod.Status.Phase == corev1.PodFailed {
		return strings.TrimSpace(fmt.Sprintf("has failed: %s %s", pod.Status.Reason, pod.Status.Message))
	}
	ready := false
	for _, c := range pod.Status.Conditions {
		switch {
		case c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse:
			return "cannot be scheduled: " + c.Message
		case c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue:
			ready = true
		}
	}
	if ready {
		return ""
	}
	for _, c := range append(slices.Clone(pod.Status.InitContainerStatuses), pod.Status.ContainerStatuses...) {
		if why := containerTrouble(&c); why != "" {
			return why
		}
	}
	return "is not ready yet"
}

// containerTrouble says what keeps a container from being ready; empty if it is, or ended well.
func containerTrouble(c *corev1.ContainerStatus) string {
	ended := c.State.Terminated
	if ended == nil {
		ended = c.LastTerminationState.Terminated
	}
	waiting := c.State.Waiting
	switch {
	case c.Ready:
		return ""
	case waiting != nil && waiting.Reason == "ContainerCreating":
		return "waits for its volumes; its events (kubectl describe pod) say for what"
	case ended != nil && (waiting != nil || c.State.Terminated != nil) && ended.ExitCode != 0:
		return fmt.Sprintf("has started container %s %d times, which ended with exit status %d (%s): %s",
			c.Name, c.RestartCount+1, ended.ExitCode, ended.Reason, lastLine(ended.Message))
	case waiting != nil && waiting.Reason != "PodInitializing":
		return fmt.Sprintf("cannot start container %s: %s: %s", c.Name, waiting.Reason, waiting.Message)
	case c.State.Running != nil:
		return fmt.Sprintf("is not ready yet (container %s)", c.Name)
	}
	return ""
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}
