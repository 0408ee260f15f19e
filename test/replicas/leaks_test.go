package replicas

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// leakDetector records the codes, tokens and secrets that clients and replicas exchange, and finds
// them in texts where they must not be.
type leakDetector struct {
	transport http.RoundTripper

	mu     sync.Mutex
	values map[string]string // what it is, by value
}

func (d *leakDetector) record(what, value string) {
	if len(value) < prefixLength { // a cookie that is deleted
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.values[value] = what
}

// RoundTrip implements http.RoundTripper.
func (d *leakDetector) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := d.transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	for _, cookie := range response.Cookies() {
		d.record("cookie "+cookie.Name, cookie.Value)
	}
	if location, err := response.Location(); err == nil {
		d.record("code", location.Query().Get("code"))
	}
	if !strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") {
		return response, nil
	}
	content, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(content))
	var body map[string]any
	if json.Unmarshal(content, &body) == nil {
		for _, name := range []string{"access_token", "refresh_token", "id_token"} {
			if token, ok := body[name].(string); ok {
				d.record(name, token)
			}
		}
	}
	return response, nil
}

// checkLeaks fails the test if an object, a record, a log or a metric contains what the leak
// detector has recorded.
func (s *replicatedServer) checkLeaks(t *testing.T) {
	t.Helper()
	objects, metrics := dump(t, s.ServerNamespace), s.metrics()
	if !strings.Contains(objects, string(s.Server.UID)) || !strings.Contains(metrics, "oauth_operator_") {
		t.Fatal("the dump is empty")
	}
	s.leaks.record("password", testenv.Password)
	for where, text := range map[string]string{
		"an object of the namespace": objects, "an object of the applications": dump(t, s.AppNamespace), "the records": s.dumpRecords(),
		"the log": testenv.Logs.String()[s.logStart:], "the audit log": auditLogFrom(t, s.auditStart), "the metrics": metrics,
	} {
		for what, value := range s.leaks.find(text) {
			t.Errorf("the %s %q is in %s", what, value, where)
		}
	}
}

// prefixLength is how many bytes of a value are searched for first.
const prefixLength = 16

// find returns the recorded values of which the text contains the usable part, by what they are.
func (d *leakDetector) find(text string) map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	byPrefix := map[string][]string{}
	values := map[string]string{}
	for value := range d.values {
		for _, form := range []string{usablePart(value), base64.StdEncoding.EncodeToString([]byte(value))} {
			byPrefix[form[:prefixLength]] = append(byPrefix[form[:prefixLength]], form)
			values[form] = value
		}
	}
	found := map[string]string{}
	for i := range max(0, len(text)-prefixLength+1) {
		for _, form := range byPrefix[text[i:i+prefixLength]] {
			if strings.HasPrefix(text[i:], form) {
				found[d.values[values[form]]] = values[form]
			}
		}
	}
	return found
}

// usablePart returns the part that an attacker needs. The part before the last dot is a key id, or
// the content of a token without its signature.
func usablePart(value string) string {
	if i := strings.LastIndex(value, "."); i >= 0 && len(value)-i > 20 {
		return value[i+1:]
	}
	return value
}

// dump returns every object of a namespace as JSON, except Secrets. It works in a test's cleanup
// too.
func dump(t *testing.T, namespace string) string {
	t.Helper()
	admin := rest.CopyConfig(testenv.ControlPlane.AdminConfig())
	admin.WarningHandler, admin.QPS = rest.NoWarnings{}, -1
	kinds, err := discovery.NewDiscoveryClientForConfig(admin)
	if err != nil {
		t.Fatal(err)
	}
	lists, err := discovery.ServerPreferredNamespacedResources(kinds)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := dynamic.NewForConfig(admin)
	if err != nil {
		t.Fatal(err)
	}
	byVersion, err := discovery.GroupVersionResources(discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list"}}, lists))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for resource := range byVersion {
		if resource.Group == "" && resource.Resource == "secrets" {
			continue
		}
		list, err := objects.Resource(resource).Namespace(namespace).List(context.Background(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		content, err := list.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		all.Write(content)
	}
	return all.String()
}

func TestTheSearchFindsWhatIsThere(t *testing.T) {
	d := &leakDetector{values: map[string]string{}}
	d.record("refresh token", "kid.c29tZXRoaW5nIHRoYXQgbm9ib2R5IG1heSBzZWU")
	d.record("password", "a long enough pass-phrase")
	for text, want := range map[string]int{
		`{"spec":{"a":"c29tZXRoaW5nIHRoYXQgbm9ib2R5IG1heSBzZWU"}}`:                               1,
		`{"b":"` + base64.StdEncoding.EncodeToString([]byte("a long enough pass-phrase")) + `"}`: 1,
		`{"kid":"kid."}`: 0,
	} {
		if got := d.find(text); len(got) != want {
			t.Errorf("in %s it finds %v", text, got)
		}
	}
}
