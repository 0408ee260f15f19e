package web

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// traced returns an Adapter whose spans are recorded.
func traced(t *testing.T, proxies ...string) (*Adapter, *tracetest.SpanRecorder) {
	t.Helper()
	a, _, _ := newAdapter(t)
	spans := tracetest.NewSpanRecorder()
	a.Tracing = &Tracing{
		Tracer:         sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test"),
		TrustedProxies: func() []string { return proxies },
	}
	return a, spans
}

func TestARequestIsASpanWithWhatTheLogHas(t *testing.T) {
	a, spans := traced(t)
	request(a.ForAPI("token", func(_ http.ResponseWriter, r *http.Request) error {
		NoteClient(r.Context(), "shop.web")
		NoteGrantType(r.Context(), oauth.GrantRefreshToken)
		return errors.New("the disk is full")
	}), "POST", "/token?refresh_token=secret")
	ended := spans.Ended()
	if len(ended) != 1 || ended[0].Name() != "POST token" || ended[0].Status().Code.String() != "Error" {
		t.Fatalf("spans are %v", ended)
	}
	got := map[string]string{}
	for _, a := range ended[0].Attributes() {
		got[string(a.Key)] = a.Value.String()
		if strings.Contains(a.Value.String(), "secret") || strings.Contains(a.Value.String(), "disk") {
			t.Errorf("%s is %s", a.Key, a.Value.String())
		}
	}
	for key, want := range map[string]string{
		"http.request.method": "POST", "http.response.status_code": "500", "oauth.endpoint": "token", "oauth.client_id": "shop.web",
		"oauth.grant_type": "refresh_token", "error.type": "server_error",
	} {
		if got[key] != want {
			t.Errorf("%s is %q, want %q", key, got[key], want)
		}
	}
	if len(got) != 7 || len(got["oauth.request_id"]) != 24 || len(ended[0].Events()) != 0 {
		t.Errorf("attributes are %v, events %v", got, ended[0].Events())
	}
}

func TestOnlyTracesOfTrustedProxiesAreContinued(t *testing.T) {
	const theirs = "0af7651916cd43dd8448eb211c80319c"
	for source, continued := range map[string]bool{"192.0.2.1:1234": true, "198.51.100.1:1234": false} {
		a, spans := traced(t, "192.0.2.0/24")
		r := httptest.NewRequest("GET", "/jwks", nil)
		r.RemoteAddr = source
		r.Header.Set("Traceparent", "00-"+theirs+"-b7ad6b7169203331-01")
		a.ForAPI("jwks", func(w http.ResponseWriter, _ *http.Request) error { return Bytes(w, 200, "text/plain", nil) }).
			ServeHTTP(httptest.NewRecorder(), r)
		ended := spans.Ended()
		if len(ended) != 1 || (ended[0].SpanContext().TraceID().String() == theirs) != continued {
			t.Errorf("from %s: %v", source, ended)
		}
	}
}

func BenchmarkRequest(b *testing.B) {
	for _, test := range []struct {
		name    string
		tracing *Tracing
	}{
		{"without traces", nil},
		{"with traces", &Tracing{Tracer: sdktrace.NewTracerProvider().Tracer("benchmark"), TrustedProxies: func() []string { return nil }}},
	} {
		b.Run(test.name, func(b *testing.B) {
			a, _, _ := newAdapter(b)
			a.Log = slog.New(slog.DiscardHandler)
			a.Tracing = test.tracing
			h := a.ForAPI("jwks", func(w http.ResponseWriter, _ *http.Request) error { return Bytes(w, 200, "text/plain", nil) })
			r := httptest.NewRequest("GET", "/jwks", nil)
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(httptest.NewRecorder(), r)
			}
		})
	}
}
