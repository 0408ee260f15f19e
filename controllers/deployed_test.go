package controllers

import (
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
	"github.com/oauth-operator/oauth-operator/test/eventually"
)

func TestDeployedSaysHowFarTheDeploymentIs(t *testing.T) {
	env := newEnvWithoutManager(t)
	env.keepBack()
	startManager(t)
	create(t, env.server)
	env.keepRenewing(env.newReplica("main-0", maxResourceVersion))
	eventually.True(t, "there is a Deployment", func() bool {
		return env.exists(&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "main-tokenserver"}})
	})
	says := func(status metav1.ConditionStatus, reason string, texts ...string) {
		t.Helper()
		var message string
		eventually.True(t, fmt.Sprintf("the condition is %s/%s and says %q", status, reason, texts), func() bool {
			message = env.waitForCondition(env.server, v1alpha1.ConditionDeployed, status, reason)
			for _, text := range texts {
				if !strings.Contains(message, text) {
					return false
				}
			}
			return true
		})
		// It is what Ready says too.
		env.waitForCondition(env.server, v1alpha1.ConditionReady, status, map[bool]string{true: v1alpha1.ReasonReady, false: reason}[status == metav1.ConditionTrue])
	}
	says(metav1.ConditionFalse, v1alpha1.ReasonPending, "not seen the latest change")
	env.setDeploymentStatus(func(d *appsv1.Deployment) {
		d.Status.Replicas, d.Status.UpdatedReplicas = 2, 1
		d.Status.Conditions = []appsv1.DeploymentCondition{{
			Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Reason: "FailedCreate", Message: `pods "x" is forbidden: exceeded quota: small`,
		}}
	})
	says(metav1.ConditionFalse, v1alpha1.ReasonRefused, "exceeded quota: small")
	env.setDeploymentStatus(func(d *appsv1.Deployment) { d.Status.Conditions = nil })
	says(metav1.ConditionFalse, v1alpha1.ReasonPending, "1 of 2 Pods are up to date, 0 are available")
	env.newPod("main-tokenserver-a", corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
		Name: "tokenserver", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "there is no such image"}},
	}}})
	says(metav1.ConditionFalse, v1alpha1.ReasonPending, "main-tokenserver-a", "ImagePullBackOff", "there is no such image")
	env.setDeploymentStatus(func(d *appsv1.Deployment) {
		d.Status.Conditions = []appsv1.DeploymentCondition{{
			Type: appsv1.DeploymentProgressing, Status: corev1.ConditionFalse, Reason: v1alpha1.ReasonProgressDeadlineExceeded,
		}}
	})
	says(metav1.ConditionFalse, v1alpha1.ReasonProgressDeadlineExceeded, "there is no such image")
	env.setDeploymentStatus(rolledOut)
	says(metav1.ConditionTrue, v1alpha1.ReasonDeployed)
	if env.server.Status.Replicas != 2 || env.server.Status.Selector == "" {
		t.Errorf("the status has %d replicas, selector %q", env.server.Status.Replicas, env.server.Status.Selector)
	}
}

