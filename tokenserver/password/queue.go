package password

import (
	"container/list"
	"sync"
	"time"
)

const (
	// queueTime is how long the queue may take, so that a browser has its answer long before it or
	// a proxy gives up.
	queueTime = 4 * time.Second
	// longestWait is how long a request waits at most, should the queue take longer than was
	// estimated.
	longestWait = 2 * queueTime
	// queuePlaces is how many requests may be in it, however fast they are: each holds a
	// connection.
	queuePlaces = 512
	// quarter of the queue; leastQuarter is how many places are one at least, where hashes take
	// long: more than a name has, or one user would lock out all that come from the same address.
	quarter      = 4
	leastQuarter = 4
)

// Share of the queue: what all requests of one key may have of it together, waiting and computed.
type Quota struct {
	Key string
	// least is how many they may be, however long they take; most, however short; between them they
	// may take so much time.
	least, most int
	time        time.Duration
}

// Places is a share of so many requests at once.
func FixedQuota(key string, n int) Quota { return Quota{Key: key, least: n, most: n} }

// Quarter is a share of a quarter of the queue.
func QuarterQuota(key string) Quota {
	return Quota{Key: key, least: leastQuarter, most: queuePlaces / quarter, time: queueTime / quarter}
}

// The shares that every request counts in one of. Their keys are shorter than those of any caller.
var (
	common  = Quota{Key: "c", least: 1, most: queuePlaces, time: queueTime}
	reserve = QuarterQuota("r")
)

// queue of requests that wait for CPUs and memory, first come, first served. Each takes a place
// when it enters, and leaves it when it has been computed or its client has gone.
type queue struct {
	limits Limits

	mu      sync.Mutex
	cpus    int   // in use
	memory  int64 // in use
	waiting *list.List
	used    map[string]used // by the key of a share
}

// used is what there is of a share in the queue.
type used struct {
	places int
	time   time.Duration
}

// place in the queue.
type place struct {
	cpus   int
	memory int64
	// takes is how long it is computed; by that and the part of the machine that it needs, the
	// queue is so much longer.
	takes  time.Duration
	shares []Quota
	// turn is closed when it may compute; element is its place among those that wait, until then.
	turn    chan struct{}
	element *list.Element
}

func newQueue(limits Limits) *queue {
	return &queue{limits: limits, waiting: list.New(), used: map[string]used{}}
}

// length is how many places are taken.
func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.used[common.Key].places + q.used[reserve.Key].places
}

// adds is by how much the place makes the queue longer, in time.
func (q *queue) adds(p *place) time.Duration {
	part := max(float64(p.cpus)/float64(q.limits.CPUs), float64(p.memory)/float64(q.limits.Memory))
	return time.Duration(part * float64(p.takes))
}

// enter the queue; false: it is full, or one of the shares is. For what is reserved, a full queue
// still has its reserve.
func (q *queue) enter(p *place, reserved bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	p.takes = q.adds(p)
	for _, s := range p.shares {
		if !q.fits(s, p.takes) {
			return false
		}
	}
	pool := common
	if reserved && !q.fits(common, p.takes) {
		pool = reserve
	}
	if !q.fits(pool, p.takes) {
		return false
	}
	p.shares = append(p.shares[:len(p.shares):len(p.shares)], pool)
	for _, s := range p.shares {
		u := q.used[s.Key]
		q.used[s.Key] = used{u.places + 1, u.time + p.takes}
	}
	p.turn = make(chan struct{})
	p.element = q.waiting.PushBack(p)
	q.next()
	return true
}

// fits says whether a share has room. The caller has the lock.
func (q *queue) fits(s Quota, takes time.Duration) bool {
	u := q.used[s.Key]
	return u.places < s.least || u.places < s.most && u.time+takes <= s.time
}

// leave the queue.
func (q *queue) leave(p *place) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range p.shares {
		u := q.used[s.Key]
		if u.places == 1 {
			delete(q.used, s.Key)
		} else {
			q.used[s.Key] = used{u.places - 1, u.time - p.takes}
		}
	}
	if p.element != nil {
		q.waiting.Remove(p.element)
	} else {
		q.cpus -= p.cpus
		q.memory -= p.memory
	}
	q.next()
}

// next gives their turn to those for whom there are CPUs and memory. None overtakes another, or a
// costly hash would wait for ever. The caller has the lock.
func (q *queue) next() {
	for front := q.waiting.Front(); front != nil; front = q.waiting.Front() {
		p := front.Value.(*place)
		if q.cpus+p.cpus > q.limits.CPUs || q.memory > q.limits.Memory-p.memory {
			return
		}
		q.waiting.Remove(front)
		p.element = nil
		q.cpus += p.cpus
		q.memory += p.memory
		close(p.turn)
	}
}
