package grant

import (
	"fmt"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

func TestAnUnsettledWriteIsForgivenOnceAndNotForEver(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	var u unsettled
	if _, ok := u.take("a", now); ok {
		t.Error("something is remembered that was never written")
	}
	u.remember(storage.Grant{ID: "a", Attempt: "mine"}, now)
	if g, ok := u.take("a", now.Add(unsettledFor-time.Second)); !ok || g.Attempt != "mine" {
		t.Errorf("taken was %+v, %t", g, ok)
	}
	if _, ok := u.take("a", now); ok {
		t.Error("it was taken twice")
	}
	u.remember(storage.Grant{ID: "a"}, now)
	if _, ok := u.take("a", now.Add(unsettledFor)); ok {
		t.Error("it is remembered longer than a code lives")
	}
}

func TestUnsettledWritesAreBounded(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	var u unsettled
	for i := range maxUnsettled + 100 {
		u.remember(storage.Grant{ID: fmt.Sprint(i)}, now)
	}
	if len(u.writes) != maxUnsettled {
		t.Errorf("%d are remembered", len(u.writes))
	}
	u.remember(storage.Grant{ID: "later"}, now.Add(unsettledFor))
	if _, ok := u.take("later", now.Add(unsettledFor)); !ok || len(u.writes) != 0 {
		t.Errorf("old ones keep new ones out: %d are left", len(u.writes))
	}
}
