package ldap_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"

	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/ldap"
	"github.com/oauth-operator/oauth-operator/tokenserver/throttle"
)

func TestSignInsThatFillTheQueueKeepNoConfirmationOut(t *testing.T) {
	for what, isHeld := range map[string]func(request *ber.Packet) bool{
		"at the bind of the user": func(request *ber.Packet) bool {
			return request.Tag == goldap.ApplicationBindRequest && !isBindOf(request, hostileReader)
		},
		"at the search": func(request *ber.Packet) bool {
			if request.Tag != goldap.ApplicationSearchRequest {
				return false
			}
			filter, _ := goldap.DecompileFilter(request.Children[6])
			return strings.HasPrefix(filter, "(uid=user-")
		},
	} {
		t.Run(what, func(t *testing.T) { testFullQueue(t, isHeld) })
	}
}

func testFullQueue(t *testing.T, isHeld func(request *ber.Packet) bool) {
	h := newHostile(t)
	release := make(chan struct{})
	h.answer = func(id int64, request *ber.Packet) [][]byte {
		if isHeld(request) {
			<-release
		}
		return honest(id, request)
	}
	directory := h.directory()
	var refused atomic.Int64
	ended := make(chan struct{}, 100)
	for n := range cap(ended) {
		go func() {
			err := directory.SignIn(t.Context(), ldap.Form{
				Username: fmt.Sprint("user-", n), Password: "password", Source: fmt.Sprint("source-", n), DeviceID: func([]byte) string { return "" },
				Admit: func(context.Context, ldap.Entry) error { return nil },
			})
			if errors.Is(err, ldap.ErrBusy) {
				refused.Add(1)
			}
			ended <- struct{}{}
		}()
	}
	eventually.True(t, "the queue is full", func() bool { return refused.Load() > 0 })
	if entry, err := directory.Confirm(t.Context(), []byte("1")); err != nil || string(entry.Subject) != "1" {
		t.Errorf("%+v, %v", entry, err)
	}
	close(release)
	for range cap(ended) {
		<-ended
	}
}

var unknown throttle.Browser

// heldDirectory is a directory that knows all users, whose every password is right, and that answers no
// bind of a user until it is released.
type heldDirectory struct {
	*ldap.Directory
	t       *testing.T
	release chan struct{}
	all     sync.WaitGroup
}

func newHeldDirectory(t *testing.T) *heldDirectory {
	h, d := newHostile(t), &heldDirectory{t: t, release: make(chan struct{})}
	h.answer = func(id int64, request *ber.Packet) [][]byte {
		switch {
		case request.Tag == goldap.ApplicationBindRequest && !isBindOf(request, hostileReader):
			<-d.release
		case request.Tag == goldap.ApplicationSearchRequest:
			filter, _ := goldap.DecompileFilter(request.Children[6])
			return [][]byte{found(id, fmt.Sprintf("uid=%x,dc=acme", filter), "entryUUID", filter), result(id, goldap.ApplicationSearchResultDone, 0)}
		}
		return honest(id, request)
	}
	d.Directory = h.directory()
	return d
}

// signIn starts a sign-in with the right password, and returns a channel for its result.
func (d *heldDirectory) signIn(ctx context.Context, username, source string, browser throttle.Browser) chan error {
	result := make(chan error, 1)
	d.all.Go(func() {
		result <- d.SignIn(ctx, ldap.Form{
			Username: username, Password: "password", Source: source, Browser: browser, DeviceID: func([]byte) string { return browser.ID },
			Admit: func(context.Context, ldap.Entry) error { return nil },
		})
	})
	return result
}

// crowd starts so many sign-ins at once. It returns, once refused of them were, the results of the others.
func (d *heldDirectory) crowd(n, refused int, form func(i int) (username, source string, browser throttle.Browser)) (waiting []chan error) {
	d.t.Helper()
	var results []chan error
	for i := range n {
		username, source, browser := form(i)
		results = append(results, d.signIn(d.t.Context(), username, source, browser))
	}
	eventually.True(d.t, "as many are refused as there are no places for", func() bool {
		waiting = nil
		for _, result := range results {
			if len(result) == 0 {
				waiting = append(waiting, result)
			}
		}
		return len(waiting) <= n-refused
	})
	return waiting
}

// wantIn releases the directory, and checks that these sign-ins succeed.
func (d *heldDirectory) wantIn(all ...chan error) {
	d.t.Helper()
	close(d.release)
	for i, result := range all {
		if err := <-result; err != nil {
			d.t.Errorf("sign-in %d of %d: %v", i+1, len(all), err)
		}
	}
	d.all.Wait()
}

