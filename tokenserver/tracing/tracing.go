// Package tracing sets up OpenTelemetry traces from OpenTelemetry's own environment variables. They
// are off unless one of these asks for them.
package tracing

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// scope is the name of the instrumentation.
const scope = "github.com/oauth-operator/oauth-operator/tokenserver"

// shutdownTimeout is how long the last spans may take to be sent.
const shutdownTimeout = 3 * time.Second

// errorInterval is how often at most it is logged that spans cannot be sent.
const errorInterval = time.Minute

// Config of traces. All fields are required.
type Config struct {
	// Getenv is os.Getenv: the SDK reads the environment of the process too.
	Getenv func(name string) string
	// Namespace and ServerName are those of the AuthorizationServer, ReplicaName is the name of this
	// process.
	Namespace, ServerName, ReplicaName string
	Version                            string
	Now                                func() time.Time
	Log                                *slog.Logger
}

// New returns a Tracer, and a function that sends the spans that are left. The Tracer is nil if
// there are to be no traces: nothing asks for them, or the variables ask for something that is not
// supported, which is logged, since a server without traces is better than none.
func New(ctx context.Context, c Config) (tracer trace.Tracer, shutdown func(), err error) {
	off := func() {}
	on, problem := isOn(c.Getenv)
	if problem != "" {
		c.Log.Warn("there are no traces: " + problem)
	}
	if !on {
		return nil, off, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, off, fmt.Errorf("setting up the exporter of traces: %w", err)
	}
	// What comes later has priority: the variables over what the program says.
	described, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithAttributes(
			attribute.String("service.name", "oauth-operator-tokenserver"), attribute.String("service.version", c.Version),
			attribute.String("service.instance.id", c.ReplicaName), attribute.String("k8s.namespace.name", c.Namespace),
			attribute.String("oauth_operator.server", c.ServerName),
		),
		resource.WithFromEnv())
	if err != nil {
		return nil, off, fmt.Errorf("reading OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	otel.SetLogger(logr.FromSlogHandler(c.Log.Handler()))
	otel.SetErrorHandler(&errorLog{now: c.Now, log: c.Log})
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(described))
	c.Log.Info("sending traces")
	return provider.Tracer(scope), func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			c.Log.Warn("cannot send the last spans", "error", err.Error())
		}
	}, nil
}

// isOn reports whether the variables ask for traces. Problem says why they cannot have them.
func isOn(getenv func(string) string) (on bool, problem string) {
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") {
		return false, ""
	}
	switch exporter := getenv("OTEL_TRACES_EXPORTER"); exporter {
	case "none":
		return false, ""
	case "otlp":
	case "":
		// OpenTelemetry would send traces to this machine, although no setting asks for that.
		if cmp.Or(getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), getenv("OTEL_EXPORTER_OTLP_ENDPOINT")) == "" {
			return false, ""
		}
	default:
		return false, fmt.Sprintf("OTEL_TRACES_EXPORTER is %q: set it to otlp or none", exporter)
	}
	protocol := cmp.Or(getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), getenv("OTEL_EXPORTER_OTLP_PROTOCOL"))
	if protocol != "" && protocol != "http/protobuf" {
		return false, fmt.Sprintf("OTEL_EXPORTER_OTLP_PROTOCOL is %q: set it to http/protobuf, and the endpoint to the port for that, such as 4318", protocol)
	}
	return true, ""
}

// errorLog is an otel.ErrorHandler that logs.
type errorLog struct {
	now func() time.Time
	log *slog.Logger

	mu   sync.Mutex
	last time.Time
}

// Handle implements otel.ErrorHandler.
func (l *errorLog) Handle(err error) {
	now := l.now()
	l.mu.Lock()
	due := now.Sub(l.last) >= errorInterval
	if due {
		l.last = now
	}
	l.mu.Unlock()
	if due {
		l.log.Warn("cannot send traces", "error", err.Error())
	}
}
