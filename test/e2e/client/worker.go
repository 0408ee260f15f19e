package main

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// worker is one client: it sends a request every interval.
type worker struct {
	name        string
	http        *http.Client
	credentials credentials
	interval    time.Duration
	counts      *counts
}

// machine asks for tokens for itself.
func (w worker) machine(ctx context.Context) {
	w.each(ctx, func() {
		_, _ = w.request(ctx, url.Values{"grant_type": {"client_credentials"}})
	})
}

// user signs in, which is not counted, and then refreshes. After a failure it sends the same refresh token again, as an application would;
// when that one is over, the user signs in anew.
func (w worker) user(ctx context.Context, username, password string) {
	refreshToken := ""
	w.each(ctx, func() {
		if refreshToken == "" {
			a, err := requestToken(ctx, w.http, w.credentials, url.Values{"grant_type": {"password"}, "username": {username}, "password": {password}})
			if err == nil {
				refreshToken = a.RefreshToken
			}
			return
		}
		a, err := w.request(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}})
		switch {
		case err == nil && a.RefreshToken != "": // without rotation the old one stays good
			refreshToken = a.RefreshToken
		case a.Error == "invalid_grant":
			refreshToken = ""
		}
	})
}

func (w worker) each(ctx context.Context, f func()) {
	tick := time.NewTicker(w.interval)
	defer tick.Stop()
	for {
		f()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (w worker) request(ctx context.Context, form url.Values) (answer, error) {
	began := time.Now()
	a, err := requestToken(ctx, w.http, w.credentials, form)
	if ctx.Err() == nil { // else the request failed because this program ends
		w.counts.add(w.name, form.Get("grant_type"), began, err)
	}
	return a, err
}
