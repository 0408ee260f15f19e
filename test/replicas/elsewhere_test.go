package replicas

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/browser"
	"github.com/oauth-operator/oauth-operator/test/testenv"
	"github.com/oauth-operator/oauth-operator/tokenserver/oidc/oidctest"
)

// elsewhere is a replicated server whose users sign in at an OpenID provider, where login_hint says
// who they are. It allows those whose subject begins with "employee".
type elsewhere struct {
	*replicatedServer
	upstream  *oidctest.Provider
	provider  *v1alpha1.IdentityProvider
	transport http.RoundTripper
}

func newElsewhere(t *testing.T, s *replicatedServer) *elsewhere {
	t.Helper()
	e := &elsewhere{replicatedServer: s, upstream: oidctest.New(t, time.Now)}
	e.upstream.Behave(oidctest.Behaviour{ByHint: true})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(e.upstream.CABundle()))
	upstream := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 16}
	t.Cleanup(upstream.CloseIdleConnections)
	e.transport = &balancer{s: s, upstream: upstream}
	s.Create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.ServerNamespace, Name: "acme"}, StringData: map[string]string{"secret": oidctest.Secret}})
	s.Create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: s.ServerNamespace, Name: "roots"}, Data: map[string]string{"ca.crt": e.upstream.CABundle()}})
	e.createProvider()
	e.allowProviders("acme")
	return e
}

// allowProviders makes these the providers where users of the clients sign in.
func (e *elsewhere) allowProviders(names ...string) {
	e.T.Helper()
	e.Update(e.Server, func() {
		e.Server.Spec.Fetch = &v1alpha1.FetchSettings{AllowedNetworks: []string{"127.0.0.0/8"}}
		e.Server.Spec.AllowedClients[0].IdentityProviders = names
	})
	e.WaitFor("the rule to be in force", e.Server, func() bool {
		return testenv.IsTrue(e.Server.Status.Conditions, v1alpha1.ConditionReady) && e.Server.Status.ObservedGeneration == e.Server.Generation
	})
}

// createProvider creates the IdentityProvider, and waits until all replicas serve it.
func (e *elsewhere) createProvider() {
	e.T.Helper()
	e.provider = &v1alpha1.IdentityProvider{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.ServerNamespace, Name: "acme"},
		Spec: v1alpha1.IdentityProviderSpec{
			ServerRef: v1alpha1.LocalServerReference{Name: "main"}, Clients: v1alpha1.ProviderClientsListed, Type: v1alpha1.ProviderOIDC,
			OIDC: &v1alpha1.OIDCProviderSettings{
				Issuer: e.upstream.Issuer, ClientID: oidctest.ClientID, ClientSecretRef: v1alpha1.SecretKeyReference{Name: "acme", Key: "secret"},
			},
			CABundle: &v1alpha1.CABundle{ConfigMapRef: v1alpha1.ConfigMapKeyReference{Name: "roots", Key: "ca.crt"}},
			Allow:    `upstream.sub.startsWith("employee")`,
			Claims:   map[string]v1alpha1.Expression{"email": "upstream.email"},
		},
	}
	e.Create(e.provider)
	e.waitForProvider()
}

func (e *elsewhere) waitForProvider() {
	e.T.Helper()
	e.WaitFor("the provider to be served", e.provider, func() bool {
		return testenv.IsTrue(e.provider.Status.Conditions, v1alpha1.ConditionReady) && e.provider.Status.ObservedGeneration == e.provider.Generation
	})
}

// balancer sends each request to the next replica, and those to the provider there.
type balancer struct {
	s        *replicatedServer
	upstream http.RoundTripper
	next     atomic.Int64
}

// RoundTrip implements http.RoundTripper.
func (b *balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasPrefix(r.URL.String(), b.s.Issuer) {
		return b.upstream.RoundTrip(r)
	}
	r = r.Clone(r.Context())
	r.Host = r.URL.Host
	r.URL.Host = b.s.address(int(b.next.Add(1)))
	return b.s.HTTP.Transport.RoundTrip(r)
}

func (e *elsewhere) newBrowser() *browser.Browser {
	return browser.New(e.transport, e.Issuer, e.upstream.Issuer)
}

