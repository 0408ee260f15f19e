package token_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/storagetest"
)

// verboseStore is a store whose errors contain details, as those of a database or an API server do.
type verboseStore struct{ storage.Store }

const needle = `ERROR: relation "grants" of postgres://app@db.internal/oauth, OAuthGrant identity/c-5e1f (SQLSTATE 42P01)`

func withDetails(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %s", err, needle)
}

func (s verboseStore) CreateGrant(ctx context.Context, g storage.Grant) (storage.Grant, error) {
	created, err := s.Store.CreateGrant(ctx, g)
	return created, withDetails(err)
}

func (s verboseStore) UpdateGrant(ctx context.Context, g storage.Grant) (storage.Grant, error) {
	updated, err := s.Store.UpdateGrant(ctx, g)
	return updated, withDetails(err)
}

func (s verboseStore) GetGrant(ctx context.Context, id string) (storage.Grant, error) {
	g, err := s.Store.GetGrant(ctx, id)
	return g, withDetails(err)
}

func (s verboseStore) IsMarked(ctx context.Context, kind storage.MarkKind, id string) (bool, error) {
	marked, err := s.Store.IsMarked(ctx, kind, id)
	return marked, withDetails(err)
}

func (s verboseStore) SetMark(ctx context.Context, m storage.Mark) error {
	return withDetails(s.Store.SetMark(ctx, m))
}

// checkNoDetails fails the test if an answer contains details of an error of the store.
func checkNoDetails(t *testing.T, answer string) {
	t.Helper()
	for _, word := range []string{"relation", "postgres", "internal", "OAuthGrant", "c-5e1f", "SQLSTATE", "42P01", "storage:"} {
		if strings.Contains(answer, word) {
			t.Errorf("the answer has %q in it: %s", word, answer)
		}
	}
}

func TestWhatTheStoreSaysIsForTheLogAndNotForTheClient(t *testing.T) {
	w := newServer(t)
	w.Grants.Store = verboseStore{w.Store}
	c := w.AddClient(servertest.Client("shop.web"))
	a := w.IssueTokens(c, "openid", "offline_access")
	code := w.Code(w.Authorization(c, "openid"))
	quiet := func(a servertest.Answer) {
		t.Helper()
		checkTryAgain(t, a)
		checkNoDetails(t, a.Body+fmt.Sprint(a.Header))
		if !strings.Contains(w.Log.String(), "SQLSTATE 42P01") {
			t.Error("the log lacks the cause")
		}
	}
	w.Store.Fail("CreateGrant", storagetest.Unavailable)
	quiet(w.Redeem(c, code))
	w.Store.Fail("CreateGrant", storagetest.LostRequest)
	w.Store.Fail("GetGrant", storagetest.Unavailable)
	quiet(w.Redeem(c, code))
	w.Store.Fail("GetGrant", storagetest.Unavailable)
	quiet(w.Refresh(c, a.String("refresh_token")))
	w.Store.Fail("UpdateGrant", storagetest.Unavailable)
	quiet(w.Refresh(c, a.String("refresh_token")))
	w.Store.Fail("UpdateGrant", storagetest.LostRequest)
	w.Store.Fail("GetGrant", storagetest.None, storagetest.Unavailable)
	quiet(w.Refresh(c, a.String("refresh_token")))
	w.Memory.SetGrantBounds(20, 1)
	quiet(w.Redeem(c, code))
	w.Store.FailAll(storagetest.Unavailable)
	for _, token := range []string{a.String("access_token"), a.String("refresh_token")} {
		quiet(w.Post("/introspect", c, "token", token))
		quiet(w.Post("/revoke", c, "token", token))
	}
	r := w.Form("/userinfo", noClient)
	r.Header.Set("Authorization", "Bearer "+a.String("access_token"))
	quiet(w.Do(r))
}

func TestWhatTheStoreSaysIsNotInARedirect(t *testing.T) {
	faulty := &storagetest.Faulty{}
	w := interactiontest.New(t, interactiontest.Store(faulty))
	w.Grants.Store = verboseStore{faulty}
	b := w.NewBrowser()
	b.SignIn(w.WebRequest())
	faulty.FailAll(storagetest.Unavailable)
	a := b.Get(w.WebRequest())
	if a.StatusCode != http.StatusSeeOther || a.Values().Get("error") != "temporarily_unavailable" {
		t.Errorf("the answer is %d to %s", a.StatusCode, a.Header.Get("Location"))
	}
	location, err := url.QueryUnescape(a.Header.Get("Location"))
	if err != nil {
		t.Error(err)
	}
	checkNoDetails(t, location+fmt.Sprint(a.Header)+string(a.Body))
	if !strings.Contains(w.Log.String(), "SQLSTATE 42P01") {
		t.Error("the log lacks the cause")
	}
}
