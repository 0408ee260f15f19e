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

// While nobody answers, an informer asks every second. By itself it waits longer from time to time, up to a minute, and the manager would know
// nothing of the cluster for that long after an outage of the API server. It is told of the failure only after it has forgotten the one before
// (client-go does so after two minutes), so that its own waiting never grows.
const (
	askEvery  = time.Second
	askAtMost = 3 * time.Minute
)

// newInformer is cache.Options.NewInformer.
func newInformer(
	from toolscache.ListerWatcher, kind runtime.Object, resync time.Duration, indexers toolscache.Indexers,
) toolscache.SharedIndexInformer {
	server := toolscache.ToListerWatcherWithContext(from)
	return toolscache.NewSharedIndexInformer(&toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return untilAnswered(ctx, askEvery, askAtMost, func() (runtime.Object, error) { return server.ListWithContext(ctx, o) })
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return untilAnswered(ctx, askEvery, askAtMost, func() (watch.Interface, error) { return server.WatchWithContext(ctx, o) })
		},
	}, kind, resync, indexers)
}

// untilAnswered asks again and again, until the API server answers, be it with an error; until the time is over, or ctx has ended.
func untilAnswered[T any](ctx context.Context, every, atMost time.Duration, ask func() (T, error)) (T, error) {
	over := time.NewTimer(atMost)
	defer over.Stop()
	next := time.NewTicker(every)
	defer next.Stop()
	for {
		answer, err := ask()
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
