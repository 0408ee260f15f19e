package main

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestTheAnswerArrivesInTheQueryOrInTheFragment(t *testing.T) {
	for name, send := range map[string]func(redirectURI string) (*http.Response, error){
		"query": func(redirectURI string) (*http.Response, error) {
			return http.Get(redirectURI + "?code=a&state=b")
		},
		"fragment": func(redirectURI string) (*http.Response, error) {
			page, err := http.Get(redirectURI) // what a browser sends of a redirect with a fragment
			if err != nil {
				return nil, err
			}
			if err := page.Body.Close(); err != nil {
				return nil, err
			}
			return http.PostForm(redirectURI, url.Values{"code": {"a"}, "state": {"b"}}) // what the page's script does then
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := listenForCallback([]string{"https://app.example.com/cb", "com.example:/cb", "http://127.0.0.1/cb"})
			if err != nil {
				t.Fatal(err)
			}
			defer c.close()
			u, err := url.Parse(c.redirectURI)
			if err != nil || u.Hostname() != "127.0.0.1" || u.Path != "/cb" || u.Port() == "" {
				t.Fatalf("the redirect URI is %s (%v)", c.redirectURI, err)
			}
			sent := make(chan error, 1)
			go func() {
				response, err := send(c.redirectURI)
				if err == nil {
					err = response.Body.Close()
				}
				sent <- err
			}()
			answer, err := c.wait(t.Context())
			if err != nil || answer.Get("code") != "a" || answer.Get("state") != "b" {
				t.Errorf("the answer is %v (%v)", answer, err)
			}
			if err := <-sent; err != nil {
				t.Errorf("the browser sees %v", err)
			}
		})
	}
}

func TestOnlyARedirectToThisMachineIsListenedFor(t *testing.T) {
	if c, err := listenForCallback([]string{"https://app.example.com/cb", "http://example.com/cb"}); err == nil {
		c.close()
		t.Error("listens for responses to another machine")
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.Close() }()
	taken := "http://" + busy.Addr().String() + "/cb"
	if c, err := listenForCallback([]string{taken}); err == nil || !strings.Contains(err.Error(), taken) {
		if err == nil {
			c.close()
		}
		t.Errorf("a port that another program has: %v", err)
	}
}

func TestAWaitThatIsGivenUpEnds(t *testing.T) {
	c, err := listenForCallback([]string{"http://127.0.0.1/cb"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.wait(ctx); err == nil {
		t.Error("an answer came from nowhere")
	}
}
