package password

import (
	"container/list"
	"sync"
	"time"
)

const (
	// maxQueueTime is how long the queue may take: a browser must have its response long before it
	// or a proxy gives up.
	maxQueueTime = 4 * time.Second
	// maxWait is how long a request waits if the queue takes longer than was estimated.
	maxWait = 2 * maxQueueTime
	// maxPlaces is how many requests the queue may have, however fast they are: each holds a
	// connection.
	maxPlaces = 512
	// minQuarterPlaces is how many places QuarterQuota allows even if hashes take long. It is more
	// than one username may have, or one user could keep out all others at the same address.
	minQuarterPlaces = 4
)

// Quota limits how much of the queue all requests of one key may have together, waiting and
// running.
type Quota struct {
	Key string
	// minPlaces are allowed however long they take, maxPlaces however short. In between, the
	// requests may take maxTime.
	minPlaces, maxPlaces int
	maxTime              time.Duration
}

// FixedQuota returns a quota of n places.
func FixedQuota(key string, n int) Quota { return Quota{Key: key, minPlaces: n, maxPlaces: n} }

// QuarterQuota returns a quota of a quarter of the queue.
func QuarterQuota(key string) Quota {
	return Quota{Key: key, minPlaces: minQuarterPlaces, maxPlaces: maxPlaces / 4, maxTime: maxQueueTime / 4}
}

// Each request counts in one of these two quotas, beside its own. Their keys are shorter than those
// of callers.
var (
	commonQuota  = Quota{Key: "c", minPlaces: 1, maxPlaces: maxPlaces, maxTime: maxQueueTime}
	reserveQuota = QuarterQuota("r")
)

// queue is a queue of requests for CPUs and memory, first come, first served. A request has a place
// from when it is added until it is hashed or its client gives up.
type queue struct {
	limits Limits

	mu      sync.Mutex
	cpus    int   // in use
	memory  int64 // in use
	waiting *list.List
	usage   map[string]usage // by the key of a quota
}

// usage is how much of a quota is in use.
type usage struct {
	places int
	time   time.Duration
}

// place is a place in the queue.
type place struct {
	cpus     int
	memory   int64
	hashTime time.Duration // estimated
	// queueTime is how much longer the queue is by this place: the hashTime times the part of CPUs
	// or memory that it needs.
	queueTime time.Duration
	quotas    []Quota
	// start is closed when hashing may start. element is the place among those that wait until
	// then.
	start   chan struct{}
	element *list.Element
}

func newQueue(limits Limits) *queue {
	return &queue{limits: limits, waiting: list.New(), usage: map[string]usage{}}
}

func (q *queue) countPlaces() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.usage[commonQuota.Key].places + q.usage[reserveQuota.Key].places
}

// add adds a place to the queue. It returns false if the queue or one of the quotas is full. If
// useReserve, a full queue still has its reserve.
func (q *queue) add(p *place, useReserve bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	part := max(float64(p.cpus)/float64(q.limits.CPUs), float64(p.memory)/float64(q.limits.Memory))
	p.queueTime = time.Duration(part * float64(p.hashTime))
	for _, quota := range p.quotas {
		if !q.fits(quota, p) {
			return false
		}
	}
	shared := commonQuota
	if useReserve && !q.fits(commonQuota, p) {
		shared = reserveQuota
	}
	if !q.fits(shared, p) {
		return false
	}
	p.quotas = append(p.quotas[:len(p.quotas):len(p.quotas)], shared)
	for _, quota := range p.quotas {
		u := q.usage[quota.Key]
		q.usage[quota.Key] = usage{u.places + 1, u.time + p.queueTime}
	}
	p.start = make(chan struct{})
	p.element = q.waiting.PushBack(p)
	q.startNext()
	return true
}

// fits reports whether a quota allows one more place. The caller holds the lock.
func (q *queue) fits(quota Quota, p *place) bool {
	u := q.usage[quota.Key]
	return u.places < quota.minPlaces || u.places < quota.maxPlaces && u.time+p.queueTime <= quota.maxTime
}

// remove removes a place, whether it waits or runs.
func (q *queue) remove(p *place) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, quota := range p.quotas {
		u := q.usage[quota.Key]
		if u.places == 1 {
			delete(q.usage, quota.Key)
		} else {
			q.usage[quota.Key] = usage{u.places - 1, u.time - p.queueTime}
		}
	}
	if p.element != nil {
		q.waiting.Remove(p.element)
	} else {
		q.cpus -= p.cpus
		q.memory -= p.memory
	}
	q.startNext()
}

// startNext starts the requests that CPUs and memory suffice for, in order: if others could
// overtake it, a costly hash might wait forever. The caller holds the lock.
func (q *queue) startNext() {
	for front := q.waiting.Front(); front != nil; front = q.waiting.Front() {
		p := front.Value.(*place)
		if q.cpus+p.cpus > q.limits.CPUs || q.memory > q.limits.Memory-p.memory {
			return
		}
		q.waiting.Remove(front)
		p.element = nil
		q.cpus += p.cpus
		q.memory += p.memory
		close(p.start)
	}
}
