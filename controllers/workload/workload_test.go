package workload

import (
	"bytes"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// go test ./controllers/workload -update writes the objects of today over the golden files.
var update = flag.Bool("update", false, "write the golden files")

func server(name string) *v1alpha1.AuthorizationServer {
	return &v1alpha1.AuthorizationServer{
		ObjectMeta: metav1.ObjectMeta{Namespace: "identity", Name: name, UID: "11111111-1111-1111-1111-111111111111"},
		Spec:       v1alpha1.AuthorizationServerSpec{Issuer: "https://auth.example.com"},
	}
}

const image = "registry.example.com/oauth-operator:1.2.3"

// everything is a server that sets each field that the objects are made of.
func everything() *v1alpha1.AuthorizationServer {
	s := server("main")
	s.Spec.TLS = &v1alpha1.TLSSettings{SecretName: "auth-tls"}
	s.Spec.Storage = &v1alpha1.StorageSettings{
		Type:       v1alpha1.StoragePostgreSQL,
		PostgreSQL: &v1alpha1.PostgreSQLSettings{SecretRef: v1alpha1.SecretKeyReference{Name: "database", Key: "uri"}},
	}
	s.Spec.Deployment = v1alpha1.DeploymentSettings{
		Replicas: new(int32(3)),
		Resources: &v1alpha1.ContainerResources{
			Limits:   corev1.ResourceList{"memory": resource.MustParse("512Mi")},
			Requests: corev1.ResourceList{"ephemeral-storage": resource.MustParse("1Mi")},
		},
		PodTemplate: &v1alpha1.PodTemplate{
			Metadata: &v1alpha1.ExtraMetadata{Labels: map[string]string{"team": "identity"}, Annotations: map[string]string{"sidecar.istio.io/inject": "true"}},
			Spec: &v1alpha1.PodSettings{
				NodeSelector:              v1alpha1.NodeSelector{"pool": "identity"},
				Affinity:                  &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{}},
				Tolerations:               []corev1.Toleration{{Key: "pool", Operator: corev1.TolerationOpExists}},
				TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{MaxSkew: 2, TopologyKey: "rack", WhenUnsatisfiable: corev1.DoNotSchedule}},
				PriorityClassName:         "high",
				RuntimeClassName:          "gvisor",
				ImagePullSecrets:          []v1alpha1.ImagePullSecret{{Name: "registry"}},
			},
		},
		Service: &v1alpha1.ServiceSettings{
			ExtraMetadata: v1alpha1.ExtraMetadata{Labels: map[string]string{"team": "identity"}, Annotations: map[string]string{"example.com/internal": "true"}},
			Type:          "LoadBalancer", LoadBalancerClass: "example.com/nlb", ExternalTrafficPolicy: "Local",
		},
	}
	return s
}

func inMemory() *v1alpha1.AuthorizationServer {
	s := server("main")
	s.Spec.Storage = &v1alpha1.StorageSettings{Type: v1alpha1.StorageMemory}
	return s
}

func TestTheTokenServerOfAServerIsMadeOfTheseObjects(t *testing.T) {
	for file, object := range map[string]any{
		"serviceaccount":        ServiceAccount(server("main")),
		"rolebinding":           RoleBinding(server("main")),
		"deployment":            Deployment(server("main"), image),
		"deployment-everything": Deployment(everything(), image),
		"deployment-memory":     Deployment(inMemory(), image),
		"service":               Service(server("main")),
		"service-everything":    Service(everything()),
		"poddisruptionbudget":   PodDisruptionBudget(server("main")),
	} {
		file = "testdata/" + file + ".yaml"
		got, err := yaml.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs (-update writes it): %v\ngot:\n%s\nwant:\n%s", file, err, got, want)
		}
	}
}

