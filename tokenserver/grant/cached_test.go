package grant_test

import (
	"errors"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/storagetest"
)

func requireUnavailable(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, storage.ErrUnavailable) && !errors.Is(err, storage.ErrAmbiguous) {
		t.Fatalf("%s, while the store is away: %v", what, err)
	}
}

// checkEndReason fails the test unless the grant ended for the reason; empty: unless it has not
// ended.
func checkEndReason(t *testing.T, w *servertest.Server, reason string) {
	t.Helper()
	if g := w.StoredGrants()[0]; g.EndReason != reason {
		t.Errorf("the grant ended for %q, want %q", g.EndReason, reason)
	}
}

func TestARefreshThatGoesByACopyReadsNothing(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	first := beginGrant(t, w, client, "openid", "offline_access")
	w.UseCachedReads(w.Store)
	reads := w.Store.Calls("GetGrant")
	second, err := refreshWith(w, client.ID, first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if w.Store.Calls("GetGrant") != reads {
		t.Errorf("it read %d times", w.Store.Calls("GetGrant")-reads)
	}
	if _, err := refreshWith(w, client.ID, second.RefreshToken); err != nil {
		t.Errorf("with what it got: %v", err)
	}
}

func TestACopyThatLagsIsNoReasonToRefuse(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	first := beginGrant(t, w, client, "openid", "offline_access")
	w.UseCachedReads(w.Store).Freeze(w.StoredGrants()...)
	second, err := refreshWith(w, client.ID, first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	again, err := refreshWith(w, client.ID, first.RefreshToken)
	if err != nil || again.RefreshToken != second.RefreshToken {
		t.Errorf("a repetition within the grace got another token, or none (%v)", err)
	}
	if _, err := refreshWith(w, client.ID, second.RefreshToken); err != nil {
		t.Errorf("a token that is newer than the copy: %v", err)
	}
	checkEndReason(t, w, "")
}

func TestACopyThatLagsLetsNoThiefIn(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	first := beginGrant(t, w, client, "openid", "offline_access")
	old := w.StoredGrants()
	if _, err := refreshWith(w, client.ID, first.RefreshToken); err != nil {
		t.Fatal(err)
	}
	w.UseCachedReads(w.Store).Freeze(old...)
	w.Advance(time.Minute)
	_, err := refreshWith(w, client.ID, first.RefreshToken)
	checkRefused(t, "a token that the copy takes for current", err, grant.InvalidGrant)
	checkEndReason(t, w, storage.EndRefreshTokenReuse)
}

func TestWithoutGraceTheSlowerOfTwoRefreshesIsNoThief(t *testing.T) {
	w := servertest.New(t)
	w.ChangeDocument(disableGracePeriod)
	client := serveClient(t, w, servertest.Client("shop.web"))
	first := beginGrant(t, w, client, "openid", "offline_access")
	var faster grant.Result
	during := &hookedStore{Store: w.Store}
	during.beforeUpdate = func(storage.Grant) (err error) {
		during.beforeUpdate = nil
		faster, err = refreshWith(w, client.ID, first.RefreshToken)
		return err
	}
	w.UseCachedReads(during)
	_, err := refreshWith(w, client.ID, first.RefreshToken)
	checkRefused(t, "the slower one", err, grant.InvalidGrant)
	checkEndReason(t, w, "")
	if _, err := refreshWith(w, client.ID, faster.RefreshToken); err != nil {
		t.Errorf("with what the faster one got: %v", err)
	}
}

// The slower request waits for the store for longer than the grace period.
func TestWithAShortGraceTheSlowerOfTwoRefreshesIsNoThief(t *testing.T) {
	w := servertest.New(t)
	w.ChangeDocument(func(s *documents.Server) { s.RefreshToken.ReuseGracePeriod = 2 })
	client := serveClient(t, w, servertest.Client("shop.web"))
	first := beginGrant(t, w, client, "openid", "offline_access")
	during := &hookedStore{Store: w.Store}
	during.beforeUpdate = func(storage.Grant) error {
		during.beforeUpdate = nil
		_, err := refreshWith(w, client.ID, first.RefreshToken)
		w.Advance(3 * time.Second)
		return err
	}
	w.UseCachedReads(during)
	_, err := refreshWith(w, client.ID, first.RefreshToken)
	checkRefused(t, "the slower one", err, grant.InvalidGrant)
	checkEndReason(t, w, "")
}

// The client retries while the store is unavailable. Its first write has happened. The second one
// is based on a stale cached record, and cannot happen.
func TestARetryDuringAnOutageDoesNotCostTheClientItsGrant(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	first := beginGrant(t, w, client, "openid", "offline_access")
	watched := w.UseCachedReads(w.Store)
	watched.Freeze(w.StoredGrants()...)
	// Each try fails at the write, and at reading its outcome.
	for _, fault := range []storagetest.Fault{storagetest.LostAnswer, storagetest.LostRequest, storagetest.LostRequest} {
		w.Store.Fail("UpdateGrant", fault)
		w.Store.Fail("GetGrant", storagetest.Unavailable)
		_, err := refreshWith(w, client.ID, first.RefreshToken)
		requireUnavailable(t, "a refresh", err)
		w.Advance(2 * time.Second)
	}
	watched.CatchUp()
	w.Advance(2 * time.Minute)
	second, err := refreshWith(w, client.ID, first.RefreshToken)
	if err != nil {
		t.Fatalf("after the outage and the grace: %v", err)
	}
	checkEndReason(t, w, "")
	if _, err := refreshWith(w, client.ID, second.RefreshToken); err != nil {
		t.Errorf("with what it got: %v", err)
	}
}

// A write that is based on a cached record got no answer. Reading the record decides about the
// token as if nothing had been written.
func TestAnUnansweredWriteOnTopOfACopyHidesNoTheft(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	first := beginGrant(t, w, client, "openid", "offline_access")
	old := w.StoredGrants()
	second, err := refreshWith(w, client.ID, first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := refreshWith(w, client.ID, second.RefreshToken); err != nil {
		t.Fatal(err)
	}
	w.UseCachedReads(w.Store).Freeze(old...)
	w.Store.Fail("UpdateGrant", storagetest.LostRequest)
	_, err = refreshWith(w, client.ID, first.RefreshToken)
	checkRefused(t, "a token that was replaced twice", err, grant.InvalidGrant)
	checkEndReason(t, w, storage.EndRefreshTokenReuse)
}

func TestAnUnansweredWriteOnTopOfACopyDeniesTheClientNothing(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	first := beginGrant(t, w, client, "openid", "offline_access")
	w.UseCachedReads(w.Store).Freeze(w.StoredGrants()...)
	w.Store.Fail("UpdateGrant", storagetest.LostAnswer)
	w.Store.Fail("GetGrant", storagetest.Unavailable)
	_, err := refreshWith(w, client.ID, first.RefreshToken)
	requireUnavailable(t, "the first", err)
	w.Advance(2 * time.Minute)
	w.Store.Fail("UpdateGrant", storagetest.LostRequest)
	if _, err := refreshWith(w, client.ID, first.RefreshToken); err != nil {
		t.Errorf("trying again: %v", err)
	}
	checkEndReason(t, w, "")
}

func TestWhatWasDecidedByACopyIsWrittenOrReadAgain(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	first := beginGrant(t, w, client, "openid", "offline_access")
	w.UseCachedReads(w.Store).Freeze(w.StoredGrants()...)
	if err := w.Grants.End(t.Context(), first.Grant.ID, storage.EndRevoked); err != nil {
		t.Fatal(err)
	}
	// The rotation changes during the request. A token that is kept causes no write, by which the
	// request would notice that the grant has ended.
	w.Grants.Now = func() time.Time {
		w.Grants.Now = w.Now
		w.ChangeDocument(func(s *documents.Server) { s.RefreshToken.RotatePublicClientsOnly = true })
		return w.Now()
	}
	_, err := refreshWith(w, client.ID, first.RefreshToken)
	checkRefused(t, "a token of a grant that has ended", err, grant.InvalidGrant)
}

// newReplica returns the grants of another process of the token server.
func newReplica(w *servertest.Server) *grant.Service {
	return &grant.Service{
		Store: w.Store, Keys: w.Keys, Registry: w.Registry, Users: w.Users, Now: w.Grants.Now, Random: w.Grants.Random, Log: w.Grants.Log, Metrics: w.Grants.Metrics,
	}
}

// The refresh happened without an answer. Only one replica knows that, and the client retries at
// another.
func TestAnOutageDoesNotUseUpTheGrace(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	other := newReplica(w)
	at := func(s *grant.Service, token string) (grant.Result, error) {
		return s.Refresh(t.Context(), grant.RefreshRequest{Client: client, RefreshToken: token})
	}
	first := beginGrant(t, w, client, "openid", "offline_access")
	w.Store.Fail("GetGrant", storagetest.None, storagetest.Unavailable)
	w.Store.Fail("UpdateGrant", storagetest.LostAnswer)
	_, err := at(w.Grants, first.RefreshToken)
	requireUnavailable(t, "a refresh", err)
	w.Store.FailAll(storagetest.Unavailable)
	for _, wait := range []time.Duration{time.Second, time.Minute, time.Minute} {
		w.Advance(wait)
		_, err := at(other, first.RefreshToken)
		requireUnavailable(t, "a refresh at the other replica", err)
	}
	w.Store.FailAll(storagetest.None)
	w.Advance(time.Second)
	if _, err := newReplica(w).CheckRefreshToken(t.Context(), first.RefreshToken, client); !errors.Is(err, grant.ErrInactive) {
		t.Errorf("a replica that has noticed no outage says %v of the replaced token", err)
	}
	second, err := at(other, first.RefreshToken)
	if err != nil {
		t.Fatalf("after the outage: %v", err)
	}
	checkEndReason(t, w, "")

	// The grace period continues after the outage, and ends.
	w.Advance(3 * time.Minute)
	if _, err := at(other, first.RefreshToken); err == nil {
		t.Error("the replaced token is good for ever")
	}
	checkEndReason(t, w, storage.EndRefreshTokenReuse)
	if _, err := at(other, second.RefreshToken); err == nil {
		t.Error("its successor is good after the reuse")
	}
}
