package places_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/oauth-operator/oauth-operator/tokenserver/places"
)

// fill enters until there is no place, and returns how many found one. They leave when ctx ends.
func fill(ctx context.Context, q *places.Queue, r places.Request) (n int) {
	var refused atomic.Bool
	for !refused.Load() {
		go func() {
			leave, err := q.Enter(ctx, r)
			if err != nil {
				refused.Store(true)
				return
			}
			<-ctx.Done()
			leave()
		}()
		synctest.Wait()
		n++
	}
	return n - 1
}

func TestAQueueHasAsManyPlacesAsAskAndWaitAndAQuarterMoreInReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		q := places.NewQueue(4, 12)
		if n := fill(ctx, q, places.Request{}); n != 16 {
			t.Errorf("there are %d places", n)
		}
		if n := fill(ctx, q, places.Request{UseReserve: true}); n != 4 {
			t.Errorf("the reserve has %d places", n)
		}
		leave()
		synctest.Wait()
		again, leave := context.WithCancel(t.Context())
		defer leave()
		if n := fill(again, q, places.Request{UseReserve: true}); n != 20 {
			t.Errorf("after all have left there are %d places", n)
		}
	})
}

func TestNoKeyHasMoreThanItsQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		q := places.NewQueue(4, 12)
		here := places.QuarterQuota("here")
		if n := fill(ctx, q, places.Request{Quotas: []places.Quota{places.FixedQuota("alice", 2), here}}); n != 2 {
			t.Errorf("a name has %d places", n)
		}
		if n := fill(ctx, q, places.Request{Quotas: []places.Quota{places.FixedQuota("bob", 9), here}}); n != 2 {
			t.Errorf("an address has %d places left", n)
		}
		if n := fill(ctx, q, places.Request{Quotas: []places.Quota{places.QuarterQuota("there")}}); n != 4 {
			t.Errorf("another address has %d places", n)
		}
	})
}

func TestNoMoreAskAtOnceThanMayAndTheOthersFollowInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := places.NewQueue(2, 14)
		asking := make(chan int, 16)
		next := make(chan struct{})
		for i := range 16 {
			go func() {
				leave, err := q.Enter(t.Context(), places.Request{})
				if err != nil {
					t.Error(err)
					return
				}
				asking <- i
				<-next
				leave()
			}()
			synctest.Wait()
		}
		for i := range 16 {
			if n := len(asking); n != min(2, 16-i) {
				t.Errorf("%d ask at once", n)
			}
			if got := <-asking; got != i {
				t.Errorf("request %d asks in the place of request %d", got, i)
			}
			next <- struct{}{}
			synctest.Wait()
		}
	})
}

func TestARequestThatDoesNotWaitLeavesItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := places.NewQueue(1, 1)
		leave, err := q.Enter(t.Context(), places.Request{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, give := context.WithCancel(t.Context())
		give()
		if _, err := q.Enter(ctx, places.Request{}); !errors.Is(err, places.ErrBusy) {
			t.Errorf("a request that does not wait: %v", err)
		}
		leave()
		if _, err := q.Enter(t.Context(), places.Request{}); err != nil {
			t.Error(err)
		}
	})
}
