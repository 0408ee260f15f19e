package tracing

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestTracesAreOnOnlyWhereTheEnvironmentAsksForThem(t *testing.T) {
	for _, test := range []struct {
		name    string
		env     map[string]string
		on      bool
		problem string
	}{
		{"nothing", nil, false, ""},
		{"an endpoint", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, true, ""},
		{"an endpoint for traces", map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, true, ""},
		{"an exporter", map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, true, ""},
		{"no exporter", map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, false, ""},
		{"disabled", map[string]string{"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, false, ""},
		{"another exporter", map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, false, `OTEL_TRACES_EXPORTER is "zipkin": set it to otlp or none`},
		{"another protocol", map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, false, "set it to http/protobuf"},
		{"the protocol", map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, true, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log bytes.Buffer
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			tracer, shutdown, err := New(t.Context(), Config{
				Getenv: func(name string) string { return test.env[name] }, Namespace: "identity", ServerName: "main", ReplicaName: "main-0",
				Version: "1.2.3", Now: time.Now, Log: slog.New(slog.NewTextHandler(&log, nil)),
			})
			if err != nil {
				t.Fatal(err)
			}
			defer shutdown()
			if (tracer != nil) != test.on {
				t.Errorf("on is %v", tracer != nil)
			}
			if logged := strings.ReplaceAll(log.String(), `\"`, `"`); !strings.Contains(logged, test.problem) || test.problem == "" && strings.Contains(logged, "no traces") {
				t.Errorf("logged is %s", logged)
			}
		})
	}
}
