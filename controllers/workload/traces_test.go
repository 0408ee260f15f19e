package workload

import (
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestTokenServersGetTheVariablesOfTracesAndNoCredentials(t *testing.T) {
	for name, value := range map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_SAMPLER": "always_off", "OTEL_TRACES_EXPORTER": "",
		"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer secret", "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "authorization=Bearer secret",
		"OTEL_SERVICE_NAME": "the-manager", "OTEL_RESOURCE_ATTRIBUTES": "k8s.pod.name=the-manager-1", "HTTPS_PROXY": "http://user:secret@proxy",
	} {
		t.Setenv(name, value)
	}
	d := Deployment(server("main"), image)
	want := slices.Concat(d.Spec.Template.Spec.Containers[0].Env, []corev1.EnvVar{
		{Name: "OTEL_TRACES_SAMPLER", Value: "always_off"}, {Name: "OTEL_EXPORTER_OTLP_ENDPOINT", Value: "http://collector:4318"},
	})
	SetVariables(d, TraceVariables(os.Getenv))
	if got := d.Spec.Template.Spec.Containers[0].Env; !slices.EqualFunc(got, want, func(a, b corev1.EnvVar) bool { return a.Name == b.Name && a.Value == b.Value }) {
		t.Errorf("the environment is %v", got)
	}
	for _, name := range traceVariables {
		if strings.Contains(name, "HEADERS") || strings.Contains(name, "KEY") {
			t.Errorf("%s may be a credential", name)
		}
	}
}
