package controllers

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/eventually"
)

// servicePorts are the names of the ports of the server's Service, in order.
func (env *testEnv) servicePorts() string {
	env.t.Helper()
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "main-tokenserver"}}
	env.get(s)
	var names []string
	for _, p := range s.Spec.Ports {
		names = append(names, fmt.Sprintf("%s:%d", p.Name, p.Port))
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// A Service whose only port is one that no Pod has yet leads nowhere; for ever, if the certificate
// is missing.
func TestTheServiceLeadsToThePodsThatThereAreUntilThoseWithTheOtherPortAreRolledOut(t *testing.T) {
	env := newEnv(t)
	if got := env.servicePorts(); got != "http:80" {
		t.Fatal(got)
	}
	for _, c := range []struct {
		tls           *v1alpha1.TLSSettings
		before, after string
	}{
		{&v1alpha1.TLSSettings{SecretName: "auth-tls"}, "http:80 https:443", "https:443"},
		{nil, "http:80 https:443", "http:80"},
	} {
		env.keepBack()
		updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) { s.Spec.TLS = c.tls })
		eventually.True(t, "the Deployment has the other port", func() bool {
			return (env.deployment().Spec.Template.Spec.Containers[0].Ports[0].Name == "https") == (c.tls != nil)
		})
		env.waitForCondition(env.server, v1alpha1.ConditionDeployed, metav1.ConditionFalse, v1alpha1.ReasonPending)
		env.setDeploymentStatus(func(d *appsv1.Deployment) { d.Status.UpdatedReplicas, d.Status.Replicas = 1, 3 })
		time.Sleep(500 * time.Millisecond)
		if got := env.servicePorts(); got != c.before {
			t.Errorf("while old Pods serve, the Service has %s, want %s", got, c.before)
		}
		env.setDeploymentStatus(rolledOut)
		eventually.True(t, "the Service has "+c.after, func() bool { return env.servicePorts() == c.after })
		env.waitForCondition(env.server, v1alpha1.ConditionDeployed, metav1.ConditionTrue, v1alpha1.ReasonDeployed)
	}
}

// changeDeployments has an admission policy put a value into each Deployment of the namespace, as
// policies do that have images come from a mirror.
func (env *testEnv) changeDeployments(path, value string) {
	env.t.Helper()
	name := env.identity + "-changes"
	fail := admissionv1.Fail
	policy := &admissionv1.MutatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionv1.MutatingAdmissionPolicySpec{
			FailurePolicy: &fail, ReinvocationPolicy: admissionv1.NeverReinvocationPolicy,
			MatchConstraints: &admissionv1.MatchResources{
				ObjectSelector:    &metav1.LabelSelector{},
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: env.identity}},
				ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
					Rule:       admissionv1.Rule{APIGroups: []string{"apps"}, APIVersions: []string{"v1"}, Resources: []string{"deployments"}},
				}}},
			},
			Mutations: []admissionv1.Mutation{{
				PatchType: admissionv1.PatchTypeJSONPatch,
				JSONPatch: &admissionv1.JSONPatch{Expression: fmt.Sprintf("[JSONPatch{op: 'replace', path: %q, value: %q}]", path, value)},
			}},
		},
	}
	create(env.t, policy, &admissionv1.MutatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: admissionv1.MutatingAdmissionPolicyBindingSpec{PolicyName: name},
	})
	probe := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "probe"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "probe"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "probe"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "probe", Image: "probe"}}},
			},
		},
	}
	eventually.True(env.t, "the policy is in force", func() bool {
		d := probe.DeepCopy()
		return admin.Create(env.t.Context(), d, client.DryRunAll) == nil && d.Spec.Template.Spec.Containers[0].Image == value
	})
}

