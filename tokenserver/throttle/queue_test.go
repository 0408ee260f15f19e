package throttle

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/password"
)

// queueFixture is a fixture whose verifier is busy until the test ends, so that attempts wait in
// its queue.
type queueFixture struct {
	*fixture
	waiting sync.WaitGroup
	ctx     context.Context
}

func newQueueFixture(t *testing.T) *queueFixture {
	q := &queueFixture{fixture: newFixture(t)}
	q.verifier = busy(t)
	var leave context.CancelFunc
	q.ctx, leave = context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(func() { leave(); q.waiting.Wait() })
	return q
}

// wait reports whether an attempt gets a place in the queue.
func (q *queueFixture) wait(a *Attempt) bool {
	q.t.Helper()
	over := make(chan error, 1)
	before := q.verifier.QueueLength()
	q.waiting.Go(func() {
		_, err := a.Verify(q.ctx, q.verifier, password.DummyHash(""), right)
		over <- err
	})
	for q.verifier.QueueLength() == before {
		select {
		case err := <-over:
			if !errors.Is(err, password.ErrBusy) {
				q.t.Errorf("an attempt without a place: %v", err)
			}
			return false
		case <-time.After(100 * time.Microsecond):
		}
	}
	return true
}

// fill makes attempts until one gets no place, and returns how many got one.
func (q *queueFixture) fill(attempt func() *Attempt) int {
	q.t.Helper()
	for n := range 1000 {
		if !q.wait(attempt()) {
			return n
		}
	}
	q.t.Fatal("there are places for all")
	return 0
}

func TestNoNameHasMoreThanTwoPlacesInTheQueueWhoeverAsks(t *testing.T) {
	q := newQueueFixture(t)
	for name, attempt := range map[string]func() *Attempt{
		"at the login page, from everywhere": func() *Attempt { return q.NewLoginAttempt("alice", rand.Text(), "") },
		"there, an unknown name":             func() *Attempt { return q.NewLoginAttempt("unknown", rand.Text(), "") },
		"by a client":                        func() *Attempt { return q.NewGrantAttempt("alice", "client-uid") },
		"by another client":                  func() *Attempt { return q.NewGrantAttempt("alice", "other-uid") },
		"in browsers that she has used":      func() *Attempt { return q.NewLoginAttempt("alice", "home", rand.Text()) },
	} {
		if n := q.fill(attempt); n != 2 {
			t.Errorf("%s: %d places, want 2", name, n)
		}
	}
}

func TestAClientThatTakesAllOfAUsersPlacesDoesNotStopTheLoginPage(t *testing.T) {
	q := newQueueFixture(t)
	q.fill(func() *Attempt { return q.NewGrantAttempt("alice", "client-uid") })
	if !q.wait(q.NewLoginAttempt("alice", "home", "")) {
		t.Error("the login page has no place for her")
	}
}

func TestNamesFromOneSourceShareItsQuarterOfTheQueue(t *testing.T) {
	q := newQueueFixture(t)
	from := q.fill(func() *Attempt { return q.NewLoginAttempt(rand.Text(), "2001:db8::/64", "") })
	if q.wait(q.NewLoginAttempt("alice", "2001:db8::/64", "")) || !q.wait(q.NewLoginAttempt("alice", "2001:db8:0:1::/64", "")) {
		t.Error("a source that has its quarter has one more place, or another source has none")
	}
	by := q.fill(func() *Attempt { return q.NewGrantAttempt(rand.Text(), "client-uid") })
	if !q.wait(q.NewGrantAttempt("alice", "other-uid")) {
		t.Error("another client has no place")
	}
	all := from + by + 2 + q.fill(func() *Attempt { return q.NewLoginAttempt(rand.Text(), rand.Text(), "") })
	if from != by || from < all/4-1 || from > all/4+1 {
		t.Errorf("a source has %d places and a client %d, of %d", from, by, all)
	}
}

func TestTheOwnersDeviceGetsInThroughAFullSourceAndAFullQueue(t *testing.T) {
	q := newQueueFixture(t)
	q.fill(func() *Attempt { return q.NewLoginAttempt(rand.Text(), "office", "") })
	q.fill(func() *Attempt { return q.NewLoginAttempt("alice", rand.Text(), "") })
	if q.wait(q.NewLoginAttempt("bob", "office", "")) || q.wait(q.NewLoginAttempt("alice", "home", "")) {
		t.Fatal("there is a place yet")
	}
	if !q.wait(q.NewLoginAttempt("alice", "office", "laptop")) {
		t.Error("a full source keeps the owner's device out")
	}
	if q.wait(q.NewLoginAttempt("alice", "office", "laptop")) {
		t.Error("a device has two places")
	}
	for i := 0; q.wait(q.NewLoginAttempt(fmt.Sprint("made-up-", i), rand.Text(), "")); i++ {
	}
	if !q.wait(q.NewLoginAttempt("bob", "office", "desktop")) {
		t.Error("a full queue keeps the owner's device out")
	}
}

func TestOnlyWhatTheCountersLetThroughTakesAPlace(t *testing.T) {
	p := newFixture(t)
	p.fail(10, func() *Attempt { return p.NewLoginAttempt("alice", rand.Text(), "") })
	q := &queueFixture{fixture: p}
	q.verifier = busy(t)
	for range 5 {
		p.want("one that has to wait", p.try(p.NewLoginAttempt("alice", rand.Text(), ""), right), "1")
	}
	p.now = p.now.Add(time.Second)
	ctx, leave := context.WithCancel(t.Context())
	q.ctx = ctx
	if n := q.fill(func() *Attempt { return q.NewLoginAttempt("alice", rand.Text(), "") }); n != 2 {
		t.Errorf("then there are %d places, want 2", n)
	}
	leave()
	q.waiting.Wait()
}
