package controllers

import (
	"math/bits"
	"sync"

	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/handler"
)

// Priorities of requests. An object that existed when the manager started has
// handler.LowPriority, and others have 0.
const (
	// firstPriority is that of an object for which one more write is all that is to do.
	firstPriority = 100
	// crowdPriorities is more than a crowd can take from a priority.
	crowdPriorities = 64
)

// fairQueue is the queue of a controller in which the objects of one namespace do not delay those of
// others: who applies ten thousand objects at once waits for them, and no other namespace does. Each
// doubling of how many requests of a namespace wait takes one from the priority of its next one.
type fairQueue struct {
	priorityqueue.PriorityQueue[ctrl.Request]

	mu      sync.Mutex
	waiting map[string]map[string]struct{} // names, by namespace
}

// newFairQueue implements controller.Options.NewQueue.
func newFairQueue(controller string, limiter workqueue.TypedRateLimiter[ctrl.Request]) workqueue.TypedRateLimitingInterface[ctrl.Request] {
	return &fairQueue{
		PriorityQueue: priorityqueue.New(controller, func(o *priorityqueue.Opts[ctrl.Request]) { o.RateLimiter = limiter }),
		waiting:       map[string]map[string]struct{}{},
	}
}

// AddWithOpts implements priorityqueue.PriorityQueue.
func (q *fairQueue) AddWithOpts(o priorityqueue.AddOpts, requests ...ctrl.Request) {
	asked := 0
	if o.Priority != nil {
		asked = priorityClass(*o.Priority)
	}
	if o.After > 0 || o.RateLimited {
		asked = min(asked, 0) // what is to be done later is not almost done
	}
	for _, request := range requests {
		priority := asked - q.crowd(request, o.After == 0 && !o.RateLimited)
		o.Priority = &priority
		q.PriorityQueue.AddWithOpts(o, request)
	}
}

// priorityClass returns the priority that a request had before a crowd took something from it: what
// is repeated later comes with the priority that it had at last.
func priorityClass(priority int) int {
	for _, class := range []int{firstPriority, 0, handler.LowPriority} {
		if priority <= class && priority > class-crowdPriorities {
			return class
		}
	}
	return priority
}

// crowd counts a request, if it waits for a worker from now on, and returns how much the others of
// its namespace take from its priority.
func (q *fairQueue) crowd(request ctrl.Request, waits bool) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	names := q.waiting[request.Namespace]
	if names == nil {
		names = map[string]struct{}{}
		q.waiting[request.Namespace] = names
	}
	crowd := bits.Len(uint(len(names))) //nolint:gosec // a length is not negative
	if waits {
		names[request.Name] = struct{}{}
	}
	return crowd
}

// Add implements workqueue.TypedInterface.
func (q *fairQueue) Add(request ctrl.Request) { q.AddWithOpts(priorityqueue.AddOpts{}, request) }

// GetWithPriority implements priorityqueue.PriorityQueue.
func (q *fairQueue) GetWithPriority() (request ctrl.Request, priority int, shutdown bool) {
	request, priority, shutdown = q.PriorityQueue.GetWithPriority()
	q.mu.Lock()
	defer q.mu.Unlock()
	if names := q.waiting[request.Namespace]; names != nil {
		if delete(names, request.Name); len(names) == 0 {
			delete(q.waiting, request.Namespace)
		}
	}
	return request, priority, shutdown
}
