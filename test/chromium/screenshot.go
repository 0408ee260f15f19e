package chromium

import (
	"context"
	"os"
	"path/filepath"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// screenshots is a directory that receives pictures of the pages; none are made if it is empty.
var screenshots = os.Getenv("SCREENSHOTS")

// Screenshot takes pictures of the page in light and in dark, if the environment variable SCREENSHOTS
// names a directory for them.
func Screenshot(name string) chromedp.Action[chromedp.Void] {
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
			if err := os.WriteFile(filepath.Join(screenshots, name+"-"+scheme+".png"), image, 0o644); err != nil {
				return err
			}
		}
		return nil
	})
}
