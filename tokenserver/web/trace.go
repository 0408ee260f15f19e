package web

import (
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Tracing makes a span of each request. Its attributes have what the log has of the request.
type Tracing struct {
	Tracer trace.Tracer
	// TrustedProxies returns the proxies whose traces are continued, in CIDR notation. Any other
	// client could decide what is sampled, and join the traces of others.
	TrustedProxies func() []string
}

// startSpan starts the span of a request, and returns the request with it.
func (t *Tracing) startSpan(r *http.Request, endpoint string) (*http.Request, trace.Span) {
	ctx := r.Context()
	if address, ok := parseAddress(r.RemoteAddr); ok && containsAddress(parsePrefixes(t.TrustedProxies()), address) {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(r.Header))
	}
	method := knownMethod(r.Method)
	ctx, span := t.Tracer.Start(ctx, method+" "+endpoint, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", method), attribute.String("oauth.endpoint", endpoint)))
	return r.WithContext(ctx), span
}

// endSpan ends the span of a request.
func endSpan(span trace.Span, event *event, status int) {
	if span.IsRecording() {
		attributes := []attribute.KeyValue{
			attribute.Int("http.response.status_code", status), attribute.String("oauth.request_id", event.id),
		}
		for _, a := range []struct{ key, value string }{
			{"oauth.client_id", event.clientID}, {"oauth.grant_type", event.grantType}, {"error.type", event.code},
		} {
			if a.value != "" {
				attributes = append(attributes, attribute.String(a.key, a.value))
			}
		}
		span.SetAttributes(attributes...)
		if status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
	}
	span.End()
}

// traceID returns the id of the trace of a request; empty if its trace is not sent.
func (e *event) traceID() string {
	if e.span == nil || !e.span.SpanContext().IsSampled() {
		return ""
	}
	return e.span.SpanContext().TraceID().String()
}
