package grant_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/storagetest"
)

// hookedStore is a store that calls a function before each write.
type hookedStore struct {
	storage.Store
	beforeCreate func(storage.Grant)
	beforeUpdate func(storage.Grant) error
}

func (m *hookedStore) CreateGrant(ctx context.Context, g storage.Grant) (storage.Grant, error) {
	if m.beforeCreate != nil {
		m.beforeCreate(g)
	}
	return m.Store.CreateGrant(ctx, g)
}

func (m *hookedStore) UpdateGrant(ctx context.Context, g storage.Grant) (storage.Grant, error) {
	if m.beforeUpdate != nil {
		if err := m.beforeUpdate(g); err != nil {
			return storage.Grant{}, err
		}
	}
	return m.Store.UpdateGrant(ctx, g)
}

// delayFirstWrite delays the first update until land is called; its request gets ErrAmbiguous.
// Later updates call others first, and fail with its error.
func delayFirstWrite(w *servertest.Server, others func() error) (land func() error) {
	var first *storage.Grant
	w.Grants.Store = &hookedStore{Store: w.Memory, beforeUpdate: func(g storage.Grant) error {
		if first == nil {
			first = &g
			return storage.ErrAmbiguous
		}
		return others()
	}}
	return func() error {
		_, err := w.Memory.UpdateGrant(context.Background(), *first)
		return err
	}
}

func refreshWith(w *servertest.Server, client string, token string) (grant.Result, error) {
	c, _ := w.Registry.Client(client)
	return w.Grants.Refresh(context.Background(), grant.RefreshRequest{Client: c, RefreshToken: token})
}

func disableGracePeriod(s *documents.Server) { s.RefreshToken.ReuseGracePeriod = 0 }

