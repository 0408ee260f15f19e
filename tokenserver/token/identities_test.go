package token_test

import (
	"errors"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry/registrytest"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/users"
)

// acme is an OpenID provider whose users may all sign in.
func acme() documents.IdentityProvider {
	return documents.IdentityProvider{
		UID: "acme-uid", Namespace: "identity", Name: "acme", DisplayName: "Acme", Type: documents.ProviderOIDC,
		Realm: "https://login.acme.example", SubjectAttribute: "sub",
		OIDC:  &documents.OIDCProvider{Issuer: "https://login.acme.example", ClientID: "us", MaxAge: 3600},
		Allow: "true", Claims: map[string]string{"email": "upstream.email", "groups": "upstream.groups"}, MaxIdentities: 1000,
	}
}

// signIn returns a user of the provider, who has just signed in.
func signIn(w *servertest.Server) *registry.User {
	w.T.Helper()
	provider, ok := w.Registry.IdentityProvider("acme")
	if !ok {
		w.T.Fatal("the provider is not served")
	}
	user, err := w.Users.SignIn(w.T.Context(), users.SignIn{
		Provider: provider, Subject: []byte("1"), Upstream: map[string]any{"email": "bob@acme.example", "groups": []any{"ops"}},
	})
	if err != nil {
		w.T.Fatal(err)
	}
	return user
}

// authorization returns the offline authorization of a user of the provider, who has signed in now;
// when the user authenticated there is not known.
func authorization(w *servertest.Server, c documents.Client, user *registry.User) grant.Authorization {
	a := w.Authorization(c, "openid", "email", "offline_access", "orders:read")
	a.UserUID, a.UserEpoch, a.ProviderUID, a.SignedInAt = user.UID, user.Epoch, user.ProviderUID, w.Now().Unix()
	a.AuthTime, a.AMR = time.Time{}, []string{"mfa"}
	return a
}

// newAcmeServer returns a server with the provider, and a client for its users alone.
func newAcmeServer(t *testing.T) (*servertest.Server, documents.Client) {
	w := newServer(t)
	registrytest.Fill(t, w.Registry, acme())
	w.ChangeDocument(func(s *documents.Server) { s.AllowedClients[0].IdentityProviders = []string{"acme"} })
	return w, w.AddClient(servertest.Client("shop.web"))
}

func TestTheTokensOfAUserFromElsewhereSayWhereTheUserSignedIn(t *testing.T) {
	w, c := newAcmeServer(t)
	user := signIn(w)
	a := w.RequireOK(w.Redeem(c, w.Code(authorization(w, c, user))))
	id := w.Claims(a.String("id_token"))
	if id["sub"] != user.Subject || id["identity_provider"] != "acme" || id["auth_time"] != nil || id["acr"] != nil {
		t.Errorf("the ID token says %v", id)
	}
	info := w.RequireOK(w.Post("/introspect", c, "token", a.String("access_token"))).JSON
	if info["active"] != true || info["identity_provider"] != "acme" || info["sub"] != user.Subject || info["auth_time"] != nil {
		t.Errorf("introspection says %v", info)
	}
	if g := w.StoredGrants()[0]; g.ProviderUID != "acme-uid" || !g.SignedInAt.Equal(w.Now()) || !g.AuthTime.IsZero() {
		t.Errorf("the record is %+v", g)
	}
	w.RequireOK(w.Refresh(c, a.String("refresh_token")))
}

