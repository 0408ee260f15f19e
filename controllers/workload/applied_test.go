package workload

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

func TestAnObjectIsAppliedUntilOneOfItsFieldsDiffers(t *testing.T) {
	want := Deployment(everything(), image)
	if err := SetApplied(want); err != nil {
		t.Fatal(err)
	}
	differs := func(change func(*appsv1.Deployment)) bool {
		have := want.DeepCopy()
		change(have)
		applied, err := IsApplied(want, have)
		if err != nil {
			t.Fatal(err)
		}
		return !applied
	}
	for what, change := range map[string]func(*appsv1.Deployment){
		"nothing":   func(*appsv1.Deployment) {},
		"a status":  func(d *appsv1.Deployment) { d.Status.Replicas = 3 },
		"a default": func(d *appsv1.Deployment) { d.Spec.Template.Spec.DNSPolicy = corev1.DNSClusterFirst },
		"a restart": func(d *appsv1.Deployment) { d.Spec.Template.Annotations["kubectl.kubernetes.io/restartedAt"] = "now" },
		"another container before": func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.Containers = append([]corev1.Container{{Name: "proxy"}}, d.Spec.Template.Spec.Containers...)
		},
		"another variable": func(d *appsv1.Deployment) {
			c := &d.Spec.Template.Spec.Containers[0]
			c.Env = append(c.Env, corev1.EnvVar{Name: "PROXY"})
		},
	} {
		if differs(change) {
			t.Errorf("%s makes the Deployment another", what)
		}
	}
	for what, change := range map[string]func(*appsv1.Deployment){
		"a scale to none": func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(0)) },
		"another image":   func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = "other" },
		"another argument": func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.Containers[0].Args = append(d.Spec.Template.Spec.Containers[0].Args, "-x")
		},
		"a missing volume": func(d *appsv1.Deployment) { d.Spec.Template.Spec.Volumes = d.Spec.Template.Spec.Volumes[1:] },
		"a missing label":  func(d *appsv1.Deployment) { delete(d.Labels, ManagedByLabel) },
		"another owner":    func(d *appsv1.Deployment) { d.OwnerReferences[0].UID = "other" },
		"a capability":     func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].SecurityContext.Capabilities.Drop = nil },
		"another toleration": func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.Tolerations = append(d.Spec.Template.Spec.Tolerations, corev1.Toleration{})
		},
		"privilege": func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation = new(true)
		},
		"what is not applied": func(d *appsv1.Deployment) { d.Annotations = nil },
	} {
		if !differs(change) {
			t.Errorf("%s is not noticed", what)
		}
	}
}

// Another subject of the RoleBinding could do what token servers do.
func TestAnotherSubjectOfTheRoleBindingIsNoticed(t *testing.T) {
	want := RoleBinding(server("main"))
	have := want.DeepCopy()
	have.Subjects = append(have.Subjects, rbacv1.Subject{Kind: rbacv1.GroupKind, Name: "system:authenticated"})
	if applied, err := IsApplied(want, have); applied || err != nil {
		t.Errorf("it is not (%v)", err)
	}
}

// A field that is in the object and not in the spec any more may be another's; that it was applied
// once tells the hash.
func TestAFieldThatIsRemovedFromTheSpecIsNoticed(t *testing.T) {
	before, after := everything(), everything()
	after.Spec.Deployment.PodTemplate.Spec = &v1alpha1.PodSettings{}
	have, want := Deployment(before, image), Deployment(after, image)
	for _, d := range []*appsv1.Deployment{have, want} {
		if err := SetApplied(d); err != nil {
			t.Fatal(err)
		}
	}
	if applied, err := IsApplied(want, have); applied || err != nil {
		t.Errorf("the node selector stays (%v)", err)
	}
}
