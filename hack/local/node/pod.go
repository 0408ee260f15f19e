package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// How often the readiness probe is asked: until it succeeds nothing goes on, so more often than a
// kubelet does.
const (
	probeUnready = 50 * time.Millisecond
	probeReady   = time.Second
)

// createPod creates the Pod of the process.
func (r *Replica) createPod(ctx context.Context) error {
	d, isController := r.deployment, true
	pod, err := d.node.client.CoreV1().Pods(d.spec.key.Namespace).Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: r.name, Labels: d.spec.template.Labels, Annotations: d.spec.template.Annotations,
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "apps/v1", Kind: "Deployment", Name: d.spec.key.Name, UID: d.spec.uid, Controller: &isController,
			}},
		},
		Spec: d.spec.template.Spec,
	}, metav1.CreateOptions{})
	if err == nil {
		r.podUID = pod.UID
	}
	return err
}

// removePods removes the Pods of all processes of the Deployment.
func (d *deployment) removePods(ctx context.Context) error {
	pods := d.node.client.CoreV1().Pods(d.spec.key.Namespace)
	selector := metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: d.spec.template.Labels})
	now := int64(0)
	return pods.DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{LabelSelector: selector})
}

// report asks the readiness probe of the process and says in its Pod and the Deployment what comes of
// it, until the process is gone for good.
func (r *Replica) report(ctx context.Context) {
	wait, told := probeUnready, ""
	for {
		select {
		case <-r.Done():
			return
		case <-time.After(wait):
		}
		ready := r.PID() != 0 && r.probe(ctx)
		if wait = probeUnready; ready {
			wait = probeReady
		}
		if r.ready.Swap(ready) != ready {
			r.deployment.statusChanged()
		}
		status := r.podStatus(ready)
		content, err := json.Marshal(map[string]any{"status": status})
		if err != nil || string(content) == told {
			continue
		}
		pods := r.deployment.node.client.CoreV1().Pods(r.deployment.spec.key.Namespace)
		if _, err := pods.Patch(ctx, r.name, types.StrategicMergePatchType, content, metav1.PatchOptions{}, "status"); err == nil {
			told = string(content)
		}
	}
}

// probe asks the readiness probe of the template.
func (r *Replica) probe(ctx context.Context) bool {
	container, err := tokenServerOf(r.deployment.spec.template.Spec)
	if err != nil || container.ReadinessProbe == nil || container.ReadinessProbe.HTTPGet == nil {
		return err == nil
	}
	p := container.ReadinessProbe
	ctx, cancel := context.WithTimeout(ctx, time.Duration(max(p.TimeoutSeconds, 1))*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.Status()+p.HTTPGet.Path, nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close() // its status is all that counts
	return response.StatusCode >= 200 && response.StatusCode < 400
}

// podStatus is what a kubelet would say.
func (r *Replica) podStatus(ready bool) corev1.PodStatus {
	condition := corev1.ConditionFalse
	if ready {
		condition = corev1.ConditionTrue
	}
	container := corev1.ContainerStatus{Name: r.deployment.spec.template.Spec.Containers[0].Name, Ready: ready}
	if r.PID() != 0 {
		container.State.Running = &corev1.ContainerStateRunning{}
	} else {
		container.State.Waiting = &corev1.ContainerStateWaiting{
			Reason: "CrashLoopBackOff", Message: fmt.Sprintf("the process of %s has ended; its log says why", r.name),
		}
	}
	return corev1.PodStatus{
		Phase: corev1.PodRunning,
		Conditions: []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}, {Type: corev1.PodReady, Status: condition},
		},
		ContainerStatuses: []corev1.ContainerStatus{container},
	}
}
