package registry_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry/registrytest"
)

// changeAndRead returns how long it takes to change one of so many clients 100 times, and to ask
// each time what is void.
func changeAndRead(t *testing.T, clients int) time.Duration {
	t.Helper()
	r := registry.New(time.Now)
	c := client()
	for i := range clients {
		c.UID, c.ID = fmt.Sprint("uid-", i), fmt.Sprint("shop.", i)
		registrytest.Fill(t, r, c)
	}
	start := time.Now()
	for i := range 100 {
		c.DisplayName = fmt.Sprint(i)
		registrytest.Fill(t, r, c)
		r.NotBeforeOf(c.UID, "")
	}
	return time.Since(start)
}

func TestAChangeOfOneClientDoesNotReadAllForTokensNotBefore(t *testing.T) {
	few, many := changeAndRead(t, 1), changeAndRead(t, 30_000)
	if many > 30*few {
		t.Errorf("with 30,000 clients it takes %s, with one %s", many, few)
	}
}

func TestTokensNotBeforeIsThatOfTheLastDocument(t *testing.T) {
	r := registry.New(time.Now)
	c := client()
	for _, at := range []int64{0, 5, 7, 7, 3, 0, 4} {
		c.TokensNotBefore = at
		registrytest.Fill(t, r, c)
		if got := r.NotBeforeOf(c.UID, "").Client; got != at {
			t.Errorf("it is %d, want %d", got, at)
		}
	}
	r.Replace(nil)
	if got := r.NotBefore(); len(got.Clients) != 0 {
		t.Errorf("of a client that is gone there is %v", got)
	}
}
