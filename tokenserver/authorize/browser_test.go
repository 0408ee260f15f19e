//go:build browser

package authorize_test

import (
	"context"
	"html/template"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/oauth-operator/oauth-operator/test/chromium"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
)

// signIn signs in as alice, and presses the button of the consent page.
func signIn(t *testing.T, browser context.Context, request string) { //nolint:revive // a testing helper takes t first
	t.Helper()
	chromium.Do(t, browser,
		chromedp.Navigate(request),
		chromedp.WaitVisible(chromedp.CSS("#username")),
		chromedp.SendKeys(chromedp.CSS("#username"), "alice"),
		chromedp.SendKeys(chromedp.CSS("#password"), interactiontest.AlicePassword),
		chromedp.Click(chromedp.CSS("#login-submit")),
		chromedp.WaitVisible(chromedp.CSS("#consent-allow")),
		chromedp.Click(chromedp.CSS("#consent-allow")))
}

// callbacks are the parameters with which a browser came to an application.
type callbacks chan url.Values

func (v callbacks) await(t *testing.T) url.Values {
	t.Helper()
	select {
	case got := <-v:
		return got
	case <-time.After(20 * time.Second):
		t.Fatal("the browser did not come")
		return nil
	}
}

// record sends the parameters of requests to the path to the channel.
func (v callbacks) record(path string, then http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != path {
			return
		}
		if err := r.ParseForm(); err == nil {
			v <- r.Form
		}
		if then != nil {
			then(w, r)
		}
	}
}

func TestChromiumIsSentToTheApplicationAndFromThereToAnotherOfItsHosts(t *testing.T) {
	start := map[string]func(http.Handler) *httptest.Server{"http": httptest.NewServer, "https": httptest.NewTLSServer}
	for name, c := range map[string]struct{ callback, home string }{
		"loopback, then a web page": {"http", "https"}, "a web application on two hosts": {"https", "https"},
	} {
		t.Run(name, func(t *testing.T) {
			atCallback, atHome := make(callbacks, 5), make(callbacks, 5)
			home := start[c.home](atHome.record("/home", nil))
			t.Cleanup(home.Close)
			callback := start[c.callback](atCallback.record("/callback", func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, home.URL+"/home", http.StatusFound)
			}))
			t.Cleanup(callback.Close)
			w := interactiontest.New(t)
			client := w.Client("web")
			client.RedirectURIs = []string{callback.URL + "/callback"}
			w.Apply(client)
			browser := chromium.Start(t, chromedp.Flag("ignore-certificate-errors", true))
			signIn(t, browser, setParameters(w.WebRequest(), "redirect_uri", client.RedirectURIs[0]))
			if got := atCallback.await(t); got.Get("code") == "" {
				t.Errorf("came with %v", got)
			}
			atHome.await(t)
		})
	}
}

func TestChromiumIsLetGoToAPrivateUseScheme(t *testing.T) {
	w := interactiontest.New(t)
	browser := chromium.Start(t)
	went := make(callbacks, 10)
	if err := chromedp.Listen(browser, func(event any) {
		// No app is installed for the scheme: the request is made and fails. The policy would
		// prevent it.
		if e, ok := event.(*network.EventRequestWillBeSent); ok && strings.HasPrefix(e.Request.URL, interactiontest.PrivateURI+"?") {
			u, _ := url.Parse(e.Request.URL)
			went <- u.Query()
		}
	}); err != nil {
		t.Fatal(err)
	}
	signIn(t, browser, w.CLIRequest(interactiontest.PrivateURI))
	if got := went.await(t); got.Get("code") == "" {
		t.Errorf("went with %v", got)
	}
}

func TestChromiumPostsTheAnswerByItselfAndAtAClickWithoutScripts(t *testing.T) {
	for name, flags := range map[string][]chromedp.ExecAllocatorOption{
		"scripts": nil, "no scripts": {chromium.WithoutJavaScript()},
	} {
		t.Run(name, func(t *testing.T) {
			arrived := make(callbacks, 5)
			app := httptest.NewServer(arrived.record("/callback", nil))
			t.Cleanup(app.Close)
			w := interactiontest.New(t)
			client := w.Client("hybrid")
			client.RedirectURIs = []string{app.URL + "/callback"}
			w.Apply(client)
			browser := chromium.Start(t, flags...)
			signIn(t, browser, setParameters(w.HybridRequest("code id_token"), "redirect_uri", client.RedirectURIs[0], "response_mode", "form_post"))
			if flags != nil {
				chromium.Do(t, browser, chromedp.WaitVisible(chromedp.CSS(`form[action$="/callback"] button`)), chromedp.Click(chromedp.CSS("button")))
			}
			if got := arrived.await(t); got.Get("code") == "" || got.Get("id_token") == "" || got.Get("state") != "some state" || got.Get("iss") != w.Issuer {
				t.Errorf("came with %v", got)
			}
		})
	}
}

func TestARequestThatAnotherSitePostsFindsTheSession(t *testing.T) {
	arrived := make(callbacks, 5)
	app := httptest.NewServer(arrived.record("/callback", nil))
	t.Cleanup(app.Close)
	w := interactiontest.New(t)
	client := w.Client("web")
	client.RedirectURIs = []string{app.URL + "/callback"}
	w.Apply(client)
	request := setParameters(w.WebRequest(), "redirect_uri", client.RedirectURIs[0])
	form := template.Must(template.New("").Parse(`<form method="post" action="{{.Action}}">
{{range $name, $values := .Fields}}<input type="hidden" name="{{$name}}" value="{{index $values 0}}">{{end}}<button>Go</button></form>`))
	other := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		_ = form.Execute(rw, map[string]any{"Action": w.Issuer + "/authorize", "Fields": queryOf(t, setParameters(request, "prompt", "none"))})
	}))
	t.Cleanup(other.Close)
	browser := chromium.Start(t)
	signIn(t, browser, request)
	arrived.await(t)
	chromium.Do(t, browser, chromium.At(app.URL))
	// localhost is another site than 127.0.0.1.
	chromium.Do(t, browser, chromedp.Navigate(strings.Replace(other.URL, "127.0.0.1", "localhost", 1)), chromedp.Click(chromedp.CSS("button")))
	if got := arrived.await(t); got.Get("code") == "" {
		t.Errorf("came with %v", got)
	}
}
