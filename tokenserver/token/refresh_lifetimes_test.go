package token_test

import (
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/grant/granttest"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

func TestRotationDoesNotExtendTheAbsoluteLifetime(t *testing.T) {
	w := newWorld(t)
	w.ChangeServer(func(s *documents.Server) {
		s.RefreshToken.IdleLifetime, s.RefreshToken.AbsoluteLifetime = 2*3600, 3*3600
	})
	c := w.AddClient(spa())
	token := w.Begin(c, "openid", "offline_access").String("refresh_token")
	for range 5 {
		w.Clock.Move(30 * time.Minute)
		token = w.OK(w.Refresh(c, token)).String("refresh_token")
	}
	w.Clock.Move(30*time.Minute - time.Second)
	token = w.OK(w.Refresh(c, token)).String("refresh_token")
	w.Clock.Move(time.Second)
	w.Refused(w.Refresh(c, token), 400, "invalid_grant")
}

func TestAnIdleRefreshTokenExpires(t *testing.T) {
	w := newWorld(t)
	w.ChangeServer(func(s *documents.Server) { s.RefreshToken.IdleLifetime = 3600 })
	c := w.AddClient(spa())
	token := w.Begin(c, "openid", "offline_access").String("refresh_token")
	w.Clock.Move(time.Hour - time.Second)
	token = w.OK(w.Refresh(c, token)).String("refresh_token")
	w.Clock.Move(time.Hour)
	w.Refused(w.Refresh(c, token), 400, "invalid_grant")
}

func TestLoweredLifetimesOfRefreshTokensCountAtOnce(t *testing.T) {
	w := newWorld(t)
	c := w.AddClient(spa())
	token := w.Begin(c, "openid", "offline_access").String("refresh_token")
	w.Clock.Move(2 * time.Hour)
	w.ChangeServer(func(s *documents.Server) { s.RefreshToken.AbsoluteLifetime = 3600 })
	w.Refused(w.Refresh(c, token), 400, "invalid_grant")
	w.ChangeServer(func(s *documents.Server) {
		s.RefreshToken.AbsoluteLifetime, s.RefreshToken.IdleLifetime = 9*3600, 3600
	})
	w.Refused(w.Refresh(c, token), 400, "invalid_grant")
	w.ChangeServer(func(s *documents.Server) { s.RefreshToken.IdleLifetime = 9 * 3600 })
	w.OK(w.Refresh(c, token))
}

func TestAnOnlineRefreshTokenEndsWithItsSession(t *testing.T) {
	w := newWorld(t)
	c := w.AddClient(granttest.Client("shop.web"))
	online := w.Begin(c, "openid", "orders:read")
	offline := w.Begin(c, "openid", "offline_access")
	w.Clock.Move(24*time.Hour - time.Minute - time.Second) // the login was a minute earlier
	online = w.OK(w.Refresh(c, online.String("refresh_token")))
	w.Clock.Move(time.Second)
	w.Refused(w.Refresh(c, online.String("refresh_token")), 400, "invalid_grant")
	w.OK(w.Refresh(c, offline.String("refresh_token")))
}

// As it ends the session in the browser: a lifetime is lowered because those that run are too long.
func TestALoweredLifetimeOfSessionsEndsOnlineRefreshTokensAtOnceAndNoOfflineOnes(t *testing.T) {
	w := newWorld(t)
	c := w.AddClient(granttest.Client("shop.web"))
	online, offline := w.Begin(c, "openid", "orders:read"), w.Begin(c, "openid", "offline_access")
	w.Clock.Move(time.Hour - time.Minute - time.Second) // the login was a minute earlier
	code := w.Code(w.Authorization(c, "openid"))
	w.ChangeServer(func(s *documents.Server) { s.SessionAbsoluteLifetime = 3600 })
	if got := w.Post("/introspect", c, "token", online.String("refresh_token")).JSON["exp"]; got != float64(w.Clock.Now().Unix()+1) {
		t.Errorf("exp is %v, a second before the end", got)
	}
	online = w.OK(w.Refresh(c, online.String("refresh_token")))
	w.Clock.Move(time.Second)
	w.Refused(w.Refresh(c, online.String("refresh_token")), 400, "invalid_grant")
	if a := w.Post("/introspect", c, "token", online.String("refresh_token")); a.JSON["active"] != false {
		t.Errorf("introspection says %s", a.Body)
	}
	w.OK(w.Refresh(c, offline.String("refresh_token")))

	// A code of a session that is over by the lifetime of now.
	w.OK(w.Redeem(c, code))
	code = w.Code(w.Authorization(c, "openid"))
	w.ChangeServer(func(s *documents.Server) { s.SessionAbsoluteLifetime = 60 })
	w.Refused(w.Redeem(c, code), 400, "invalid_grant")

	// A raised one gives a session no more than it had at the login.
	w.ChangeServer(func(s *documents.Server) { s.SessionAbsoluteLifetime = 100 * 3600 })
	online = w.OK(w.Refresh(c, online.String("refresh_token")))
	w.Clock.Move(23 * time.Hour)
	w.Refused(w.Refresh(c, online.String("refresh_token")), 400, "invalid_grant")
}

func TestLogoutEndsWhatIsOnlineAndNothingElse(t *testing.T) {
	w := newWorld(t)
	c := w.AddClient(granttest.Client("shop.web"))
	online := w.Begin(c, "openid", "orders:read")
	offline := w.Begin(c, "openid", "offline_access")
	if err := w.Store.SetMark(t.Context(), storage.Mark{Kind: storage.MarkSession, ID: "session-1", ExpiresAt: w.Clock.Now().Add(24 * time.Hour)}); err != nil {
		t.Fatal(err)
	}
	w.Refused(w.Refresh(c, online.String("refresh_token")), 400, "invalid_grant")
	if w.Active(online.String("access_token")) {
		t.Error("an online access token is active after logout")
	}
	if !w.Active(offline.String("access_token")) {
		t.Error("an offline access token has ended at logout")
	}
	w.OK(w.Refresh(c, offline.String("refresh_token")))
}

func TestAKeptTokenIsNotIdleWhileItIsUsed(t *testing.T) {
	w := newWorld(t)
	w.ChangeServer(func(s *documents.Server) {
		s.RefreshToken.RotatePublicClientsOnly, s.RefreshToken.IdleLifetime = true, 600
	})
	c := w.AddClient(granttest.Client("shop.web"))
	token := w.Begin(c, "openid", "offline_access").String("refresh_token")
	for range 20 {
		w.Clock.Move(4 * time.Minute)
		w.OK(w.Refresh(c, token))
		if _, err := w.Store.Sweep(t.Context(), w.Clock.Now()); err != nil {
			t.Fatal(err)
		}
	}
	w.Clock.Move(10 * time.Minute)
	w.Refused(w.Refresh(c, token), 400, "invalid_grant")
}
