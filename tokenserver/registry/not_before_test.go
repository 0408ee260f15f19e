package registry_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry/registrytest"
)

func TestAChangeOfAClientDoesNotReadThoseOfAllOthersForTokensNotBefore(t *testing.T) {
	r := registry.New(time.Now)
	c, other := client(), client()
	other.UID, other.ID, other.TokensNotBefore = "other", "shop.other", 5
	registrytest.Fill(t, r, c, other)
	collected := func() uintptr { return reflect.ValueOf(r.NotBefore().Clients).Pointer() }
	before := collected()
	c.DisplayName = "Shop"
	registrytest.Fill(t, r, c)
	if collected() != before {
		t.Error("the times were collected again, though no tokensNotBefore has changed")
	}
	c.TokensNotBefore = 7
	registrytest.Fill(t, r, c)
	if collected() == before {
		t.Error("the times were not collected again")
	}
}

func TestTokensNotBeforeIsThatOfTheLastDocument(t *testing.T) {
	r := registry.New(time.Now)
	c := client()
	for _, at := range []int64{0, 5, 7, 7, 3, 0, 4} {
		c.TokensNotBefore = at
		registrytest.Fill(t, r, c)
		if got := r.NotBeforeOf(c.UID, "", "").Client; got != at {
			t.Errorf("it is %d, want %d", got, at)
		}
	}
	r.Replace(nil)
	if got := r.NotBefore(); len(got.Clients) != 0 {
		t.Errorf("of a client that is gone there is %v", got)
	}
}
