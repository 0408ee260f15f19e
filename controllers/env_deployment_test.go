package controllers

import (
	"context"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/controllers/workload"
)

// testImage is what token servers run from.
const testImage = "localhost/oauth-operator:test"

// keptBack are the namespaces whose Deployments are not rolled out.
var keptBack sync.Map

// rollOutDeployments does until the context ends what of the controllers of Deployments the manager
// waits for: it says that all Pods are there and ready.
func rollOutDeployments(ctx context.Context, config *rest.Config) error {
	c, err := client.NewWithWatch(config, client.Options{Scheme: Scheme()})
	if err != nil {
		return err
	}
	go func() {
		for ctx.Err() == nil {
			events, err := c.Watch(ctx, &appsv1.DeploymentList{}, client.MatchingLabels{workload.ManagedByLabel: workload.ManagedBy})
			if err != nil {
				time.Sleep(100 * time.Millisecond)
				continue
			}
			for event := range events.ResultChan() {
				d, ok := event.Object.(*appsv1.Deployment)
				if _, kept := keptBack.Load(d.GetNamespace()); ok && !kept && event.Type != watch.Deleted && d.Status.ObservedGeneration != d.Generation {
					rolledOut(d)
					_ = c.Status().Update(ctx, d) // a conflict is another event
				}
			}
		}
	}()
	return nil
}

// rolledOut puts the status of a Deployment whose Pods are all ready into it.
func rolledOut(d *appsv1.Deployment) {
	n := *d.Spec.Replicas
	d.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: n, UpdatedReplicas: n, ReadyReplicas: n, AvailableReplicas: n}
}

// deployment returns the server's, which must exist.
func (env *testEnv) deployment() *appsv1.Deployment {
	env.t.Helper()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "main-tokenserver"}}
	env.get(d)
	return d
}

// keepBack leaves the status of the server's Deployments to the test.
func (env *testEnv) keepBack() { keptBack.Store(env.identity, true) }

// setDeploymentStatus changes the status of the server's Deployment.
func (env *testEnv) setDeploymentStatus(change func(*appsv1.Deployment)) {
	env.t.Helper()
	for {
		d := env.deployment()
		change(d)
		d.Status.ObservedGeneration = d.Generation
		err := admin.Status().Update(env.t.Context(), d)
		if err == nil {
			return
		}
		if client.IgnoreNotFound(err) != nil && env.t.Context().Err() != nil {
			env.t.Fatal(err)
		}
	}
}

// newPod creates a Pod of the server's Deployment with a status.
func (env *testEnv) newPod(name string, status corev1.PodStatus) *corev1.Pod {
	env.t.Helper()
	template := env.deployment().Spec.Template
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: name, Labels: template.Labels}, Spec: template.Spec}
	create(env.t, pod)
	pod.Status = status
	if err := admin.Status().Update(env.t.Context(), pod); err != nil {
		env.t.Fatal(err)
	}
	env.t.Cleanup(func() { _ = admin.Delete(context.WithoutCancel(env.t.Context()), pod) })
	return pod
}
