package cluster

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/cluster/clustertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/kubeclient"
)

const listOfTwo = `{"apiVersion":"internal.oauth-operator.dev/v1alpha1","items":[` +
	`{"apiVersion":"internal.oauth-operator.dev/v1alpha1","kind":"Entry","metadata":{"name":"a","resourceVersion":"3"},"spec":{"document":"secret"}},` +
	`{"apiVersion":"internal.oauth-operator.dev/v1alpha1","kind":"Entry","metadata":{"name":"b","resourceVersion":"4"},"spec":{"space":"scope"}}` +
	`],"kind":"EntryList","metadata":{"continue":"next","resourceVersion":"7"}}` + "\n"

func asItIs(o runtime.Object) (runtime.Object, error) { return o, nil }

func TestAListOfEntriesIsRead(t *testing.T) {
	inOtherOrder := strings.Replace(listOfTwo[:len(listOfTwo)-2]+"}", `{"apiVersion"`, `{"kind":"EntryList","metadata":{"continue":"next","resourceVersion":"7"},"more":[{"items":[]}],"apiVersion"`, 1)
	for what, text := range map[string]string{"as the API server writes it": listOfTwo, "in another order, and with a field more": inOtherOrder} {
		list, err := entryDecoder.List(strings.NewReader(text), asItIs)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if list.Continue != "next" || list.ResourceVersion != "7" || len(list.Items) != 2 {
			t.Fatalf("%s: got %+v", what, list)
		}
		a, b := list.Items[0].(*internalv1alpha1.Entry), list.Items[1].(*internalv1alpha1.Entry)
		if a.Name != "a" || a.ResourceVersion != "3" || a.Spec.Document != "secret" || b.Name != "b" || b.Spec.Document != "" || b.Spec.Space != "scope" {
			t.Errorf("%s: got %+v, %+v", what, a, b)
		}
	}
	empty := `{"apiVersion":"internal.oauth-operator.dev/v1alpha1","items":[],"kind":"EntryList","metadata":{"resourceVersion":"7"}}`
	if list, err := entryDecoder.List(strings.NewReader(empty), asItIs); err != nil || len(list.Items) != 0 || list.ResourceVersion != "7" {
		t.Errorf("an empty one: %+v, %v", list, err)
	}
}

// A list that lacks Entries would take away what they serve.
func TestAListThatIsNotWholeIsAnError(t *testing.T) {
	for length := range len(listOfTwo) - 1 {
		if _, err := entryDecoder.List(strings.NewReader(listOfTwo[:length]), asItIs); err == nil {
			t.Fatalf("cut off after %d of %d bytes: no error", length, len(listOfTwo))
		} else if strings.Contains(err.Error(), "secret") {
			t.Fatalf("the error quotes the document: %v", err)
		}
	}
	for what, text := range map[string]string{
		"a list of another kind":        strings.Replace(listOfTwo, "EntryList", "ReplicaList", 1),
		"an item of another kind":       strings.Replace(listOfTwo, `"kind":"Entry"`, `"kind":"Replica"`, 1),
		"a list of another version":     strings.Replace(listOfTwo, "v1alpha1", "v1", 1),
		"a Status":                      `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success"}`,
		"no list":                       strings.Replace(listOfTwo, `"items":[`, `"items":[[`, 1),
		"items that are null":           `{"apiVersion":"internal.oauth-operator.dev/v1alpha1","items":null,"kind":"EntryList","metadata":{}}`,
		"a document of another type":    strings.Replace(listOfTwo, `"secret"`, `{"secret":1}`, 1),
		"no JSON":                       "secret",
		"metadata of another type":      strings.Replace(listOfTwo, `"resourceVersion":"7"`, `"resourceVersion":7`, 1),
		"a comma where an item belongs": strings.Replace(listOfTwo, `},{"api`, `},,{"api`, 1),
	} {
		if _, err := entryDecoder.List(strings.NewReader(text), asItIs); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v", what, err)
		}
	}
	broken := errors.New("broken")
	if _, err := entryDecoder.List(strings.NewReader(listOfTwo), func(runtime.Object) (runtime.Object, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("an object that cannot be kept: %v", err)
	}
}

