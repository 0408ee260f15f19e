package ldap_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"

	"github.com/oauth-operator/oauth-operator/tokenserver/ldap"
)

// meeting lets none through until so many have come.
type meeting struct {
	size    int64
	count   atomic.Int64
	missing sync.WaitGroup
}

func newMeeting(n int) *meeting {
	m := &meeting{size: int64(n)}
	m.missing.Add(n)
	return m
}

func (m *meeting) wait() {
	if m.count.Add(1) <= m.size {
		m.missing.Done()
	}
	m.missing.Wait()
}

// signInAs signs a user in at a directory that knows all users, whose every password is right.
func signInAs(t *testing.T, d *ldap.Directory, username string) error {
	t.Helper()
	return d.SignIn(t.Context(), ldap.Form{
		Username: username, Password: "password", Source: username, DeviceID: func([]byte) string { return "" },
		Admit: func(context.Context, ldap.Entry) error { return nil },
	})
}

// A directory that answers no search until ten are under way would answer none if they came one after
// another.
func TestTenSearchesAndTenBindsAreUnderWayAtOnceAtADirectoryThatIsSlow(t *testing.T) {
	h := newHostile(t)
	searches, binds := newMeeting(10), newMeeting(10)
	var readers, atOnce, most atomic.Int64
	h.answer = func(id int64, request *ber.Packet) [][]byte {
		switch {
		case isBindOf(request, hostileReader):
			readers.Add(1)
			if n := atOnce.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer atOnce.Add(-1)
		case request.Tag == goldap.ApplicationBindRequest:
			binds.wait()
		case request.Tag == goldap.ApplicationSearchRequest:
			searches.wait()
			filter, _ := goldap.DecompileFilter(request.Children[6])
			return [][]byte{found(id, fmt.Sprintf("uid=%x,dc=acme", filter), "entryUUID", filter), result(id, goldap.ApplicationSearchResultDone, 0)}
		}
		return honest(id, request)
	}
	directory := h.directory()
	for range 5 {
		var crowd sync.WaitGroup
		for n := range 10 {
			crowd.Go(func() {
				if err := signInAs(t, directory, fmt.Sprint("user-", n)); err != nil {
					t.Error(err)
				}
			})
		}
		crowd.Wait()
	}
	if n := readers.Load(); n != 10 || most.Load() != 1 {
		t.Errorf("the reader was bound %d times, %d of them at once; want one connection for each search at once, bound one after another", n, most.Load())
	}
}

func TestAConnectionThatTheDirectoryHasClosedIsReplaced(t *testing.T) {
	h := newHostile(t)
	var binds, searches atomic.Int64
	h.answer = func(id int64, request *ber.Packet) [][]byte {
		switch {
		case isBindOf(request, hostileReader):
			binds.Add(1)
		case request.Tag == goldap.ApplicationSearchRequest && searches.Add(1) == 2:
			return nil // the second search over the first connection
		}
		return honest(id, request)
	}
	directory := h.directory()
	for range 3 {
		if err := signInAs(t, directory, "alice"); err != nil {
			t.Error(err)
		}
	}
	if binds.Load() != 2 || searches.Load() != 4 {
		t.Errorf("%d binds of the reader and %d searches, want 2 and 4", binds.Load(), searches.Load())
	}
	h.answer = func(id int64, request *ber.Packet) [][]byte {
		if request.Tag == goldap.ApplicationSearchRequest {
			searches.Add(1)
			return nil
		}
		return honest(id, request)
	}
	var failed *ldap.Error
	if err := signInAs(t, directory, "alice"); !errors.As(err, &failed) || failed.Reason != ldap.Away || searches.Load() != 6 {
		t.Errorf("of a directory that closes all: %v, after %d more searches, want 2", err, searches.Load()-4)
	}
}

// It may be that the directory has lost all entries, or that the account sees none any more.
func TestADirectoryThatFindsNoUserAtAllEndsNothing(t *testing.T) {
	h := newHostile(t)
	isEmpty := true
	h.answer = func(id int64, request *ber.Packet) [][]byte {
		if request.Tag != goldap.ApplicationSearchRequest {
			return honest(id, request)
		}
		done := result(id, goldap.ApplicationSearchResultDone, 0)
		filter, _ := goldap.DecompileFilter(request.Children[6])
		if isEmpty || filter == "(&(entryUUID=2)(uid=*))" {
			return [][]byte{done}
		}
		return [][]byte{found(id, hostileUser, "entryUUID", "1"), done}
	}
	directory := h.directory()
	var failed *ldap.Error
	if _, err := directory.Confirm(t.Context(), []byte("1")); !errors.As(err, &failed) || failed.Reason != ldap.SearchRefused {
		t.Errorf("an empty directory: %v, want SearchRefused", err)
	}
	isEmpty = false
	if _, err := directory.Confirm(t.Context(), []byte("2")); !errors.Is(err, ldap.ErrGone) {
		t.Errorf("one who is gone: %v", err)
	}
	if _, err := directory.Confirm(t.Context(), []byte("1")); err != nil {
		t.Errorf("one who is there: %v", err)
	}
}