// endings are changes after which nothing is good that a user of the provider got before.
var endings = map[string]func(w *servertest.Server, user *registry.User){
	"the provider is suspended": func(w *servertest.Server, _ *registry.User) {
		p := acme()
		p.Suspended = true
		registrytest.Fill(w.T, w.Registry, p)
	},
	"the provider is gone": func(w *servertest.Server, _ *registry.User) { removeAcme(w) },
	"the provider was created again, and the user signed in there": func(w *servertest.Server, _ *registry.User) {
		removeAcme(w)
		p := acme()
		p.UID = "acme-uid-2"
		registrytest.Fill(w.T, w.Registry, p)
		signIn(w)
	},
	"allow was tightened": func(w *servertest.Server, _ *registry.User) {
		p := acme()
		p.Allow = `"dev" in upstream.groups`
		registrytest.Fill(w.T, w.Registry, p)
	},
	"tokensNotBefore of the provider": func(w *servertest.Server, _ *registry.User) {
		p := acme()
		p.TokensNotBefore = w.Now().Unix()
		registrytest.Fill(w.T, w.Registry, p)
	},
	"tokensNotBefore of the user": func(w *servertest.Server, user *registry.User) {
		registrytest.Fill(w.T, w.Registry, documents.Identity{UID: "spec-uid", Subject: user.UID, TokensNotBefore: w.Now().Unix()})
	},
	"the user is suspended": func(w *servertest.Server, user *registry.User) {
		registrytest.Fill(w.T, w.Registry, documents.Identity{UID: "spec-uid", Subject: user.UID, Suspended: true})
	},
	"the record is gone, and the user signed in again": func(w *servertest.Server, user *registry.User) {
		if err := w.Memory.DeleteIdentity(w.T.Context(), user.UID); err != nil {
			w.T.Fatal(err)
		}
		signIn(w)
	},
	"the rule does not name the provider": func(w *servertest.Server, _ *registry.User) {
		w.ChangeDocument(func(s *documents.Server) { s.AllowedClients[0].IdentityProviders = nil })
	},
}

func removeAcme(w *servertest.Server) {
	w.Registry.Remove(registrytest.Name(registry.SpaceIdentityProvider, "acme"))
	w.Registry.Remove(registrytest.Name(registry.SpaceRealm, acme().Realm))
}

func TestWhatAUserFromElsewhereGotEndsWithTheProviderTheAllowAndTheUser(t *testing.T) {
	for what, end := range endings {
		t.Run(what, func(t *testing.T) {
			w, c := newAcmeServer(t)
			user := signIn(w)
			a := w.RequireOK(w.Redeem(c, w.Code(authorization(w, c, user))))
			code := w.Code(authorization(w, c, user))
			if !w.IsActive(a.String("access_token")) {
				t.Fatal("the token is not active")
			}
			end(w, user)
			w.CheckError(w.Refresh(c, a.String("refresh_token")), 400, "invalid_grant")
			w.CheckError(w.Redeem(c, code), 400, "invalid_grant")
			if w.IsActive(a.String("access_token")) || isRefreshTokenActive(w, c, a) {
				t.Error("a token is active")
			}
		})
	}
}

func TestWhileTheProviderIsNotAcceptedOrTheStoreIsAwayNothingEndsAndNothingIsUsedUp(t *testing.T) {
	w, c := newAcmeServer(t)
	user := signIn(w)
	a := w.RequireOK(w.Redeem(c, w.Code(authorization(w, c, user))))
	code := w.Code(authorization(w, c, user))
	registrytest.Fill(t, w.Registry, documents.IdentityProvider{UID: "acme-uid", Name: "acme", DisplayName: "Acme", NotAccepted: true})
	for _, answer := range []servertest.Answer{
		w.Refresh(c, a.String("refresh_token")), w.Redeem(c, code), w.Post("/introspect", c, "token", a.String("access_token")),
	} {
		if answer.Status != 503 {
			t.Errorf("the answer is %d %s, want 503", answer.Status, answer.Body)
		}
	}
	registrytest.Fill(t, w.Registry, acme())
	w.RequireOK(w.Redeem(c, code))
	a = w.RequireOK(w.Refresh(c, a.String("refresh_token")))
	if !w.IsActive(a.String("access_token")) {
		t.Error("the token is not active")
	}
}

func TestMaxAgeOfTheProviderEndsRefreshingAndNothingElse(t *testing.T) {
	w, c := newAcmeServer(t)
	a := w.RequireOK(w.Redeem(c, w.Code(authorization(w, c, signIn(w)))))
	w.Advance(59 * time.Minute)
	a = w.RequireOK(w.Refresh(c, a.String("refresh_token")))
	if left := w.RequireOK(w.Post("/introspect", c, "token", a.String("refresh_token"))).JSON["exp"]; left != float64(w.Now().Add(time.Minute).Unix()) {
		t.Errorf("the refresh token expires at %v, want in a minute", left)
	}
	w.Advance(time.Minute)
	w.CheckError(w.Refresh(c, a.String("refresh_token")), 400, "invalid_grant")
	if !w.IsActive(a.String("access_token")) {
		t.Error("the access token is not active any more")
	}
}

