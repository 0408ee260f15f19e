package clientauth_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks/jwkstest"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
)

func posted(w *servertest.Server, c documents.Client) *http.Request {
	return newRequest(w, "", "client_id", c.ID, "client_secret", servertest.Secret)
}

// changed returns a client whose method was changed and whose previous one ends after a time.
func changed(w *servertest.Server, c documents.Client, previous documents.PreviousAuth, after time.Duration) documents.Client {
	previous.Until = w.Now().Add(after).Unix()
	c.PreviousAuth = &previous
	return c
}

func TestAfterAChangeOfMethodTheOldOneIsGoodUntilItsTime(t *testing.T) {
	w := newServer(t)
	signer, oldSigner := jwkstest.NewSigner("ES256", "k1"), jwkstest.NewSigner("ES256", "k0")
	basic := documents.PreviousAuth{Method: oauth.AuthMethodSecretBasic}
	signed := clientWithKeys("shop.signs", signer)
	signed.Credentials = []documents.Credential{servertest.Credential("c1", servertest.Secret)}
	post := clientWithMethod(oauth.AuthMethodSecretPost)
	secret := servertest.Client("shop.secret")
	for name, test := range map[string]struct {
		client   documents.Client
		new, old func(documents.Client) *http.Request
	}{
		"basic to post": {
			changed(w, post, basic, time.Hour),
			func(c documents.Client) *http.Request { return posted(w, c) },
			func(c documents.Client) *http.Request { return newEncodedRequest(w, c.ID, servertest.Secret) },
		},
		"basic to private_key_jwt": {
			changed(w, signed, basic, time.Hour),
			func(c documents.Client) *http.Request {
				return withAssertion(w, signer.Sign(t, claimsOf(w, c.ID, nil)))
			},
			func(c documents.Client) *http.Request { return newEncodedRequest(w, c.ID, servertest.Secret) },
		},
		"private_key_jwt to basic": {
			changed(w, secret, documents.PreviousAuth{Method: oauth.AuthMethodPrivateKey, JWKS: []documents.JWK{oldSigner.JWK}}, time.Hour),
			func(c documents.Client) *http.Request { return newEncodedRequest(w, c.ID, servertest.Secret) },
			func(c documents.Client) *http.Request {
				return withAssertion(w, oldSigner.Sign(t, claimsOf(w, c.ID, nil)))
			},
		},
	} {
		c := w.AddClient(test.client)
		for _, r := range []*http.Request{test.new(c), test.old(c)} {
			if a := w.Do(r); a.Status != 200 {
				t.Errorf("%s: %s", name, a.Body)
			}
		}
		ended := c
		ended.PreviousAuth = nil // as the manager writes it at that time
		w.AddClient(ended)
		w.CheckError(w.Do(test.old(c)), 401, "invalid_client")
		w.RequireOK(w.Do(test.new(c)))

		late := *c.PreviousAuth // the manager is down
		late.Until = w.Now().Add(-11 * time.Minute).Unix()
		c.PreviousAuth = &late
		w.AddClient(c)
		w.CheckError(w.Do(test.old(c)), 401, "invalid_client")
		w.RequireOK(w.Do(test.new(c)))
	}
}

func TestAnOldMethodThatNoRuleAllowsIsRefusedAtOnce(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(changed(w, clientWithMethod(oauth.AuthMethodSecretPost), documents.PreviousAuth{Method: oauth.AuthMethodSecretBasic}, time.Hour))
	old := func() *http.Request { return newEncodedRequest(w, c.ID, servertest.Secret) }
	w.RequireOK(w.Do(old()))
	w.ChangeDocument(func(s *documents.Server) {
		s.AllowedClients[0].TokenEndpointAuthMethods = []string{oauth.AuthMethodSecretPost}
	})
	w.CheckError(w.Do(old()), 401, "invalid_client")
	w.RequireOK(w.Do(posted(w, c)))
	if len(w.Misused) != 1 || w.Misused[0].RefusedMethod != oauth.AuthMethodSecretBasic {
		t.Errorf("the right secret by the old method was noted as %+v", w.Misused)
	}
	w.ChangeDocument(func(s *documents.Server) { // another rule allows the client as it was
		rule := s.AllowedClients[0]
		rule.Name, rule.TokenEndpointAuthMethods = "old", []string{oauth.AuthMethodSecretBasic}
		s.AllowedClients = append(s.AllowedClients, rule)
	})
	w.RequireOK(w.Do(old()))
	w.ChangeDocument(func(s *documents.Server) { s.AllowedClients = s.AllowedClients[1:] })
	for _, r := range []*http.Request{old(), posted(w, c)} { // no rule allows the client as it is
		w.CheckError(w.Do(r), 401, "invalid_client")
	}
}

func TestAPublicClientHasNoOldMethod(t *testing.T) {
	w := newServer(t)
	c := servertest.Client("shop.public")
	c.AuthMethod = oauth.AuthMethodNone // and the document says more than it should
	w.AddClient(changed(w, c, documents.PreviousAuth{Method: oauth.AuthMethodSecretBasic}, time.Hour))
	w.CheckError(w.Do(newEncodedRequest(w, c.ID, servertest.Secret)), 401, "invalid_client")
	w.RequireOK(w.Do(newRequest(w, "", "client_id", c.ID)))
}
