package interaction_test

import (
	"crypto/rand"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/memory"
)

func TestConsentsGivenAtTheSameTimeAreAllKept(t *testing.T) {
	store, err := memory.New(time.Now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	consents := &interaction.Consents{Store: store, Now: time.Now}
	var all grant.ConsentRequest
	var tabs sync.WaitGroup
	for i := range 6 {
		scope := fmt.Sprintf("scope-%d", i)
		asked := grant.ConsentRequest{Scopes: []string{scope}, Claims: []string{"claim-" + scope}, APIs: []storage.API{{UID: "api-of-" + scope, Identifier: "urn:" + scope, Scopes: []string{scope}}}}
		all.Scopes, all.Claims, all.APIs = append(all.Scopes, scope), append(all.Claims, asked.Claims...), append(all.APIs, asked.APIs...)
		tabs.Go(func() {
			if err := consents.Add(t.Context(), "user", "client", asked); err != nil {
				t.Error(err)
			}
		})
	}
	tabs.Wait()
	if covered, err := consents.FindCovering(t.Context(), "user", "client", all); err != nil || covered == "" {
		t.Errorf("not all are kept: %v", err)
	}
	for _, pair := range [][2]string{{"other", "client"}, {"user", "other"}} {
		if covered, err := consents.FindCovering(t.Context(), pair[0], pair[1], grant.ConsentRequest{}); err != nil || covered != "" {
			t.Errorf("%v has a consent: %v", pair, err)
		}
	}
}