// A write was unconfirmed, and the client retried and was answered. Then its old token is used once
// more.
func TestAnUnconfirmedRotationIsAcceptedFromTheClientOnceAndNotFromAThiefAfterIt(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	first := beginGrant(t, w, client, "openid", "offline_access")
	w.Store.Fail("GetGrant", storagetest.None, storagetest.Unavailable)
	w.Store.Fail("UpdateGrant", storagetest.LostAnswer)
	if _, err := refreshWith(w, client.ID, first.RefreshToken); !errors.Is(err, storage.ErrUnavailable) {
		t.Fatalf("while the store is away: %v", err)
	}
	second, err := refreshWith(w, client.ID, first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	w.Advance(3 * time.Minute)
	_, err = refreshWith(w, client.ID, first.RefreshToken)
	checkRefused(t, "the old token", err, grant.InvalidGrant)
	_, err = refreshWith(w, client.ID, second.RefreshToken)
	checkRefused(t, "the new token, after reuse", err, grant.InvalidGrant)
	if g := w.StoredGrants()[0]; g.EndReason != storage.EndRefreshTokenReuse {
		t.Errorf("the grant ended for %q", g.EndReason)
	}
}

// With a rotation of public clients only, storing the last use of a token replaces no token. So the
// token before must not be accepted.
func TestAnUnconfirmedWriteOfTheLastUseIsNoRotation(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	first := beginGrant(t, w, client, "openid", "offline_access")
	second, err := refreshWith(w, client.ID, first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	w.ChangeDocument(func(s *documents.Server) { s.RefreshToken.RotatePublicClientsOnly = true })
	w.Advance(2 * time.Hour)
	w.Store.Fail("GetGrant", storagetest.None, storagetest.Unavailable)
	w.Store.Fail("UpdateGrant", storagetest.LostAnswer)
	if _, err := refreshWith(w, client.ID, second.RefreshToken); !errors.Is(err, storage.ErrUnavailable) {
		t.Fatalf("while the store is away: %v", err)
	}
	_, err = refreshWith(w, client.ID, first.RefreshToken)
	checkRefused(t, "the token before", err, grant.InvalidGrant)
	if g := w.StoredGrants()[0]; g.EndReason != storage.EndRefreshTokenReuse {
		t.Errorf("the grant ended for %q", g.EndReason)
	}
}

func TestAnAdvanceThatLandsLateIsOnesOwn(t *testing.T) {
	w := servertest.New(t)
	w.ChangeDocument(disableGracePeriod)
	client := serveClient(t, w, servertest.Client("shop.web"))
	first := beginGrant(t, w, client, "openid", "offline_access")
	var land func() error
	land = delayFirstWrite(w, func() error { return land() })
	second, err := refreshWith(w, client.ID, first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	w.Grants.Store = w.Store
	if _, err := refreshWith(w, client.ID, second.RefreshToken); err != nil {
		t.Errorf("with what it got: %v", err)
	}
}

// The first write is delayed, and the second fails. The client is told to retry, and then the first
// write happens.
func TestAnAdvanceThatLandsAfterTheAnswerIsOnesOwn(t *testing.T) {
	w := servertest.New(t)
	w.ChangeDocument(disableGracePeriod)
	client := serveClient(t, w, servertest.Client("shop.web"))
	first := beginGrant(t, w, client, "openid", "offline_access")
	land := delayFirstWrite(w, func() error { return storage.ErrUnavailable })
	if _, err := refreshWith(w, client.ID, first.RefreshToken); !errors.Is(err, storage.ErrUnavailable) {
		t.Fatalf("while the store is away: %v", err)
	}
	if err := land(); err != nil {
		t.Fatal(err)
	}
	w.Grants.Store = w.Store
	second, err := refreshWith(w, client.ID, first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := refreshWith(w, client.ID, second.RefreshToken); err != nil {
		t.Errorf("with what it got: %v", err)
	}
}

// newConsentedCode returns a code whose authorization needs a stored consent.
func newConsentedCode(t *testing.T, w *servertest.Server, client documents.Client) string {
	t.Helper()
	return w.Code(w.Consent(w.Authorization(client, "openid", "offline_access")))
}

func TestAConsentThatIsWithdrawnWhileACodeIsRedeemedEndsTheGrant(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	code := newConsentedCode(t, w, *client.Client)
	w.Grants.Store = &hookedStore{Store: w.Store, beforeCreate: func(g storage.Grant) {
		w.WithdrawConsent(g.ClientUID)
	}}
	_, err := redeem(w, client, code)
	checkRefused(t, "a code whose consent is gone", err, grant.InvalidGrant)
	if g := w.StoredGrants()[0]; g.EndReason != storage.EndConsentWithdrawn {
		t.Errorf("the grant ended for %q", g.EndReason)
	}
}

func TestAConsentThatCannotBeReadUsesNoCodeUp(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	code := newConsentedCode(t, w, *client.Client)
	w.Store.Fail("GetConsent", storagetest.None, storagetest.Unavailable)
	if _, err := redeem(w, client, code); !errors.Is(err, storage.ErrUnavailable) {
		t.Fatalf("while the store is away: %v", err)
	}
	if _, err := redeem(w, client, code); err != nil {
		t.Errorf("and again: %v", err)
	}
	if live := w.StoredGrants(); len(live) != 1 || live[0].IsEnded() {
		t.Errorf("the records are %+v", live)
	}
}

// An unconfirmed creation has happened, and the bound of the user and the client has ended the
// grant since. It authorizes nothing.
func TestAGrantThatHasEndedIsNotOnesOwnAnyMore(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	code := w.Code(w.Authorization(*client.Client, "openid", "offline_access"))
	w.Store.Fail("CreateGrant", storagetest.LostAnswer)
	w.Store.Fail("GetGrant", storagetest.Unavailable)
	if _, err := redeem(w, client, code); !errors.Is(err, storage.ErrUnavailable) {
		t.Fatalf("while the store is away: %v", err)
	}
	g := w.StoredGrants()[0]
	g.End(w.Now(), storage.EndBound)
	if _, err := w.Memory.UpdateGrant(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	_, err := redeem(w, client, code)
	checkRefused(t, "the code of a grant that has ended", err, grant.InvalidGrant)
}

func TestARefreshNeedsTheGrantTypeThatTheGrantBeganWith(t *testing.T) {
	w := servertest.New(t)
	c := servertest.Client("shop.both")
	c.GrantTypes = []string{"authorization_code", "password", "refresh_token"}
	client := serveClient(t, w, c)
	alice, _ := w.Registry.UserByUID("alice-uid")
	byPassword, err := w.Grants.ExchangePassword(t.Context(), grant.PasswordRequest{Client: client, User: alice, Scopes: []string{"openid"}})
	if err != nil {
		t.Fatal(err)
	}
	byCode := beginGrant(t, w, client, "openid", "offline_access")
	c.GrantTypes = []string{"authorization_code", "refresh_token"}
	w.AddClient(c)
	_, err = refreshWith(w, c.ID, byPassword.RefreshToken)
	checkRefused(t, "begun with a password", err, grant.InvalidGrant)
	next, err := refreshWith(w, c.ID, byCode.RefreshToken)
	if err != nil {
		t.Errorf("begun with a code: %v", err)
	}
	c.GrantTypes = []string{"password", "refresh_token"}
	w.AddClient(c)
	_, err = refreshWith(w, c.ID, next.RefreshToken)
	checkRefused(t, "begun with a code", err, grant.InvalidGrant)
	if _, err := refreshWith(w, c.ID, byPassword.RefreshToken); err != nil {
		t.Errorf("begun with a password, which is allowed again: %v", err)
	}
}

func implicitToken(t *testing.T, w *servertest.Server, client *registry.Client) string {
	t.Helper()
	token, _, err := w.Minter.AccessToken(mint.AccessTokenInput{
		Client: client, Subject: servertest.Subject, Audience: []string{servertest.Issuer}, Scopes: []string{"openid"},
		TokenID: mint.TokenID{
			ClientUID: client.UID, UserUID: "alice-uid", UserEpoch: "epoch-1", SessionHash: "session-1", StoreID: w.Grants.StoreID,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// A token without a grant that was revoked stays revoked after a restart of the memory store, which
// loses the mark.
func TestATokenWithoutAGrantDoesNotOutliveAStoreThatForgets(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	token := implicitToken(t, w, client)
	if !w.IsActive(token) {
		t.Fatal("the token is not active at first")
	}
	if became, err := w.Grants.Revoke(t.Context(), client, token); became != grant.Revoked || err != nil {
		t.Fatalf("revoking it is %v (%v)", became, err)
	}
	w.Restart()
	if w.IsActive(token) {
		t.Error("a revoked token is active after a restart")
	}
	if !w.IsActive(implicitToken(t, w, client)) {
		t.Error("a new token is not active after a restart")
	}
}

// A second use of a code is a replay, although a refresh of the same grant is unconfirmed.
func TestAReplayOfTheCodeEndsTheGrantAlsoWhileARefreshIsUnconfirmed(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	code := w.Code(w.Authorization(*client.Client, "openid", "offline_access"))
	first, err := redeem(w, client, code)
	if err != nil {
		t.Fatal(err)
	}
	w.Store.Fail("GetGrant", storagetest.None, storagetest.Unavailable)
	w.Store.Fail("UpdateGrant", storagetest.LostAnswer)
	_, err = refreshWith(w, client.ID, first.RefreshToken)
	requireUnavailable(t, "the refresh", err)
	_, err = redeem(w, client, code)
	checkRefused(t, "the code, again", err, grant.InvalidGrant)
	checkEndReason(t, w, storage.EndCodeReuse)
}

// The first write is delayed until the client retries, and happens before the second one.
func TestAnAdvanceThatLandsDuringTheRetryIsOnesOwn(t *testing.T) {
	w := servertest.New(t)
	w.ChangeDocument(disableGracePeriod)
	client := serveClient(t, w, servertest.Client("shop.web"))
	first := beginGrant(t, w, client, "openid", "offline_access")
	land := delayFirstWrite(w, func() error { return storage.ErrUnavailable })
	_, err := refreshWith(w, client.ID, first.RefreshToken)
	requireUnavailable(t, "the first try", err)
	retry := &hookedStore{Store: w.Memory}
	retry.beforeUpdate = func(storage.Grant) error {
		retry.beforeUpdate = nil
		return land()
	}
	w.Grants.Store = retry
	second, err := refreshWith(w, client.ID, first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := refreshWith(w, client.ID, second.RefreshToken); err != nil {
		t.Errorf("with what it got: %v", err)
	}
}

// Of two parallel requests, one is answered from the write of the other, whose outcome stays
// unknown to it. Then the old token is used once more.
func TestAnAnswerToAParallelRequestLeavesNoUnconfirmedRotation(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	first := beginGrant(t, w, client, "openid", "offline_access")
	slow := &hookedStore{Store: w.Store}
	slow.beforeUpdate = func(g storage.Grant) error {
		slow.beforeUpdate = nil
		if _, err := w.Memory.UpdateGrant(t.Context(), g); err != nil {
			return err
		}
		if _, err := refreshWith(w, client.ID, first.RefreshToken); err != nil {
			t.Errorf("the parallel request: %v", err)
		}
		w.Store.Fail("GetGrant", storagetest.Unavailable) // the write is known to have no answer, and then it cannot be read
		return storage.ErrAmbiguous
	}
	w.Grants.Store = slow
	_, err := refreshWith(w, client.ID, first.RefreshToken)
	requireUnavailable(t, "the slow request", err)
	w.Advance(time.Minute)
	_, err = refreshWith(w, client.ID, first.RefreshToken)
	checkRefused(t, "the old token", err, grant.InvalidGrant)
	checkEndReason(t, w, storage.EndRefreshTokenReuse)
}

// A proxy between server and store delivered the write twice, and returned the answer to the
// second: a conflict.
func TestAnAdvanceThatWasDeliveredTwiceIsOnesOwn(t *testing.T) {
	for _, unreadable := range []bool{false, true} {
		w := servertest.New(t)
		w.ChangeDocument(disableGracePeriod)
		client := serveClient(t, w, servertest.Client("shop.web"))
		first := beginGrant(t, w, client, "openid", "offline_access")
		twice := &hookedStore{Store: w.Store}
		twice.beforeUpdate = func(g storage.Grant) error {
			twice.beforeUpdate = nil
			if unreadable {
				w.Store.Fail("GetGrant", storagetest.Unavailable)
			}
			_, err := w.Memory.UpdateGrant(t.Context(), g)
			return err
		}
		w.Grants.Store = twice
		second, err := refreshWith(w, client.ID, first.RefreshToken)
		if unreadable {
			requireUnavailable(t, "the refresh", err)
			second, err = refreshWith(w, client.ID, first.RefreshToken)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := refreshWith(w, client.ID, second.RefreshToken); err != nil {
			t.Errorf("with what it got: %v", err)
		}
	}
}

func TestACreationThatWasDeliveredTwiceIsOnesOwn(t *testing.T) {
	for _, unreadable := range []bool{false, true} {
		w := servertest.New(t)
		client := serveClient(t, w, servertest.Client("shop.web"))
		code := w.Code(w.Authorization(*client.Client, "openid", "offline_access"))
		twice := &hookedStore{Store: w.Store}
		twice.beforeCreate = func(g storage.Grant) {
			twice.beforeCreate = nil
			if unreadable {
				w.Store.Fail("GetGrant", storagetest.Unavailable)
			}
			if _, err := w.Memory.CreateGrant(t.Context(), g); err != nil {
				t.Error(err)
			}
		}
		w.Grants.Store = twice
		out, err := redeem(w, client, code)
		if unreadable {
			requireUnavailable(t, "the redemption", err)
			out, err = redeem(w, client, code)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := refreshWith(w, client.ID, out.RefreshToken); err != nil {
			t.Errorf("with what it got: %v", err)
		}
		_, err = redeem(w, client, code)
		checkRefused(t, "the code, after its client was answered", err, grant.InvalidGrant)
		checkEndReason(t, w, storage.EndCodeReuse)
	}
}

// The second try finds the record of the first, and cannot read the consent. The third try must
// succeed.
func TestAConsentThatCannotBeReadLosesNoUnseenWrite(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	code := newConsentedCode(t, w, *client.Client)
	w.Store.Fail("CreateGrant", storagetest.LostAnswer)
	w.Store.Fail("GetGrant", storagetest.Unavailable)
	_, err := redeem(w, client, code)
	requireUnavailable(t, "the first", err)
	w.Store.Fail("GetConsent", storagetest.None, storagetest.Unavailable)
	_, err = redeem(w, client, code)
	requireUnavailable(t, "the second", err)
	out, err := redeem(w, client, code)
	if err != nil {
		t.Fatalf("the third: %v", err)
	}
	if _, err := refreshWith(w, client.ID, out.RefreshToken); err != nil {
		t.Errorf("with what it got: %v", err)
	}
}
