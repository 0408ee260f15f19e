package workload

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// traceVariables are the environment variables of OpenTelemetry that token servers get from the
// manager. OTEL_EXPORTER_OTLP_HEADERS is not among them, since it holds credentials, nor are
// OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES: they describe the manager, often down to its Pod,
// and each manager that begins to lead would roll out all token servers.
var traceVariables = []string{
	"OTEL_SDK_DISABLED",
	"OTEL_TRACES_EXPORTER", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG",
	"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
	"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
	"OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_COMPRESSION",
}

// TraceVariables returns those of the manager's environment variables that say where token servers
// send traces. They are the same for all: where traces go is a matter of the cluster, as the image
// is, and not of the author of an AuthorizationServer.
func TraceVariables(getenv func(name string) string) []corev1.EnvVar {
	var set []corev1.EnvVar
	for _, name := range traceVariables {
		if value := getenv(name); value != "" {
			set = append(set, corev1.EnvVar{Name: name, Value: value})
		}
	}
	return set
}

// SetVariables adds environment variables to the token server.
func SetVariables(d *appsv1.Deployment, variables []corev1.EnvVar) {
	c := &d.Spec.Template.Spec.Containers[0]
	c.Env = append(c.Env, variables...)
}
