package workload_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/workload"
	"github.com/oauth-operator/oauth-operator/tokenserver/workload/workloadtest"
)

var reviewed = workload.Identity{
	Issuer: documents.WorkloadIssuer{Name: "cluster", Type: documents.WorkloadIssuerKubernetes, TokenReview: true}, Subject: subject, UID: workloadtest.UID,
}

func TestATokenIsReviewedOnceInTenSeconds(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		if err := w.Review(t.Context(), reviewed, "a", audience); err != nil {
			t.Error(err)
		}
	}
	w.checkReviews(1)
	w.advance(9 * time.Second)
	_ = w.Review(t.Context(), reviewed, "a", audience)
	w.checkReviews(1)
	w.advance(time.Second)
	_ = w.Review(t.Context(), reviewed, "a", audience)
	_ = w.Review(t.Context(), reviewed, "b", audience)
	w.checkReviews(3)

	byKeys := reviewed
	byKeys.Issuer.TokenReview = false
	if err := w.Review(t.Context(), byKeys, "c", audience); err != nil {
		t.Error(err)
	}
	w.checkReviews(3)
}

func TestATokenIsRefusedThatTheAPIServerDoesNotConfirmForTheAudienceAndTheIdentity(t *testing.T) {
	for what, change := range map[string]func(*workload.Review){
		"not authenticated":  func(r *workload.Review) { r.Authenticated = false },
		"no audience":        func(r *workload.Review) { r.Audiences = nil },
		"another audience":   func(r *workload.Review) { r.Audiences = []string{"https://kubernetes.default.svc"} },
		"another user":       func(r *workload.Review) { r.Username = subject + "2" },
		"another UID":        func(r *workload.Review) { r.UID = "another" },
		"no user and no UID": func(r *workload.Review) { r.Username, r.UID = "", "" },
	} {
		w := newWorld(t)
		w.cluster.Change(func(s *workloadtest.State) { change(&s.Review) })
		for range 3 {
			var invalid *workload.InvalidError
			if err := w.Review(t.Context(), reviewed, "a", audience); !errors.As(err, &invalid) {
				t.Errorf("%s: %v", what, err)
			}
		}
		w.checkReviews(1) // what was refused is not asked about again
	}
}

func TestAReviewThatFailsIsNoAnswer(t *testing.T) {
	w := newWorld(t)
	w.cluster.Change(func(s *workloadtest.State) { s.ReviewError = workloadtest.ErrAway })
	if err := w.Review(t.Context(), reviewed, "a", audience); !errors.Is(err, workload.ErrUnavailable) || !errors.Is(err, workloadtest.ErrAway) {
		t.Errorf("away: %v", err)
	}
	w.cluster.Change(func(s *workloadtest.State) { s.ReviewError = nil })
	if err := w.Review(t.Context(), reviewed, "a", audience); err != nil {
		t.Errorf("back: %v", err)
	}
	without := workload.New(workload.Config{Server: w.Server, Sources: w.Sources, Fetch: w.Fetch, Now: w.Now})
	if err := without.Review(t.Context(), reviewed, "a", audience); !errors.Is(err, workload.ErrUnavailable) {
		t.Errorf("no API server: %v", err)
	}
}

func TestAtMostSixteenReviewsAreUnderWayAndAllRequestsWithATokenWaitForOne(t *testing.T) {
	w := newWorld(t)
	var now, most atomic.Int64
	release := make(chan struct{})
	w.cluster.Change(func(s *workloadtest.State) {
		s.Reviewing = func() {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			<-release
			now.Add(-1)
		}
	})
	var requests sync.WaitGroup
	for i := range 200 {
		requests.Go(func() {
			if err := w.Review(t.Context(), reviewed, fmt.Sprint("token-", i%40), audience); err != nil {
				t.Error(err)
			}
		})
	}
	for now.Load() < 16 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := w.Review(ctx, reviewed, "one-too-many", audience); !errors.Is(err, workload.ErrUnavailable) {
		t.Errorf("a request that is given up while it waits: %v", err)
	}
	close(release)
	requests.Wait()
	if most.Load() != 16 {
		t.Errorf("%d at once", most.Load())
	}
	w.checkReviews(40)
}

func TestTheAnswersAboutTokensAreBounded(t *testing.T) {
	w := newWorld(t)
	for i := range 10_100 {
		if err := w.Review(t.Context(), reviewed, fmt.Sprint(i), audience); err != nil {
			t.Fatal(err)
		}
	}
	w.checkReviews(10_100)
	_ = w.Review(t.Context(), reviewed, "10099", audience)
	w.checkReviews(10_100)
	_ = w.Review(t.Context(), reviewed, "0", audience) // it was forgotten with all that were there
	w.checkReviews(10_101)
}
