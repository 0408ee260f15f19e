package measured

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// operation is a kind of call.
type operation int

const (
	createGrant operation = iota
	updateGrant
	getGrant
	recentGetGrant
	getConsent
	putConsent
	hasConsent
	recentHasConsent
	getIdentity
	recentGetIdentity
	createIdentity
	updateIdentity
	countIdentities
	setMark
	createMark
	countMarks
	isMarked
	recentIsMarked
	sweep
)

// operationNames are values of the label operation. A recent read may be answered from a cache.
var operationNames = [...]string{
	createGrant: "create_grant", updateGrant: "update_grant",
	getGrant: "get_grant", recentGetGrant: "recent_get_grant",
	getConsent: "get_consent", putConsent: "put_consent", hasConsent: "has_consent", recentHasConsent: "recent_has_consent",
	getIdentity: "get_identity", recentGetIdentity: "recent_get_identity", createIdentity: "create_identity", updateIdentity: "update_identity", countIdentities: "count_identities",
	setMark: "set_mark", createMark: "create_mark", countMarks: "count_marks", isMarked: "is_marked", recentIsMarked: "recent_is_marked",
	sweep: "sweep",
}

// failure is a kind of error.
type failure int

const (
	unavailable failure = iota
	refused
	ambiguous
	conflict
	full
	canceled
	unknown
	none // no error, or one that is an answer: ErrNotFound, ErrExists and ErrSessionEnded
)

// failureNames are values of the label error.
var failureNames = [...]string{
	unavailable: "unavailable", refused: "refused", ambiguous: "ambiguous", conflict: "conflict", full: "full", canceled: "canceled", unknown: "unknown",
}

// errRefused is returned for a call that is not made, since too many are in progress.
var errRefused = fmt.Errorf("%w: as many operations wait for the storage as may", storage.ErrUnavailable)

type metrics struct {
	now        func() time.Time
	limit      int64 // of inProgress
	inProgress atomic.Int64
	seconds    [len(operationNames)]prometheus.Observer
	errors     [len(operationNames)][len(failureNames)]prometheus.Counter
}

func newMetrics(limit int, now func() time.Time, registerer prometheus.Registerer) (*metrics, error) {
	const namespace, subsystem = "oauth_operator", "tokenserver"
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Subsystem: subsystem, Name: "storage_operation_duration_seconds",
		Help:    "How long operations of the storage took. One with recent_ in its name may be answered from a cache.",
		Buckets: []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
	}, []string{"operation"})
	failed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Subsystem: subsystem, Name: "storage_errors_total",
		Help: "Operations of the storage that failed: the storage did not do it (unavailable), or was not asked, since too many operations " +
			"waited for it (refused), or perhaps did it (ambiguous), another request was faster (conflict), a bound was reached (full), " +
			"the client went away (canceled), or anything else (unknown).",
	}, []string{"operation", "error"})
	m := &metrics{now: now, limit: int64(limit)}
	inProgress := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Subsystem: subsystem, Name: "storage_operations_in_progress",
		Help: "Operations of the storage that have begun and not ended. Those that wait for a connection are among them.",
	}, func() float64 { return float64(m.inProgress.Load()) })
	for o, name := range operationNames {
		m.seconds[o] = seconds.WithLabelValues(name)
		for f, failure := range failureNames {
			m.errors[o][f] = failed.WithLabelValues(name, failure)
		}
	}
	for _, c := range []prometheus.Collector{seconds, failed, inProgress} {
		if err := registerer.Register(c); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return m, nil
}

// measure makes a call and measures it. It returns errRefused, without the call, if too many are in
// progress.
func measure[T any](ctx context.Context, m *metrics, o operation, do func(context.Context) (T, error)) (result T, err error) {
	ctx, c, err := m.begin(ctx, o)
	if err == nil {
		result, err = do(ctx)
	}
	c.end(ctx, err)
	return result, err
}

// call is a call that is in progress.
type call struct {
	metrics   *metrics
	operation operation
	began     time.Time
	span      trace.Span // nil unless the request is traced
}

// begin begins to measure a call, which is to be made with the context that it returns, unless it
// returns errRefused. The call ends with end either way.
func (m *metrics) begin(ctx context.Context, o operation) (context.Context, call, error) {
	var err error
	if m.inProgress.Add(1) > m.limit {
		err = errRefused
	}
	c := call{metrics: m, operation: o, began: m.now()}
	if request := trace.SpanFromContext(ctx); request.IsRecording() {
		tracer := request.TracerProvider().Tracer("github.com/oauth-operator/oauth-operator/tokenserver/storage")
		ctx, c.span = tracer.Start(ctx, "storage "+operationNames[o], trace.WithSpanKind(trace.SpanKindClient))
	}
	return ctx, c, err
}

func (c call) end(ctx context.Context, err error) {
	c.metrics.inProgress.Add(-1)
	c.metrics.seconds[c.operation].Observe(c.metrics.now().Sub(c.began).Seconds())
	f := failureOf(ctx, err)
	if f != none {
		c.metrics.errors[c.operation][f].Inc()
	}
	if c.span == nil {
		return
	}
	if f != none {
		c.span.SetAttributes(attribute.String("error.type", failureNames[f]))
		c.span.SetStatus(codes.Error, "")
	}
	c.span.End()
}

func failureOf(ctx context.Context, err error) failure {
	switch {
	case err == nil, errors.Is(err, storage.ErrNotFound), errors.Is(err, storage.ErrExists), errors.Is(err, storage.ErrSessionEnded):
		return none
	case errors.Is(err, errRefused):
		return refused
	case errors.Is(err, storage.ErrConflict):
		return conflict
	case errors.Is(err, storage.ErrFull):
		return full
	case errors.Is(ctx.Err(), context.Canceled):
		return canceled
	case errors.Is(err, storage.ErrAmbiguous):
		return ambiguous
	case errors.Is(err, storage.ErrUnavailable):
		return unavailable
	}
	return unknown
}
