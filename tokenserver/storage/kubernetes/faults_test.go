package kubernetes_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// A write that may have happened must never be said not to have, and a write that has not happened
// must not be called unknown without need: the one loses a login, the other costs a read.
func TestWhatAFailureSaysOfAWrite(t *testing.T) {
	w := newTestServer(t)
	api, network := newNetwork(w.api)
	s := w.openStoreWith(t, "main-0", api)
	for _, test := range []struct {
		name    string
		fault   fault
		want    error
		written bool
	}{
		{"the API server is not reached", unreachable, storage.ErrUnavailable, false},
		{"it has too much to do", fault{status: http.StatusTooManyRequests}, storage.ErrUnavailable, false},
		{"it does not know us", fault{status: http.StatusUnauthorized}, storage.ErrUnavailable, false},
		{"it does not serve the kind", fault{status: http.StatusNotFound}, storage.ErrUnavailable, false},
		{"the connection is cut after the request", lostAnswer, storage.ErrAmbiguous, true},
		{"the connection is cut within the answer", cutAnswer, storage.ErrAmbiguous, true},
		{"a proxy gives up waiting", fault{arrives: true, status: http.StatusGatewayTimeout}, storage.ErrAmbiguous, true},
		{"a proxy cannot reach it", fault{status: http.StatusServiceUnavailable}, storage.ErrAmbiguous, false},
		{"it fails after the write", fault{arrives: true, status: http.StatusInternalServerError}, storage.ErrAmbiguous, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			id := strings.ReplaceAll(test.name, " ", "-")
			g := w.newGrant(id, "user", "client-"+id)
			network.failNext(test.fault)
			if _, err := s.CreateGrant(t.Context(), g); !errors.Is(err, test.want) {
				t.Errorf("CreateGrant: %v, want %v", err, test.want)
			} else if strings.Contains(err.Error(), "trouble") {
				t.Errorf("the error repeats what the answer said: %v", err)
			}
			found, err := s.GetGrant(t.Context(), id)
			if test.written && (err != nil || found.Attempt != g.Attempt) || !test.written && !errors.Is(err, storage.ErrNotFound) {
				t.Fatalf("after it: %v, %+v", err, found)
			}
			if !test.written {
				found = mustCreate(t, s, g)
			}
			found.Attempt, found.RefreshTokenNumber = "another", 2
			network.failNext(test.fault)
			if _, err = s.UpdateGrant(t.Context(), found); !errors.Is(err, test.want) {
				t.Errorf("UpdateGrant: %v, want %v", err, test.want)
			}
			if found, err = s.GetGrant(t.Context(), id); err != nil || (found.Attempt == "another") != test.written {
				t.Errorf("after the update: %v, %+v", err, found)
			}
			network.failNext(test.fault)
			if err := s.SetMark(t.Context(), storage.Mark{Kind: storage.MarkToken, ID: id, ExpiresAt: w.now().Add(time.Hour)}); !errors.Is(err, test.want) {
				t.Errorf("Mark: %v, want %v", err, test.want)
			}
			if marked, err := s.IsMarked(t.Context(), storage.MarkToken, id); err != nil || marked != test.written {
				t.Errorf("after Mark: %v, %v", marked, err)
			}
			consent := storage.Consent{UserUID: "user", ClientUID: "client-" + id, Scopes: []string{"openid"}}
			network.failNext(test.fault)
			if _, err := s.PutConsent(t.Context(), consent); !errors.Is(err, test.want) {
				t.Errorf("PutConsent: %v, want %v", err, test.want)
			}
			if _, err := s.GetConsent(t.Context(), "user", "client-"+id); (err == nil) != test.written {
				t.Errorf("after PutConsent: %v", err)
			}
		})
	}
}

