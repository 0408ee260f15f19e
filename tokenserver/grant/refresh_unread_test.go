package grant_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/storagetest"
)

// beginRotated begins a grant at a server whose store rotates tokens of grants that were not read.
func beginRotated(t *testing.T, scopes ...string) (*servertest.Server, *registry.Client, grant.Result) {
	t.Helper()
	w := servertest.New(t)
	w.UseRotatingStore()
	client := serveClient(t, w, servertest.Client("shop.web"))
	return w, client, beginGrant(t, w, client, scopes...)
}

// callsOf returns how many grants were read and updated by do.
func callsOf(w *servertest.Server, do func()) (reads, updates int) {
	reads, updates = w.Store.Calls("GetGrant"), w.Store.Calls("UpdateGrant")
	do()
	return w.Store.Calls("GetGrant") - reads, w.Store.Calls("UpdateGrant") - updates
}

func TestARotationThatTheStoreCanDoInOneExchangeIsOne(t *testing.T) {
	w, client, last := beginRotated(t, "openid", "offline_access", "orders:read")
	for range 3 {
		w.Advance(10 * time.Minute)
		reads, updates := callsOf(w, func() {
			next, err := refreshWith(w, client.ID, last.RefreshToken)
			if err != nil || next.RefreshToken == last.RefreshToken || strings.Join(next.Scopes, " ") != strings.Join(last.Scopes, " ") {
				t.Fatalf("the scopes are %q, of %q (%v)", next.Scopes, last.Scopes, err)
			}
			last = next
		})
		if reads != 0 || updates != 1 {
			t.Errorf("there were %d reads and %d updates", reads, updates)
		}
	}
	if stored := w.StoredGrants()[0]; stored.RefreshTokenNumber != 4 || !stored.LastUsedAt.Equal(w.Now()) {
		t.Errorf("stored is %+v", stored)
	}
}

// refusals refuse a refresh, and end later.
var refusals = map[string]struct{ change, undo func(w *servertest.Server) }{
	"the user is not served":   {func(w *servertest.Server) { w.RemoveUser(servertest.User()) }, func(w *servertest.Server) { w.AddUser(servertest.User()) }},
	"the password has changed": {func(w *servertest.Server) { u := servertest.User(); u.Epoch = "2"; w.AddUser(u) }, func(w *servertest.Server) { w.AddUser(servertest.User()) }},
	"the user is suspended":    {func(w *servertest.Server) { u := servertest.User(); u.Suspended = true; w.AddUser(u) }, func(w *servertest.Server) { w.AddUser(servertest.User()) }},
	"all from before is void": {
		func(w *servertest.Server) {
			w.ChangeDocument(func(s *documents.Server) { s.TokensNotBefore = w.Now().Add(-10 * time.Second).Unix() })
		},
		func(w *servertest.Server) { w.ChangeDocument(func(s *documents.Server) { s.TokensNotBefore = 0 }) },
	},
	"the redirect URI is gone": {changeClient(func(c *documents.Client) { c.RedirectURIs = []string{"https://else.example.com/"} }), changeClient(nil)},
	"no scope is left":         {changeClient(func(c *documents.Client) { c.Scopes = []string{"stock:read"} }), changeClient(nil)},
	"the grant type is gone":   {changeClient(func(c *documents.Client) { c.GrantTypes = []string{"refresh_token"} }), changeClient(nil)},
}

func TestARefusedRefreshUsesUpNothingWhereItIsRotatedUnread(t *testing.T) {
	for name, c := range refusals {
		w, client, begun := beginRotated(t, "orders:read", "offline_access")
		before := w.StoredGrants()[0]
		w.Advance(time.Minute)
		c.change(w)
		_, err := refreshWith(w, client.ID, begun.RefreshToken)
		checkRefused(t, name, err, grant.InvalidGrant)
		after := w.StoredGrants()[0]
		if after.Version = before.Version; !reflect.DeepEqual(after, before) {
			t.Errorf("%s: the grant was\n%+v and is\n%+v", name, before, after)
		}
		c.undo(w)
		w.Advance(time.Hour) // beyond every grace period
		if _, err := refreshWith(w, client.ID, begun.RefreshToken); err != nil {
			t.Errorf("%s: afterwards: %v", name, err)
		}
	}
}

func TestARefusedRefreshWhoseRotationGotNoAnswerUsesUpNothing(t *testing.T) {
	for _, faults := range [][]storagetest.Fault{{storagetest.LostAnswer}, {storagetest.None, storagetest.LostAnswer}, {storagetest.None, storagetest.LostRequest}} {
		for name, c := range refusals {
			w, client, begun := beginRotated(t, "orders:read", "offline_access")
			w.Advance(time.Minute)
			c.change(w)
			w.Store.Fail("UpdateGrant", faults...)
			_, err := refreshWith(w, client.ID, begun.RefreshToken)
			checkRefused(t, name, err, grant.InvalidGrant)
			c.undo(w)
			w.Advance(time.Hour)
			if _, err := refreshWith(w, client.ID, begun.RefreshToken); err != nil {
				t.Errorf("%s, with the faults %v: afterwards: %v", name, faults, err)
			}
		}
	}
}