// newLDAPServer returns a server where users of a directory sign in, and a client for them.
func newLDAPServer(t *testing.T) (*servertest.Server, documents.Client, *servertest.Directory) {
	w := newServer(t)
	registrytest.Fill(t, w.Registry, servertest.LDAPProvider())
	return w, w.AddClient(servertest.Client("shop.web")), w.UseDirectory(users.Answer{})
}

// isRefreshTokenActive reports whether the refresh token of an answer is active, which only its client
// is told.
func isRefreshTokenActive(w *servertest.Server, c documents.Client, a servertest.Answer) bool {
	w.T.Helper()
	return w.RequireOK(w.Post("/introspect", c, "token", a.String("refresh_token"))).JSON["active"] == true
}

func signInByPassword(w *servertest.Server) *registry.User {
	w.T.Helper()
	provider, ok := w.Registry.IdentityProvider("acme-ldap")
	if !ok {
		w.T.Fatal("the provider is not served")
	}
	user, err := w.Users.SignIn(w.T.Context(), users.SignIn{Provider: provider, Subject: []byte("1")})
	if err != nil {
		w.T.Fatal(err)
	}
	return user
}

func TestAUserWhoIsGoneFromTheDirectoryRefreshesNothingAfterFiveMinutes(t *testing.T) {
	w, c, d := newLDAPServer(t)
	a := w.RequireOK(w.Redeem(c, w.Code(authorization(w, c, signInByPassword(w)))))
	d.Set(users.Answer{}, users.ErrGone)
	w.Advance(4 * time.Minute)
	a = w.RequireOK(w.Refresh(c, a.String("refresh_token")))
	w.Advance(time.Minute)
	w.CheckError(w.Refresh(c, a.String("refresh_token")), 400, "invalid_grant")
	if w.IsActive(a.String("access_token")) || isRefreshTokenActive(w, c, a) {
		t.Error("a token is active")
	}
	d.Set(users.Answer{}, nil)
	signInByPassword(w)
	w.CheckError(w.Refresh(c, a.String("refresh_token")), 400, "invalid_grant")
}

func TestWhileTheDirectoryIsAwayARefreshIs503AndUsesNothingUp(t *testing.T) {
	for _, cached := range []bool{false, true} {
		w, c, d := newLDAPServer(t)
		user := signInByPassword(w)
		if cached {
			w.UseCachedReads(w.Store)
		}
		a := w.RequireOK(w.Redeem(c, w.Code(authorization(w, c, user))))
		w.Advance(5 * time.Minute)
		writes := w.Store.Writes()
		d.Set(users.Answer{}, errors.New("connection refused"))
		for range 3 {
			w.CheckError(w.Refresh(c, a.String("refresh_token")), 503, "temporarily_unavailable")
		}
		if asked, _ := d.Asked(); asked != 3 {
			t.Errorf("the directory was asked %d times by three requests", asked)
		}
		if !isRefreshTokenActive(w, c, a) || w.Store.Writes() != writes {
			t.Errorf("the refresh token is not active, or there were %d writes", w.Store.Writes()-writes)
		}
		d.Set(users.Answer{}, nil)
		w.RequireOK(w.Refresh(c, a.String("refresh_token")))
	}
}

func TestASessionThatEndsWhileTheDirectoryIsAskedRefreshesNothing(t *testing.T) {
	w, c, d := newLDAPServer(t)
	w.Grants.Store = servertest.JoinedStore{Store: w.Store}
	online := authorization(w, c, signInByPassword(w))
	online.Scopes, online.Offline = []string{"openid", "orders:read"}, false
	a := w.RequireOK(w.Redeem(c, w.Code(online)))
	w.Advance(5 * time.Minute)
	d.Before(func() {
		session := w.StoredGrants()[0].SessionHash
		if err := w.Store.SetMark(t.Context(), storage.Mark{Kind: storage.MarkSession, ID: session, ExpiresAt: w.Now().Add(time.Hour)}); err != nil {
			t.Error(err)
		}
	})
	w.CheckError(w.Refresh(c, a.String("refresh_token")), 400, "invalid_grant")
}