// requestLog is a transport that records the queries of requests for Entries, and answers some itself:
// those for which expires returns true, with the Status of a page that has expired.
type requestLog struct {
	next    http.RoundTripper
	expires func(url.Values) bool

	mu      sync.Mutex
	queries []url.Values
}

// RoundTrip implements http.RoundTripper.
func (l *requestLog) RoundTrip(r *http.Request) (*http.Response, error) {
	q := r.URL.Query()
	l.mu.Lock()
	l.queries = append(l.queries, q)
	l.mu.Unlock()
	if !l.expires(q) {
		return l.next.RoundTrip(r)
	}
	const gone = `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","message":"the continue token is too old","code":410}`
	return &http.Response{
		StatusCode: http.StatusGone, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(gone)),
	}, nil
}

func (l *requestLog) all() []url.Values {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]url.Values(nil), l.queries...)
}

func TestEntriesAreListedByPagesOfOneMomentAndThenWatchedFromIt(t *testing.T) {
	api := clustertest.Start(t, "https://auth.example.com")
	for i := range 5 {
		api.Put(t, documents.Namespace{Name: fmt.Sprint("n", i)})
	}
	changed := sync.OnceFunc(func() { // between two pages, one that was there goes and another comes
		api.Delete(t, documents.Namespace{Name: "n0"})
		api.Put(t, documents.Namespace{Name: "n5"})
	})
	for _, c := range []struct {
		what    string
		expires func(url.Values) bool
	}{
		{"pages", func(q url.Values) bool {
			if q.Get("continue") != "" {
				changed()
			}
			return false
		}},
		{"a page that has expired", func(q url.Values) bool { return q.Get("continue") != "" }},
	} {
		log, store := &requestLog{expires: c.expires}, &entryNames{Store: cache.NewStore(cache.MetaNamespaceKeyFunc)}
		watchWith(t, api, log, store)
		eventually.True(t, c.what+": all are known", func() bool { return store.has("n1", "n5") && !store.has("n0") })
		queries := log.all()
		if first := queries[0]; first.Has("watch") || first.Get("limit") != "2" || first.Get("resourceVersion") != "" || first.Get("continue") != "" {
			t.Errorf("%s: first it asked for %v, want a page of what there is now", c.what, first)
		}
		if store.listed() != 5 { // of six that there were, and none twice
			t.Errorf("%s: the list has %d Entries, want the 5 of one moment", c.what, store.listed())
		}
		eventually.True(t, c.what+": it watches", func() bool {
			queries := log.all()
			last := queries[len(queries)-1]
			return last.Get("watch") == "true" && last.Get("resourceVersion") == store.version()
		})
	}
}

// entryNames is the Store of a reflector, which remembers what was listed first.
type entryNames struct {
	cache.Store

	mu           sync.Mutex
	first        int
	firstVersion string
}

// Replace implements cache.ReflectorStore.
func (s *entryNames) Replace(list []any, version string) error {
	s.mu.Lock()
	s.first, s.firstVersion = len(list), version
	s.mu.Unlock()
	return s.Store.Replace(list, version)
}

func (s *entryNames) listed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first
}

func (s *entryNames) version() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.firstVersion
}

func (s *entryNames) has(values ...string) bool {
	found := map[string]bool{}
	for _, o := range s.List() {
		found[o.(*internalv1alpha1.Entry).Spec.Value] = true
	}
	for _, value := range values {
		if !found[value] {
			return false
		}
	}
	return true
}

func watchWith(t *testing.T, api *clustertest.API, log *requestLog, store cache.ReflectorStore) {
	t.Helper()
	config := api.AdminConfig()
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { log.next = next; return log })
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubeclient.New(config, httpClient, internalv1alpha1.GroupVersion, internalv1alpha1.AddToScheme)
	if err != nil {
		t.Fatal(err)
	}
	r := kubeclient.NewReflector(kubeclient.Watch{
		Client: client, Namespace: clustertest.Namespace, Resource: "entries",
		LabelSelector: internalv1alpha1.ServerUIDLabel + "=" + api.ServerUID, Object: &internalv1alpha1.Entry{}, Store: store, Decoder: entryDecoder,
		MinRetryDelay: time.Millisecond, MaxRetryDelay: time.Second, OnOpen: func() {}, OnClose: func() {},
	})
	r.WatchListPageSize = 2
	go r.RunWithContext(t.Context())
}
