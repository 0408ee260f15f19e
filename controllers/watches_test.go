package controllers

import (
	"context"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// lossyWatch is a watch of a kind that can be lost: the managers that the test starts from now on see
// nothing of the kind then, and afterwards only what there is.
type lossyWatch struct {
	mu      sync.Mutex
	changed *sync.Cond
	lost    bool
	expired bool // it is not known what happened since a version
	end     []context.CancelFunc
}

func loseWatch(t *testing.T, kind string) *lossyWatch {
	t.Helper()
	l := &lossyWatch{}
	l.changed = sync.NewCond(&l.mu)
	interceptRequests(t, func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, kind) {
			return next.RoundTrip(r)
		}
		ctx, expired := l.begin(r)
		if expired {
			const gone = `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410}`
			return &http.Response{
				StatusCode: http.StatusGone, Header: http.Header{"Content-Type": {"application/json"}},
				Body: io.NopCloser(strings.NewReader(gone)), Request: r,
			}, nil
		}
		return next.RoundTrip(r.WithContext(ctx))
	})
	t.Cleanup(l.restore)
	return l
}

// begin waits while the watch is lost, and reports whether what a request asks for is not known.
func (l *lossyWatch) begin(r *http.Request) (ctx context.Context, expired bool) {
	defer context.AfterFunc(r.Context(), l.changed.Broadcast)()
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.lost && r.Context().Err() == nil {
		l.changed.Wait()
	}
	ctx, end := context.WithCancel(r.Context())
	l.end = append(l.end, end)
	query := r.URL.Query()
	if isList := query.Get("watch") == "" || query.Get("sendInitialEvents") != ""; isList {
		l.expired = false
	}
	return ctx, l.expired
}

func (l *lossyWatch) lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost, l.expired = true, true
	for _, end := range l.end {
		end()
	}
	l.end = nil
}

func (l *lossyWatch) restore() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = false
	l.changed.Broadcast()
}

// A server that is deleted and created again meanwhile is one update to the manager, and its generation
// is what it was.
func TestASecretThatAServerCameToNameUnseenIsRemovedFromTheCopies(t *testing.T) {
	watch := loseWatch(t, "/authorizationservers")
	env := newEnv(t)
	p := env.readyProvider("acme")
	newOther := func() *v1alpha1.AuthorizationServer {
		return &v1alpha1.AuthorizationServer{
			ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "other"},
			Spec:       v1alpha1.AuthorizationServerSpec{Issuer: env.server.Spec.Issuer + "/other"},
		}
	}
	other, again := newOther(), newOther()
	create(t, other)
	env.waitForCondition(other, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
	watch.lose()
	env.deleteObject(other)
	again.Spec.TLS = &v1alpha1.TLSSettings{SecretName: "acme"}
	create(t, again)
	watch.restore()
	env.waitForCondition(p, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonSecretRefused)
	if files := env.upstreams(); len(files) > 0 {
		t.Errorf("still there: %v", slices.Collect(maps.Keys(files)))
	}
}