// A proxy that counts wrong gives each request the answer to the one before it.
func TestTheAnswerToAnotherRequestIsNoAnswer(t *testing.T) {
	w := newTestServer(t)
	api, network := newNetwork(w.api)
	s := w.openStoreWith(t, "main-0", api)
	other := func() { // something that the answer to a grant could be taken for
		t.Helper()
		if _, err := s.GetGrant(t.Context(), "other"); err != nil {
			t.Fatal(err)
		}
		network.failNext(otherAnswer)
	}
	mustCreate(t, s, w.newGrant("other", "user", "client"))
	g := w.newGrant("mine", "user", "client")
	other()
	if got, err := s.CreateGrant(t.Context(), g); !errors.Is(err, storage.ErrAmbiguous) {
		t.Errorf("CreateGrant: %+v, %v, want ErrAmbiguous", got, err)
	}
	other()
	if got, err := s.GetGrant(t.Context(), "mine"); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Grant: %+v, %v, want ErrUnavailable", got, err)
	}
	g, err := s.GetGrant(t.Context(), "mine")
	if err != nil || g.Attempt != "attempt-mine" {
		t.Fatalf("what was created: %+v, %v", g, err)
	}
	replay := g
	replay.Attempt = "replay"
	network.failNext(otherAnswer)
	if got, err := s.CreateGrant(t.Context(), replay); !errors.Is(err, storage.ErrAmbiguous) {
		t.Errorf("CreateGrant of what is there, answered by what was read before: %+v, %v, want ErrAmbiguous", got, err)
	}
	g.Attempt = "second"
	other()
	if got, err := s.UpdateGrant(t.Context(), g); !errors.Is(err, storage.ErrAmbiguous) {
		t.Errorf("UpdateGrant, answered about another grant: %+v, %v, want ErrAmbiguous", got, err)
	}
	if g, err = s.GetGrant(t.Context(), "mine"); err != nil || g.Attempt != "second" {
		t.Fatalf("what was written: %+v, %v", g, err)
	}
	network.failNext(otherAnswer)
	g.Attempt = "third"
	if got, err := s.UpdateGrant(t.Context(), g); !errors.Is(err, storage.ErrAmbiguous) {
		t.Errorf("UpdateGrant, answered by what was read before: %+v, %v, want ErrAmbiguous", got, err)
	}
	if g, err = s.GetGrant(t.Context(), "mine"); err != nil || g.Attempt != "third" {
		t.Fatalf("what was written: %+v, %v", g, err)
	}
	old := g
	g.Attempt = "fourth"
	if g, err = s.UpdateGrant(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	network.failNext(otherAnswer)
	old.Attempt = "fifth"
	if got, err := s.UpdateGrant(t.Context(), old); !errors.Is(err, storage.ErrAmbiguous) {
		t.Errorf("a conflict, answered by what another request wrote: %+v, %v, want ErrAmbiguous", got, err)
	}
	network.failNext(otherAnswer)
	g.End(w.now(), storage.EndRevoked)
	if got, err := s.UpdateGrant(t.Context(), g); !errors.Is(err, storage.ErrAmbiguous) {
		t.Errorf("ending it, answered by what was read before: %+v, %v, want ErrAmbiguous", got, err)
	}

	until := w.now().Add(time.Hour)
	if err := s.SetMark(t.Context(), storage.Mark{Kind: storage.MarkToken, ID: "other", ExpiresAt: until}); err != nil {
		t.Fatal(err)
	}
	network.failNext(otherAnswer)
	if err := s.SetMark(t.Context(), storage.Mark{Kind: storage.MarkToken, ID: "mine", ExpiresAt: until}); !errors.Is(err, storage.ErrAmbiguous) {
		t.Errorf("Mark: %v, want ErrAmbiguous", err)
	}

	putConsent(t, s, "alice", "mine")
	putConsent(t, s, "alice", "other")
	network.failNext(otherAnswer)
	if got, err := s.GetConsent(t.Context(), "alice", "mine"); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Consent: %+v, %v, want ErrUnavailable", got, err)
	}
	network.failNext(otherAnswer)
	got, err := s.PutConsent(t.Context(), storage.Consent{UserUID: "alice", ClientUID: "third", Scopes: []string{"openid"}})
	if !errors.Is(err, storage.ErrAmbiguous) {
		t.Errorf("PutConsent: %+v, %v, want ErrAmbiguous", got, err)
	}
}

func TestAFailedReadSaysNothingOfTheRecord(t *testing.T) {
	w := newTestServer(t)
	api, network := newNetwork(w.api)
	s := w.openStoreWith(t, "main-0", api)
	mustCreate(t, s, w.newGrant("a", "user", "client"))
	for name, f := range map[string]fault{
		"unreachable": unreachable, "cut": lostAnswer, "cut within": cutAnswer,
		"no such kind": {status: http.StatusNotFound}, "forbidden": {status: http.StatusForbidden}, "fails": {status: http.StatusInternalServerError},
	} {
		t.Run(name, func(t *testing.T) {
			for range 3 { // as often as a read is tried
				network.failNext(f)
			}
			if _, err := s.GetGrant(t.Context(), "a"); !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("Grant: %v, want ErrUnavailable", err)
			}
			network.clearFaults()
			network.failNext(f, f, f)
			if _, err := s.IsMarked(t.Context(), storage.MarkToken, "a"); !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("Marked: %v, want ErrUnavailable", err)
			}
			network.clearFaults()
			network.failNext(f, f, f)
			g := w.newGrant("b", "user", "client")
			g.SessionHash = "session"
			if _, err := s.CreateGrant(t.Context(), g); !errors.Is(err, storage.ErrUnavailable) || len(w.grants(t)) != 1 {
				t.Errorf("a grant whose session may have ended: %v, want ErrUnavailable, and nothing written", err)
			}
			network.clearFaults()
		})
	}
}

func TestNoCallWaitsForever(t *testing.T) {
	w := newTestServer(t)
	api, network := newNetwork(w.api)
	s := w.openStoreWith(t, "main-0", api)
	began := time.Now()
	network.failNext(noAnswer)
	if _, err := s.CreateGrant(t.Context(), w.newGrant("a", "user", "client")); !errors.Is(err, storage.ErrAmbiguous) {
		t.Errorf("CreateGrant: %v, want ErrAmbiguous", err)
	}
	network.failNext(noAnswer)
	if _, err := s.GetGrant(t.Context(), "a"); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Grant: %v, want ErrUnavailable", err)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the two calls took %s", took)
	}
	if g, err := s.GetGrant(t.Context(), "a"); err != nil || g.Attempt != "attempt-a" {
		t.Errorf("later: %+v, %v", g, err)
	}
}
