package controllers

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/handler"
)

func requestIn(namespace string, i int) ctrl.Request {
	return ctrl.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: fmt.Sprint(i)}}
}

func startQueue(t *testing.T) *fairQueue {
	t.Helper()
	q, ok := newFairQueue(t.Name(), workqueue.NewTypedItemExponentialFailureRateLimiter[ctrl.Request](time.Millisecond, time.Second)).(*fairQueue)
	if !ok {
		t.Fatal("the queue has another type")
	}
	t.Cleanup(q.ShutDown)
	return q
}

func TestANamespaceWithManyObjectsDoesNotDelayThoseOfOthers(t *testing.T) {
	q := startQueue(t)
	const crowd = 1000
	for i := range crowd {
		q.Add(requestIn("crowd", i))
	}
	for i := range 10 {
		q.Add(requestIn("other", i))
	}
	q.AddWithOpts(priorityqueue.AddOpts{Priority: new(handler.LowPriority)}, requestIn("existed", 0))
	addFirst(q, requestIn("crowd", crowd))
	position := map[string]int{} // of the last
	for i := range crowd + 12 {
		request, _, _ := q.GetWithPriority()
		position[request.Namespace] = i
		if i == 0 && request != requestIn("crowd", crowd) {
			t.Errorf("the first is %v, not the one that is almost done", request)
		}
		q.Done(request)
	}
	if position["other"] > 40 { // as many of the crowd had no crowd before them
		t.Errorf("the last of ten came after %d", position["other"])
	}
	if position["existed"] != crowd+11 {
		t.Errorf("one that existed before came as number %d", position["existed"])
	}
	if len(q.waiting) > 0 {
		t.Errorf("it remembers %v", q.waiting)
	}
}

// A request that is repeated after a while comes with the priority that it had at last.
func TestAPriorityDoesNotSinkEachTimeARequestIsRepeated(t *testing.T) {
	q := startQueue(t)
	for _, asked := range []int{0, firstPriority, handler.LowPriority} {
		priority := asked
		for range 100 {
			for i := range 20 {
				q.Add(requestIn("crowd", i))
			}
			q.AddWithOpts(priorityqueue.AddOpts{Priority: &priority}, requestIn("crowd", 100))
			for range 21 {
				request, got, _ := q.GetWithPriority()
				if request == requestIn("crowd", 100) {
					priority = got
				}
				q.Done(request)
			}
		}
		if priority <= asked-crowdPriorities {
			t.Errorf("a request of priority %d has %d at last", asked, priority)
		}
	}
}