// leavingClient hangs up while its refresh token is rotated.
type leavingClient struct {
	servertest.RotatingStore
	leave func()
}

func (s *leavingClient) Rotate(ctx context.Context, r storage.Rotation) (before, after storage.Grant, basis storage.Basis, err error) {
	defer s.leave()
	return s.RotatingStore.Rotate(ctx, r)
}

func (s *leavingClient) UpdateGrant(ctx context.Context, g storage.Grant) (storage.Grant, error) {
	if ctx.Err() != nil {
		return storage.Grant{}, storage.ErrUnavailable // as stores do
	}
	return s.RotatingStore.UpdateGrant(ctx, g)
}

func TestARefusedRefreshUsesUpNothingThoughTheClientHangsUp(t *testing.T) {
	w, client, begun := beginRotated(t, "orders:read", "offline_access")
	ctx, leave := context.WithCancel(t.Context())
	w.Grants.Store = &leavingClient{w.Grants.Store.(servertest.RotatingStore), leave}
	w.RemoveUser(servertest.User())
	_, err := w.Grants.Refresh(ctx, grant.RefreshRequest{Client: client, RefreshToken: begun.RefreshToken})
	checkRefused(t, "without its user", err, grant.InvalidGrant)
	w.AddUser(servertest.User())
	w.Advance(time.Hour)
	if _, err := refreshWith(w, client.ID, begun.RefreshToken); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestARefreshThatAsksForWhatWasNotGrantedWritesNothing(t *testing.T) {
	w, client, begun := beginRotated(t, "openid", "offline_access", "orders:read")
	for name, r := range map[string]grant.RefreshRequest{
		"a scope":    {Scopes: []string{"orders:write"}},
		"a resource": {Resources: []string{servertest.Stock}},
	} {
		r.Client, r.RefreshToken = client, begun.RefreshToken
		if _, updates := callsOf(w, func() {
			var refused *grant.RefusedError
			if _, err := w.Grants.Refresh(t.Context(), r); !errors.As(err, &refused) {
				t.Errorf("%s: %v", name, err)
			}
		}); updates != 0 {
			t.Errorf("%s: there were %d updates", name, updates)
		}
	}
}

// What the token is of is known only after the write.
func TestARotationOfAnUnreadGrantWhoseAnswerIsLostIsFound(t *testing.T) {
	for name, fault := range map[string]storagetest.Fault{"the answer is lost": storagetest.LostAnswer, "the request is lost": storagetest.LostRequest} {
		w, client, begun := beginRotated(t, "openid", "offline_access", "orders:read")
		w.Store.Fail("UpdateGrant", fault)
		next, err := refreshWith(w, client.ID, begun.RefreshToken)
		if err != nil || strings.Join(next.Scopes, " ") != strings.Join(begun.Scopes, " ") || next.User == nil {
			t.Fatalf("%s: %+v, %v", name, next, err)
		}
		if number := w.StoredGrants()[0].RefreshTokenNumber; number != 2 {
			t.Errorf("%s: the number is %d", name, number)
		}
		w.Advance(time.Hour)
		if _, err := refreshWith(w, client.ID, next.RefreshToken); err != nil {
			t.Errorf("%s: the next token: %v", name, err)
		}
	}
}

// The client got no answer. Much later it tries again, which is no reuse, and a thief after it is.
func TestAnUnconfirmedRotationOfAnUnreadGrantIsAcceptedFromTheClientOnce(t *testing.T) {
	w, client, first := beginRotated(t, "openid", "offline_access")
	w.Store.Fail("GetGrant", storagetest.Unavailable)
	w.Store.Fail("UpdateGrant", storagetest.LostAnswer)
	if _, err := refreshWith(w, client.ID, first.RefreshToken); !errors.Is(err, storage.ErrUnavailable) {
		t.Fatalf("while the store is away: %v", err)
	}
	w.Advance(3 * time.Minute)
	second, err := refreshWith(w, client.ID, first.RefreshToken)
	if err != nil {
		t.Fatalf("the client tries again: %v", err)
	}
	w.Advance(3 * time.Minute)
	_, err = refreshWith(w, client.ID, first.RefreshToken)
	checkRefused(t, "the replaced token", err, grant.InvalidGrant)
	_, err = refreshWith(w, client.ID, second.RefreshToken)
	checkRefused(t, "after the reuse", err, grant.InvalidGrant)
}

func TestAnUnreadGrantIsRefusedWithoutItsSessionOrItsConsent(t *testing.T) {
	for name, end := range map[string]func(w *servertest.Server, g storage.Grant) error{
		"its session has ended": func(w *servertest.Server, g storage.Grant) error {
			return w.Store.SetMark(t.Context(), storage.Mark{Kind: storage.MarkSession, ID: g.SessionHash, ExpiresAt: w.Now().Add(time.Hour)})
		},
		"its consent is gone": func(w *servertest.Server, g storage.Grant) error { w.WithdrawConsent(g.ClientUID); return nil },
	} {
		w := servertest.New(t)
		w.UseRotatingStore()
		client := serveClient(t, w, servertest.Client("shop.web"))
		a := w.Consent(w.Authorization(*client.Client, "openid"))
		begun, err := redeem(w, client, w.Code(a))
		if err != nil {
			t.Fatal(err)
		}
		if begun, err = refreshWith(w, client.ID, begun.RefreshToken); err != nil {
			t.Fatalf("before %s: %v", name, err)
		}
		if err := end(w, w.StoredGrants()[0]); err != nil {
			t.Fatal(err)
		}
		_, err = refreshWith(w, client.ID, begun.RefreshToken)
		checkRefused(t, name, err, grant.InvalidGrant)
	}
}

func TestTheTokenOfAConfidentialClientIsKeptWhereTokensAreRotatedUnread(t *testing.T) {
	w := servertest.New(t)
	w.UseRotatingStore()
	w.ChangeDocument(func(s *documents.Server) { s.RefreshToken.RotatePublicClientsOnly = true })
	client := serveClient(t, w, servertest.Client("shop.web"))
	begun := beginGrant(t, w, client, "openid", "offline_access")
	if _, updates := callsOf(w, func() {
		if next, err := refreshWith(w, client.ID, begun.RefreshToken); err != nil || next.RefreshToken != "" && next.RefreshToken != begun.RefreshToken {
			t.Errorf("the token is replaced (%v)", err)
		}
	}); updates != 0 {
		t.Errorf("there were %d updates", updates)
	}
}

func TestWhileTheStoreIsAwayAnUnreadGrantKeepsItsToken(t *testing.T) {
	w, client, begun := beginRotated(t, "openid", "offline_access")
	w.Store.Fail("UpdateGrant", storagetest.Unavailable)
	if _, err := refreshWith(w, client.ID, begun.RefreshToken); !errors.Is(err, storage.ErrUnavailable) {
		t.Fatalf("while the store is away: %v", err)
	}
	w.Advance(time.Hour)
	if _, err := refreshWith(w, client.ID, begun.RefreshToken); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestAReplacedTokenIsAReuseWhereTokensAreRotatedUnread(t *testing.T) {
	w, client, first := beginRotated(t, "openid", "offline_access")
	second, err := refreshWith(w, client.ID, first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	again, err := refreshWith(w, client.ID, first.RefreshToken)
	if err != nil || again.RefreshToken != second.RefreshToken {
		t.Errorf("in the grace period: %v", err)
	}
	w.Advance(time.Hour)
	_, err = refreshWith(w, client.ID, first.RefreshToken)
	checkRefused(t, "the replaced token", err, grant.InvalidGrant)
	_, err = refreshWith(w, client.ID, second.RefreshToken)
	checkRefused(t, "after the reuse", err, grant.InvalidGrant)
}

func TestOfParallelRefreshesOfAnUnreadGrantAllGetOneToken(t *testing.T) {
	w, client, begun := beginRotated(t, "openid", "offline_access")
	var mu sync.Mutex
	got := map[string]int{}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			next, err := refreshWith(w, client.ID, begun.RefreshToken)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			got[next.RefreshToken]++
		})
	}
	all.Wait()
	if len(got) != 1 || w.StoredGrants()[0].RefreshTokenNumber != 2 {
		t.Errorf("%d different tokens; stored is %+v", len(got), w.StoredGrants()[0])
	}
}

// Without a grace period two requests at once must not end the grant, so that it is read first.
func TestWithoutAGracePeriodAGrantIsReadBeforeItIsRotated(t *testing.T) {
	w := servertest.New(t)
	w.UseRotatingStore()
	w.ChangeDocument(disableGracePeriod)
	client := serveClient(t, w, servertest.Client("shop.web"))
	begun := beginGrant(t, w, client, "openid", "offline_access")
	if reads, _ := callsOf(w, func() {
		if _, err := refreshWith(w, client.ID, begun.RefreshToken); err != nil {
			t.Error(err)
		}
	}); reads == 0 {
		t.Error("the grant was not read")
	}
}

// changeClient returns a function that serves the client shop.web with a change, or as it was.
func changeClient(change func(*documents.Client)) func(*servertest.Server) {
	return func(w *servertest.Server) {
		c := servertest.Client("shop.web")
		if change != nil {
			change(&c)
		}
		w.AddClient(c)
	}
}
