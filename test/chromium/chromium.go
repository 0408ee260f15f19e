// Package chromium is a headless Chromium for tests. It is needed only by tests with the build tag
// browser.
//
//	chromium.go    the browser, its tabs, and what is done in them
//	screenshot.go  pictures of the pages
package chromium

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// timeout is how long one sequence of actions may take.
const timeout = 30 * time.Second

// WithoutJavaScript is how the token server's pages must work.
func WithoutJavaScript() chromedp.ExecAllocatorOption {
	return chromedp.Flag("blink-settings", "scriptEnabled=false")
}

// Start starts a browser with a profile of its own, for as long as the test runs.
func Start(t *testing.T, options ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	all := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(1100, 1000), chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
	)
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), append(all, options...)...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// Tab opens another tab of the same browser.
func Tab(t *testing.T, browser context.Context) context.Context { //nolint:revive // a testing helper takes t first
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil { // or the tab would live only as long as the first thing that is done in it
		t.Fatal(err)
	}
	return ctx
}

// At waits until the browser shows a page whose address begins so. That a server has seen a request
// says nothing about whether the browser has left the page before, and what is asked of it
// meanwhile is cut off.
func At(address string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		for {
			at, err := chromedp.Location()(ctx, target)
			if err == nil && strings.HasPrefix(at, address) {
				return nil
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
}

// Do does the actions, or fails the test and tells what the page shows.
func Do(t *testing.T, ctx context.Context, actions ...chromedp.Action[chromedp.Void]) { //nolint:revive // a testing helper takes t first
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		at, _ := chromedp.Run(late, chromedp.Location())
		page, _ := chromedp.Run(late, chromedp.Text(chromedp.CSS("body")))
		t.Fatalf("%v at %s: %s", err, at, page)
	}
}
