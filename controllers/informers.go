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
	"k8s.io/client-go/tools/pager"
)

// While the API server does not answer, each informer repeats its request every requestInterval. By
// itself an informer waits longer and longer, up to a minute, and the manager would not see the
// cluster for that long after an outage. It gets an error only after requestTimeout, when it has
// forgotten the one before (client-go does so after two minutes), so that it never waits longer.
const (
	requestInterval = time.Second
	requestTimeout  = 3 * time.Minute
)

// pageSize is how many objects one request lists, and metadataPageSize how many of those of which the
// cache has the metadata: they are of all kinds of authors, and may have annotations of 256 KiB.
const (
	pageSize         = 5000
	metadataPageSize = 500
)

// listsFirst says that an informer shall list before it watches, as package watchlist of client-go has
// it.
type listsFirst struct{ *toolscache.ListWatch }

// IsWatchListSemanticsUnSupported is what the informer asks.
func (listsFirst) IsWatchListSemanticsUnSupported() bool { return true }

// newInformer implements cache.Options.NewInformer. The informer lists before it watches: to decode an
// object of a watch takes the manager five times as long as one of a list, and the API server twice as
// long to send it.
func newInformer(
	from toolscache.ListerWatcher, kind runtime.Object, resync time.Duration, indexers toolscache.Indexers,
) toolscache.SharedIndexInformer {
	server := toolscache.ToListerWatcherWithContext(from)
	var informer *compactInformer
	pages := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		page, err := retryUntilAnswered(ctx, requestInterval, requestTimeout, func() (runtime.Object, error) {
			return server.ListWithContext(ctx, o)
		})
		if err != nil {
			return nil, err
		}
		return page, informer.transformPage(page)
	})
	pages.PageSize = pageSize
	if _, isMetadata := kind.(*metav1.PartialObjectMetadata); isMetadata {
		pages.PageSize = metadataPageSize
	}
	informer = newCompactInformer(toolscache.NewSharedIndexInformer(listsFirst{&toolscache.ListWatch{
		// The informer itself would ask for pages at a start only, and may ask for what an API server
		// remembers, which may be behind.
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.Limit, o.ResourceVersion, o.ResourceVersionMatch = 0, "", ""
			all, _, err := pages.ListWithAlloc(ctx, o)
			return all, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return retryUntilAnswered(ctx, requestInterval, requestTimeout, func() (watch.Interface, error) { return server.WatchWithContext(ctx, o) })
		},
	}}, kind, resync, indexers))
	return informer
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