func TestADeploymentThatAnAdmissionPolicyChangesIsRolledOutAndNotAppliedAgainAndAgain(t *testing.T) {
	made := recordWrites(t)
	env := newEnvWithoutManager(t)
	const mirrored = "mirror.example.com/oauth-operator:test"
	env.changeDeployments("/spec/template/spec/containers/0/image", mirrored)
	startManager(t)
	env.startServer()
	if image := env.deployment().Spec.Template.Spec.Containers[0].Image; image != mirrored {
		t.Fatal(image)
	}
	made.waitUntilQuiet(t)
	for range 5 {
		updateObject(env, env.replica, func(r *internalv1alpha1.Replica) { r.Spec.AppliedResourceVersion = fmt.Sprint(time.Now().UnixNano()) })
		time.Sleep(200 * time.Millisecond)
	}
	if writes := made.matching("/deployments"); len(writes) > 0 {
		t.Errorf("%d writes of the Deployment: %q", len(writes), writes[0])
	}
	// What people change is put back all the same.
	if err := admin.Patch(t.Context(), env.deployment(), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"replicas":7}}`))); err != nil {
		t.Fatal(err)
	}
	eventually.True(t, "the Deployment has two replicas again", func() bool { return *env.deployment().Spec.Replicas == 2 })
	env.waitForCondition(env.server, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// The API server rounds quantities up to thousandths.
func TestWhatTheAPIServerRoundsIsAppliedOnce(t *testing.T) {
	made := recordWrites(t)
	env := newEnv(t, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.Deployment.Resources = &v1alpha1.ContainerResources{
			Limits:   corev1.ResourceList{"cpu": resource.MustParse("1.50005"), "memory": resource.MustParse("1.5Gi")},
			Requests: corev1.ResourceList{"cpu": resource.MustParse("100500u")},
		}
	})
	made.waitUntilQuiet(t)
	env.renew(env.replica)
	made.checkUntilQuiet(t, 0, "when nothing has changed")
}

// The token server of env is no Pod of the Deployment: a user who changes to External may have one
// ready before.
func TestAServerThatSomebodyElseRunsHasNoReplicasOfTheOperators(t *testing.T) {
	env := newEnv(t)
	eventually.True(t, "the status has two replicas", func() bool { env.get(env.server); return env.server.Status.Replicas == 2 })
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) { s.Spec.Deployment.Type = v1alpha1.DeploymentExternal })
	eventually.True(t, "the status has none", func() bool { env.get(env.server); return env.server.Status.Replicas == 0 })
	if env.exists(&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "main-tokenserver"}}) {
		t.Error("the Deployment is there")
	}
}

func TestDeployedSaysThatTheDeploymentIsPaused(t *testing.T) {
	env := newEnv(t)
	env.keepBack()
	if err := admin.Patch(t.Context(), env.deployment(), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"paused":true}}`))); err != nil {
		t.Fatal(err)
	}
	env.setDeploymentStatus(func(d *appsv1.Deployment) { d.Status.UpdatedReplicas = 1 })
	eventually.True(t, "the condition says so", func() bool {
		return strings.Contains(env.waitForCondition(env.server, v1alpha1.ConditionDeployed, metav1.ConditionFalse, v1alpha1.ReasonPending), "kubectl rollout resume")
	})
}

func TestSpreadConstraintsThatChangePlacesAndAServiceThatChangesItsTypeAreAppliedOnce(t *testing.T) {
	made := recordWrites(t)
	spread := func(keys ...string) *v1alpha1.PodTemplate {
		var all []corev1.TopologySpreadConstraint
		for _, key := range keys {
			all = append(all, corev1.TopologySpreadConstraint{MaxSkew: 1, TopologyKey: key, WhenUnsatisfiable: corev1.ScheduleAnyway})
		}
		return &v1alpha1.PodTemplate{Spec: &v1alpha1.PodSettings{TopologySpreadConstraints: all}}
	}
	env := newEnv(t, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.Deployment.PodTemplate = spread("a", "b")
		s.Spec.Deployment.Service = &v1alpha1.ServiceSettings{Type: "LoadBalancer", ExternalTrafficPolicy: "Local", LoadBalancerClass: "example.com/nlb"}
	})
	for _, service := range []*v1alpha1.ServiceSettings{{Type: "NodePort", ExternalTrafficPolicy: "Local"}, nil} {
		updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
			s.Spec.Deployment.PodTemplate = spread("b", "c", "a")
			s.Spec.Deployment.Service = service
		})
		env.waitForCondition(env.server, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		made.waitUntilQuiet(t)
		env.renew(env.replica)
		made.checkUntilQuiet(t, 0, "when nothing has changed")
	}
}
