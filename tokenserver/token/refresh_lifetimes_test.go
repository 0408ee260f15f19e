package token_test

import (
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

func TestRotationDoesNotExtendTheAbsoluteLifetime(t *testing.T) {
	w := newServer(t)
	w.ChangeDocument(func(s *documents.Server) {
		s.RefreshToken.IdleLifetime, s.RefreshToken.AbsoluteLifetime = 2*3600, 3*3600
	})
	c := w.AddClient(newPublicClient())
	token := w.IssueTokens(c, "openid", "offline_access").String("refresh_token")
	for range 5 {
		w.Advance(30 * time.Minute)
		token = w.RequireOK(w.Refresh(c, token)).String("refresh_token")
	}
	w.Advance(30*time.Minute - time.Second)
	token = w.RequireOK(w.Refresh(c, token)).String("refresh_token")
	w.Advance(time.Second)
	w.CheckError(w.Refresh(c, token), 400, "invalid_grant")
}

func TestAnIdleRefreshTokenExpires(t *testing.T) {
	w := newServer(t)
	w.ChangeDocument(func(s *documents.Server) { s.RefreshToken.IdleLifetime = 3600 })
	c := w.AddClient(newPublicClient())
	token := w.IssueTokens(c, "openid", "offline_access").String("refresh_token")
	w.Advance(time.Hour - time.Second)
	token = w.RequireOK(w.Refresh(c, token)).String("refresh_token")
	w.Advance(time.Hour)
	w.CheckError(w.Refresh(c, token), 400, "invalid_grant")
}

func TestLoweredLifetimesOfRefreshTokensCountAtOnce(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newPublicClient())
	token := w.IssueTokens(c, "openid", "offline_access").String("refresh_token")
	w.Advance(2 * time.Hour)
	w.ChangeDocument(func(s *documents.Server) { s.RefreshToken.AbsoluteLifetime = 3600 })
	w.CheckError(w.Refresh(c, token), 400, "invalid_grant")
	w.ChangeDocument(func(s *documents.Server) {
		s.RefreshToken.AbsoluteLifetime, s.RefreshToken.IdleLifetime = 9*3600, 3600
	})
	w.CheckError(w.Refresh(c, token), 400, "invalid_grant")
	w.ChangeDocument(func(s *documents.Server) { s.RefreshToken.IdleLifetime = 9 * 3600 })
	w.RequireOK(w.Refresh(c, token))
}

func TestAnOnlineRefreshTokenEndsWithItsSession(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	online := w.IssueTokens(c, "openid", "orders:read")
	offline := w.IssueTokens(c, "openid", "offline_access")
	w.Advance(24*time.Hour - time.Minute - time.Second) // the login was a minute earlier
	online = w.RequireOK(w.Refresh(c, online.String("refresh_token")))
	w.Advance(time.Second)
	w.CheckError(w.Refresh(c, online.String("refresh_token")), 400, "invalid_grant")
	w.RequireOK(w.Refresh(c, offline.String("refresh_token")))
}

// The same lifetime ends the session in the browser. An administrator lowers it because running
// sessions are too long.
func TestALoweredLifetimeOfSessionsEndsOnlineRefreshTokensAtOnceAndNoOfflineOnes(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	online, offline := w.IssueTokens(c, "openid", "orders:read"), w.IssueTokens(c, "openid", "offline_access")
	w.Advance(time.Hour - time.Minute - time.Second) // the login was a minute earlier
	code := w.Code(w.Authorization(c, "openid"))
	w.ChangeDocument(func(s *documents.Server) { s.SessionAbsoluteLifetime = 3600 })
	if got := w.Post("/introspect", c, "token", online.String("refresh_token")).JSON["exp"]; got != float64(w.Now().Unix()+1) {
		t.Errorf("exp is %v, a second before the end", got)
	}
	online = w.RequireOK(w.Refresh(c, online.String("refresh_token")))
	w.Advance(time.Second)
	w.CheckError(w.Refresh(c, online.String("refresh_token")), 400, "invalid_grant")
	if a := w.Post("/introspect", c, "token", online.String("refresh_token")); a.JSON["active"] != false {
		t.Errorf("introspection says %s", a.Body)
	}
	w.RequireOK(w.Refresh(c, offline.String("refresh_token")))

	// A code of a session that has ended by the current lifetime.
	w.RequireOK(w.Redeem(c, code))
	code = w.Code(w.Authorization(c, "openid"))
	w.ChangeDocument(func(s *documents.Server) { s.SessionAbsoluteLifetime = 60 })
	w.CheckError(w.Redeem(c, code), 400, "invalid_grant")

	// A raised lifetime does not make a session longer than it was at the login.
	w.ChangeDocument(func(s *documents.Server) { s.SessionAbsoluteLifetime = 100 * 3600 })
	online = w.RequireOK(w.Refresh(c, online.String("refresh_token")))
	w.Advance(23 * time.Hour)
	w.CheckError(w.Refresh(c, online.String("refresh_token")), 400, "invalid_grant")
}

func TestLogoutEndsWhatIsOnlineAndNothingElse(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	online := w.IssueTokens(c, "openid", "orders:read")
	offline := w.IssueTokens(c, "openid", "offline_access")
	if err := w.Store.SetMark(t.Context(), storage.Mark{Kind: storage.MarkSession, ID: "session-1", ExpiresAt: w.Now().Add(24 * time.Hour)}); err != nil {
		t.Fatal(err)
	}
	w.CheckError(w.Refresh(c, online.String("refresh_token")), 400, "invalid_grant")
	if w.IsActive(online.String("access_token")) {
		t.Error("an online access token is active after logout")
	}
	if !w.IsActive(offline.String("access_token")) {
		t.Error("an offline access token has ended at logout")
	}
	w.RequireOK(w.Refresh(c, offline.String("refresh_token")))
}

func TestAKeptTokenIsNotIdleWhileItIsUsed(t *testing.T) {
	w := newServer(t)
	w.ChangeDocument(func(s *documents.Server) {
		s.RefreshToken.RotatePublicClientsOnly, s.RefreshToken.IdleLifetime = true, 600
	})
	c := w.AddClient(servertest.Client("shop.web"))
	token := w.IssueTokens(c, "openid", "offline_access").String("refresh_token")
	for range 20 {
		w.Advance(4 * time.Minute)
		w.RequireOK(w.Refresh(c, token))
		if _, err := w.Store.Sweep(t.Context(), w.Now()); err != nil {
			t.Fatal(err)
		}
	}
	w.Advance(10 * time.Minute)
	w.CheckError(w.Refresh(c, token), 400, "invalid_grant")
}