// The manager may bind one role, and the token server may use it in its own namespace: a change of the name or the kind here changes what a
// token server may do.
func TestATokenServerGetsTheOneRoleWithinItsNamespaceOnly(t *testing.T) {
	binding, account := RoleBinding(server("main")), ServiceAccount(server("main"))
	if binding.RoleRef.Kind != "ClusterRole" || binding.RoleRef.Name != "oauth-operator-tokenserver" || binding.Namespace != "identity" {
		t.Errorf("%+v in %s", binding.RoleRef, binding.Namespace)
	}
	if len(binding.Subjects) != 1 || binding.Subjects[0].Kind != "ServiceAccount" || binding.Subjects[0].Name != account.Name ||
		binding.Subjects[0].Namespace != account.Namespace {
		t.Errorf("%+v for %s/%s", binding.Subjects, account.Namespace, account.Name)
	}
}

func TestTheNamesOfTheObjectsOfTheLongestNameAreValid(t *testing.T) {
	longest := strings.Repeat("a", 40)
	for _, name := range []string{ServiceAccountName(longest), KeysSecretName(longest)} {
		if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
			t.Errorf("%s: %s", name, problems)
		}
	}
	for key, value := range Labels(longest) {
		if problems := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...); len(problems) > 0 {
			t.Errorf("label %s: %s: %s", key, value, problems)
		}
	}
}

func TestTwoServersShareNoObject(t *testing.T) {
	a, b := server("main"), server("main-tokenserver")
	if ServiceAccount(a).Name == ServiceAccount(b).Name || KeysSecretName(a.Name) == KeysSecretName(b.Name) || KeysSecretName(a.Name) == ServiceAccountName(a.Name) {
		t.Error("two objects have one name")
	}
}

func TestWithStorageInMemoryOnePodRunsAtATime(t *testing.T) {
	s := inMemory()
	s.Spec.Deployment.Replicas = new(int32(5))
	d := Deployment(s, image)
	if *d.Spec.Replicas != 1 || d.Spec.Strategy.Type != "Recreate" || PodDisruptionBudget(s) != nil {
		t.Errorf("%d replicas, strategy %s, budget %v", *d.Spec.Replicas, d.Spec.Strategy.Type, PodDisruptionBudget(s))
	}
	s.Spec.Deployment.Replicas = new(int32(0))
	if d := Deployment(s, image); *d.Spec.Replicas != 0 {
		t.Errorf("a server that is scaled to 0 has %d replicas", *d.Spec.Replicas)
	}
}

// Secrets are in files alone: an environment is inherited, dumped and logged.
func TestNothingOfASecretIsInTheEnvironment(t *testing.T) {
	for _, s := range []*v1alpha1.AuthorizationServer{server("main"), everything()} {
		c := Deployment(s, image).Spec.Template.Spec.Containers[0]
		for _, env := range c.Env {
			if env.Value != "" || env.ValueFrom.FieldRef == nil {
				t.Errorf("%+v", env)
			}
		}
		for _, m := range c.VolumeMounts {
			if m.SubPath != "" || m.SubPathExpr != "" || !m.ReadOnly {
				t.Errorf("the files of %+v do not change with their Secret, or can be written", m)
			}
		}
		if len(c.EnvFrom) > 0 {
			t.Errorf("%+v", c.EnvFrom)
		}
	}
}

// A Deployment that Kubernetes finds invalid is refused; a request above the limit is.
func TestARequestIsNeverAboveTheLimit(t *testing.T) {
	for _, limit := range []string{"64Mi", "160Mi", "1Gi"} {
		r := resources(&v1alpha1.ContainerResources{Limits: corev1.ResourceList{"memory": resource.MustParse(limit)}})
		if request, ok := r.Requests["memory"]; ok && request.Cmp(r.Limits["memory"]) > 0 {
			t.Errorf("request %s, limit %s", request.String(), limit)
		}
		if cpu := r.Requests["cpu"]; cpu.String() != "100m" {
			t.Errorf("of cpu, %s are requested", cpu.String())
		}
	}
}

