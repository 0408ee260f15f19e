package measured_test

import (
	"context"
	"crypto/rand"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/measured"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/memory"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/storagetest"
)

// backend is a measured Store in memory.
type backend struct {
	*measured.Store
	memory  *memory.Store
	faulty  *storagetest.Faulty
	metrics *prometheus.Registry
}

func (b *backend) SetMarkBounds(kind storage.MarkKind, bounds storage.MarkBounds) {
	b.memory.SetMarkBounds(kind, bounds)
}

func (b *backend) SetGrantBounds(perUserAndClient, perServer int) {
	b.memory.SetGrantBounds(perUserAndClient, perServer)
}

func (b *backend) SetIdentityBound(perServer int) { b.memory.SetIdentityBound(perServer) }

func (b *backend) DeleteIdentity(ctx context.Context, subject string) error {
	return b.memory.DeleteIdentity(ctx, subject)
}

func (b *backend) DeleteConsent(ctx context.Context, userUID, clientUID string) error {
	return b.memory.DeleteConsent(ctx, userUID, clientUID)
}

func open(t *testing.T) *backend {
	t.Helper()
	m, err := memory.New(time.Now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{memory: m, faulty: &storagetest.Faulty{Store: m}, metrics: prometheus.NewRegistry()}
	if b.Store, err = measured.New(b.faulty, 100, time.Now, b.metrics); err != nil {
		t.Fatal(err)
	}
	return b
}

// values returns the metrics that are not zero: values by their labels, and how often a histogram
// was observed.
func (b *backend) values(t *testing.T, name string) map[string]float64 {
	t.Helper()
	families, err := b.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		if family.GetName() != "oauth_operator_tokenserver_storage_"+name {
			continue
		}
		for _, metric := range family.GetMetric() {
			key := ""
			for _, label := range metric.GetLabel() {
				key += label.GetValue() + " "
			}
			if n := metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount()); n > 0 {
				values[key] = n
			}
		}
	}
	return values
}

func TestAMeasuredStoreIsAStore(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storagetest.Backend { return open(t) })
}

func TestEachCallIsPassedOnAndMeasuredOnce(t *testing.T) {
	for method := range reflect.TypeFor[storage.Store]().Methods() {
		if slices.Contains([]string{"OnEnd", "SetNotBefore", "SetIdentitySpecs"}, method.Name) {
			continue
		}
		t.Run(method.Name, func(t *testing.T) {
			b := open(t)
			in := []reflect.Value{reflect.ValueOf(t.Context())}
			for i := 1; i < method.Type.NumIn(); i++ {
				in = append(in, reflect.Zero(method.Type.In(i)))
			}
			b.faulty.Fail(method.Name, storagetest.Unavailable)
			out := reflect.ValueOf(b.Store).MethodByName(method.Name).Call(in)
			if err := out[len(out)-1].Interface(); err != storage.ErrUnavailable { //nolint:errorlint // passed on as it is
				t.Errorf("the error is %v", err)
			}
			if n := b.faulty.Calls(method.Name); n != 1 {
				t.Errorf("the call was passed on %d times", n)
			}
			if seconds := b.values(t, "operation_duration_seconds"); len(seconds) != 1 {
				t.Errorf("measured are %v", seconds)
			}
			if failed := b.values(t, "errors_total"); len(failed) != 1 || b.values(t, "operations_in_progress")[""] != 0 {
				t.Errorf("failures are %v", failed)
			}
		})
	}
}

func TestErrorsOfTheStorageAreToldFromAnswers(t *testing.T) {
	b := open(t)
	if _, err := b.GetGrant(t.Context(), "none"); err == nil {
		t.Fatal("there is a grant")
	}
	if failed := b.values(t, "errors_total"); len(failed) != 0 {
		t.Errorf("a record that does not exist counts: %v", failed)
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	_, _ = b.GetGrant(gone, "none")
	b.faulty.Fail("CreateGrant", storagetest.LostAnswer)
	now := time.Now()
	for range 2 {
		_, _ = b.CreateGrant(t.Context(), storage.Grant{ID: "g", UserUID: "u", ClientUID: "c", CreatedAt: now, ExpiresAt: now.Add(time.Hour)})
	}
	b.memory.SetGrantBounds(20, 1)
	_, _ = b.CreateGrant(t.Context(), storage.Grant{ID: "h", UserUID: "u2", ClientUID: "c", CreatedAt: now, ExpiresAt: now.Add(time.Hour)})
	_, _ = b.UpdateGrant(t.Context(), storage.Grant{ID: "g", Version: "another"})
	want := map[string]float64{
		"canceled get_grant ": 1, "ambiguous create_grant ": 1, "full create_grant ": 1, "conflict update_grant ": 1,
	}
	if got := b.values(t, "errors_total"); !reflect.DeepEqual(got, want) {
		t.Errorf("counted are %v, want %v", got, want)
	}
}

// hangingStore is a Store whose reads of marks hang until released is closed.
type hangingStore struct {
	storage.Store
	released chan struct{}
}

func (s hangingStore) IsMarked(context.Context, storage.MarkKind, string) (bool, error) {
	<-s.released
	return true, nil
}

func TestMoreThanTheLimitDoNotWaitForAStorageThatHangs(t *testing.T) {
	const limit, more = 8, 50
	b := open(t)
	b.metrics = prometheus.NewRegistry()
	hanging := hangingStore{b.memory, make(chan struct{})}
	s, err := measured.New(hanging, limit, time.Now, b.metrics)
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan error)
	for range limit + more {
		go func() {
			_, err := s.IsMarked(t.Context(), storage.MarkToken, "m")
			answers <- err
		}()
	}
	for range more { // while the others hang
		if err := <-answers; !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("one more is answered %v, want ErrUnavailable", err)
		}
	}
	if n := b.values(t, "operations_in_progress")[""]; n != limit {
		t.Errorf("%v wait for the storage, want %d", n, limit)
	}
	close(hanging.released)
	for range limit {
		if err := <-answers; err != nil {
			t.Errorf("one that waited: %v", err)
		}
	}
	if _, err := s.IsMarked(t.Context(), storage.MarkToken, "m"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if got := b.values(t, "errors_total"); got["refused is_marked "] != more || len(got) != 1 {
		t.Errorf("counted are %v", got)
	}
}