// signIn opens an authorization request in a browser, signs a user in at the provider, gives consent
// if asked, and returns where the browser is then.
func (e *elsewhere) signIn(b *browser.Browser, subject, verifier string) browser.Page {
	e.T.Helper()
	address := e.config.AuthCodeURL("xyz", oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("login_hint", subject))
	page, err := b.SignIn(e.T.Context(), address, "", "")
	if err != nil {
		e.T.Fatal(err)
	}
	return page
}

// issued is what a user got by one sign-in.
type issued struct {
	subject, access, refresh, code, verifier string
	cookies                                  []*http.Cookie
}

// issue signs a user in, who must be allowed, and gets all that there is to get.
func (e *elsewhere) issue(subject string) *issued {
	e.T.Helper()
	b, i := e.newBrowser(), &issued{verifier: oauth2.GenerateVerifier()}
	page := e.signIn(b, subject, i.verifier)
	code := page.Values().Get("code")
	if code == "" {
		e.T.Fatalf("%s is at %s: %d %s", subject, page.At, page.StatusCode, page.Body)
	}
	got := e.requireOK(e.post(0, "/token", redemption(e.replicatedServer, code, i.verifier)))
	i.access, i.refresh, i.subject = got.token("access_token"), got.token("refresh_token"), subjectOf(e.T, got.token("id_token"))
	i.code = e.signIn(b, subject, i.verifier).Values().Get("code")
	issuer, err := url.Parse(e.Issuer)
	if err != nil {
		e.T.Fatal(err)
	}
	i.cookies = b.Jar.Cookies(issuer)
	return i
}

// subjectOf returns the sub of a JWT, whose signature is not looked at.
func subjectOf(t testing.TB, token string) string {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatal("the answer has no ID token")
	}
	content, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct{ Sub string }
	if err := json.Unmarshal(content, &claims); err != nil {
		t.Fatal(err)
	}
	return claims.Sub
}

// checkGood fails the test unless all that was issued is good at every replica.
func (e *elsewhere) checkGood(when string, i *issued) {
	e.T.Helper()
	for replica := range replicaCount {
		if !e.isActive(replica, i.access) || e.userInfo(replica, i.access) != http.StatusOK {
			e.T.Errorf("%s the access token is not good at replica %d", when, replica)
		}
		if answer := e.authorizeSilently(replica, i.cookies); !answer.Has("code") {
			e.T.Errorf("%s the session is answered %v at replica %d", when, answer, replica)
		}
		i.refresh = e.requireOK(e.post(replica, "/token", refresh(i.refresh))).token("refresh_token")
	}
}

// checkVoid fails the test unless nothing that was issued is good at any replica.
func (e *elsewhere) checkVoid(when string, i *issued) {
	e.T.Helper()
	for replica := range replicaCount {
		if e.isActive(replica, i.access) || e.isActive(replica, i.refresh) || e.userInfo(replica, i.access) != http.StatusUnauthorized {
			e.T.Errorf("%s a token is good at replica %d", when, replica)
		}
		if answer := e.authorizeSilently(replica, i.cookies); answer.Has("code") {
			e.T.Errorf("%s the session gets a code at replica %d", when, replica)
		}
		for what, form := range map[string]url.Values{"refresh token": refresh(i.refresh), "code": redemption(e.replicatedServer, i.code, i.verifier)} {
			if a := e.post(replica, "/token", form); !a.isError(http.StatusBadRequest, "invalid_grant") {
				e.T.Errorf("%s the %s is answered %d %v at replica %d", when, what, a.status, a.body["error"], replica)
			}
		}
	}
}

// userInfo returns the status of a replica's answer.
func (e *elsewhere) userInfo(replica int, token string) int {
	e.T.Helper()
	request := e.request(replica, http.MethodGet, "/userinfo", nil)
	request.Header.Set("Authorization", "Bearer "+token)
	return e.statusOf(request)
}

