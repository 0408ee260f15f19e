//go:build ldap

package replicas

import (
	"fmt"
	"maps"
	"net/http"
	"sync"
	"testing"

	"golang.org/x/oauth2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/browser"
	"github.com/oauth-operator/oauth-operator/tokenserver/ldap/ldaptest"
)

// useDirectory makes users of the server sign in in a directory, if they are staff.
func (e *elsewhere) useDirectory(directory *ldaptest.Server) {
	e.T.Helper()
	e.Create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: e.ServerNamespace, Name: "ldap"}, StringData: map[string]string{"password": ldaptest.BindPassword}})
	e.Create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: e.ServerNamespace, Name: "ldap-roots"}, Data: map[string]string{"ca.crt": directory.CABundle}})
	e.provider = &v1alpha1.IdentityProvider{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.ServerNamespace, Name: "staff"},
		Spec: v1alpha1.IdentityProviderSpec{
			ServerRef: v1alpha1.LocalServerReference{Name: "main"}, Clients: v1alpha1.ProviderClientsListed, Type: v1alpha1.ProviderLDAP, Realm: "ldaps://acme.example",
			LDAP: &v1alpha1.LDAPProviderSettings{
				URL:  directory.URL(),
				Bind: v1alpha1.LDAPBind{DN: ldaptest.BindDN, PasswordSecretRef: v1alpha1.SecretKeyReference{Name: "ldap", Key: "password"}},
				Users: v1alpha1.LDAPUserSearch{
					BaseDN: ldaptest.People, Filter: "(uid=$(username))", Attributes: []string{"uid"}, SubjectAttribute: "entryUUID",
					PasswordChangedAttribute: "pwdChangedTime",
				},
				Groups: &v1alpha1.LDAPGroupSearch{BaseDN: ldaptest.Groups, Filter: "(member=$(dn))"},
			},
			CABundle: &v1alpha1.CABundle{ConfigMapRef: v1alpha1.ConfigMapKeyReference{Name: "ldap-roots", Key: "ca.crt"}},
			Allow:    `"staff" in upstream.groups`,
			Claims:   map[string]v1alpha1.Expression{"preferred_username": "upstream.attributes.uid[0]"},
		},
	}
	e.Create(e.provider)
	e.waitForProvider()
	e.allowProviders("staff")
}

// logIn opens an authorization request, and sends the form for passwords.
func (e *elsewhere) logIn(username, password string) browser.Page {
	b := e.newBrowser()
	page, err := b.Get(e.T.Context(), e.config.AuthCodeURL("xyz", oauth2.S256ChallengeOption(oauth2.GenerateVerifier())))
	if err == nil {
		page, err = b.Login(e.T.Context(), page, username, password)
	}
	if err != nil {
		e.T.Error(err)
		return browser.Page{Response: &http.Response{}}
	}
	return page
}

func TestStrangersAtADirectoryCauseNoWriteAndLeaveNoRecord(t *testing.T) {
	t.Parallel()
	directory := ldaptest.Start(t)
	e := newElsewhere(t, newReplicatedServer(t))
	e.useDirectory(directory)
	first := map[string]int{"create oauthidentities": 1, "update oauthidentities": 1}
	asked, _ := e.countWrites(func() {
		if page := e.logIn("alice", ldaptest.Password("alice")); !page.IsConsent() {
			t.Fatalf("alice is at %s: %d %s", page.At, page.StatusCode, page.Body)
		}
	})
	if !maps.Equal(asked, first) {
		t.Errorf("a first sign-in wrote %v, want %v", asked, first)
	}
	strangers := []struct{ username, password string }{
		{"bob", "wrong"}, {"carol", ldaptest.Password("carol")}, {"*", "wrong"}, {"", ""}, {"bob", ""}, {"alice)(uid=*", "wrong"},
	}
	for i := range 30 {
		strangers = append(strangers, struct{ username, password string }{fmt.Sprint("unknown-", i), "wrong"})
	}
	answered, mu := map[int]int{}, sync.Mutex{}
	asked, _ = e.countWrites(func() {
		var all sync.WaitGroup
		for _, who := range strangers {
			all.Go(func() { // each answer takes a second at least
				page := e.logIn(who.username, who.password)
				if page.IsConsent() || page.Values().Get("code") != "" {
					t.Errorf("%q signed in", who.username)
				}
				mu.Lock()
				answered[page.StatusCode]++
				mu.Unlock()
			})
		}
		all.Wait()
	})
	if len(asked) > 0 {
		t.Errorf("strangers caused writes: %v", asked)
	}
	if answered[http.StatusOK] == 0 || answered[0] > 0 || answered[http.StatusInternalServerError] > 0 {
		t.Errorf("they were answered %v", answered)
	}
	asked, _ = e.countWrites(func() { e.logIn("alice", ldaptest.Password("alice")) })
	if len(asked) > 0 {
		t.Errorf("a known user wrote %v", asked)
	}
	t.Logf("%v", answered)
}
