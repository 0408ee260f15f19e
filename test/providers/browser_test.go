//go:build browser

package providers

import (
	"context"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/oauth-operator/oauth-operator/test/chromium"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
)

// signIn fills in the form for passwords.
func signIn(username, password string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		return chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS("#username")), chromedp.SendKeys(chromedp.CSS("#username"), username),
			chromedp.SendKeys(chromedp.CSS("#password"), password), chromedp.Click(chromedp.CSS("#login-submit")))
	})
}

func TestChromiumGoesToTheProviderAndBackToTheApplication(t *testing.T) {
	s, upstream := newPair(t)
	s.ChangeDocument(func(d *documents.Server) {
		d.AllowedClients[0].IdentityProviders = []string{"own", documents.LocalProvider}
	})
	browser := chromium.Start(t, chromium.WithoutJavaScript(), chromedp.Flag("ignore-certificate-errors", true))
	chromium.Do(t, browser, chromedp.Navigate(s.request()), chromedp.WaitVisible(chromedp.CSS("#way-own")), chromium.Screenshot("chooser"),
		chromedp.Click(chromedp.CSS("#way-local")), chromedp.WaitVisible(chromedp.CSS("#other-ways")), chromium.Screenshot("chosen-form"),
		chromedp.Click(chromedp.CSS("#other-ways")), chromedp.WaitVisible(chromedp.CSS("#way-own")),
		chromedp.Click(chromedp.CSS("#way-own")), chromium.At(upstream.Issuer), signIn("bob", interactiontest.BobPassword),
		chromium.At(s.Issuer), chromedp.WaitVisible(chromedp.CSS("#login-error")), chromium.Screenshot("chooser-denied"),
		chromedp.Click(chromedp.CSS("#way-own")), chromium.At(upstream.Issuer), signIn("alice", interactiontest.AlicePassword),
		chromium.At(s.Issuer), chromedp.WaitVisible(chromedp.CSS("#consent-allow")), chromium.Screenshot("consent"),
		// The page allows its form to redirect to another site.
		chromedp.Click(chromedp.CSS("#consent-switch")), chromedp.WaitVisible(chromedp.CSS("#way-own")),
		chromedp.Click(chromedp.CSS("#way-own")), chromium.At(upstream.Issuer), signIn("alice", interactiontest.AlicePassword),
		chromium.At(s.Issuer), chromedp.WaitVisible(chromedp.CSS("#consent-allow")),
		chromedp.Navigate(s.Issuer+"/logout"), chromedp.WaitVisible(chromedp.CSS("#logout-confirm")), chromedp.Click(chromedp.CSS("#logout-confirm")),
		chromedp.WaitVisible(chromedp.CSS("#still-signed-in")), chromium.Screenshot("signed-out"))
	href, err := chromedp.Run(browser, chromedp.Location())
	if err != nil || !strings.HasPrefix(href, s.Issuer+"/logout") {
		t.Errorf("at %s, %v", href, err)
	}
}

func TestChromiumFollowsTheSwitchOfAnAccountToTheProviderOfANativeApplication(t *testing.T) {
	s, upstream := newPair(t)
	browser := chromium.Start(t, chromium.WithoutJavaScript(), chromedp.Flag("ignore-certificate-errors", true))
	chromium.Do(t, browser, chromedp.Navigate(s.request()), chromium.At(upstream.Issuer), signIn("alice", interactiontest.AlicePassword),
		chromium.At(s.Issuer), chromedp.WaitVisible(chromedp.CSS("#consent-allow")),
		// She is signed in, so this flow has not left yet, and leaves when she switches.
		chromedp.Navigate(s.CLIRequest(interactiontest.PrivateURI)), chromedp.WaitVisible(chromedp.CSS("#consent-switch")),
		chromedp.Click(chromedp.CSS("#consent-switch")), chromium.At(upstream.Issuer), chromedp.WaitVisible(chromedp.CSS("#username")))
}