func TestAUserIsTheSameAfterTheProviderAndTheRecordsAreRestoredAndNothingFromBeforeIsGood(t *testing.T) {
	forEachBackend(t, func(t *testing.T, s *replicatedServer) {
		e := newElsewhere(t, s)
		first := e.issue("employee-1")
		e.checkGood("at first", first)
		restore := e.records.backUp(t, e.ServerNamespace)
		e.Delete(e.provider)
		e.waitUntilInactive(first.access)
		e.checkVoid("without the provider", first)
		e.createProvider()
		e.checkVoid("after the provider was created again", first)
		second := e.issue("employee-1")
		if second.subject != first.subject {
			t.Errorf("the same person is %s, and was %s", second.subject, first.subject)
		}
		e.checkGood("after signing in again", second)
		e.checkVoid("after signing in again", first)

		restore()
		e.waitUntilInactive(first.access)
		e.checkVoid("with the records from before the provider was created again", first)
		third := e.issue("employee-1")
		if third.subject != first.subject {
			t.Errorf("after the restore the same person is %s, and was %s", third.subject, first.subject)
		}
		e.checkGood("after signing in to what was restored", third)
		e.checkVoid("after signing in to what was restored", first)
	})
}

func TestASuspendedUserFromElsewhereStaysSoWhateverBecomesOfTheRecord(t *testing.T) {
	forEachBackend(t, func(t *testing.T, s *replicatedServer) {
		e := newElsewhere(t, s)
		first := e.issue("employee-1")
		identity := e.identity(first.subject)
		if err := testenv.Kube.Create(t.Context(), identity); client.IgnoreAlreadyExists(err) != nil {
			t.Fatal(err)
		}
		e.Update(identity, func() { identity.Spec.Suspended = true })
		t.Logf("the suspension acted after %s", e.waitUntilInactive(first.access))
		e.checkVoid("while the user is suspended", first)
		restore := e.records.backUp(t, e.ServerNamespace)
		e.records.loseIdentities(t, e.ServerNamespace)
		e.checkRefused("without a record", "employee-1")
		restore()
		e.checkVoid("with the record from the backup", first)
		e.checkRefused("with the record from the backup", "employee-1")

		e.records.loseIdentities(t, e.ServerNamespace)
		e.Update(identity, func() { identity.Spec.Suspended = false })
		e.Eventually("the user to sign in at every replica", 10*time.Second, func() (bool, string) {
			for range replicaCount {
				if page := e.signIn(e.newBrowser(), "employee-1", oauth2.GenerateVerifier()); page.Values().Get("code") == "" {
					return false, page.Body
				}
			}
			return true, ""
		})
		second := e.issue("employee-1")
		if second.subject != first.subject {
			t.Errorf("the same person is %s, and was %s", second.subject, first.subject)
		}
		e.checkGood("after a new sign-in", second)
		e.checkVoid("after a new sign-in", first)
	})
}

func TestAnOAuthIdentityThatIsPutBackFromADumpRevivesNothingAtAnyReplica(t *testing.T) {
	t.Parallel()
	e := newElsewhere(t, newReplicatedServer(t))
	first := e.issue("employee-1")
	restore := backUpObjects(t, e.ServerNamespace)
	e.Delete(e.identity(first.subject))
	e.waitUntilInactive(first.access)
	restore()
	e.checkVoid("after the object was put back", first)
	second := e.issue("employee-1")
	if second.subject != first.subject {
		t.Errorf("the same person is %s, and was %s", second.subject, first.subject)
	}
	e.checkGood("after a new sign-in", second)
	e.checkVoid("after a new sign-in", first)
	e.Update(e.provider, func() { e.provider.Spec.DisplayName = "Acme again" }) // all documents are written anew
	e.waitForProvider()
	e.checkVoid("after the provider was changed", first)
}

// identity returns the OAuthIdentity of a user as the owner of the server writes it.
func (e *elsewhere) identity(subject string) *v1alpha1.OAuthIdentity {
	return &v1alpha1.OAuthIdentity{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.ServerNamespace, Name: v1alpha1.OAuthIdentityName(subject)},
		Spec:       v1alpha1.OAuthIdentitySpec{ServerRef: v1alpha1.LocalServerReference{Name: "main"}, Subject: subject},
	}
}

// checkRefused fails the test if a user signs in at one of the replicas.
func (e *elsewhere) checkRefused(when, subject string) {
	e.T.Helper()
	for range replicaCount {
		if page := e.signIn(e.newBrowser(), subject, oauth2.GenerateVerifier()); page.Values().Get("code") != "" || page.StatusCode >= http.StatusInternalServerError {
			e.T.Errorf("%s %s is at %s: %d", when, subject, page.At, page.StatusCode)
		}
	}
}
