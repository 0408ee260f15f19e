//go:build browser

package providers

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/oauth-operator/oauth-operator/test/chromium"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
)

// screenshots is a directory that receives pictures of the pages; none are made if it is empty.
var screenshots = os.Getenv("SCREENSHOTS")

// screenshot takes pictures of the page in light and in dark.
func screenshot(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		if screenshots == "" {
			return nil
		}
		for _, scheme := range []string{"light", "dark"} {
			feature := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}
			if _, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: feature}); err != nil {
				return err
			}
			image, err := chromedp.CaptureScreenshot()(ctx, target)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(screenshots, name+"-"+scheme+".png"), image, 0o600); err != nil {
				return err
			}
		}
		return nil
	})
}

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
	chromium.Do(t, browser, chromedp.Navigate(s.request()), chromedp.WaitVisible(chromedp.CSS("#way-own")), screenshot("chooser"),
		chromedp.Click(chromedp.CSS("#way-local")), chromedp.WaitVisible(chromedp.CSS("#other-ways")), screenshot("chosen-form"),
		chromedp.Click(chromedp.CSS("#other-ways")), chromedp.WaitVisible(chromedp.CSS("#way-own")),
		chromedp.Click(chromedp.CSS("#way-own")), chromium.At(upstream.Issuer), signIn("bob", interactiontest.BobPassword),
		chromium.At(s.Issuer), chromedp.WaitVisible(chromedp.CSS("#login-error")), screenshot("chooser-denied"),
		chromedp.Click(chromedp.CSS("#way-own")), chromium.At(upstream.Issuer), signIn("alice", interactiontest.AlicePassword),
		chromium.At(s.Issuer), chromedp.WaitVisible(chromedp.CSS("#consent-allow")), screenshot("consent"),
		// The page allows its form to redirect to another site.
		chromedp.Click(chromedp.CSS("#consent-switch")), chromedp.WaitVisible(chromedp.CSS("#way-own")),
		chromedp.Click(chromedp.CSS("#way-own")), chromium.At(upstream.Issuer), signIn("alice", interactiontest.AlicePassword),
		chromium.At(s.Issuer), chromedp.WaitVisible(chromedp.CSS("#consent-allow")),
		chromedp.Navigate(s.Issuer+"/logout"), chromedp.WaitVisible(chromedp.CSS("#logout-confirm")), chromedp.Click(chromedp.CSS("#logout-confirm")),
		chromedp.WaitVisible(chromedp.CSS("#still-signed-in")), screenshot("signed-out"))
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
