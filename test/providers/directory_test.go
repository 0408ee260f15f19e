//go:build browser && ldap

package providers

import (
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/oauth-operator/oauth-operator/test/chromium"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/ldap/ldaptest"
	"github.com/oauth-operator/oauth-operator/tokenserver/oidc/oidctest"
)

// serveDirectory makes a directory one of three ways to sign in.
func (s *server) serveDirectory(directory *ldaptest.Server) {
	s.T.Helper()
	settings := directory.Provider()
	s.Apply(documents.IdentityProvider{
		UID: "uid-of-staff", Namespace: "identity", Name: "staff", DisplayName: "Acme staff", Type: documents.ProviderLDAP, Realm: "ldaps://ldap.acme.example",
		SubjectAttribute: "entryUUID", CABundle: directory.CABundle, Credentials: []string{oidctest.HashOf(ldaptest.BindPassword)}, LDAP: &settings,
		MaxIdentities: 100, Allow: `"staff" in upstream.groups`, Claims: map[string]string{"name": "upstream.attributes.cn[0]"},
	})
	s.rule("own", "staff", documents.LocalProvider)
}

func TestChromiumSignsInWithThePasswordOfADirectory(t *testing.T) {
	directory := ldaptest.Start(t)
	s, _ := newPair(t)
	s.serveDirectory(directory)
	browser := chromium.Start(t, chromium.WithoutJavaScript(), chromedp.Flag("ignore-certificate-errors", true))
	chromium.Do(t, browser, chromedp.Navigate(s.request()), chromedp.WaitVisible(chromedp.CSS("#way-staff")), chromium.Screenshot("chooser-of-three"),
		chromedp.Click(chromedp.CSS("#way-staff")), chromedp.WaitVisible(chromedp.CSS("#password")), chromium.Screenshot("directory-form"),
		signIn("alice", "wrong"), chromedp.WaitVisible(chromedp.CSS("#login-error")), chromium.Screenshot("directory-denied"),
		chromedp.SendKeys(chromedp.CSS("#password"), ldaptest.Password("alice")), chromedp.Click(chromedp.CSS("#login-submit")),
		chromedp.WaitVisible(chromedp.CSS("#consent-allow")), chromium.Screenshot("directory-consent"))
	directory.Kill()
	chromium.Do(t, browser, chromedp.Navigate(s.request("prompt", "login")), chromedp.WaitVisible(chromedp.CSS("#way-staff")),
		chromedp.Click(chromedp.CSS("#way-staff")), signIn("alice", ldaptest.Password("alice")),
		chromedp.WaitVisible(chromedp.CSS("#login-error")), chromium.Screenshot("directory-away"))
}
