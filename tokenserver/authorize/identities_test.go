package authorize_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/session"
	"github.com/oauth-operator/oauth-operator/tokenserver/users"
)

var acme = documents.IdentityProvider{
	UID: "acme-uid", Namespace: "identity", Name: "acme", DisplayName: "Acme", Type: documents.ProviderOIDC, Realm: "https://acme.example",
	SubjectAttribute: "sub", OIDC: &documents.OIDCProvider{Issuer: "https://acme.example", ClientID: "us", MaxAge: 3600},
	AllClients: true, Allow: "true", MaxIdentities: 10,
}

// signInAtAcme returns the cookies of a browser whose user has signed in at acme.
func signInAtAcme(t *testing.T, w *interactiontest.Server) []*http.Cookie {
	t.Helper()
	w.Apply(acme)
	provider, _ := w.Registry.IdentityProvider("acme")
	user, err := w.Users.SignIn(t.Context(), users.SignIn{Provider: provider, Subject: []byte("1")})
	if err != nil {
		t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	if _, err := w.Sessions.Begin(t.Context(), answer, httptest.NewRequest(http.MethodGet, "/", nil), w.Document, session.Login{User: user, AMR: []string{"mfa"}}); err != nil {
		t.Fatal(err)
	}
	return answer.Result().Cookies()
}

func TestASessionEndsWhenTheMaxAgeOfItsProviderHasPassedSinceTheSignIn(t *testing.T) {
	w := interactiontest.New(t)
	cookies := signInAtAcme(t, w)
	has := func() bool {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		for _, cookie := range cookies {
			r.AddCookie(cookie)
		}
		current, _, err := w.Sessions.Current(t.Context(), r, w.Document)
		if err != nil {
			t.Fatal(err)
		}
		return current != nil
	}
	w.Advance(time.Hour - time.Second)
	if !has() {
		t.Error("the session has ended before")
	}
	w.Advance(time.Second)
	if has() {
		t.Error("the session goes on")
	}
}

func TestASessionOfAProviderThatIsNotAcceptedLeadsToTheLoginPageAndHasNotEnded(t *testing.T) {
	w := interactiontest.New(t)
	cookies := signInAtAcme(t, w)
	get := func(pairs ...string) int {
		r := httptest.NewRequest(http.MethodGet, w.WebRequest(pairs...), nil)
		for _, cookie := range cookies {
			r.AddCookie(cookie)
		}
		current, _, err := w.Sessions.Current(t.Context(), r, w.Document)
		switch {
		case err != nil:
			return http.StatusServiceUnavailable
		case current == nil:
			return http.StatusNotFound
		}
		if !current.AuthenticatedAt().IsZero() {
			t.Errorf("the user authenticated at %v, which the provider did not say", current.AuthenticatedAt())
		}
		return http.StatusOK
	}
	b := w.NewBrowser()
	origin, err := url.Parse(w.Document.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	b.Jar.SetCookies(origin, cookies)
	if got := get(); got != http.StatusOK {
		t.Fatalf("the session is answered %d", got)
	}
	if page := b.Get(w.WebRequest()); !page.IsConsent() {
		t.Fatalf("no consent page: %v", page.Values())
	}
	if page := b.Get(w.WebRequest("max_age", "100")); !page.IsChooser() {
		t.Errorf("max_age is answered although no authentication is known: %v", page.Values())
	}

	w.Apply(documents.IdentityProvider{UID: acme.UID, Name: acme.Name, DisplayName: acme.DisplayName, NotAccepted: true})
	if got := get(); got != http.StatusServiceUnavailable {
		t.Errorf("the session of a provider that is not accepted is answered %d", got)
	}
	if page := b.Get(w.WebRequest()); !page.IsLogin() {
		t.Errorf("no login page: %v", page.Values())
	}
	wantClientError(t, b.Get(w.WebRequest("prompt", "none")), "temporarily_unavailable")
	w.Apply(acme)
	if got := get(); got != http.StatusOK {
		t.Errorf("the session is answered %d afterwards", got)
	}
}

// signInByPassword returns a browser whose user has signed in at a directory, and the session there.
func signInByPassword(t *testing.T, w *interactiontest.Server) (*interactiontest.Browser, *session.Session) {
	t.Helper()
	w.Apply(servertest.LDAPProvider())
	provider, _ := w.Registry.IdentityProvider("acme-ldap")
	user, err := w.Users.SignIn(t.Context(), users.SignIn{Provider: provider, Subject: []byte("1")})
	if err != nil {
		t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	begun, err := w.Sessions.Begin(t.Context(), answer, httptest.NewRequest(http.MethodGet, "/", nil), w.Document, session.Login{User: user})
	if err != nil {
		t.Fatal(err)
	}
	origin, err := url.Parse(w.Document.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	b := w.NewBrowser()
	b.Jar.SetCookies(origin, answer.Result().Cookies())
	return b, begun
}

func TestBeforeACodeIsIssuedTheDirectoryOfTheUserIsAskedAgain(t *testing.T) {
	w := interactiontest.New(t)
	d := w.UseDirectory(users.Answer{})
	b, _ := signInByPassword(t, w)
	if page := b.Get(w.WebRequest("prompt", "none")); page.IsLogin() {
		t.Fatalf("the session is not used: %v", page.Values())
	}
	if asked, _ := d.Asked(); asked != 0 {
		t.Errorf("the directory was asked %d times within five minutes", asked)
	}

	w.Advance(5 * time.Minute)
	d.Set(users.Answer{}, errors.New("connection refused"))
	wantClientError(t, b.Get(w.WebRequest("prompt", "none")), "temporarily_unavailable")
	if page := b.Get(w.WebRequest()); !page.IsChooser() {
		t.Errorf("while the directory is away: %v, want the login page", page.Values())
	}
	d.Set(users.Answer{}, nil)
	if page := b.Get(w.WebRequest()); !page.IsConsent() {
		t.Errorf("afterwards: %v, want the consent page", page.Values())
	}
	w.Advance(5 * time.Minute)
	d.Set(users.Answer{}, users.ErrGone)
	wantClientError(t, b.Get(w.WebRequest("prompt", "none")), "login_required")
	d.Set(users.Answer{}, nil)
	wantClientError(t, b.Get(w.WebRequest("prompt", "none")), "login_required")
}

func TestASessionThatEndsWhileTheDirectoryIsAskedYieldsNoCode(t *testing.T) {
	w := interactiontest.New(t)
	d := w.UseDirectory(users.Answer{})
	b, begun := signInByPassword(t, w)
	if b.Consent(b.Get(w.WebRequest()), "allow").Values().Get("code") == "" {
		t.Fatal("the session yields no code")
	}
	w.Advance(5 * time.Minute)
	d.Before(func() {
		if err := w.Sessions.End(t.Context(), httptest.NewRecorder(), w.Document, begun); err != nil {
			t.Error(err)
		}
	})
	wantClientError(t, b.Get(w.WebRequest("prompt", "none")), "login_required")
	if asked, _ := d.Asked(); asked != 1 {
		t.Errorf("the directory was asked %d times", asked)
	}
}
