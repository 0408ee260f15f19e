package controllers

import (
	"context"
	"errors"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
)

func TestAnInformerAsksUntilTheAPIServerAnswers(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	forbidden := apierrors.NewForbidden(corev1.Resource("secrets"), "", errors.New("no"))
	ended, end := context.WithCancel(t.Context())
	end()
	for _, test := range []struct {
		name   string
		ctx    context.Context
		atMost time.Duration
		errs   []error
		asked  int
		want   error
	}{
		{name: "at once", ctx: t.Context(), atMost: time.Minute, errs: []error{nil}, asked: 1},
		{name: "in the end", ctx: t.Context(), atMost: time.Minute, errs: []error{refused, refused, refused, nil}, asked: 4},
		{name: "with an error", ctx: t.Context(), atMost: time.Minute, errs: []error{refused, forbidden, nil}, asked: 2, want: forbidden},
		{name: "when the context has ended", ctx: ended, atMost: time.Minute, errs: []error{refused}, asked: 1, want: refused},
		{name: "never", ctx: t.Context(), atMost: 20 * time.Millisecond, want: refused},
	} {
		t.Run(test.name, func(t *testing.T) {
			asked := 0
			answer, err := retryUntilAnswered(test.ctx, time.Millisecond, test.atMost, func() (string, error) {
				asked++
				err := error(refused)
				if len(test.errs) >= asked {
					err = test.errs[asked-1]
				}
				if err != nil {
					return "", err
				}
				return "answered", nil
			})
			if !errors.Is(err, test.want) || (err == nil) != (answer == "answered") || test.asked > 0 && asked != test.asked {
				t.Errorf("asked %d times: %q, %v", asked, answer, err)
			}
		})
	}
}

// listedInPages is an API server that lists ConfigMaps of one page each, of which the page after the
// first may have expired.
type listedInPages struct {
	t       *testing.T
	expired bool
	sent    []*metav1.PartialObjectMetadata
	asked   []metav1.ListOptions
}

func (l *listedInPages) list(_ context.Context, o metav1.ListOptions) (runtime.Object, error) {
	l.asked = append(l.asked, o)
	for _, before := range l.sent {
		if before.ManagedFields != nil {
			l.t.Errorf("%s is held whole while the next page is read", before.Name)
		}
	}
	list := &metav1.PartialObjectMetadataList{ListMeta: metav1.ListMeta{ResourceVersion: "7"}}
	add := func(names ...string) {
		for _, name := range names {
			list.Items = append(list.Items, metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
				Namespace: "shop", Name: name, ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "its author"}},
			}})
		}
		for i := range list.Items {
			l.sent = append(l.sent, &list.Items[i])
		}
	}
	switch {
	case o.Limit == 0:
		add("a", "b", "c")
	case o.Continue == "":
		list.Continue = "from b"
		add("a")
	case l.expired:
		return nil, apierrors.NewResourceExpired("too old")
	case o.Continue == "from b":
		list.Continue = "from c"
		add("b")
	default:
		add("c")
	}
	return list, nil
}

func TestAnInformerListsInPagesAndHoldsOfEachOnlyWhatTheCacheKeeps(t *testing.T) {
	for _, test := range []struct {
		name    string
		expired bool
		limits  []int64
	}{
		{name: "to the end", limits: []int64{metadataPageSize, metadataPageSize, metadataPageSize}},
		{name: "the next page has expired", expired: true, limits: []int64{metadataPageSize, metadataPageSize, 0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := &listedInPages{t: t, expired: test.expired}
			informer := newInformer(&toolscache.ListWatch{
				ListWithContextFunc: server.list,
				WatchFuncWithContext: func(_ context.Context, o metav1.ListOptions) (watch.Interface, error) {
					if o.SendInitialEvents != nil {
						t.Error("a watch is to begin with all objects")
					}
					return watch.NewFake(), nil
				},
			}, &metav1.PartialObjectMetadata{}, 0, toolscache.Indexers{})
			if err := informer.SetTransform(cache.TransformStripManagedFields()); err != nil {
				t.Fatal(err)
			}
			go informer.RunWithContext(t.Context())
			if !toolscache.WaitForCacheSync(t.Context().Done(), informer.HasSynced) {
				t.Fatal("the informer ended")
			}
			keys := slices.Sorted(slices.Values(informer.GetStore().ListKeys()))
			if !slices.Equal(keys, []string{"shop/a", "shop/b", "shop/c"}) {
				t.Errorf("it has %q", keys)
			}
			var limits []int64
			for _, o := range server.asked {
				limits = append(limits, o.Limit)
				if o.ResourceVersion != "" {
					t.Errorf("it asks for what was there at %q", o.ResourceVersion)
				}
			}
			if !slices.Equal(limits, test.limits) {
				t.Errorf("it asked for pages of %d objects", limits)
			}
		})
	}
}