// recentStore has recent reads of its own.
type recentStore struct{ storage.Store }

func (s recentStore) RecentReader() storage.Reader { return s.Store }

func TestRecentReadsAreMeasuredApart(t *testing.T) {
	b := open(t)
	metrics := prometheus.NewRegistry()
	apart, err := measured.New(recentStore{b.memory}, 100, time.Now, metrics)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = storage.RecentReader(apart).GetGrant(t.Context(), "none")
	b.metrics = metrics
	if got := b.values(t, "operation_duration_seconds"); got["recent_get_grant "] != 1 || len(got) != 1 {
		t.Errorf("measured are %v", got)
	}
}

// The caller that finds no others does not read a second time what it has just read.
func TestAStoreWithoutRecentReadsHasNoneWhenItIsMeasured(t *testing.T) {
	b := open(t)
	if storage.RecentReader(b.Store) != storage.Reader(b.Store) {
		t.Error("a measured store in memory has reads besides its own")
	}
}

// togetherStore reads a grant and what it rests on in one exchange.
type togetherStore struct{ storage.Store }

func (togetherStore) GetGrantWithBasis(context.Context, string) (storage.Grant, *storage.Basis, error) {
	return storage.Grant{SessionHash: "session"}, &storage.Basis{SessionEnded: true}, nil
}

func TestAGrantThatIsReadWithItsBasisIsOneCall(t *testing.T) {
	b := open(t)
	metrics := prometheus.NewRegistry()
	together, err := measured.New(togetherStore{b.memory}, 100, time.Now, metrics)
	if err != nil {
		t.Fatal(err)
	}
	_, from, err := storage.GetGrantWithBasis(t.Context(), together, "a")
	if err != nil {
		t.Fatal(err)
	}
	if ended, err := from.IsMarked(t.Context(), storage.MarkSession, "session"); err != nil || !ended {
		t.Errorf("the session has ended: %t, %v", ended, err)
	}
	b.metrics = metrics
	if got := b.values(t, "operation_duration_seconds"); got["get_grant "] != 1 || len(got) != 1 {
		t.Errorf("measured are %v", got)
	}
}

func TestCallsOfARequestThatIsTracedAreSpans(t *testing.T) {
	b := open(t)
	spans := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test")
	ctx, request := tracer.Start(t.Context(), "request")
	_, _ = b.GetGrant(ctx, "none")
	b.faulty.Fail("SetMark", storagetest.Unavailable)
	_ = b.SetMark(ctx, storage.Mark{Kind: storage.MarkToken, ID: "an-unknown-id", ExpiresAt: time.Now().Add(time.Hour)})
	request.End()
	ended := spans.Ended()
	if len(ended) != 3 || ended[0].Name() != "storage get_grant" || ended[1].Name() != "storage set_mark" {
		t.Fatalf("spans are %v", ended)
	}
	if len(ended[0].Attributes()) != 0 || ended[0].Status().Code != codes.Unset || ended[0].Parent().SpanID() != request.SpanContext().SpanID() {
		t.Errorf("a record that does not exist: %v", ended[0])
	}
	if got := ended[1].Attributes(); len(got) != 1 || got[0].Value.AsString() != "unavailable" || ended[1].Status().Code != codes.Error {
		t.Errorf("a store that is away: %v %v", got, ended[1].Status())
	}
}

func TestMeasuringACallAllocatesNothing(t *testing.T) {
	b := open(t)
	ctx := t.Context()
	allocations := func(s storage.Reader) float64 {
		return testing.AllocsPerRun(100, func() { _, _ = s.IsMarked(ctx, storage.MarkToken, "none") })
	}
	if direct, measured := allocations(b.memory), allocations(measuredMemory(t, b.memory)); measured != direct {
		t.Errorf("%v allocations, %v without measuring", measured, direct)
	}
}

func measuredMemory(t *testing.T, m *memory.Store) storage.Reader {
	t.Helper()
	s, err := measured.New(m, 100, time.Now, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// rotatorStore replaces a refresh token in one exchange.
type rotatorStore struct{ storage.Store }

func (rotatorStore) Rotate(context.Context, storage.Rotation) (before, after storage.Grant, basis storage.Basis, err error) {
	return storage.Grant{ID: "before"}, storage.Grant{ID: "after"}, storage.Basis{SessionEnded: true}, nil
}

func TestARotationIsOneCallWhereTheStoreHasIt(t *testing.T) {
	b := open(t)
	if _, _, _, err := b.Rotate(t.Context(), storage.Rotation{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a store that cannot do it: %v", err)
	}
	metrics := prometheus.NewRegistry()
	rotator, err := measured.New(rotatorStore{b.memory}, 100, time.Now, metrics)
	if err != nil {
		t.Fatal(err)
	}
	before, after, basis, err := rotator.Rotate(t.Context(), storage.Rotation{})
	if err != nil || before.ID != "before" || after.ID != "after" || !basis.SessionEnded {
		t.Errorf("Rotate: %v, %v, %v, %v", before.ID, after.ID, basis, err)
	}
	b.metrics = metrics
	if got := b.values(t, "operation_duration_seconds"); got["update_grant "] != 1 || len(got) != 1 {
		t.Errorf("measured are %v", got)
	}
}
