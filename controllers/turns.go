package controllers

import (
	"sync"

	ctrl "sigs.k8s.io/controller-runtime"
)

// class says how soon a request is seen to: those of a better class come first.
type class int

const (
	classFirst    class = iota // almost done, or it ends something
	classChanged               // the object, or another to which it refers, has changed
	classExisting              // the object existed when the manager started
	classes
)

// One turn of changedShare is for the objects that have changed, and one of existingShare for those
// that existed, so that no class waits as long as others have something to do.
const (
	changedShare  = 4
	existingShare = 16
)

// turns is the order in which the requests of a controller are seen to. In each class the namespaces
// take turns, and the requests of one come in the order in which they were added. So however much
// other namespaces ask for, a request waits for a few turns of each namespace (existingShare,
// changedShare or one, by its class) for each request of its own namespace before it.
//
// It implements workqueue.Queue, whose methods are called under the lock of the workqueue.
type turns struct {
	lines [classes]line
	// waiting are the requests that wait, and in which line: one that has come into a better line has
	// left a request behind that does not count.
	waiting map[ctrl.Request]class
	taken   int

	mu    sync.Mutex
	asked map[ctrl.Request]class // the best class with which a request was added since its last turn
}

func newTurns() *turns {
	t := &turns{waiting: map[ctrl.Request]class{}, asked: map[ctrl.Request]class{}}
	for c := range t.lines {
		t.lines[c].requests = map[string][]ctrl.Request{}
	}
	return t
}

// ask says of which class a request is that is added next.
func (t *turns) ask(request ctrl.Request, c class) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if before, isAsked := t.asked[request]; !isAsked || c < before {
		t.asked[request] = c
	}
}

// isAsked reports whether a request was added since its last turn.
func (t *turns) isAsked(request ctrl.Request) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, isAsked := t.asked[request]
	return isAsked
}

// Push implements workqueue.Queue.
func (t *turns) Push(request ctrl.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, isAsked := t.asked[request]
	if !isAsked { // it had its turn between ask and Push
		c = classChanged
		t.asked[request] = c
	}
	t.waiting[request] = c
	t.lines[c].push(request)
}

// Touch implements workqueue.Queue.
func (t *turns) Touch(request ctrl.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.asked[request]; c < t.waiting[request] {
		t.waiting[request] = c
		t.lines[c].push(request)
	}
}

// Len implements workqueue.Queue.
func (t *turns) Len() int { return len(t.waiting) }

// Pop implements workqueue.Queue.
func (t *turns) Pop() ctrl.Request {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.taken++
	next := classFirst
	switch {
	case t.taken%existingShare == existingShare-1: // which is none of those that changed
		next = classExisting
	case t.taken%changedShare == 0:
		next = classChanged
	}
	for _, c := range []class{next, classFirst, classChanged, classExisting} {
		request, ok := t.lines[c].pop(func(request ctrl.Request) bool {
			in, waits := t.waiting[request]
			return waits && in == c
		})
		if ok {
			delete(t.waiting, request)
			delete(t.asked, request)
			return request
		}
	}
	return ctrl.Request{} // it is not called when none waits
}

// line holds the requests of a class.
type line struct {
	namespaces []string                  // that have requests, in the order of their turns
	requests   map[string][]ctrl.Request // by namespace
}

func (l *line) push(request ctrl.Request) {
	if len(l.requests[request.Namespace]) == 0 {
		l.namespaces = append(l.namespaces, request.Namespace)
	}
	l.requests[request.Namespace] = append(l.requests[request.Namespace], request)
}

// pop takes the first request that counts of the namespace whose turn it is. Those before it, which
// do not count, take no turn from their namespace.
func (l *line) pop(counts func(ctrl.Request) bool) (request ctrl.Request, ok bool) {
	for len(l.namespaces) > 0 {
		namespace := l.namespaces[0]
		l.namespaces = l.namespaces[1:]
		for rest := l.requests[namespace]; len(rest) > 0; {
			request, rest = rest[0], rest[1:]
			if !counts(request) {
				continue
			}
			if len(rest) == 0 {
				delete(l.requests, namespace)
			} else {
				l.requests[namespace] = rest
				l.namespaces = append(l.namespaces, namespace)
			}
			return request, true
		}
		delete(l.requests, namespace)
	}
	return request, false
}