func TestOneUserOfADirectoryOnManyConnectionsKeepsNoOtherOut(t *testing.T) {
	d := newHeldDirectory(t)
	waiting := d.crowd(120, 118, func(int) (string, string, throttle.Browser) { return "alice", "here", unknown })
	d.wantIn(append(waiting, d.signIn(t.Context(), "bob", "there", unknown), d.signIn(t.Context(), "carol", "here", unknown))...)
	if len(waiting) != 2 {
		t.Errorf("one user has %d places, want 2", len(waiting))
	}
}

func TestOneAddressHasAQuarterOfTheQueueOfADirectory(t *testing.T) {
	d := newHeldDirectory(t)
	waiting := d.crowd(120, 104, func(i int) (string, string, throttle.Browser) { return fmt.Sprint("user-", i), "here", unknown })
	d.wantIn(append(waiting, d.signIn(t.Context(), "bob", "there", unknown))...)
	if len(waiting) != 16 {
		t.Errorf("one address has %d places, want 16", len(waiting))
	}
}

func TestAKnownBrowserHasAPlaceInTheFullQueueOfADirectoryAndOneAlone(t *testing.T) {
	d := newHeldDirectory(t)
	waiting := d.crowd(100, 36, func(i int) (string, string, throttle.Browser) {
		return fmt.Sprint("user-", i), fmt.Sprint("source-", i), unknown
	})
	mine := d.crowd(3, 2, func(int) (string, string, throttle.Browser) {
		return "alice", "source-1", throttle.Browser{ID: "laptop", UserUID: "alice"}
	})
	others := d.crowd(20, 18, func(i int) (string, string, throttle.Browser) {
		return "bob", "source-2", throttle.Browser{ID: fmt.Sprint("browser-", i), UserUID: "bob"}
	})
	d.wantIn(append(append(waiting, mine...), others...)...)
	if len(waiting) != 64 || len(mine) != 1 || len(others) != 2 {
		t.Errorf("unknown browsers have %d places, a known one %d, and all of a user %d; want 64, 1 and 2", len(waiting), len(mine), len(others))
	}
}

// A user may have as many browsers as the user signs in with, and type any name.
func TestManyBrowsersOfOneUserTakeTwoPlacesMoreThanTheirAddressHas(t *testing.T) {
	d := newHeldDirectory(t)
	mallory := d.crowd(120, 102, func(i int) (string, string, throttle.Browser) {
		return fmt.Sprint("made-up-", i), "here", throttle.Browser{ID: fmt.Sprint("browser-", i), UserUID: "mallory"}
	})
	others := []chan error{
		d.signIn(t.Context(), "bob", "there", unknown), d.signIn(t.Context(), "carol", "here", throttle.Browser{ID: "laptop", UserUID: "carol"}),
	}
	d.wantIn(append(others, mallory...)...)
	if len(mallory) != 18 {
		t.Errorf("the browsers have %d places, want 18", len(mallory))
	}
}

func TestADirectoryThatIsSlowIsAskedSixteenTimesAtOnceAtMost(t *testing.T) {
	h := newHostile(t)
	release := make(chan struct{})
	var atOnce, most, waitRefused, confirmRefused atomic.Int64
	h.answer = func(id int64, request *ber.Packet) [][]byte {
		if !isBindOf(request, hostileReader) {
			n := atOnce.Add(1)
			for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
			}
			<-release
			atOnce.Add(-1)
		}
		return honest(id, request)
	}
	directory := h.directory()
	var crowd sync.WaitGroup
	for n := range 100 {
		crowd.Go(func() {
			if errors.Is(signInAs(t, directory, fmt.Sprint("user-", n)), ldap.ErrBusy) {
				waitRefused.Add(1)
			}
		})
		crowd.Go(func() {
			if _, err := directory.Confirm(t.Context(), fmt.Append(nil, n)); errors.Is(err, ldap.ErrBusy) {
				confirmRefused.Add(1)
			}
		})
	}
	eventually.True(t, "both queues are full, and the directory is asked", func() bool {
		return waitRefused.Load() > 0 && confirmRefused.Load() > 0 && atOnce.Load() == 16
	})
	close(release)
	crowd.Wait()
	if most.Load() != 16 {
		t.Errorf("the directory was asked %d times at once", most.Load())
	}
}
