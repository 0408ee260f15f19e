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

// line is a place whose verifier is busy until the test is over, so that all who are let in wait.
type line struct {
	*place
	waiting sync.WaitGroup
	ctx     context.Context
}

func newLine(t *testing.T) *line {
	l := &line{place: newPlace(t)}
	l.verifier = busy(t)
	var leave context.CancelFunc
	l.ctx, leave = context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(func() { leave(); l.waiting.Wait() })
	return l
}

// wait with an attempt, and say whether it has a place.
func (l *line) wait(a *Attempt) bool {
	l.t.Helper()
	over := make(chan error, 1)
	before := l.verifier.QueueLength()
	l.waiting.Go(func() {
		_, err := a.Verify(l.ctx, l.verifier, password.DummyHash(""), right)
		over <- err
	})
	for l.verifier.QueueLength() == before {
		select {
		case err := <-over:
			if !errors.Is(err, password.ErrBusy) {
				l.t.Errorf("an attempt without a place: %v", err)
			}
			return false
		case <-time.After(100 * time.Microsecond):
		}
	}
	return true
}

// fill with attempts until one has no place, and say how many have.
func (l *line) fill(attempt func() *Attempt) int {
	l.t.Helper()
	for n := range 1000 {
		if !l.wait(attempt()) {
			return n
		}
	}
	l.t.Fatal("there are places for all")
	return 0
}

func TestNoNameHasMoreThanTwoPlacesInTheQueueWhoeverAsks(t *testing.T) {
	l := newLine(t)
	for name, attempt := range map[string]func() *Attempt{
		"at the login page, from everywhere": func() *Attempt { return l.NewLoginAttempt("alice", rand.Text(), "") },
		"there, a name that is no user's":    func() *Attempt { return l.NewLoginAttempt("nobody", rand.Text(), "") },
		"by a client":                        func() *Attempt { return l.NewGrantAttempt("alice", "client-uid") },
		"by another client":                  func() *Attempt { return l.NewGrantAttempt("alice", "other-uid") },
		"in browsers that she has used":      func() *Attempt { return l.NewLoginAttempt("alice", "home", rand.Text()) },
	} {
		if n := l.fill(attempt); n != 2 {
			t.Errorf("%s: %d places, want 2", name, n)
		}
	}
}

func TestAClientThatTakesAllOfAUsersPlacesDoesNotStopTheLoginPage(t *testing.T) {
	l := newLine(t)
	l.fill(func() *Attempt { return l.NewGrantAttempt("alice", "client-uid") })
	if !l.wait(l.NewLoginAttempt("alice", "home", "")) {
		t.Error("the login page has no place for her")
	}
}

func TestNamesFromOneSourceShareItsQuarterOfTheQueue(t *testing.T) {
	l := newLine(t)
	from := l.fill(func() *Attempt { return l.NewLoginAttempt(rand.Text(), "2001:db8::/64", "") })
	if l.wait(l.NewLoginAttempt("alice", "2001:db8::/64", "")) || !l.wait(l.NewLoginAttempt("alice", "2001:db8:0:1::/64", "")) {
		t.Error("a source that has its quarter has one more place, or another source has none")
	}
	by := l.fill(func() *Attempt { return l.NewGrantAttempt(rand.Text(), "client-uid") })
	if !l.wait(l.NewGrantAttempt("alice", "other-uid")) {
		t.Error("another client has no place")
	}
	all := from + by + 2 + l.fill(func() *Attempt { return l.NewLoginAttempt(rand.Text(), rand.Text(), "") })
	if from != by || from < all/4-1 || from > all/4+1 {
		t.Errorf("a source has %d places and a client %d, of %d", from, by, all)
	}
}

func TestTheOwnersDeviceGetsInThroughAFullSourceAndAFullQueue(t *testing.T) {
	l := newLine(t)
	l.fill(func() *Attempt { return l.NewLoginAttempt(rand.Text(), "office", "") })
	l.fill(func() *Attempt { return l.NewLoginAttempt("alice", rand.Text(), "") })
	if l.wait(l.NewLoginAttempt("bob", "office", "")) || l.wait(l.NewLoginAttempt("alice", "home", "")) {
		t.Fatal("there is a place yet")
	}
	if !l.wait(l.NewLoginAttempt("alice", "office", "laptop")) {
		t.Error("a full source keeps the owner's device out")
	}
	if l.wait(l.NewLoginAttempt("alice", "office", "laptop")) {
		t.Error("a device has two places")
	}
	for i := 0; l.wait(l.NewLoginAttempt(fmt.Sprint("made-up-", i), rand.Text(), "")); i++ {
	}
	if !l.wait(l.NewLoginAttempt("bob", "office", "desktop")) {
		t.Error("a full queue keeps the owner's device out")
	}
}

func TestOnlyWhatTheCountersLetThroughTakesAPlace(t *testing.T) {
	p := newPlace(t)
	p.fail(10, func() *Attempt { return p.NewLoginAttempt("alice", rand.Text(), "") })
	l := &line{place: p}
	l.verifier = busy(t)
	for range 5 {
		p.want("one that has to wait", p.try(p.NewLoginAttempt("alice", rand.Text(), ""), right), "1")
	}
	p.now = p.now.Add(time.Second)
	ctx, leave := context.WithCancel(t.Context())
	l.ctx = ctx
	if n := l.fill(func() *Attempt { return l.NewLoginAttempt("alice", rand.Text(), "") }); n != 2 {
		t.Errorf("then there are %d places, want 2", n)
	}
	leave()
	l.waiting.Wait()
}
