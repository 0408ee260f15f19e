package tokenserver_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/tracing"
)

// collector receives traces by OTLP, and keeps them as JSON.
type collector struct {
	*httptest.Server

	mu       sync.Mutex
	received strings.Builder
}

func startCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			unzipped, err := gzip.NewReader(r.Body)
			if err != nil {
				t.Error(err)
				return
			}
			body = unzipped
		}
		var message bytes.Buffer
		var request collectorv1.ExportTraceServiceRequest
		if _, err := message.ReadFrom(body); err != nil || proto.Unmarshal(message.Bytes(), &request) != nil {
			t.Error("the message cannot be read", err)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.received.WriteString(protojson.MarshalOptions{}.Format(&request))
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(c.Close)
	return c
}

// traces returns what was received, without white space.
func (c *collector) traces() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.ReplaceAll(c.received.String(), " ", "")
}

func TestTracesGoWhereTheEnvironmentSaysAndHoldNoSecret(t *testing.T) {
	c := startCollector(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
	tracer, shutdown, err := tracing.New(t.Context(), tracing.Config{
		Getenv: os.Getenv, Namespace: "identity", ServerName: "main", ReplicaName: "main-0", Version: "1.2.3", Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	r := startProgram(t)
	r.stop()
	r.options.Tracer = tracer
	r.run(t)
	r.api.Put(t, serverDocument(r.api.ServerUID, r.issuer(), r.keys), documents.Namespace{Name: "apps"}, serviceClient())
	eventually.True(t, "ready", func() bool { return r.readiness(t) == "ok" })
	eventually.True(t, "a token", func() bool { status, _ := r.token(t); return status == http.StatusOK })
	_, answer := r.token(t)
	token := answer["access_token"].(string)
	if status, _ := r.introspect(t, token); status != http.StatusOK {
		t.Fatalf("introspection answers %d", status)
	}
	// What is refused leaves a span too.
	for _, form := range []url.Values{
		{"grant_type": {"password"}, "username": {"typed-name"}, "password": {"typed-password"}},
		{"grant_type": {"authorization_code"}, "code": {"typed-code"}, "code_verifier": {strings.Repeat("typed-verifier", 4)}},
		{"grant_type": {"refresh_token"}, "refresh_token": {"typed-token"}},
	} {
		response, err := http.DefaultClient.Do(r.tokenRequest(t.Context(), t, form))
		if err != nil || response.Body.Close() != nil || response.StatusCode == http.StatusOK {
			t.Fatalf("%v is answered %v (%v)", form, response, err)
		}
	}
	r.get(t, r.options.Listen, "/authorize?client_id=typed-client&state=typed-state&login_hint=typed-name&id_token_hint=typed-token")
	r.stop()
	shutdown()
	traces := c.traces()
	for _, want := range []string{
		`"name":"GETauthorize"`, `"name":"POSTtoken"`, `"name":"POSTintrospect"`, `"name":"storagerecent_is_marked"`, `"apps.batch"`, `"client_credentials"`,
		`"oauth-operator-tokenserver"`, `"deployment.environment"`, `"1.2.3"`,
	} {
		if !strings.Contains(traces, want) {
			t.Errorf("the traces lack %s", want)
		}
	}
	basic := base64.StdEncoding.EncodeToString([]byte("apps.batch:" + secret))
	for _, part := range append(strings.Split(token, "."), secret, token, basic, "typed") {
		if strings.Contains(traces, part) {
			t.Error("a secret or a token is in the traces")
		}
	}
	if t.Failed() {
		t.Log(traces)
	}
}