func TestAPodSaysWhyItIsNotReady(t *testing.T) {
	container := func(c corev1.ContainerStatus) corev1.PodStatus {
		c.Name = "tokenserver"
		return corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{c}}
	}
	waiting := func(reason, message string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
	}
	for want, status := range map[string]corev1.PodStatus{
		"": {Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
		"cannot be scheduled: 0/3 nodes are available": {Conditions: []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/3 nodes are available"},
		}},
		"has failed: Evicted The node was low on memory":                        {Phase: corev1.PodFailed, Reason: "Evicted", Message: "The node was low on memory"},
		"cannot start container tokenserver: ErrImagePull: not found":           container(corev1.ContainerStatus{State: waiting("ErrImagePull", "not found")}),
		"waits for its volumes; its events (kubectl describe pod) say for what": container(corev1.ContainerStatus{State: waiting("ContainerCreating", "")}),
		"has started container tokenserver 4 times, which ended with exit status 1 (Error): tokenserver: the storage is missing": container(corev1.ContainerStatus{
			RestartCount: 3, State: waiting("CrashLoopBackOff", "back-off"),
			LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", Message: "{}\ntokenserver: the storage is missing\n"}},
		}),
		"is not ready yet (container tokenserver)": container(corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}),
	} {
		if got := podTrouble(&corev1.Pod{Status: status}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestAScaleOfTheDeploymentIsOverruledAndOneOfTheServerIsNot(t *testing.T) {
	env := newEnv(t)
	replicas := func() int32 { return *env.deployment().Spec.Replicas }
	d := env.deployment()
	scale := []byte(`{"spec":{"replicas":7}}`)
	if err := admin.Patch(t.Context(), d, client.RawPatch(types.MergePatchType, scale)); err != nil {
		t.Fatal(err)
	}
	eventually.True(t, "the Deployment has two replicas again", func() bool { return replicas() == 2 })
	if err := admin.SubResource("scale").Patch(t.Context(), env.server.DeepCopy(), client.RawPatch(types.MergePatchType, scale)); err != nil {
		t.Fatal(err)
	}
	eventually.True(t, "the Deployment has the replicas of the server", func() bool { return replicas() == 7 })
	env.waitForCondition(env.server, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// kubectl rollout restart and what webhooks inject stay, what is the operator's comes back, and what
// the spec does not have any more goes.
func TestOfTheDeploymentTheOperatorOwnsWhatItSets(t *testing.T) {
	env := newEnv(t)
	d := env.deployment()
	change := `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"now"}},
		"spec":{"containers":[{"name":"tokenserver","image":"theirs"},{"name":"proxy","image":"proxy"}]}}}}`
	if err := admin.Patch(t.Context(), d, client.RawPatch(types.StrategicMergePatchType, []byte(change))); err != nil {
		t.Fatal(err)
	}
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.Deployment.PodTemplate = &v1alpha1.PodTemplate{Spec: &v1alpha1.PodSettings{PriorityClassName: "system-cluster-critical"}}
	})
	image := func(d *appsv1.Deployment) string {
		for _, c := range d.Spec.Template.Spec.Containers {
			if c.Name == workload.Container {
				return c.Image
			}
		}
		return ""
	}
	eventually.True(t, "the image is the operator's, and the Pods have their priority", func() bool {
		d = env.deployment()
		return image(d) == testImage && d.Spec.Template.Spec.PriorityClassName == "system-cluster-critical"
	})
	if len(d.Spec.Template.Spec.Containers) != 2 || d.Spec.Template.Annotations["kubectl.kubernetes.io/restartedAt"] != "now" {
		t.Errorf("what others have added is gone: %+v", d.Spec.Template)
	}
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) { s.Spec.Deployment.PodTemplate = nil })
	eventually.True(t, "the priority is gone", func() bool { return env.deployment().Spec.Template.Spec.PriorityClassName == "" })
}

func TestWhatKubernetesRefusesOfTheDeploymentIsQuoted(t *testing.T) {
	env := newEnv(t)
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.Deployment.PodTemplate = &v1alpha1.PodTemplate{Spec: &v1alpha1.PodSettings{Tolerations: []corev1.Toleration{{Operator: "Like"}}}}
	})
	message := env.waitForCondition(env.server, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonRefused)
	if !strings.Contains(message, "tolerations[0].operator") || !strings.Contains(message, `"main-tokenserver"`) {
		t.Error(message)
	}
	env.waitForCondition(env.server, v1alpha1.ConditionDeployed, metav1.ConditionFalse, v1alpha1.ReasonRefused)
	env.waitForCondition(env.server, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
}

