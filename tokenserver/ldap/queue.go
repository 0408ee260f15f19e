package ldap

import "context"

const (
	// maxAsking is how many sign-ins and confirmations ask a directory at once.
	maxAsking = 16
	// maxWaiting is how many more may wait for that.
	maxWaiting = 64
)

// queue bounds what a directory is asked at once.
type queue struct {
	places chan struct{} // of the calls that ask or wait
	asking chan struct{}
}

func newQueue() *queue {
	return &queue{places: make(chan struct{}, maxAsking+maxWaiting), asking: make(chan struct{}, maxAsking)}
}

// enter waits for a place, until ctx ends. It returns ErrBusy if too many wait already.
func (q *queue) enter(ctx context.Context) (leave func(), err error) {
	select {
	case q.places <- struct{}{}:
	default:
		return nil, ErrBusy
	}
	select {
	case q.asking <- struct{}{}:
		return func() { <-q.asking; <-q.places }, nil
	case <-ctx.Done():
		<-q.places
		return nil, ErrBusy
	}
}
