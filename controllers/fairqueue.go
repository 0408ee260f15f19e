package controllers

import (
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
)

// firstPriority is the priority of an object for which one more write is all that is to do, and of
// one that ends: it is suspended or deleted. An object that existed when the manager started has
// handler.LowPriority, and others have 0.
const firstPriority = 100

// fairQueue is the queue of a controller in which the objects of one namespace do not delay those of
// others: who applies ten thousand objects at once waits for them, and no other namespace does.
//
// As the queue of controller-runtime with priorities does, it holds an object once: what is to be
// done now takes the place of what was to be done later, in the better class of the two.
type fairQueue struct {
	workqueue.TypedDelayingInterface[ctrl.Request] // in the order of turns

	turns   *turns
	limiter workqueue.TypedRateLimiter[ctrl.Request]

	mu    sync.Mutex
	later map[ctrl.Request]*timedRequest
}

// timedRequest is a request that is added when its timer fires.
type timedRequest struct {
	*time.Timer
	at    time.Time
	class class // the best with which it was added
}

// newFairQueue implements controller.Options.NewQueue.
func newFairQueue(controller string, limiter workqueue.TypedRateLimiter[ctrl.Request]) workqueue.TypedRateLimitingInterface[ctrl.Request] {
	turns := newTurns()
	return &fairQueue{
		TypedDelayingInterface: workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[ctrl.Request]{
			Name:  controller,
			Queue: workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[ctrl.Request]{Name: controller, Queue: turns}),
		}),
		turns: turns, limiter: limiter, later: map[ctrl.Request]*timedRequest{},
	}
}

// AddWithOpts implements priorityqueue.PriorityQueue.
func (q *fairQueue) AddWithOpts(o priorityqueue.AddOpts, requests ...ctrl.Request) {
	asked := classChanged
	if o.Priority != nil {
		asked = classOf(*o.Priority)
	}
	for _, request := range requests {
		after := o.After
		if o.RateLimited {
			if wait := q.limiter.When(request); after == 0 || wait < after {
				after = wait
			}
		}
		if after > 0 {
			q.addLater(request, asked, after)
		} else {
			q.addNow(request, asked)
		}
	}
}

func (q *fairQueue) addNow(request ctrl.Request, asked class) {
	q.turns.ask(request, min(asked, q.stopTimer(request)))
	q.TypedDelayingInterface.Add(request)
}

// addAgain adds a request whose time has come, and counts it in the metric of retries.
func (q *fairQueue) addAgain(request ctrl.Request, asked class) {
	q.turns.ask(request, min(asked, q.stopTimer(request)))
	q.TypedDelayingInterface.AddAfter(request, 0)
}

// addLater adds a request after a while, unless it waits for a worker already, or comes before: then
// it does so in the better class of the two.
func (q *fairQueue) addLater(request ctrl.Request, asked class, after time.Duration) {
	at := time.Now().Add(after) //nolint:forbidigo // timers fire by the real clock
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ShuttingDown() {
		return
	}
	if q.turns.isAsked(request) {
		q.turns.ask(request, asked)
		q.TypedDelayingInterface.Add(request)
		return
	}
	if timed := q.later[request]; timed != nil {
		timed.class = min(asked, timed.class)
		if !at.Before(timed.at) {
			return
		}
		timed.Stop()
		asked = timed.class
	}
	q.later[request] = &timedRequest{time.AfterFunc(after, func() { q.addAgain(request, asked) }), at, asked}
}

// stopTimer stops the timer of a request, if there is one, and returns its class.
func (q *fairQueue) stopTimer(request ctrl.Request) class {
	q.mu.Lock()
	defer q.mu.Unlock()
	timed := q.later[request]
	if timed == nil {
		return classExisting
	}
	timed.Stop()
	delete(q.later, request)
	return timed.class
}

// GetWithPriority implements priorityqueue.PriorityQueue. The priority is that with which a worker
// adds the request again, for later, unless the pass names one: it is not almost done then. When the
// queue is shut down, the requests that wait are left to the next manager.
func (q *fairQueue) GetWithPriority() (request ctrl.Request, priority int, shutdown bool) {
	request, shutdown = q.TypedDelayingInterface.Get()
	return request, 0, shutdown || q.ShuttingDown()
}

// Get implements workqueue.TypedInterface.
func (q *fairQueue) Get() (request ctrl.Request, shutdown bool) {
	request, _, shutdown = q.GetWithPriority()
	return request, shutdown
}

// Add implements workqueue.TypedInterface.
func (q *fairQueue) Add(request ctrl.Request) { q.AddWithOpts(priorityqueue.AddOpts{}, request) }

// AddAfter implements workqueue.TypedDelayingInterface.
func (q *fairQueue) AddAfter(request ctrl.Request, after time.Duration) {
	q.AddWithOpts(priorityqueue.AddOpts{After: after}, request)
}

// AddRateLimited implements workqueue.TypedRateLimitingInterface.
func (q *fairQueue) AddRateLimited(request ctrl.Request) {
	q.AddWithOpts(priorityqueue.AddOpts{RateLimited: true}, request)
}

// Forget implements workqueue.TypedRateLimitingInterface.
func (q *fairQueue) Forget(request ctrl.Request) { q.limiter.Forget(request) }

// NumRequeues implements workqueue.TypedRateLimitingInterface.
func (q *fairQueue) NumRequeues(request ctrl.Request) int { return q.limiter.NumRequeues(request) }

// ShutDown implements workqueue.TypedInterface.
func (q *fairQueue) ShutDown() {
	q.TypedDelayingInterface.ShutDown()
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, timed := range q.later {
		timed.Stop()
	}
}

// ShutDownWithDrain implements workqueue.TypedInterface.
func (q *fairQueue) ShutDownWithDrain() { q.ShutDown() }

// classOf returns the class of requests that are added with a priority.
func classOf(priority int) class {
	switch {
	case priority > 0:
		return classFirst
	case priority < 0:
		return classExisting
	}
	return classChanged
}
