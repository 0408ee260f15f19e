package web

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/oauth-operator/oauth-operator/test/documented"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// loggedFields returns the fields of each event of the log, by its message.
func loggedFields(t *testing.T, log string) map[string]map[string]any {
	t.Helper()
	events := map[string]map[string]any{}
	for line := range strings.Lines(log) {
		var event map[string]any
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Fatal(err)
		}
		events[event["msg"].(string)] = event
	}
	return events
}

func TestTheFieldsOfTheLogAreDocumented(t *testing.T) {
	e, log, _ := newAdapter(t)
	e.Tracing = &Tracing{Tracer: sdktrace.NewTracerProvider().Tracer("test"), TrustedProxies: func() []string { return nil }}
	request(e.ForAPI("token", func(_ http.ResponseWriter, r *http.Request) error {
		NoteClient(r.Context(), "shop.web")
		NoteGrantType(r.Context(), oauth.GrantPassword)
		NoteSource(r.Context(), netip.MustParsePrefix("192.0.2.1/32"))
		return errors.New("the disk is full")
	}), "POST", "/token")
	events := loggedFields(t, log.String())
	rows := documented.Table(t, "monitoring.md", "## The log of requests")
	types := map[string]string{}
	for i, name := range documented.Column(rows, 0) {
		types[strings.Trim(name, "`")] = documented.Column(rows, 1)[i]
	}
	if got, want := slices.Sorted(maps.Keys(events["request"])), slices.Sorted(maps.Keys(types)); !slices.Equal(got, want) {
		t.Errorf("logged are the fields %v, documented %v", got, want)
	}
	for name, value := range events["request"] {
		want := map[bool]string{true: "number", false: "string"}
		if _, isNumber := value.(float64); types[name] != want[isNumber] {
			t.Errorf("%s is documented as a %s and logged as %v", name, types[name], value)
		}
	}
	if got, want := slices.Sorted(maps.Keys(events["request failed"])), []string{"cause", "endpoint", "level", "msg", "request", "time"}; !slices.Equal(got, want) {
		t.Errorf("of what failed, %v are logged, want %v", got, want)
	}
	always := map[string]bool{}
	for i, name := range documented.Column(rows, 0) {
		always[strings.Trim(name, "`")] = documented.Column(rows, 2)[i] == "always"
	}
	log.Reset()
	e.Tracing = nil
	request(e.ForAPI("jwks", func(w http.ResponseWriter, _ *http.Request) error { return Bytes(w, 200, "text/plain", nil) }), "GET", "/jwks")
	for name := range always {
		if _, logged := loggedFields(t, log.String())["request"][name]; logged != always[name] {
			t.Errorf("%s is logged of a request without anything special: %v", name, logged)
		}
	}
}
