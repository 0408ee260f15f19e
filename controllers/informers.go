package controllers

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
)

// While the API server does not answer, each informer repeats its request every requestInterval. By
// itself an informer waits longer and longer, up to a minute, and the manager would not see the
// cluster for that long after an outage. It gets an error only after requestTimeout, when it has
// forgotten the one before (client-go does so after two minutes), so that it never waits longer.
const (
	requestInterval = time.Second
	requestTimeout  = 3 * time.Minute
)

// newInformer implements cache.Options.NewInformer.
func newInformer(
	from toolscache.ListerWatcher, kind runtime.Object, resync time.Duration, indexers toolscache.Indexers,
) toolscache.SharedIndexInformer {
	server := toolscache.ToListerWatcherWithContext(from)
	return newCompactInformer(toolscache.NewSharedIndexInformer(&toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return retryUntilAnswered(ctx, requestInterval, requestTimeout, func() (runtime.Object, error) { return server.ListWithContext(ctx, o) })
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return retryUntilAnswered(ctx, requestInterval, requestTimeout, func() (watch.Interface, error) { return server.WatchWithContext(ctx, o) })
		},
	}, kind, resync, indexers))
}

// retryUntilAnswered repeats a request until the API server answers, also with an error, until
// atMost has passed, or until ctx ends.
func retryUntilAnswered[T any](ctx context.Context, every, atMost time.Duration, request func() (T, error)) (T, error) {
	over := time.NewTimer(atMost)
	defer over.Stop()
	next := time.NewTicker(every)
	defer next.Stop()
	for {
		answer, err := request()
		var status apierrors.APIStatus
		if err == nil || errors.As(err, &status) {
			return answer, err
		}
		select {
		case <-ctx.Done():
			return answer, err
		case <-over.C:
			return answer, err
		case <-next.C:
		}
	}
}