func TestBetweenManagedAndExternalNothingIsTakenAwayBeforeAnotherServes(t *testing.T) {
	env := newEnv(t)
	made := func() (count int) {
		at := metav1.ObjectMeta{Namespace: env.identity, Name: "main-tokenserver"}
		for _, o := range []client.Object{
			&appsv1.Deployment{ObjectMeta: at}, &corev1.Service{ObjectMeta: at}, &policyv1.PodDisruptionBudget{ObjectMeta: at},
		} {
			if env.exists(o) {
				count++
			}
		}
		return count
	}
	if made() != 3 {
		t.Fatalf("%d objects run the token server, not 3", made())
	}
	pod := env.newReplica("main-tokenserver-5d-x", maxResourceVersion) // of the Deployment
	env.deleteObject(env.replica)
	env.renew(pod)
	env.keepRenewing(pod)
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) { s.Spec.Deployment.Type = v1alpha1.DeploymentExternal })
	eventually.True(t, "the condition says what is waited for", func() bool {
		return strings.Contains(env.waitForCondition(env.server, v1alpha1.ConditionDeployed, metav1.ConditionTrue, v1alpha1.ReasonDeployed), "stay until a token server is ready")
	})
	env.renew(pod)
	time.Sleep(300 * time.Millisecond)
	if made() != 3 {
		t.Fatal("they were taken away before another token server was there")
	}
	other := env.newReplica("elsewhere", maxResourceVersion)
	env.renew(other)
	env.keepRenewing(other)
	eventually.True(t, "they are taken away", func() bool { return made() == 0 })
	if env.get(env.server); env.server.Status.Selector != "" {
		t.Errorf("the status has the selector %q", env.server.Status.Selector)
	}
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) { s.Spec.Deployment.Type = v1alpha1.DeploymentManaged })
	eventually.True(t, "they are there again", func() bool { return made() == 3 })
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.Storage = &v1alpha1.StorageSettings{Type: v1alpha1.StorageMemory}
	})
	eventually.True(t, "with storage in memory there is no budget", func() bool { return made() == 2 })
}

func TestThePodsOfATokenServerSatisfyTheRestrictedStandard(t *testing.T) {
	env := newEnv(t)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: env.identity}}
	updateObject(env, namespace, func(n *corev1.Namespace) {
		if n.Labels == nil {
			n.Labels = map[string]string{}
		}
		n.Labels["pod-security.kubernetes.io/enforce"] = "restricted"
	})
	template := env.deployment().Spec.Template
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "restricted", Labels: template.Labels}, Spec: template.Spec}
	lax := pod.DeepCopy()
	lax.Spec.SecurityContext = nil
	eventually.True(t, "the standard is enforced", func() bool { return apierrors.IsForbidden(admin.Create(t.Context(), lax.DeepCopy(), client.DryRunAll)) })
	if err := admin.Create(t.Context(), pod, client.DryRunAll); err != nil {
		t.Error(err)
	}
	if template.Spec.SecurityContext.RunAsUser != nil || template.Spec.Containers[0].SecurityContext.RunAsUser != nil {
		t.Error("it asks for a user, which OpenShift assigns")
	}
}

// A ServiceAccount of the name that another made may have rights, or be used by other programs.
func TestNoDeploymentRunsAsAServiceAccountThatIsNotOurs(t *testing.T) {
	env := newEnvWithoutManager(t)
	at := metav1.ObjectMeta{Namespace: env.identity, Name: "main-tokenserver"}
	create(t, &corev1.ServiceAccount{ObjectMeta: at})
	startManager(t)
	create(t, env.server)
	env.waitForCondition(env.server, v1alpha1.ConditionDeployed, metav1.ConditionFalse, v1alpha1.ReasonNameTaken)
	time.Sleep(300 * time.Millisecond)
	for _, o := range []client.Object{&appsv1.Deployment{ObjectMeta: at}, &rbacv1.RoleBinding{ObjectMeta: at}} {
		if env.exists(o) {
			t.Errorf("there is a %T", o)
		}
	}
}
