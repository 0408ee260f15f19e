package ldap

import "context"

// How many sign-ins and confirmations ask a directory at once, sixteen together, and how many more of
// each may wait for that. Each have places of their own: strangers may fill those for sign-ins, and
// must not keep users who are signed in from tokens.
const (
	maxSigningIn, maxWaitingToSignIn   = 10, 54
	maxConfirming, maxWaitingToConfirm = 6, 64
)

// queue bounds what a directory is asked at once.
type queue struct {
	places chan struct{} // of the calls that ask or wait
	asking chan struct{}
}

func newQueue(maxAsking, maxWaiting int) *queue {
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