func TestTheLabelsOfThePodsAreThoseOfTheSelector(t *testing.T) {
	d, s, b := Deployment(everything(), image), Service(everything()), PodDisruptionBudget(everything())
	for _, selector := range []map[string]string{d.Spec.Selector.MatchLabels, s.Spec.Selector, b.Spec.Selector.MatchLabels} {
		for key, value := range selector {
			if d.Spec.Template.Labels[key] != value {
				t.Errorf("the Pods have %v, the selector wants %s=%s", d.Spec.Template.Labels, key, value)
			}
		}
	}
	if c := d.Spec.Template.Spec.TopologySpreadConstraints[0]; c.LabelSelector == nil || len(c.LabelSelector.MatchLabels) == 0 {
		t.Error("a spread constraint without a selector counts no Pods")
	}
}

// docs/external.md has a Deployment for deployment type External.
func TestTheDeploymentOfThePageOnExternalRunsTheSame(t *testing.T) {
	content, err := os.ReadFile("../../docs/external.md")
	if err != nil {
		t.Fatal(err)
	}
	_, manifest, _ := strings.Cut(string(content), "```yaml\n")
	manifest, _, _ = strings.Cut(manifest, "---\n")
	var theirs appsv1.Deployment
	if err := yaml.UnmarshalStrict([]byte(manifest), &theirs); err != nil {
		t.Fatal(err)
	}
	ours := Deployment(server("main"), image)
	ours.Spec.Template.Labels, theirs.Spec.Template.Labels = nil, nil
	ours.Spec.Template.Spec.TopologySpreadConstraints = nil
	want, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&theirs.Spec.Template)
	if err != nil {
		t.Fatal(err)
	}
	have, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&ours.Spec.Template)
	if err != nil {
		t.Fatal(err)
	}
	if !covers(have, want, "") {
		t.Errorf("the page has\n%v\nand the operator applies\n%v", want, have)
	}
	if len(theirs.Spec.Template.Spec.Containers[0].VolumeMounts) != len(ours.Spec.Template.Spec.Containers[0].VolumeMounts) {
		t.Error("the page has other volumes")
	}
}

// The right to write AuthorizationServers is none to run any program with the keys of a token server.
func TestTheSpecChangesOfThePodsWhatIsHarmless(t *testing.T) {
	plain, changed := everything(), everything()
	changed.Spec.Deployment.Type = v1alpha1.DeploymentManaged
	checkIsSet(t, "deployment", reflect.ValueOf(changed.Spec.Deployment))
	plain.Spec.Deployment = v1alpha1.DeploymentSettings{}
	got, want := Deployment(changed, image).Spec.Template, Deployment(plain, image).Spec.Template
	if got.Spec.NodeSelector == nil || got.Annotations == nil {
		t.Fatal("the spec changes nothing")
	}
	for _, p := range []*corev1.PodTemplateSpec{&got, &want} {
		delete(p.Labels, "team")
		p.Annotations = nil
		p.Spec.Containers[0].Resources = corev1.ResourceRequirements{}
		s := &p.Spec
		s.NodeSelector, s.Affinity, s.Tolerations, s.TopologySpreadConstraints = nil, nil, nil, nil
		s.PriorityClassName, s.RuntimeClassName, s.ImagePullSecrets = "", nil, nil
	}
	if !equality.Semantic.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
}

// checkIsSet fails the test for each field of our types that has no value: what it changes would not
// be seen.
func checkIsSet(t *testing.T, path string, value reflect.Value) {
	t.Helper()
	switch {
	case value.IsZero():
		t.Errorf("everything() leaves %s out", path)
	case value.Kind() == reflect.Pointer:
		checkIsSet(t, path, value.Elem())
	case value.Kind() == reflect.Struct && strings.Contains(value.Type().PkgPath(), "oauth-operator"):
		for i := range value.NumField() {
			checkIsSet(t, path+"."+value.Type().Field(i).Name, value.Field(i))
		}
	}
}
